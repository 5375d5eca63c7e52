/* Makes certificates and delegated credentials, right and wrong ones, for tests. The octets are put
 * together by hand: nothing of dc.c is used. Every failure ends the test. */
#ifndef DCSIGN_TESTS_DC_MAKER_H
#define DCSIGN_TESTS_DC_MAKER_H

#include <openssl/types.h>

#include "certificate.h"

#define MAKER_NB 1700000000
#define MAKER_NA (MAKER_NB + 90 * 86400)

struct cert_wish {
	const char *type;	/* "P-256", "P-384", "P-521", "ED25519", "RSA" */
	const char *delegation; /* value of DelegationUsage in hex; NULL: no such extension */
	const char *key_usage;	/* as openssl.cnf writes it; NULL: none */
	const char *purpose;	/* extended key usage; NULL: none */
	int64_t not_before, not_after;
};
/* P-256, delegation 0500, digitalSignature, serverAuth and clientAuth, MAKER_NB to MAKER_NA. */
extern const struct cert_wish good_certificate;

struct made_certificate {
	EVP_PKEY *key;
	struct certificate certificate;
};
void make_certificate(struct made_certificate *out, const struct cert_wish *wish);
void made_certificate_free(struct made_certificate *in);

struct dc_wish {
	uint32_t valid_time;
	uint16_t scheme;    /* dc_cert_verify_algorithm */
	const char *type;   /* of the DC key, as in cert_wish or "RSA-PSS"; NULL: use spki */
	struct buf *spki;   /* octets as they are */
	uint16_t algorithm; /* what stands there */
	enum dc_role role;
};
/* One day from MAKER_NB, P-256 key, 0403, 0403, server. */
extern const struct dc_wish good_dc;

EVP_PKEY *make_key(const char *type);
/* Appends the DelegatedCredential. The signature is made with the scheme that fits by's key, over
 * what the wish says. */
void make_dc(struct buf *out, const struct made_certificate *by, const struct dc_wish *wish);

#endif
