/* What the tests of hsm share: certificates, a configuration, and fresh SoftHSM tokens. */
#ifndef DCSIGN_HSM_FIXTURE_H
#define DCSIGN_HSM_FIXTURE_H

#include <openssl/types.h>

#include "config.h"
#include "message.h"

/* A delegation certificate for this public key as PEM, signed by a CA that is made on the way and
 * follows it in the text. Appends to pem. */
struct fixture_certificate {
	int64_t not_before, not_after;
	bool no_delegation; /* leave DelegationUsage out */
	const char *eku;    /* "serverAuth"; NULL: none */
};
void fixture_certify(struct buf *pem, EVP_PKEY *key, const struct fixture_certificate *what);

struct fixture_key {
	const char *name, *uri;
	const struct buf *pem[2]; /* certificates, NULL ends */
	const char *accept;	  /* one attribute, or NULL */
};
/* A snapshot with the token "main", these keys, policy default and the clients
 * edge (issues with all keys), reader (no right to issue), other (issues, with no key).
 * The bundle's octets are appended to *bundle when it is not NULL. */
struct config *fixture_config(const struct fixture_key *keys, size_t count, const char *state,
	const char *module, const char *token_uri, struct buf *bundle);

/* An ISSUE of edge for a fresh P-256 DC key without proof; `spki` keeps its octets. */
void fixture_issue(struct msg_issue *ask, const char *key, struct buf *spki, uint16_t count);
/* A PKCS#10 request of a fresh P-256 key. Appends. */
void fixture_csr(struct buf *der);

/* A temporary folder with a SoftHSM token "test" (PIN in FOLDER/pin); SOFTHSM2_CONF is set.
 * False: SoftHSM is not installed. */
struct fixture_token {
	char folder[128];
	char serial[17];
};
#define FIXTURE_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define FIXTURE_SPY    "/usr/lib/x86_64-linux-gnu/pkcs11-spy.so"
#define FIXTURE_PIN    "24681357"
bool fixture_token(struct fixture_token *t);
/* Makes a key of this type by dcsign-keys and its certificate (appended). */
void fixture_token_key(const struct fixture_token *t, const char *label, const char *type,
	const struct fixture_certificate *what, struct buf *pem);
/* From here on no login can write into the token. */
void fixture_token_read_only(const struct fixture_token *t);
void fixture_token_end(struct fixture_token *t);

/* Runs a shell command, fails the test when it fails. */
void fixture_run(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A whole file. Appends; false when it can't be read. */
bool fixture_file(const char *path, struct buf *out);

#endif
