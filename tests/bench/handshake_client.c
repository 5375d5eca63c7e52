#define _GNU_SOURCE 1
/*
 * Full TLS 1.3 handshakes with NSS, which takes delegated credentials as Firefox does: for
 * `make bench-handshake`. Each client is a process: it connects, verifies the chain, the delegated
 * credential if there is one and the handshake's signature, and closes.
 *
 *   handshake_client --port N --ca FILE(DER) --seconds S [--clients N] [--count N] [--delegated]
 *
 * --count: at most that many handshakes of each client. --delegated: each must use a delegated
 * credential, else none may. Prints a line of JSON; times from connect() to the end of the client's
 * handshake.
 */
#include "latency.h"

#include <cert.h>
#include <certdb.h>
#include <fcntl.h>
#include <getopt.h>
#include <nspr.h>
#include <nss.h>
#include <signal.h>
#include <ssl.h>
#include <sslproto.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 256

struct client {
	struct latency latency;
	double cpu_us, seconds;
	bool good;
};

static struct {
	PRNetAddr server;
	const char *ca;
	double seconds;
	uint64_t most;
	bool delegated;
	PRFileDesc *model;
} bench;

static void die(const char *what)
{
	const char *name = PR_ErrorToName(PR_GetError());

	fprintf(stderr, "handshake_client: %s: %s\n", what, name ? name : "");
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double processor_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void trust(const char *file)
{
	static unsigned char der[65536];
	CERTCertTrust anchor = {CERTDB_TRUSTED_CA | CERTDB_VALID_CA, 0, 0};
	SECItem item = {siBuffer, der, 0};
	CERTCertificate *ca;
	FILE *f = fopen(file, "re");

	if (!f)
		die(file);
	item.len = (unsigned)fread(der, 1, sizeof(der), f);
	fclose(f);
	ca = CERT_NewTempCertificate(CERT_GetDefaultCertDB(), &item, NULL, PR_FALSE, PR_TRUE);
	if (!ca || CERT_ChangeCertTrust(CERT_GetDefaultCertDB(), ca, &anchor) != SECSuccess)
		die(file);
}

static void model_make(void)
{
	const SSLVersionRange tls13 = {SSL_LIBRARY_VERSION_TLS_1_3, SSL_LIBRARY_VERSION_TLS_1_3};
	PRFileDesc *tcp = PR_NewTCPSocket();

	bench.model = tcp ? SSL_ImportFD(NULL, tcp) : NULL;
	if (!bench.model || SSL_OptionSet(bench.model, SSL_SECURITY, PR_TRUE) != SECSuccess ||
		SSL_OptionSet(bench.model, SSL_NO_CACHE, PR_TRUE) != SECSuccess ||
		SSL_OptionSet(bench.model, SSL_ENABLE_DELEGATED_CREDENTIALS, PR_TRUE) !=
			SECSuccess ||
		SSL_VersionRangeSet(bench.model, &tls13) != SECSuccess)
		die("no TLS 1.3");
}

static void handshake(void)
{
	PRSocketOptionData nodelay = {.option = PR_SockOpt_NoDelay, .value.no_delay = PR_TRUE};
	PRFileDesc *tcp = PR_NewTCPSocket(), *fd = tcp ? SSL_ImportFD(bench.model, tcp) : NULL;
	SSLChannelInfo info;

	if (!fd || PR_SetSocketOption(fd, &nodelay) != PR_SUCCESS ||
		SSL_ResetHandshake(fd, PR_FALSE) != SECSuccess ||
		SSL_SetURL(fd, "localhost") != SECSuccess ||
		PR_Connect(fd, &bench.server, PR_INTERVAL_NO_TIMEOUT) != PR_SUCCESS ||
		SSL_ForceHandshakeWithTimeout(fd, PR_SecondsToInterval(30)) != SECSuccess)
		die("handshake");
	if (SSL_GetChannelInfo(fd, &info, sizeof(info)) != SECSuccess ||
		info.peerDelegCred != bench.delegated || info.resumed)
		die("not the handshake that was meant");
	PR_Close(fd);
}

/* ready, go: says that it has warmed up, and waits until all have. */
static void client_run(struct client *c, int ready, int go)
{
	uint64_t begun, before, now;
	char byte = 0;

	if (NSS_NoDB_Init(NULL) != SECSuccess || NSS_SetDomesticPolicy() != SECSuccess)
		die("no start of NSS");
	trust(bench.ca);
	model_make();
	for (int i = 0; i < 3; i++)
		handshake();
	if (write(ready, &byte, 1) != 1 || read(go, &byte, 1) != 0)
		die("pipe");
	c->cpu_us = processor_us();
	begun = now = clock_ns();
	while ((double)(now - begun) < bench.seconds * 1e9 &&
		(bench.most == 0 || c->latency.count < bench.most)) {
		before = clock_ns();
		handshake();
		now = clock_ns();
		latency_add(&c->latency, now - before);
	}
	c->seconds = (double)(now - begun) / 1e9;
	c->cpu_us = processor_us() - c->cpu_us;
	c->good = true;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static void print(const struct client *client, unsigned clients)
{
	static struct latency all;
	double cpu_us = 0, rate = 0;

	for (unsigned i = 0; i < clients; i++) {
		const struct latency *l = &client[i].latency;

		all.count += l->count;
		all.sum_ns += l->sum_ns;
		all.max_ns = l->max_ns > all.max_ns ? l->max_ns : all.max_ns;
		for (unsigned b = 0; b < LATENCY_BUCKETS; b++)
			all.bucket[b] += l->bucket[b];
		cpu_us += client[i].cpu_us;
		rate += (double)l->count / client[i].seconds;
	}
	printf("{\"handshakes\":%llu,\"rate\":%.2f,\"p50_ms\":%.4f,\"p99_ms\":%.4f,\"max_ms\":%.4f,"
	       "\"cpu_us\":%.2f}\n",
		(unsigned long long)all.count, rate, ms(latency_quantile(&all, 0.5)),
		ms(latency_quantile(&all, 0.99)), ms(all.max_ns), cpu_us / (double)all.count);
}

/* The processes; NSS is begun in each, since it does not survive a fork. */
static bool clients_run(struct client *client, unsigned clients)
{
	int ready[2], go[2], status;
	bool good = true;
	char byte;

	if (pipe2(ready, O_CLOEXEC) != 0 || pipe2(go, O_CLOEXEC) != 0)
		die("pipe");
	for (unsigned i = 0; i < clients; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (pid == 0) {
			close(go[1]);
			close(ready[0]);
			client_run(&client[i], ready[1], go[0]);
			_exit(0);
		}
	}
	close(ready[1]);
	for (unsigned i = 0; i < clients && good; i++)
		good = read(ready[0], &byte, 1) == 1;
	close(go[1]);
	while (wait(&status) > 0)
		good = good && status == 0;
	for (unsigned i = 0; i < clients; i++)
		good = good && client[i].good && client[i].latency.count > 0;
	return good;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"port", 1, NULL, 'p'}, {"ca", 1, NULL, 'a'},
		{"seconds", 1, NULL, 's'}, {"clients", 1, NULL, 'c'}, {"count", 1, NULL, 'n'},
		{"delegated", 0, NULL, 'd'}, {NULL, 0, NULL, 0}};
	const char *value[128] = {['c'] = "1", ['n'] = "0"};
	struct client *client;
	unsigned clients;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1 && o != '?')
		value[o] = optarg ? optarg : "";
	clients = (unsigned)strtoul(value['c'], NULL, 10);
	if (o == '?' || optind != argc || !value['p'] || !value['a'] || !value['s'] ||
		clients == 0 || clients > CLIENTS_MAX) {
		fputs("usage: handshake_client --port N --ca FILE --seconds S [--clients N] "
		      "[--count N] "
		      "[--delegated]\n",
			stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	bench.ca = value['a'];
	bench.seconds = strtod(value['s'], NULL);
	bench.most = strtoull(value['n'], NULL, 10);
	bench.delegated = value['d'] != NULL;
	PR_InitializeNetAddr(
		PR_IpAddrLoopback, (PRUint16)strtoul(value['p'], NULL, 10), &bench.server);
	client = mmap(NULL, clients * sizeof(*client), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (client == MAP_FAILED || !clients_run(client, clients))
		die("a client failed");
	print(client, clients);
	return 0;
}
