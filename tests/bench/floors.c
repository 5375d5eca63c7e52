#define _GNU_SOURCE 1
/*
 * What the parts of an issuance cost alone, the floors of the bench:
 *   floors sign MODULE URI PIN-FILE SECONDS [PROCESSES]
 *       C_SignInit and C_Sign on one key, in that many processes (1) of one thread each
 *   floors verify SECONDS     a P-256 signature by libcrypto
 *   floors sync FOLDER SECONDS  append 4 KiB and fdatasync
 * Prints operations per second.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 64

static void die(const char *what)
{
	fprintf(stderr, "floors: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- sign ---- */

static CK_SESSION_HANDLE session_open(CK_FUNCTION_LIST *p11, P11KitUri *uri, char *pin)
{
	CK_SLOT_ID slots[SLOTS];
	CK_ULONG count = SLOTS;
	CK_SESSION_HANDLE session;

	if (p11->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
		die("C_GetSlotList");
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;

		if (p11->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
			!p11_kit_uri_match_token_info(uri, &info))
			continue;
		if (p11->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &session) !=
				CKR_OK ||
			p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)) != CKR_OK)
			die("C_OpenSession or C_Login");
		return session;
	}
	die("no token of this URI");
	return 0;
}

static CK_OBJECT_HANDLE key_find(CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, P11KitUri *uri)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE want[8] = {{CKA_CLASS, &class, sizeof(class)}};
	CK_ULONG wanted = 1, found = 0;
	CK_OBJECT_HANDLE key;
	CK_ATTRIBUTE_TYPE named[] = {CKA_LABEL, CKA_ID};

	for (size_t i = 0; i < 2; i++) {
		CK_ATTRIBUTE *a = p11_kit_uri_get_attribute(uri, named[i]);

		if (a)
			want[wanted++] = *a;
	}
	if (p11->C_FindObjectsInit(session, want, wanted) != CKR_OK ||
		p11->C_FindObjects(session, &key, 1, &found) != CKR_OK || found != 1)
		die("no key of this URI");
	p11->C_FindObjectsFinal(session);
	return key;
}

static uint64_t sign_loop(
	CK_FUNCTION_LIST *p11, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, double seconds)
{
	CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
	uint8_t digest[32] = {1}, signature[132];
	uint64_t count = 0;

	for (double end = now() + seconds; now() < end; count++) {
		CK_ULONG len = sizeof(signature);

		memcpy(digest, &count, sizeof(count));
		if (p11->C_SignInit(session, &mechanism, key) != CKR_OK ||
			p11->C_Sign(session, digest, sizeof(digest), signature, &len) != CKR_OK)
			die("C_Sign (the key must be an EC key)");
	}
	return count;
}

/* ready, go: a process says that it has logged in, and waits until all have. */
static double sign_rate(
	const char *module, const char *text, char *pin, double seconds, int ready, int go)
{
	char c = 0;

	CK_FUNCTION_LIST *p11 = p11_kit_module_load(module, 0);
	P11KitUri *uri = p11_kit_uri_new();
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	double begun;

	if (!p11 || p11_kit_module_initialize(p11) != CKR_OK)
		die("the module can't be loaded");
	if (p11_kit_uri_parse(text, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, uri) != P11_KIT_URI_OK)
		die("the URI can't be parsed");
	session = session_open(p11, uri, pin);
	key = key_find(p11, session, uri);
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 0)
		die("pipe");
	sign_loop(p11, session, key, seconds / 10);
	begun = now();

	double rate = (double)sign_loop(p11, session, key, seconds) / (now() - begun);

	p11_kit_uri_free(uri);
	p11_kit_module_finalize(p11);
	p11_kit_module_release(p11);
	return rate;
}

static double sign(char **arg, int processes)
{
	char pin[256] = "";
	FILE *f = fopen(arg[2], "re");
	double sum = 0, rate;
	int out[2], ready[2], go[2];
	char c;

	if (!f || !fgets(pin, sizeof(pin), f))
		die("the PIN file can't be read");
	fclose(f);
	pin[strcspn(pin, "\r\n")] = '\0';
	if (pipe2(out, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0)
		die("pipe");
	/* The module is loaded after fork, which PKCS#11 libraries don't survive; one after the
	 * other, since SoftHSM writes its token at each login. */
	for (int i = 0; i < processes; i++) {
		pid_t pid = pipe2(ready, O_CLOEXEC) == 0 ? fork() : -1;

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			close(go[1]);
			close(ready[0]);
			rate = sign_rate(
				arg[0], arg[1], pin, strtod(arg[3], NULL), ready[1], go[0]);
			_exit(write(out[1], &rate, sizeof(rate)) == sizeof(rate) ? 0 : 1);
		}
		close(ready[1]);
		if (read(ready[0], &c, 1) != 1)
			die("a process ended early");
		close(ready[0]);
	}
	close(go[1]);
	close(out[1]);
	for (int i = 0; i < processes; i++) {
		if (read(out[0], &rate, sizeof(rate)) != sizeof(rate))
			die("a process ended early");
		sum += rate;
	}
	while (wait(NULL) > 0)
		;
	return sum;
}

/* ---- verify ---- */

static double verify(double seconds)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	EVP_PKEY_CTX *ctx = key ? EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL) : NULL;
	uint8_t digest[32] = {1}, signature[80];
	size_t len = sizeof(signature);
	uint64_t count = 0;
	double begun, end;

	if (!ctx || EVP_PKEY_sign_init(ctx) != 1 ||
		EVP_PKEY_sign(ctx, signature, &len, digest, sizeof(digest)) != 1 ||
		EVP_PKEY_verify_init(ctx) != 1)
		die("libcrypto");
	for (begun = now(), end = begun + seconds; now() < end; count++) {
		if (EVP_PKEY_verify(ctx, signature, len, digest, sizeof(digest)) != 1)
			die("libcrypto does not verify its own signature");
	}

	double rate = (double)count / (now() - begun);

	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(key);
	return rate;
}

/* ---- sync ---- */

static double sync_rate(const char *folder, double seconds)
{
	static const char page[4096] = {1};
	char name[4096];
	uint64_t count = 0;
	double begun, end;
	int fd;

	snprintf(name, sizeof(name), "%s/sync", folder);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		die("the folder can't be written");
	for (begun = now(), end = begun + seconds; now() < end; count++) {
		if (write(fd, page, sizeof(page)) != sizeof(page) || fdatasync(fd) != 0)
			die("write or fdatasync");
	}

	double rate = (double)count / (now() - begun);

	close(fd);
	unlink(name);
	return rate;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	double rate;

	if (strcmp(what, "sign") == 0 && (argc == 6 || argc == 7))
		rate = sign(argv + 2, argc == 7 ? atoi(argv[6]) : 1);
	else if (strcmp(what, "verify") == 0 && argc == 3)
		rate = verify(strtod(argv[2], NULL));
	else if (strcmp(what, "sync") == 0 && argc == 4)
		rate = sync_rate(argv[2], strtod(argv[3], NULL));
	else {
		fputs("usage: floors sign MODULE URI PIN-FILE SECONDS [PROCESSES]\n"
		      "       floors verify SECONDS | floors sync FOLDER SECONDS\n",
			stderr);
		return 2;
	}
	printf("%.1f\n", rate);
	return 0;
}
