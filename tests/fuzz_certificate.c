/* A certificate in DER or a chain in PEM: what is read keeps its octets, and the rules answer. */
#include <stdlib.h>
#include <string.h>

#include "certificate.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void insist(bool ok)
{
	if (!ok)
		abort();
}

static void judge(const struct certificate *c)
{
	struct refusal why;
	enum err issuer = certificate_may_delegate(c, AS_ISSUER, &why);
	enum err verifier = certificate_may_delegate(c, AS_VERIFIER, &why);

	insist(issuer != ERR_OK || (verifier == ERR_OK && c->algorithm != 0 && c->key != NULL));
	insist(memchr(c->subject, '\0', sizeof c->subject) != NULL);
	insist(memchr(c->serial, '\0', sizeof c->serial) != NULL);
	certificate_allows_role(c, DC_CLIENT);
	certificate_valid_at(c, c->not_before);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct certificate c, chain[CERT_CHAIN_MAX];
	size_t count;

	if (certificate_read(&c, octets, len) == ERR_OK) {
		insist(c.len == len && memcmp(c.der, octets, len) == 0);
		judge(&c);
		certificate_free(&c);
	}
	if (certificate_read_pem(chain, CERT_CHAIN_MAX, &count, octets, len) == ERR_OK) {
		insist(count > 0 && count <= CERT_CHAIN_MAX);
		certificate_chain_verify(chain, count, octets, len, chain[0].not_before, NULL);
		for (size_t i = 0; i < count; i++) {
			judge(&chain[i]);
			certificate_free(&chain[i]);
		}
	}
	return 0;
}
