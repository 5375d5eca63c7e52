#include "verify.h"

#include <inttypes.h>
#include <string.h>

#include "pubkey.h"

struct judged {
	struct dc *dc;
	const struct certificate *certificate;
	const struct scheme *scheme;
	struct spki spki;
	enum dc_role role;
	int64_t now, expiry;
};

const char *verify_nss_name(enum err e)
{
	static const struct {
		enum err err;
		const char *name;
	} names[] = {
		{ERR_DC_EXPIRED, "SSL_ERROR_DC_EXPIRED"},
		{ERR_DC_VALIDITY, "SSL_ERROR_DC_INAPPROPRIATE_VALIDITY_PERIOD"},
		{ERR_DC_SIGNATURE, "SSL_ERROR_DC_BAD_SIGNATURE"},
		{ERR_DC_ALGORITHM, "SSL_ERROR_UNSUPPORTED_SIGNATURE_ALGORITHM"},
		{ERR_SPKI_MISMATCH, "SSL_ERROR_DC_CERT_VERIFY_ALG_MISMATCH"},
		{ERR_SPKI_FORBIDDEN, "SSL_ERROR_INCORRECT_SIGNATURE_ALGORITHM"},
		{ERR_CERT_NO_DELEGATION, "SSL_ERROR_DC_INVALID_KEY_USAGE"},
		{ERR_CERT_KEY_USAGE, "SSL_ERROR_DC_INVALID_KEY_USAGE"},
		{ERR_CERT_PURPOSE, "SEC_ERROR_INADEQUATE_CERT_TYPE"},
		{ERR_CERT_NOT_YET, "SEC_ERROR_EXPIRED_CERTIFICATE"},
		{ERR_CERT_EXPIRED, "SEC_ERROR_EXPIRED_CERTIFICATE"},
	};
	size_t i;
	for (i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].err == e)
			return names[i].name;
	return NULL;
}

static enum err certificate_delegates(struct judged *j, struct refusal *why)
{
	enum err e = certificate_may_delegate(j->certificate, AS_VERIFIER, why);
	if (e)
		return e;
	e = certificate_allows_role(j->certificate, j->role);
	return e ? refuse(why, e, "certificate",
			   "the certificate's extended key usage does not allow %s authentication",
			   dc_role_name(j->role))
		 : ERR_OK;
}

static enum err certificate_in_time(struct judged *j, struct refusal *why)
{
	char now[21], bound[21];
	time_text(now, j->now);
	if (j->now < j->certificate->not_before) {
		time_text(bound, j->certificate->not_before);
		return refuse(why, ERR_CERT_NOT_YET, "certificate",
			"at %s the certificate is not valid yet: it begins at %s", now, bound);
	}
	if (j->now > j->certificate->not_after) {
		time_text(bound, j->certificate->not_after);
		return refuse(why, ERR_CERT_EXPIRED, "certificate",
			"at %s the certificate has expired: it ended at %s", now, bound);
	}
	return ERR_OK;
}

static enum err dc_in_time(struct judged *j, struct refusal *why)
{
	char now[21], expiry[21], bound[21];
	int64_t opens = dc_window_opens(j->certificate->not_before, j->expiry);

	time_text(now, j->now);
	time_text(expiry, j->expiry);
	if (j->now > j->expiry)
		return refuse(why, ERR_DC_EXPIRED, "valid_time",
			"it expired at %s, %" PRId64 " s before %s", expiry, j->now - j->expiry,
			now);
	if (j->expiry - j->now > DC_MAX_VALID) {
		time_text(bound, opens);
		return refuse(why, ERR_DC_VALIDITY, "valid_time",
			"at %s it would stay valid until %s, for more than 7 days: clients refuse "
			"it until %s",
			now, expiry, bound);
	}
	if (j->expiry >= j->certificate->not_after) {
		time_text(bound, j->certificate->not_after);
		return refuse(why, ERR_DC_BEYOND_CERT, "valid_time",
			"it expires at %s, which is not before the certificate's end, %s", expiry,
			bound);
	}
	return ERR_OK;
}

static enum err key_fits(struct judged *j, struct refusal *why)
{
	enum err e;
	j->scheme = scheme_by_code(j->dc->scheme);
	if (!j->scheme)
		return refuse(why, ERR_DC_ALGORITHM, "dc_cert_verify_algorithm",
			"dc_cert_verify_algorithm 0x%04x is not known", j->dc->scheme);
	if (!j->scheme->dc_key)
		return refuse(why, ERR_DC_ALGORITHM, "dc_cert_verify_algorithm",
			"dc_cert_verify_algorithm %s must not stand in a delegated credential",
			j->scheme->name);
	e = spki_recognise(&j->spki, j->dc->spki, j->dc->spki_len);
	if (e)
		return refuse(why, e, "public key", "%s", err_text(e));
	e = spki_matches(&j->spki, j->scheme);
	if (e)
		return refuse(why, e, "dc_cert_verify_algorithm",
			"a public key of type %s does not go with dc_cert_verify_algorithm %s",
			key_type_name(j->spki.key), j->scheme->name);
	e = pubkey_check(&j->spki);
	return e ? refuse(why, e, "public key", "%s", err_text(e)) : ERR_OK;
}

static enum err key_is_its_own(struct judged *j, struct refusal *why)
{
	const struct certificate *c = j->certificate;
	if (j->dc->spki_len == c->spki_len && memcmp(j->dc->spki, c->spki, c->spki_len) == 0)
		return refuse(why, ERR_SPKI_REUSED, "public key",
			"the public key of the delegated credential is the certificate's own");
	return ERR_OK;
}

static enum err signature_verifies(struct judged *j, struct refusal *why)
{
	const struct scheme *algorithm = scheme_by_code(j->dc->algorithm);
	const struct certificate *c = j->certificate;
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	enum err e;

	if (!algorithm)
		return refuse(why, ERR_DC_ALGORITHM, "algorithm", "algorithm 0x%04x is not known",
			j->dc->algorithm);
	e = dc_build_tbs(&tbs, j->role, c->der, c->len, j->dc);
	if (!e)
		e = pubkey_verify(c->key, algorithm, tbs.octets, tbs.len, j->dc->signature,
			j->dc->signature_len);
	buf_free(&tbs);
	if (e == ERR_DC_ALGORITHM)
		return refuse(why, e, "algorithm",
			"algorithm %s is not one of a certificate key of type %s", algorithm->name,
			key_type_name(c->key_type));
	if (e == ERR_DC_SIGNATURE)
		return refuse(why, e, "signature",
			"the signature is not the certificate key's over this credential as a %s "
			"delegated credential",
			dc_role_name(j->role));
	return e ? refuse(why, e, "signature", "%s", err_text(e)) : ERR_OK;
}

typedef enum err rule_fn(struct judged *, struct refusal *);

static enum err first_broken(
	rule_fn *const *rules, size_t count, struct judged *j, struct refusal *why)
{
	enum err e = ERR_OK;
	size_t i;
	for (i = 0; !e && i < count; i++)
		e = rules[i](j, why);
	return e;
}

enum err verify_dc_sound(struct dc *dc, const struct certificate *certificate, enum dc_role role,
	struct refusal *why)
{
	static rule_fn *const rules[] = {key_fits, key_is_its_own, signature_verifies};
	struct judged j = {.dc = dc, .certificate = certificate, .role = role};
	return first_broken(rules, sizeof rules / sizeof rules[0], &j, why);
}

enum err verify_dc(struct dc *dc, const uint8_t *octets, size_t len,
	const struct certificate *certificate, enum dc_role role, int64_t now, struct refusal *why)
{
	static rule_fn *const rules[] = {certificate_delegates, certificate_in_time, dc_in_time};
	struct judged j = {.dc = dc, .certificate = certificate, .role = role, .now = now};
	enum err e = dc_parse(dc, octets, len);

	if (e) {
		memset(dc, 0, sizeof *dc);
		return refuse(why, e, "", "not a delegated credential: %s", err_text(e));
	}
	j.expiry = dc_expiry(dc, certificate->not_before);
	e = first_broken(rules, sizeof rules / sizeof rules[0], &j, why);
	return e ? e : verify_dc_sound(dc, certificate, role, why);
}
