#include "certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define SEQUENCE 0x30
#define INTEGER	 0x02
#define VERSION	 0xa0

/* One DER element at *at with this tag: its contents, *at behind it. Lengths to 64 KiB. */
static bool element(const uint8_t **at, const uint8_t *end, uint8_t tag, const uint8_t **inner,
	const uint8_t **inner_end)
{
	const uint8_t *p = *at;
	size_t len, octets;

	if (end - p < 2 || p[0] != tag)
		return false;
	len = p[1];
	p += 2;
	if (len >= 0x80) {
		octets = len - 0x80;
		if (octets < 1 || octets > 2 || (size_t)(end - p) < octets)
			return false;
		for (len = 0; octets > 0; octets--)
			len = len << 8 | *p++;
	}
	if ((size_t)(end - p) < len)
		return false;
	*inner = p;
	*inner_end = *at = p + len;
	return true;
}

/* Certificate, TBSCertificate: RFC 5280 section 4.1. */
static bool find_spki(
	const uint8_t *der, size_t len, const uint8_t **spki, const uint8_t **spki_end)
{
	static const uint8_t before[] = {INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE};
	const uint8_t *at = der, *end = der + len, *inner, *inner_end;

	if (!element(&at, end, SEQUENCE, &inner, &inner_end) || at != end)
		return false;
	at = inner;
	if (!element(&at, end, SEQUENCE, &inner, &inner_end))
		return false;
	at = inner;
	end = inner_end;
	(void)element(&at, end, VERSION, &inner, &inner_end);
	for (size_t i = 0; i < sizeof before; i++)
		if (!element(&at, end, before[i], &inner, &inner_end))
			return false;
	*spki = at;
	*spki_end = at;
	return element(spki_end, end, SEQUENCE, &inner, &inner_end);
}

static enum err outline(struct certificate_outline *c, const uint8_t *der, size_t len)
{
	const uint8_t *spki, *end;

	if (len == 0 || len > CERT_MAX || !find_spki(der, len, &spki, &end))
		return ERR_CERT_MALFORMED;
	c->der = malloc(len);
	if (c->der == NULL)
		return ERR_NOMEM;
	memcpy(c->der, der, len);
	c->len = len;
	sha256(der, len, c->sha256);
	sha256(spki, (size_t)(end - spki), c->spki_sha256);
	return ERR_OK;
}

/* ERR_CLOSED: there is no other block. */
static enum err next_block(BIO *bio, struct certificate_outline *chain, size_t max, size_t *count)
{
	char *label = NULL, *header = NULL;
	uint8_t *data = NULL;
	enum err e = ERR_OK;
	long len;

	if (PEM_read_bio(bio, &label, &header, &data, &len) != 1)
		return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE
			       ? ERR_CLOSED
			       : ERR_CERT_MALFORMED;
	if (strcmp(label, PEM_STRING_X509) == 0) {
		e = header[0] != '\0' || *count == max ? ERR_CERT_MALFORMED
						       : outline(&chain[*count], data, (size_t)len);
		*count += e == ERR_OK;
	}
	OPENSSL_free(label);
	OPENSSL_free(header);
	OPENSSL_clear_free(data, (size_t)len);
	return e;
}

enum err certificate_outline_pem(struct certificate_outline *chain, size_t max, size_t *count,
	const uint8_t *pem, size_t len)
{
	BIO *bio = len == 0 || len > INT32_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
	enum err e = bio == NULL ? ERR_CERT_MALFORMED : ERR_OK;

	*count = 0;
	ERR_clear_error();
	while (e == ERR_OK)
		e = next_block(bio, chain, max, count);
	BIO_free(bio);
	ERR_clear_error();
	if (e == ERR_CLOSED && *count > 0)
		return ERR_OK;
	certificate_outline_free(chain, *count);
	*count = 0;
	return e == ERR_CLOSED ? ERR_CERT_MALFORMED : e;
}

void certificate_outline_free(struct certificate_outline *chain, size_t count)
{
	while (count > 0)
		free(chain[--count].der);
}
