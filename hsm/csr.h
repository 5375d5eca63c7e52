/* A PKCS#10 request for a delegation certificate (RFC 2986, RFC 9345 section 4.2). */
#ifndef DCSIGN_CSR_H
#define DCSIGN_CSR_H

#include "token.h"
#include <openssl/types.h>

struct csr_wish {
	const char *subject;	/* CN=www.example.com,O=Example; backslash escapes , and = */
	const char *const *dns; /* subjectAltName */
	size_t dns_count;
};

/*
 * Asks for DelegationUsage (not critical, NULL) and digitalSignature (critical), signs with the
 * token's key, verifies with `public_key`, and appends PEM to *out.
 */
enum err csr_make(struct buf *out, const struct csr_wish *wish, struct token *t,
	const struct token_key *key, EVP_PKEY *public_key, struct refusal *why);

#endif
