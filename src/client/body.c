#include <stdlib.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "keygen.h"
#include "load.h"
#include "pubkey.h"
#include "request.h"

static enum err csr_from_file(struct request *r, struct refusal *why)
{
	static const char *const labels[] = {PEM_STRING_X509_REQ, PEM_STRING_X509_REQ_OLD, NULL};
	struct buf der = BUF_INIT(FORMAT_FILE_MAX);
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	enum err e = load_der(&der, r->csr, labels, FORMAT_FILE_MAX, why);

	if (e)
		goto out;
	e = pubkey_csr(der.octets, der.len, &r->spki);
	if (e) {
		refuse(why, e, "csr", "%s: %s", r->csr, err_text(e));
		goto out;
	}
	e = ERR_NOMEM;
	if (bio && PEM_write_bio(bio, PEM_STRING_X509_REQ, "", der.octets, (long)der.len) > 0) {
		size_t n = (size_t)BIO_get_mem_data(bio, &text);
		buf_put(&r->csr_pem, text, n);
		e = r->csr_pem.err;
	}
out:
	BIO_free(bio);
	buf_free(&der);
	return e;
}

static enum err public_key_from_file(struct request *r, struct refusal *why)
{
	static const char *const labels[] = {PEM_STRING_PUBLIC, NULL};
	struct spki spki;
	enum err e = load_der(&r->spki, r->public_key, labels, SPKI_MAX, why);
	if (e)
		return e;
	e = spki_recognise(&spki, r->spki.octets, r->spki.len);
	return e ? refuse(why, e, "public_key", "%s: %s", r->public_key, err_text(e)) : ERR_OK;
}

static enum err fresh_key(struct request *r, struct refusal *why)
{
	const struct scheme *scheme = keygen_scheme(r->new_key);
	unsigned char *der = NULL;
	int len;
	enum err e;

	r->asked.scheme = scheme;
	r->made = keygen_make(scheme);
	if (!r->made || (len = i2d_PUBKEY(r->made, &der)) <= 0)
		return refuse(
			why, ERR_CRYPTO, "", "libcrypto can't make a key for %s", scheme->name);
	buf_put(&r->spki, der, (size_t)len);
	OPENSSL_free(der);
	e = keygen_csr_pem(&r->csr_pem, r->made, scheme);
	if (e)
		refuse(why, e, "", "libcrypto can't make a PKCS#10 request for %s", scheme->name);
	return e ? e : r->spki.err;
}

enum err request_key(struct request *r, struct refusal *why)
{
	enum err e = r->new_key ? fresh_key(r, why)
		     : r->csr	? csr_from_file(r, why)
				: public_key_from_file(r, why);
	r->asked.spki = r->spki.octets;
	r->asked.spki_len = r->spki.len;
	return e;
}

static bool set_text(json_t *o, const char *name, const char *value)
{
	return !value || json_object_set_new(o, name, json_string(value)) == 0;
}

char *request_body(const struct request *r)
{
	struct buf key = BUF_INIT(2 * FORMAT_FILE_MAX);
	json_t *o = json_object();
	char *text = NULL;
	bool csr = r->csr_pem.len > 0;

	if (csr)
		buf_put(&key, r->csr_pem.octets, r->csr_pem.len);
	else
		buf_base64(&key, r->spki.octets, r->spki.len);
	if (buf_cstr(&key) && set_text(o, csr ? "csr" : "public_key", buf_cstr(&key)) &&
		set_text(o, "algorithm", r->asked.scheme ? r->asked.scheme->name : NULL) &&
		set_text(o, "role", dc_role_name(r->asked.role)) &&
		set_text(o, "not_after", r->not_after) &&
		set_text(o, "not_before", r->not_before) &&
		set_text(o, "reference", r->reference) &&
		(!r->lifetime || json_object_set_new(o, "lifetime", json_integer(r->seconds)) == 0))
		text = json_dumps(o, JSON_COMPACT);
	json_decref(o);
	buf_free(&key);
	return text;
}

void request_free(struct request *r)
{
	EVP_PKEY_free(r->made);
	buf_free(&r->csr_pem);
	buf_free(&r->spki);
}
