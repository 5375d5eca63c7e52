#include "issued.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/pem.h>

#include "verify.h"

static enum err read_member(
	struct buf *out, const json_t *root, const char *name, bool decode, struct refusal *why)
{
	const json_t *member = json_object_get(root, name);
	enum err e;
	if (!json_is_string(member))
		return refuse(why, ERR_FORMAT, name, "the answer has no member \"%s\"", name);
	if (!decode) {
		buf_put(out, json_string_value(member), json_string_length(member));
		return out->err;
	}
	e = base64_decode(out, json_string_value(member), json_string_length(member));
	return e ? refuse(why, e, name, "the answer's \"%s\" is not base64", name) : ERR_OK;
}

static enum err write_chain(struct buf *out, const struct certificate *chain, size_t count)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	bool ok = bio != NULL;
	size_t i, n;
	for (i = 0; ok && i < count; i++)
		ok = PEM_write_bio(bio, PEM_STRING_X509, "", chain[i].der, (long)chain[i].len) > 0;
	if (ok) {
		n = (size_t)BIO_get_mem_data(bio, &text);
		buf_put(out, text, n);
	}
	BIO_free(bio);
	return ok ? out->err : ERR_CRYPTO;
}

static enum err read_chain(struct issued *out, struct refusal *why)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf pem = BUF_INIT(CERT_CHAIN_MAX * 2 * CERT_MAX);
	size_t i, count = 0;
	enum err e = read_member(&pem, out->root, "chain", false, why);

	if (e)
		goto out;
	e = certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem.octets, pem.len);
	if (e) {
		refuse(why, e, "chain", "the answer's certificate chain can't be read: %s",
			err_text(e));
		goto out;
	}
	e = write_chain(&out->chain, chain, count);
	out->leaf = chain[0];
	for (i = 1; i < count; i++)
		certificate_free(&chain[i]);
out:
	buf_free(&pem);
	return e;
}

static enum err is_what_was_asked(
	const struct issued *in, const struct asked *asked, struct refusal *why)
{
	if (!asked->any_spki && (in->dc.spki_len != asked->spki_len ||
					memcmp(in->dc.spki, asked->spki, asked->spki_len) != 0))
		return refuse(why, ERR_SPKI_MISMATCH, "credential",
			"the credential is not for the public key that was sent");
	if (asked->scheme && asked->scheme->code != in->dc.scheme)
		return refuse(why, ERR_DC_ALGORITHM, "credential",
			"the credential's algorithm is not %s", asked->scheme->name);
	if (asked->has_not_after && asked->not_after != in->expiry)
		return refuse(why, ERR_FORMAT, "credential",
			"the credential does not expire at the time that was asked for");
	return ERR_OK;
}

static const char *scheme_text(uint16_t code)
{
	const struct scheme *s = scheme_by_code(code);
	return s ? s->name : "";
}

/* Programs will read the JSON and not the DC: so the one must say what the other is. */
static enum err says_what_it_is(
	const struct issued *in, const struct asked *asked, struct refusal *why)
{
	char not_after[21], opens[21], certificate[65], public_key[65];
	uint8_t digest[SHA256_SIZE];
	const struct {
		const char *member, *is;
	} texts[] = {
		{"key", asked->key},
		{"role", dc_role_name(asked->role)},
		{"algorithm", scheme_text(in->dc.scheme)},
		{"signature_algorithm", scheme_text(in->dc.algorithm)},
		{"not_after", not_after},
		{"not_before", opens},
		{"certificate_sha256", certificate},
		{"public_key_sha256", public_key},
	};
	size_t i;

	time_text(not_after, in->expiry);
	time_text(opens, dc_window_opens(in->leaf.not_before, in->expiry));
	hex_encode(certificate, in->leaf.sha256, SHA256_SIZE);
	sha256(in->dc.spki, in->dc.spki_len, digest);
	hex_encode(public_key, digest, SHA256_SIZE);
	for (i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		const char *said = json_string_value(json_object_get(in->root, texts[i].member));
		if (!said || strcmp(said, texts[i].is) != 0)
			return refuse(why, ERR_FORMAT, texts[i].member,
				"the answer's \"%s\" is not that of the credential, %s",
				texts[i].member, texts[i].is);
	}
	if (json_integer_value(json_object_get(in->root, "valid_time")) !=
		(json_int_t)in->dc.valid_time)
		return refuse(why, ERR_FORMAT, "valid_time",
			"the answer's \"valid_time\" is not that of the credential");
	return ERR_OK;
}

enum err issued_read(struct issued *out, const void *body, size_t len, const struct asked *asked,
	int64_t now, struct refusal *why)
{
	json_error_t error;
	enum err e;

	*out = (struct issued){
		.octets = BUF_INIT(DC_MAX), .chain = BUF_INIT(CERT_CHAIN_MAX * 2 * CERT_MAX)};
	out->root = json_loadb(body, len, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(out->root))
		return refuse(why, ERR_FORMAT, "", "the answer is no JSON object: %.160s",
			out->root ? "another type" : error.text);
	if ((e = read_member(&out->octets, out->root, "credential", true, why)) != ERR_OK ||
		(e = read_chain(out, why)) != ERR_OK)
		return e;
	e = verify_dc(
		&out->dc, out->octets.octets, out->octets.len, &out->leaf, asked->role, now, why);
	if (e)
		return e;
	out->expiry = dc_expiry(&out->dc, out->leaf.not_before);
	if ((e = is_what_was_asked(out, asked, why)) != ERR_OK)
		return e;
	return says_what_it_is(out, asked, why);
}

void issued_free(struct issued *in)
{
	json_decref(in->root);
	buf_free(&in->octets);
	buf_free(&in->chain);
	if (in->leaf.der)
		certificate_free(&in->leaf);
	*in = (struct issued){0};
}
