#include <string.h>

#include "credential.h"
#include "pubkey.h"

static enum err may_use_key(const struct batch *b, struct credential *c, struct refusal *why)
{
	const struct config *config = keyring_config(b->issuer->keys);

	c->client = config_client(config, b->ask->client);
	if (c->client == NULL)
		return refuse(why, ERR_UNKNOWN_CLIENT, "", "%s", "");
	if (!(c->client->may & RIGHT_ISSUE))
		return refuse(why, ERR_NO_RIGHT, "", "the configuration does not let %s issue",
			c->client->name);
	if (!config_client_has_key(c->client, c->ask->key))
		return refuse(why, ERR_NO_KEY, "key", "%s", "");
	return keyring_find(b->issuer->keys, c->ask->key, b->now, &c->use, why);
}

/* The public key, from the request itself or out of a PKCS#10 request that proves possession. */
static enum err take_public_key(struct credential *c, struct refusal *why)
{
	const struct octets *given = &c->ask->spki;
	const uint8_t *spki = given->at;
	size_t len = given->len;
	const char *field = c->ask->proof == PROOF_CSR ? "csr" : "public_key";
	enum err e = ERR_OK;

	if (c->ask->proof == PROOF_CSR) {
		e = pubkey_csr(given->at, given->len, &c->csr_spki);
		spki = c->csr_spki.octets;
		len = c->csr_spki.len;
	}
	if (e == ERR_OK)
		e = spki_recognise(&c->spki, spki, len);
	if (e == ERR_OK)
		e = pubkey_check(&c->spki);
	if (e != ERR_OK)
		return refuse(why, e, field, "%s", "");
	sha256(spki, len, c->spki_sha256);
	return ERR_OK;
}

static enum err choose_algorithm(struct credential *c, struct refusal *why)
{
	uint16_t code = c->ask->algorithm != 0 ? c->ask->algorithm : scheme_default(c->spki.key);
	const struct scheme *scheme = scheme_by_code(code);
	enum err e;

	if (code == 0)
		return refuse(
			why, ERR_ALGORITHM, "algorithm", "for a key of this type it must be named");
	if (scheme == NULL)
		return refuse(why, ERR_ALGORITHM, "algorithm", "0x%04x is not known here", code);
	e = spki_matches(&c->spki, scheme);
	if (e != ERR_OK)
		return refuse(why, e, "algorithm", "%s does not fit the public key", scheme->name);
	c->fields.scheme = code;
	return ERR_OK;
}

/* RFC 9345 section 4: a DC's key pair is its own. */
static enum err is_own_key(const struct batch *b, const struct credential *c, struct refusal *why)
{
	if (keyring_has_spki(b->issuer->keys, c->spki_sha256))
		return refuse(
			why, ERR_SPKI_REUSED, "", "it is the key of a delegation certificate");
	if (keyring_server_spki(b->issuer->keys, c->spki_sha256))
		return refuse(why, ERR_SPKI_REUSED, "",
			"it is the key of this service's own TLS certificate");
	if (memcmp(c->spki_sha256, b->ask->client_spki_sha256, SHA256_SIZE) == 0)
		return refuse(why, ERR_SPKI_REUSED, "",
			"it is the key of the client's own TLS certificate; make a new one");
	return ERR_OK;
}

static enum err ask_policy(const struct batch *b, struct credential *c, struct refusal *why)
{
	const struct certificate *cert = c->use.certificate;
	struct policy_ask ask = {.role = (enum dc_role)c->ask->role,
		.scheme = c->fields.scheme,
		.possession = c->ask->proof == PROOF_CSR,
		.term = (enum policy_term)c->ask->term,
		.lifetime = c->ask->term_value,
		.not_after = c->ask->term_value,
		.has_not_before = c->ask->has_not_before,
		.not_before = c->ask->not_before};
	enum err e;

	c->role = ask.role;
	config_effective_policy(
		&c->policy, keyring_config(b->issuer->keys), c->use.config, c->client);
	e = policy_decide(
		&c->policy, &ask, cert->not_before, cert->not_after, b->now, &c->decision, why);
	if (e != ERR_OK)
		return e;
	e = certificate_allows_role(cert, ask.role);
	if (e != ERR_OK)
		return refuse(why, e, "role", "%s", "");
	return ERR_OK;
}

static enum err build(struct credential *c, struct refusal *why)
{
	const struct certificate *cert = c->use.certificate;
	enum err e;

	c->fields.valid_time = c->decision.valid_time;
	c->fields.spki = c->spki.octets;
	c->fields.spki_len = c->spki.len;
	c->fields.algorithm = cert->algorithm;
	e = dc_build_tbs(&c->tbs, c->role, cert->der, cert->len, &c->fields);
	if (e != ERR_OK)
		return refuse(why, e, "", "%s", "");
	sha256(c->tbs.octets, c->tbs.len, c->tbs_sha256);
	return ERR_OK;
}

/* What will be signed is read again as a verifier reads it, and must say what was decided. */
static enum err read_again(const struct credential *c, struct refusal *why)
{
	const struct certificate *cert = c->use.certificate;
	enum dc_role role;
	struct dc dc;

	if (dc_parse_tbs(&dc, &role, c->tbs.octets, c->tbs.len, cert->der, cert->len) == ERR_OK &&
		role == c->role && dc.valid_time == c->decision.valid_time &&
		dc.scheme == c->fields.scheme && dc.algorithm == cert->algorithm &&
		dc.spki_len == c->spki.len && memcmp(dc.spki, c->spki.octets, c->spki.len) == 0 &&
		dc_expiry(&dc, cert->not_before) == c->decision.expiry)
		return ERR_OK;
	return refuse(why, ERR_INTERNAL, "", "the octets to be signed are not what was decided");
}

enum err decide(const struct batch *b, struct credential *c, struct refusal *why)
{
	enum err e;

	if ((e = may_use_key(b, c, why)) != ERR_OK || (e = take_public_key(c, why)) != ERR_OK ||
		(e = choose_algorithm(c, why)) != ERR_OK || (e = is_own_key(b, c, why)) != ERR_OK ||
		(e = ask_policy(b, c, why)) != ERR_OK || (e = build(c, why)) != ERR_OK)
		return e;
	return read_again(c, why);
}
