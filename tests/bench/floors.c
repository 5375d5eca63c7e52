#define _GNU_SOURCE 1
/*
 * What the parts of an issuance cost alone, the floors of the bench:
 *   floors sign MODULE URI PIN-FILE SECONDS [PROCESSES]
 *       C_SignInit and C_Sign on one key, in that many processes (1) of one thread each
 *   floors verify SECONDS     a P-256 signature by libcrypto
 *   floors sync FOLDER SECONDS  append 4 KiB and fdatasync
 * Prints operations per second.
 */
#include "token.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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

static uint64_t sign_loop(
	struct token *t, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, double seconds)
{
	uint8_t digest[32] = {1}, signature[132];
	uint64_t count = 0;

	for (double end = now() + seconds; now() < end; count++) {
		memcpy(digest, &count, sizeof(count));
		token_sign(t, session, key, digest, signature);
	}
	return count;
}

/* ready, go: a process says that it has logged in, and waits until all have. */
static double sign_rate(
	struct token *t, const char *module, const char *uri, double seconds, int ready, int go)
{
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE key;
	double begun, rate;
	char c = 0;

	token_open(t, module, uri);
	session = token_session(t);
	key = token_key(t, session);
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 0)
		die("pipe");
	sign_loop(t, session, key, seconds / 10);
	begun = now();
	rate = (double)sign_loop(t, session, key, seconds) / (now() - begun);
	token_close(t);
	return rate;
}

static double sign(char **arg, int processes)
{
	struct token token = {.pin = ""};
	double sum = 0, rate;
	int out[2], ready[2], go[2];
	char c;

	token_pin(token.pin, arg[2]);
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
				&token, arg[0], arg[1], strtod(arg[3], NULL), ready[1], go[0]);
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
