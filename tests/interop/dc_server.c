/*
 * A small TLS 1.3 server that authenticates itself with a delegated credential (RFC 9345), for
 * tests. It has the certificate chain, the delegated credential and that credential's key. It has
 * no key of the certificate: BoringSSL wants something that could sign for the certificate before
 * it offers one, and gets a method that always fails, so a client that does not ask for a
 * delegated credential gets no handshake.
 *
 * Prints `port N` once it listens, then one line per connection, until it is killed. Each
 * connection has a process of its own.
 *
 * With --set DIR it takes all three from a folder that dcsign agent keeps: at the start and at each
 * SIGHUP it opens DIR/.current once and reads the files below it, so all are of one set; what does
 * not load leaves the old ones in use. Connections that stand go on: it echoes what they send
 * and closes after what begins with "bye".
 */
#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <openssl/bytestring.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pool.h>
#include <openssl/ssl.h>

#define CHAIN_MAX 8
#define FILE_MAX  65536

struct server {
	SSL_CTX *ctx;
	CRYPTO_BUFFER *dc;
	EVP_PKEY *dc_key;
	const char *set; /* the agent's folder; NULL: none */
};

static volatile sig_atomic_t told;

static void on_hup(int number)
{
	(void)number;
	told = 1;
}

static void die(const char *what, const char *name)
{
	fprintf(stderr, "dc_server: %s: %s\n", what, name);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static enum ssl_private_key_result_t no_sign(SSL *ssl, uint8_t *out, size_t *out_len,
	size_t max_out, uint16_t algorithm, const uint8_t *in, size_t in_len)
{
	(void)ssl, (void)out, (void)out_len, (void)max_out, (void)algorithm, (void)in, (void)in_len;
	fprintf(stderr, "dc_server: the certificate's key was asked for: there is none\n");
	return ssl_private_key_failure;
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

static const SSL_PRIVATE_KEY_METHOD no_certificate_key = {no_sign, no_decrypt, no_complete};

/* The CERTIFICATE blocks, their octets as they stand in the file. */
static size_t read_chain(const char *file, CRYPTO_BUFFER *chain[CHAIN_MAX])
{
	BIO *bio = BIO_new_file(file, "rb");
	char *name, *header;
	uint8_t *der;
	long len;
	size_t count = 0;
	if (!bio)
		die("can't read", file);
	while (count < CHAIN_MAX && PEM_read_bio(bio, &name, &header, &der, &len)) {
		if (strcmp(name, PEM_STRING_X509) == 0)
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

static SSL_CTX *make_context(const char *chain_file)
{
	CRYPTO_BUFFER *chain[CHAIN_MAX];
	size_t i, count = read_chain(chain_file, chain);
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION))
		die("no TLS 1.3", "BoringSSL");
	if (!SSL_CTX_set_chain_and_key(ctx, chain, count, NULL, &no_certificate_key))
		die("the chain is refused", chain_file);
	for (i = 0; i < count; i++)
		CRYPTO_BUFFER_free(chain[i]);
	return ctx;
}

/* All or nothing: a server that is told of a new set must never mix two. */
static void load(struct server *s, const char *chain, const char *dc, const char *key)
{
	struct server fresh = {
		.ctx = make_context(chain), .dc = read_octets(dc), .dc_key = read_key(key)};
	SSL_CTX_free(s->ctx);
	CRYPTO_BUFFER_free(s->dc);
	EVP_PKEY_free(s->dc_key);
	s->ctx = fresh.ctx;
	s->dc = fresh.dc;
	s->dc_key = fresh.dc_key;
}

static void load_set(struct server *s)
{
	char folder[PATH_MAX], set[PATH_MAX], chain[PATH_MAX + 32], dc[PATH_MAX + 32],
		key[PATH_MAX + 32];

	snprintf(folder, sizeof folder, "%s/.current", s->set);
	if (!realpath(folder, set))
		die("no set in", s->set);
	snprintf(chain, sizeof chain, "%s/chain.pem", set);
	snprintf(dc, sizeof dc, "%s/credential.dc", set);
	snprintf(key, sizeof key, "%s/key.pem", set);
	load(s, chain, dc, key);
	printf("loaded %s\n", strrchr(set, '/') + 1);
	fflush(stdout);
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof a;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) ||
		bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 16) ||
		getsockname(fd, (struct sockaddr *)&a, &len))
		die("can't listen", "127.0.0.1");
	printf("port %u\n", (unsigned)ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

static const char *first_error(void)
{
	uint32_t e = ERR_peek_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;
	return text ? text : "the connection was closed";
}

/* Until the client closes or says bye. */
static int echo(SSL *ssl)
{
	char part[4096];
	int n;
	while ((n = SSL_read(ssl, part, sizeof part)) > 0)
		if (SSL_write(ssl, part, n) <= 0 || (n >= 3 && memcmp(part, "bye", 3) == 0))
			break;
	return n > 0 || SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

static void serve(const struct server *s, int fd, unsigned number)
{
	static const char reply[] = "dcsign test server: hello\n";
	const struct timeval patience = {.tv_sec = s->set ? 600 : 10};
	SSL *ssl = SSL_new(s->ctx);
	int used;

	ERR_clear_error();
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	if (!ssl || !SSL_set_fd(ssl, fd) ||
		!SSL_set1_delegated_credential(ssl, s->dc, s->dc_key, NULL)) {
		printf("connection %u: the delegated credential is refused: %s\n", number,
			first_error());
	} else if (SSL_accept(ssl) != 1) {
		printf("connection %u: handshake failed: %s\n", number, first_error());
	} else {
		used = SSL_delegated_credential_used(ssl);
		/* a client that refuses says so only after our last handshake message: so it must
		 * have answered, with a line or by closing */
		if (SSL_write(ssl, reply, sizeof reply - 1) <= 0 || (s->set && echo(ssl) != 0) ||
			SSL_shutdown(ssl) < 0 ||
			(!s->set && SSL_shutdown(ssl) < 0 && ERR_peek_error() != 0))
			printf("connection %u: refused by the client: %s\n", number, first_error());
		else
			printf("connection %u: delegated credential %s\n", number,
				used ? "used" : "NOT used");
	}
	fflush(stdout);
	SSL_free(ssl);
	close(fd);
}

static void accept_all(struct server *s, int listener)
{
	struct pollfd p = {.fd = listener, .events = POLLIN};
	sigset_t none;
	unsigned number = 0;
	int fd;

	sigemptyset(&none);
	for (;;) {
		if (told) {
			told = 0;
			load_set(s);
		}
		if (ppoll(&p, 1, NULL, &none) != 1)
			continue;
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		number++;
		if (fork() == 0) {
			close(listener);
			serve(s, fd, number);
			_exit(0);
		}
		close(fd);
	}
}

/* SIGHUP comes through only while the server waits. */
static void take_signals(void)
{
	struct sigaction hup = {.sa_handler = on_hup};
	sigset_t blocked;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	sigaction(SIGHUP, &hup, NULL);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGHUP);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

static int usage(void)
{
	fprintf(stderr, "usage: dc_server (--chain FILE --dc FILE --dc-key FILE | --set DIR) "
			"[--port N]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"chain", 1, NULL, 'c'}, {"dc", 1, NULL, 'd'},
		{"dc-key", 1, NULL, 'k'}, {"set", 1, NULL, 's'}, {"port", 1, NULL, 'p'},
		{NULL, 0, NULL, 0}};
	const char *file[128] = {NULL};
	struct server s = {0};
	long port;
	int o;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == '?')
			return usage();
		file[o] = optarg;
	}
	port = file['p'] ? strtol(file['p'], NULL, 10) : 0;
	if ((!file['c'] || !file['d'] || !file['k']) == !file['s'] || optind != argc || port < 0 ||
		port > 65535)
		return usage();
	take_signals();
	s.set = file['s'];
	if (s.set)
		load_set(&s);
	else
		load(&s, file['c'], file['d'], file['k']);
	accept_all(&s, listen_on((uint16_t)port));
}
