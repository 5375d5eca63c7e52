/* The body of a request to the service, from what the command line says. */
#ifndef DCSIGN_CLIENT_REQUEST_H
#define DCSIGN_CLIENT_REQUEST_H

#include "formats.h"
#include "issued.h"
#include "service.h"

struct request {
	/* the options as they were given; NULL where not */
	const char *key, *new_key, *csr, *public_key, *lifetime, *not_after, *not_before, *role;
	const char *algorithm, *reference, *idempotency, *format, *output;
	bool dry_run, json;
	struct service service;
	/* what they mean */
	enum dc_format form;
	int64_t seconds; /* of lifetime */
	struct asked asked;
	EVP_PKEY *made;	    /* with new_key: the pair */
	struct buf csr_pem; /* what is sent: one of these two */
	struct buf spki;
};

/* The DC key: made, or read from the CSR or the public key file; fills csr_pem, spki and
 * asked.spki. ERR_* with *why. */
enum err request_key(struct request *r, struct refusal *why);
/* The JSON body; the caller frees it. NULL: out of memory. */
char *request_body(const struct request *r);
void request_free(struct request *r);

#endif
