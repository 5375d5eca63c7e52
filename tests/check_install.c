#include <check.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/install.h"

static char base[] = "/tmp/dcsign-check-install-XXXXXX";
static char folder[64];

static void setup(void)
{
	memcpy(strrchr(base, '-'), "-XXXXXX", 8);
	ck_assert_ptr_nonnull(mkdtemp(base));
	snprintf(folder, sizeof folder, "%s/dc", base);
}

static void teardown(void)
{
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", base);
	ck_assert_int_eq(system(command), 0);
}

static char *path_of(const char *name)
{
	static char path[PATH_MAX];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static void holds(const char *name, const char *text)
{
	char got[64] = "";
	FILE *f = fopen(path_of(name), "r");
	if (!text) {
		ck_assert_msg(!f, "%s is there", name);
		return;
	}
	ck_assert_msg(f != NULL, "%s is missing", name);
	ck_assert_ptr_nonnull(fgets(got, sizeof got, f));
	fclose(f);
	ck_assert_str_eq(got, text);
}

static unsigned sets(void)
{
	char command[128];
	unsigned n = 0;
	FILE *p;
	snprintf(command, sizeof command, "ls -d '%s'/.set-* 2>/dev/null | wc -l", folder);
	p = popen(command, "r");
	ck_assert_int_eq(fscanf(p, "%u", &n), 1);
	pclose(p);
	return n;
}

static enum err put(const char *text, unsigned names, struct refusal *why)
{
	static const char *const all[] = {
		"key.pem", "chain.pem", "credential.json", "credential.dc", "credential.pem"};
	struct install_file files[5];
	struct install in;
	size_t n = 0;
	unsigned i;
	enum err e;
	for (i = 0; i < 5; i++)
		if (names & 1u << i)
			files[n++] =
				(struct install_file){all[i], text, strlen(text), i ? 0644 : 0600};
	e = install_open(&in, folder, why);
	if (!e)
		e = install_set(&in, files, n, why);
	install_close(&in);
	return e;
}

START_TEST(a_set_is_put_and_replaced)
{
	struct refusal why;
	struct stat st;
	umask(022);
	ck_assert_int_eq(put("one", 0xf, &why), ERR_OK);
	holds("key.pem", "one");
	holds("credential.dc", "one");
	ck_assert(stat(path_of("key.pem"), &st) == 0 && (st.st_mode & 07777) == 0600);
	ck_assert(stat(path_of("chain.pem"), &st) == 0 && (st.st_mode & 07777) == 0644);
	ck_assert_int_eq(put("two", 0x16, &why), ERR_OK);
	holds("key.pem", NULL);
	holds("credential.dc", NULL);
	holds("credential.pem", "two");
	holds("credential.json", "two");
	ck_assert_uint_eq(sets(), 1);
	ck_assert(lstat(path_of("key.pem"), &st) != 0);
}
END_TEST

START_TEST(a_failure_leaves_the_old_set)
{
	struct install_file files[] = {
		{"chain.pem", "two", 3, 0644}, {"chain.pem", "two", 3, 0644}};
	struct install in;
	struct refusal why;
	ck_assert_int_eq(put("one", 0xf, &why), ERR_OK);
	ck_assert_int_eq(install_open(&in, folder, &why), ERR_OK);
	ck_assert_int_eq(install_set(&in, files, 2, &why), ERR_SYSTEM);
	install_close(&in);
	holds("key.pem", "one");
	holds("chain.pem", "one");
	ck_assert_uint_eq(sets(), 1);
	ck_assert_int_eq(install_open(&in, folder, &why), ERR_OK);
	install_close(&in);
	holds("credential.json", "one");
	ck_assert_uint_eq(sets(), 1);
}
END_TEST

START_TEST(leftovers_of_a_killed_run_go)
{
	struct install_file half = {"key.pem", "half", 4, 0600};
	struct install in;
	struct refusal why;
	ck_assert_int_eq(put("one", 0xf, &why), ERR_OK);
	ck_assert_int_eq(install_open(&in, folder, &why), ERR_OK);
	{
		char path[256];
		FILE *f;
		snprintf(path, sizeof path, "%s/%s/%s", folder, in.set, half.name);
		f = fopen(path, "w");
		ck_assert_ptr_nonnull(f);
		fputs("half", f);
		fclose(f);
	}
	close(in.fd); /* the run ends here */
	close(in.folder);
	ck_assert_uint_eq(sets(), 2);
	holds("key.pem", "one");
	ck_assert_int_eq(put("two", 0xf, &why), ERR_OK);
	ck_assert_uint_eq(sets(), 1);
	holds("key.pem", "two");
}
END_TEST

START_TEST(files_of_others_are_not_touched)
{
	struct refusal why;
	FILE *f;
	ck_assert_int_eq(mkdir(folder, 0755), 0);
	f = fopen(path_of("key.pem"), "w");
	fputs("mine", f);
	fclose(f);
	ck_assert_int_eq(put("one", 0xf, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "key.pem"));
	holds("key.pem", "mine");
	ck_assert_uint_eq(sets(), 0);
	ck_assert_int_eq(unlink(path_of("key.pem")), 0);
	ck_assert_int_eq(symlink("/etc/passwd", path_of("key.pem")), 0);
	ck_assert_int_eq(put("one", 0xf, &why), ERR_FORMAT);
	ck_assert_int_eq(unlink(path_of("key.pem")), 0);
	f = fopen(path_of("other"), "w");
	fputs("mine", f);
	fclose(f);
	ck_assert_int_eq(put("one", 0xf, &why), ERR_OK);
	holds("other", "mine");
}
END_TEST

START_TEST(one_at_a_time)
{
	struct install first, second;
	struct refusal why;
	ck_assert_int_eq(install_open(&first, folder, &why), ERR_OK);
	ck_assert_int_eq(install_open(&second, folder, &why), ERR_SYSTEM);
	ck_assert_ptr_nonnull(strstr(why.detail, "another dcsign"));
	install_close(&second);
	install_close(&first);
	ck_assert_int_eq(install_open(&second, folder, &why), ERR_OK);
	install_close(&second);
}
END_TEST

START_TEST(a_missing_parent_is_refused)
{
	struct install in;
	struct refusal why;
	snprintf(folder, sizeof folder, "%s/a/b", base);
	ck_assert_int_eq(install_open(&in, folder, &why), ERR_SYSTEM);
	ck_assert_ptr_nonnull(strstr(why.detail, "a/b"));
	install_close(&in);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("install");
	TCase *t = tcase_create("install");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_set_is_put_and_replaced);
	tcase_add_test(t, a_failure_leaves_the_old_set);
	tcase_add_test(t, leftovers_of_a_killed_run_go);
	tcase_add_test(t, files_of_others_are_not_touched);
	tcase_add_test(t, one_at_a_time);
	tcase_add_test(t, a_missing_parent_is_refused);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
