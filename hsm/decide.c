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

/* What is wrong with the key, and which ones would be taken. */
static enum err refuse_public_key(const struct batch *b, const struct credential *c, enum err e,
	const char *field, struct refusal *why)
{
	struct policy policy;
	char names[160];

	if (e == ERR_PROOF_INVALID || e == ERR_PROOF_UNSUPPORTED)
		return refuse(why, e, field, "%s",
			e == ERR_PROOF_INVALID ? "the request's signature does not verify with the "
						 "key in it: sign it with that key"
					       : "a request with a key of this type can't be "
						 "verified: a bare public key is taken where "
						 "the policy does not ask for proof of possession");
	if (e != ERR_SPKI_UNKNOWN && e != ERR_SPKI_FORBIDDEN)
		return refuse(why, e, field, "%s: make a new key", err_text(e));
	config_effective_policy(&policy, keyring_config(b->issuer->keys), c->use.config, c->client);
	scheme_set_text(policy.schemes, names, sizeof(names));
	return refuse(why, e, field, "%s; policy %s takes keys for: %s",
		e == ERR_SPKI_UNKNOWN ? "not in the one DER form of its type"
				      : "keys of this type must not be used",
		policy.name, names);
}

/* The public key, from the request itself or out of a PKCS#10 request that proves possession. */
static enum err take_public_key(const struct batch *b, struct credential *c, struct refusal *why)
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
		return refuse_public_key(b, c, e, field, why);
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
		return refuse(why, e, "algorithm",
			"%s does not fit the public key: name one for keys of its type, or a key "
			"for it",
			scheme->name);
	c->fields.scheme = code;
	return ERR_OK;
}

/* RFC 9345 section 4: a DC's key pair is its own. */
static enum err is_own_key(const struct batch *b, const struct credential *c, struct refusal *why)
{
	const char *field = c->ask->proof == PROOF_CSR ? "csr" : "public_key", *whose = NULL;

	if (keyring_has_spki(b->issuer->keys, c->spki_sha256))
		whose = "a delegation certificate";
	else if (keyring_server_spki(b->issuer->keys, c->spki_sha256))
		whose = "this service's own TLS certificate";
	else if (memcmp(c->spki_sha256, b->ask->client_spki_sha256, SHA256_SIZE) == 0)
		whose = "the client's own TLS certificate";
	if (whose == NULL)
		return ERR_OK;
	return refuse(why, ERR_SPKI_REUSED, field, "it is the key of %s; make a new one", whose);
}

static bool is_mldsa(enum key_type key)
{
	return key == KEY_MLDSA44 || key == KEY_MLDSA65 || key == KEY_MLDSA87;
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
	if (e == ERR_PROOF_REQUIRED && is_mldsa(c->spki.key))
		return refuse(why, ERR_PROOF_UNSUPPORTED, "public_key",
			"policy %s asks for proof of possession, which can't be verified for "
			"ML-DSA: use a key of another type, or of a policy with "
			"proof_of_possession = optional",
			c->policy.name);
	if (e != ERR_OK)
		return e;
	e = certificate_allows_role(cert, ask.role);
	if (e != ERR_OK)
		return refuse(why, e, "role",
			"the delegation certificate's extended key usage lacks %s: ask for role %s",
			ask.role == DC_CLIENT ? "clientAuth" : "serverAuth",
			ask.role == DC_CLIENT ? "server" : "client");
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

	if ((e = may_use_key(b, c, why)) != ERR_OK || (e = take_public_key(b, c, why)) != ERR_OK ||
		(e = choose_algorithm(c, why)) != ERR_OK || (e = is_own_key(b, c, why)) != ERR_OK ||
		(e = ask_policy(b, c, why)) != ERR_OK || (e = build(c, why)) != ERR_OK)
		return e;
	return read_again(c, why);
}
