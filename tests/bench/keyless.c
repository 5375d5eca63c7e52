#define _GNU_SOURCE 1
/*
 * Signs what it is sent with a key in a token: a keyless server's other half, for the bench. It
 * signs anything, which is what dcsign exists to avoid.
 *
 *   keyless MODULE URI PIN-FILE SOCKET [MILLISECONDS]
 *
 * A connection to the unix socket sends digests of 32 octets and gets P1363 signatures of 64; each
 * has a thread and a session of its own. MILLISECONDS: how far away it is, there and back; each
 * answer waits that long. Prints `ready`, and after SIGTERM a line of JSON: signatures, and
 * processor time in microseconds.
 */
#include "token.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

struct signer {
	struct token token;
	long away_ms;
	int listener;
	_Atomic uint64_t signatures;
};

struct connection {
	struct signer *signer;
	int fd;
};

static void die(const char *what)
{
	fprintf(stderr, "keyless: %s\n", what);
	exit(1);
}

static void *serve(void *closure)
{
	struct connection *c = closure;
	struct signer *s = c->signer;
	struct timespec away = {s->away_ms / 1000, s->away_ms % 1000 * 1000000};
	CK_SESSION_HANDLE session = token_session(&s->token);
	CK_OBJECT_HANDLE key = token_key(&s->token, session);
	uint8_t digest[32], signature[132];

	while (recv(c->fd, digest, sizeof(digest), MSG_WAITALL) == sizeof(digest)) {
		if (token_sign(&s->token, session, key, digest, signature) != 64)
			die("the key must be of P-256");
		s->signatures++;
		if (s->away_ms > 0)
			nanosleep(&away, NULL);
		if (send(c->fd, signature, 64, MSG_NOSIGNAL) != 64)
			break;
	}
	s->token.p11->C_CloseSession(session);
	close(c->fd);
	free(c);
	return NULL;
}

static void *accept_all(void *closure)
{
	struct signer *s = closure;
	pthread_t thread;

	for (;;) {
		struct connection *c = malloc(sizeof(*c));

		if (!c)
			die("memory");
		c->signer = s;
		c->fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
		if (c->fd < 0 || pthread_create(&thread, NULL, serve, c) != 0)
			die("accept");
		pthread_detach(thread);
	}
	return NULL;
}

static int listen_on(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(name) >= sizeof(a.sun_path))
		die("the socket's name is too long");
	memcpy(a.sun_path, name, strlen(name));
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 256) != 0)
		die("the socket can't be made");
	return fd;
}

static double processor_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
	static struct signer s;
	pthread_t acceptor;
	sigset_t end;
	int number;

	if (argc != 5 && argc != 6) {
		fputs("usage: keyless MODULE URI PIN-FILE SOCKET [MILLISECONDS]\n", stderr);
		return 2;
	}
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	s.away_ms = argc == 6 ? strtol(argv[5], NULL, 10) : 0;
	token_pin(s.token.pin, argv[3]);
	token_open(&s.token, argv[1], argv[2]);
	token_key(&s.token, token_session(&s.token));
	s.listener = listen_on(argv[4]);
	if (pthread_create(&acceptor, NULL, accept_all, &s) != 0)
		die("pthread_create");
	puts("ready");
	fflush(stdout);
	sigwait(&end, &number);
	printf("{\"signatures\":%llu,\"cpu_us\":%.0f}\n", (unsigned long long)s.signatures,
		processor_us());
	fflush(stdout);
	_exit(0);
}
