/*
 * Who is at the other end: what a TLS client certificate says, and the client of the configuration
 * that it belongs to. Over GnuTLS.
 */
#ifndef DCSIGN_PEER_H
#define DCSIGN_PEER_H

#include <gnutls/x509.h>

#include "config.h"
#include "message.h"

#define PEER_NAMES 64 /* names in one certificate; more are refused */

/* SHA-256 through GnuTLS. Aborts when GnuTLS has none. */
void peer_sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE]);

/* Facts of any certificate. */
struct x509 {
	uint8_t sha256[SHA256_SIZE];	  /* of the DER */
	uint8_t spki_sha256[SHA256_SIZE]; /* of the SubjectPublicKeyInfo */
	char serial[48];		  /* lowercase hex without leading zero octets */
	char subject[256];		  /* RFC 4514, cut at its size */
	int64_t not_before, not_after;
};
/* ERR_CERT_MALFORMED: a serial over 20 octets, no validity. */
enum err x509_read(struct x509 *x, gnutls_x509_crt_t certificate);

struct peer_name {
	enum match_kind kind; /* MATCH_URI, MATCH_DNS or MATCH_CN */
	char *value;	      /* owned */
};

struct peer {
	bool has_certificate; /* else a process on this machine, known by uid */
	struct x509 x509;
	uint32_t uid;
	char address[PEER_SIZE]; /* "192.0.2.1:4711", "[2001:db8::1]:4711", "unix"; set by https */
	size_t name_count;
	struct peer_name name[PEER_NAMES];
};

/*
 * URIs and DNS names of the subjectAltName, and the subject's CN when there is exactly one. A name
 * that holds a NUL or is not UTF-8, or too many names: ERR_CERT_MALFORMED. Free with peer_free;
 * address is left alone.
 */
enum err peer_read(struct peer *peer, gnutls_x509_crt_t certificate);
void peer_free(struct peer *peer);

/* The match sections of a configuration, which it borrows, in an order in which they are found. */
struct peer_index;
enum err peer_index_make(struct peer_index **out, const struct config *config); /* ERR_NOMEM */
void peer_index_free(struct peer_index *index); /* NULL is allowed */
/*
 * The one client whose match sections fit, names compared octet by octet. NULL when there is none,
 * and when several fit (*ambiguous): a certificate that could be two clients is nobody.
 */
const struct config_client *peer_client(
	const struct peer_index *index, const struct peer *peer, bool *ambiguous);

#endif
