/*
 * Every system call of a short life of the real dcsignd-ledger fails once, with EIO, ENOSPC or
 * EINTR, or the process is killed there (strace injects it). Afterwards the ledger starts without
 * help, has what was acknowledged, leaves nothing open, and verifies. A sample of the calls; all of
 * them with DCSIGN_TESTS=long.
 */
#include "settings.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "ledger/verify.h"
#include "ledgerd_rig.h"

#define NAMES	200
#define WAIT_MS 30000
#define SAMPLE	44 /* lives in make check */

static const char *const faults[] = {"error=EIO", "error=ENOSPC", "error=EINTR", "signal=SIGKILL"};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

struct call {
	char name[32];
	unsigned before; /* of the loader */
	unsigned count;	 /* of the program */
};
static struct call call[NAMES];
static size_t calls;

static char wrap[96], trace[96];
static unsigned acknowledged; /* records of the sample */
static bool finished;

/* ---- a life that may end anywhere ---- */

static enum err hear(int fd, uint16_t type, struct reader *body)
{
	struct msg_head head;
	size_t len;
	enum err e = channel_receive(fd, rig.octets, sizeof(rig.octets), &len, NULL, NULL, WAIT_MS);

	if (!e)
		e = msg_open(&head, body, rig.octets, len);
	return !e && head.type != type ? ERR_FORMAT : e;
}

static enum err configure(void)
{
	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct msg_config_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	int fd = rig_bundle();
	struct reader body;

	msg_begin(&out, MSG_CONFIG, ++rig.serial);
	msg_config_write(&out, &m);

	enum err e = channel_send(rig.control, &out, &fd, 1, WAIT_MS);

	close(fd);
	buf_free(&out);
	if (!e)
		e = hear(rig.control, MSG_ANSWER(MSG_CONFIG), &body);
	if (!e)
		e = msg_config_answer_read(&a, &body);
	return e ? e : a.err;
}

static enum err introduce(void)
{
	struct msg_hello m = {.role = ROLE_HSM, .name = "main"};
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader body;
	int ends[2];

	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	rig.hsm = ends[0];
	msg_begin(&out, MSG_HELLO, ++rig.serial);
	msg_hello_write(&out, &m);

	enum err e = channel_send(rig.control, &out, &ends[1], 1, WAIT_MS);

	close(ends[1]);
	if (!e)
		e = channel_send(rig.hsm, &out, NULL, 0, WAIT_MS);
	buf_free(&out);
	if (!e)
		e = hear(rig.hsm, MSG_ANSWER(MSG_HELLO), &body);
	if (!e)
		e = msg_hello_answer_read(&rig.hello, &body);
	return e ? e : rig.hello.err;
}

static enum err append(struct record *r)
{
	static struct msg_append m;
	struct buf octets = BUF_INIT(MSG_MAX), out = BUF_INIT(MSG_MAX);
	struct reader body;

	ck_assert_int_eq(record_encode(&octets, r), ERR_OK);
	m.count = 1;
	m.item[0] = (struct msg_append_item){.record = octets_of(octets.octets, octets.len)};
	msg_begin(&out, MSG_APPEND, ++rig.serial);
	msg_append_write(&out, &m);

	enum err e = channel_send(rig.hsm, &out, NULL, 0, WAIT_MS);

	buf_free(&octets);
	buf_free(&out);
	if (!e)
		e = hear(rig.hsm, MSG_ANSWER(MSG_APPEND), &body);
	if (!e)
		e = msg_append_answer_read(&rig.answers, &body);
	return e ? e : rig.answers.item[0].refusal.err;
}

static void live(struct sample *s, struct sample *test)
{
	struct record start, config;
	struct record *const records[] = {
		&start, &config, &test->self_test, &test->proved, &s->authorised, &s->issued};
	struct reader body;
	enum err e = configure();

	if (!e)
		e = hear(rig.control, MSG_STATE, &body);
	if (!e)
		e = introduce();
	memcpy(rig.issuer.generation, rig.generation, SHA256_SIZE);
	help_start(&start, &rig.issuer);
	help_config(&config, &rig.issuer);
	for (unsigned i = 0; i < 6 && !e; i++) {
		e = append(records[i]);
		acknowledged += i >= 4 && !e;
	}
	finished = !e;
}

/* Ends it: in order when nothing has gone wrong yet. */
static void end(void)
{
	int status;

	kill(rig.pid, finished ? SIGTERM : SIGKILL);
	ck_assert_int_eq(waitpid(rig.pid, &status, 0), rig.pid);
	close(rig.control);
	if (rig.hsm >= 0)
		close(rig.hsm);
	rig.pid = 0;
	rig.control = rig.hsm = -1;
}

/* ---- strace ---- */

static void wrapper_write(const char *options)
{
	const char *top = getenv("TOP_BUILDDIR");
	FILE *f = fopen(wrap, "w");

	fprintf(f,
		"#!/bin/sh\nexec /usr/bin/strace -D -qq -o %s %s %s/src/ledger/dcsignd-ledger "
		"\"$@\"\n",
		trace, options, top ? top : ".");
	fclose(f);
	ck_assert_int_eq(chmod(wrap, 0700), 0);
}

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	printf("%s, record %lld: %s\n", chain, (long long)idx, what);
}

/* What is left starts by itself and is whole. */
static void remains_check(const char *what, const struct sample *s)
{
	struct verify v = {.problem = problem};
	struct refusal why = {0};
	struct store *store;

	rig.program = NULL;
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_msg(rig_occurrences(rig_stored(), s->id) >= acknowledged,
		"%s: %u were acknowledged", what, acknowledged);
	ck_assert_int_eq(store_sqlite.open_copy(&store, rig.path, &why), ERR_OK);
	ck_assert_int_eq(verify_store(&v, store, NULL), ERR_OK);
	store_sqlite.abandon(store);
	ck_assert_msg(v.problems == 0 && v.open == 0, "%s: %llu problems, %llu open", what,
		(unsigned long long)v.problems, (unsigned long long)v.open);
}

static void life(const char *options)
{
	static char asan[] = "ASAN_OPTIONS=detect_leaks=0", *environment[] = {asan, NULL};
	static struct config_client edge = {.name = "edge", .may = RIGHT_ISSUE};
	static char key[] = "www", *keys[] = {key};
	static struct policy policy = {.name = "default"};
	static struct config_key www = {.name = "www", .token = "main", .policy = "default"};
	struct sample s, test;

	rig_set_up();
	policy_defaults(&policy);
	www.uri = rig.url;
	edge.keys = keys;
	edge.key_count = 1;
	rig.config.client = &edge;
	rig.config.key = &www;
	rig.config.policy = &policy;
	rig.config.client_count = rig.config.key_count = rig.config.policy_count = 1;
	snprintf(wrap, sizeof(wrap), "%s/wrap", rig.folder);
	snprintf(trace, sizeof(trace), "%s.strace", rig.folder);
	close(rig_bundle());
	memcpy(rig.issuer.generation, rig.generation, SHA256_SIZE);
	sample_make(&s, &rig.issuer, 1);
	sample_make(&test, &rig.issuer, 2);
	wrapper_write(options);
	acknowledged = 0;
	rig.program = wrap;
	rig.environment = environment;
	rig_spawn(NULL);
	live(&s, &test);
	end();
	remains_check(options, &s);
	sample_free(&s);
	sample_free(&test);
	rig_tear_down();
}

/* Calls that only the loader, the allocator and the sanitizers make, and those that never fail. */
static bool left_out(const char *name)
{
	static const char *const names[] = {"execve", "exit_group", "exit", "brk", "mmap", "munmap",
		"mprotect", "mremap", "madvise", "arch_prctl", "set_tid_address", "set_robust_list",
		"rseq", "rt_sigreturn", "sigaltstack", "clone", "clone3", "getpid", "gettid"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static void calls_count(void)
{
	FILE *f = fopen(trace, "r");
	char line[4096];
	bool begun = false;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		begun = begun || strstr(line, "PR_SET_NO_NEW_PRIVS"); /* main's first */

		size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_"), i = 0;

		if (len == 0 || len >= sizeof(call[0].name) || line[len] != '(')
			continue;
		line[len] = '\0';
		while (i < calls && strcmp(call[i].name, line) != 0)
			i++;
		if (left_out(line) || i == NAMES)
			continue;
		if (i == calls)
			strcpy(call[calls++].name, line);
		call[i].count += begun;
		call[i].before += !begun;
	}
	fclose(f);
}

START_TEST(what_was_acknowledged_outlives_every_failing_call)
{
	const char *tests = getenv("DCSIGN_TESTS");
	bool is_long = tests && strcmp(tests, "long") == 0;
	unsigned all = 0, step, n = 0, done = 0;
	char options[128];

	life("");
	calls_count();
	ck_assert_uint_gt(calls, 15);
	for (size_t i = 0; i < calls; i++)
		all += call[i].count * (unsigned)FAULTS;
	step = is_long ? 1 : all / SAMPLE + 1;
	step += !is_long && step % FAULTS == 0; /* or it would always be the same fault */
	for (size_t i = 0; i < calls; i++) {
		for (unsigned k = 0; k < call[i].count * FAULTS; k++, n++) {
			if (n % step)
				continue;
			snprintf(options, sizeof(options), "-e inject=%.31s:%s:when=%u",
				call[i].name, faults[k % FAULTS],
				call[i].before + k / (unsigned)FAULTS + 1);
			unlink(trace);
			life(options);
			done++;
		}
	}
	unlink(trace);
	printf("syscalls: %zu kinds, %u faults possible, %u made\n", calls, all, done);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("syscalls");
	TCase *c = tcase_create("syscalls");

	if (access("/usr/bin/strace", X_OK) != 0)
		return 77;
	tcase_set_timeout(c, 3000);
	tcase_add_test(c, what_was_acknowledged_outlives_every_failing_call);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
