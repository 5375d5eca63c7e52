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
	struct certificate_outline outline[CERT_CHAIN_MAX];
	size_t count, outlines;
	enum err e;

	if (certificate_read(&c, octets, len) == ERR_OK) {
		insist(c.len == len && memcmp(c.der, octets, len) == 0);
		judge(&c);
		certificate_free(&c);
	}
	e = certificate_outline_pem(outline, CERT_CHAIN_MAX, &outlines, octets, len);
	if (certificate_read_pem(chain, CERT_CHAIN_MAX, &count, octets, len) == ERR_OK) {
		insist(count > 0 && count <= CERT_CHAIN_MAX);
		certificate_chain_verify(chain, count, octets, len, chain[0].not_before, NULL);
		insist(e == ERR_OK && outlines == count);
		for (size_t i = 0; i < count; i++) {
			insist(outline[i].len == chain[i].len &&
				memcmp(outline[i].der, chain[i].der, chain[i].len) == 0);
			insist(memcmp(outline[i].sha256, chain[i].sha256, SHA256_SIZE) == 0);
			insist(memcmp(outline[i].spki_sha256, chain[i].spki_sha256, SHA256_SIZE) ==
				0);
			judge(&chain[i]);
			certificate_free(&chain[i]);
		}
	}
	certificate_outline_free(outline, outlines);
	return 0;
}
