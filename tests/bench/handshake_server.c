/*
 * A TLS 1.3 server on BoringSSL that does nothing but full handshakes, for `make bench-handshake`:
 *
 *   handshake_server --chain FILE --key FILE               the certificate's key lies here
 *   handshake_server --chain FILE --dc FILE --dc-key FILE  a delegated credential; no certificate
 * key handshake_server --chain FILE --keyless SOCKET         tests/bench/keyless signs for each
 * handshake
 *
 * Prints `port N` once it listens and, after SIGTERM, a line of JSON: handshakes, those of them
 * with a delegated credential, failures, and processor time in microseconds. THREADS connections at
 * once.
 */
#include "settings.h"

#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/bn.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/mem.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>

#define THREADS	  64
#define CHAIN_MAX 8
#define FILE_MAX  65536

static struct {
	SSL_CTX *ctx;
	CRYPTO_BUFFER *dc;
	EVP_PKEY *dc_key;
	const char *keyless; /* NULL: nobody is asked */
	int listener;
	_Atomic unsigned long handshakes, delegated, failed;
} server;

/* The connection of this thread to the one who signs. */
static _Thread_local int signer = -1;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "handshake_server: %s: %s\n", what, name);
	ERR_print_errors_fp(stderr);
	exit(1);
}

/* ---- who signs ---- */

static int signer_connect(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof a.sun_path, "%s", server.keyless);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
		die("can't be reached", server.keyless);
	return fd;
}

static enum ssl_private_key_result_t keyless_sign(SSL *ssl, uint8_t *out, size_t *out_len,
	size_t max_out, uint16_t algorithm, const uint8_t *in, size_t in_len)
{
	uint8_t digest[SHA256_DIGEST_LENGTH], raw[64], *der = NULL;
	ECDSA_SIG *sig = ECDSA_SIG_new();
	bool good;

	(void)ssl;
	SHA256(in, in_len, digest);
	good = server.keyless && algorithm == SSL_SIGN_ECDSA_SECP256R1_SHA256 &&
	       send(signer, digest, sizeof digest, MSG_NOSIGNAL) == sizeof digest &&
	       recv(signer, raw, sizeof raw, MSG_WAITALL) == sizeof raw &&
	       ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)) &&
	       ECDSA_SIG_to_bytes(&der, out_len, sig) && *out_len <= max_out;
	if (good)
		memcpy(out, der, *out_len);
	OPENSSL_free(der);
	ECDSA_SIG_free(sig);
	return good ? ssl_private_key_success : ssl_private_key_failure;
}

static enum ssl_private_key_result_t no_decrypt(
	SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out, const uint8_t *in, size_t in_len)
{
	(void)ssl, (void)out, (void)out_len, (void)max_out, (void)in, (void)in_len;
	return ssl_private_key_failure;
}

static enum ssl_private_key_result_t no_complete(
	SSL *ssl, uint8_t *out, size_t *out_len, size_t max_out)
{
	(void)ssl, (void)out, (void)out_len, (void)max_out;
	return ssl_private_key_failure;
}

static const SSL_PRIVATE_KEY_METHOD keyless = {keyless_sign, no_decrypt, no_complete};

/* ---- files ---- */

static CRYPTO_BUFFER *read_octets(const char *file)
{
	static uint8_t octets[FILE_MAX];
	FILE *f = fopen(file, "rb");
	size_t len;

	if (!f)
		die("can't read", file);
	len = fread(octets, 1, sizeof octets, f);
	fclose(f);
	return CRYPTO_BUFFER_new(octets, len, NULL);
}

static EVP_PKEY *read_key(const char *file)
{
	BIO *bio = BIO_new_file(file, "rb");
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	if (!key)
		die("no private key in", file);
	return key;
}

static size_t read_chain(const char *file, CRYPTO_BUFFER *chain[CHAIN_MAX])
{
	BIO *bio = BIO_new_file(file, "rb");
	char *name, *header;
	uint8_t *der;
	long len;
	size_t count = 0;

	while (bio && count < CHAIN_MAX && PEM_read_bio(bio, &name, &header, &der, &len)) {
		chain[count++] = CRYPTO_BUFFER_new(der, (size_t)len, NULL);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_free(der);
	}
	ERR_clear_error();
	BIO_free(bio);
	if (count == 0)
		die("no certificate in", file);
	return count;
}

static void context_make(const char *chain_file, const char *key_file)
{
	CRYPTO_BUFFER *chain[CHAIN_MAX];
	size_t count = read_chain(chain_file, chain);
	EVP_PKEY *key = key_file ? read_key(key_file) : NULL;

	server.ctx = SSL_CTX_new(TLS_method());
	if (!server.ctx || !SSL_CTX_set_min_proto_version(server.ctx, TLS1_3_VERSION) ||
		!SSL_CTX_set_chain_and_key(server.ctx, chain, count, key, key ? NULL : &keyless))
		die("the chain or its key is refused", chain_file);
	/* full handshakes alone */
	SSL_CTX_set_options(server.ctx, SSL_OP_NO_TICKET);
	SSL_CTX_set_session_cache_mode(server.ctx, SSL_SESS_CACHE_OFF);
	EVP_PKEY_free(key);
	for (size_t i = 0; i < count; i++)
		CRYPTO_BUFFER_free(chain[i]);
}

/* ---- handshakes ---- */

static void serve(int fd)
{
	const struct timeval patience = {.tv_sec = 10};
	SSL *ssl = SSL_new(server.ctx);
	int one = 1;

	ERR_clear_error();
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (ssl && SSL_set_fd(ssl, fd) &&
		(!server.dc ||
			SSL_set1_delegated_credential(ssl, server.dc, server.dc_key, NULL)) &&
		SSL_accept(ssl) == 1) {
		server.handshakes++;
		server.delegated += (unsigned long)SSL_delegated_credential_used(ssl);
	} else {
		server.failed++;
	}
	SSL_free(ssl);
	close(fd);
}

static void *serve_all(void *closure)
{
	(void)closure;
	if (server.keyless)
		signer = signer_connect();
	for (;;) {
		int fd = accept(server.listener, NULL, NULL);

		if (fd >= 0)
			serve(fd);
	}
	return NULL;
}

static int listen_on(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 256) != 0 ||
		getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("can't listen", "127.0.0.1");
	printf("port %u\n", (unsigned)ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

static void say(void)
{
	struct rusage u;
	double us;

	getrusage(RUSAGE_SELF, &u);
	us = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	     (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
	printf("{\"handshakes\":%lu,\"delegated\":%lu,\"failed\":%lu,\"cpu_us\":%.0f}\n",
		server.handshakes, server.delegated, server.failed, us);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"chain", 1, NULL, 'c'}, {"key", 1, NULL, 'k'},
		{"dc", 1, NULL, 'd'}, {"dc-key", 1, NULL, 'e'}, {"keyless", 1, NULL, 's'},
		{NULL, 0, NULL, 0}};
	const char *file[128] = {NULL};
	pthread_t thread;
	sigset_t end;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1 && o != '?')
		file[o] = optarg;
	if (o == '?' || optind != argc || !file['c'] || !file['d'] != !file['e'] ||
		!!file['k'] + !!file['d'] + !!file['s'] != 1) {
		fputs("usage: handshake_server --chain FILE (--key FILE | --dc FILE --dc-key FILE "
		      "| "
		      "--keyless SOCKET)\n",
			stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&end);
	sigaddset(&end, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &end, NULL);
	context_make(file['c'], file['k']);
	if (file['d']) {
		server.dc = read_octets(file['d']);
		server.dc_key = read_key(file['e']);
	}
	server.keyless = file['s'];
	server.listener = listen_on();
	for (int i = 0; i < THREADS; i++)
		if (pthread_create(&thread, NULL, serve_all, NULL) != 0)
			die("no thread", "pthread_create");
	sigwait(&end, &o);
	say();
	_exit(0);
}
