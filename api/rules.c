#include "rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ERRORS_MAX 6

static void say_client(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "client %s has the right issue", of->client->name);
}

static void say_key(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "client %s may use key %s", of->client->name, of->key->name);
}

static void say_public_key(const struct rules_of *of, char *out, size_t size)
{
	(void)of;
	snprintf(out, size, "a valid public key in the one DER form of its type");
}

static void say_algorithms(const struct rules_of *of, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "policy %s allows:", of->policy->name);

	for (unsigned i = 0; i < scheme_count(); i++)
		if ((of->policy->schemes & scheme_bit(scheme_at(i)->code)) != 0 && used < size)
			used += (size_t)snprintf(
				out + used, size - used, " %s", scheme_at(i)->name);
}

static void say_own(const struct rules_of *of, char *out, size_t size)
{
	(void)of;
	snprintf(out, size,
		"not the key of a delegation certificate, of this service's TLS certificate or of "
		"the client's");
}

static void say_certificate(const struct rules_of *of, char *out, size_t size)
{
	(void)of;
	snprintf(out, size, "the delegation certificate is valid now");
}

static void say_roles(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "policy %s allows:%s%s", of->policy->name,
		(of->policy->roles & 1u << DC_SERVER) != 0 ? " server" : "",
		(of->policy->roles & 1u << DC_CLIENT) != 0 ? " client" : "");
}

static void say_proof(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "proof of possession is %s, and was %s",
		of->policy->possession_required ? "required" : "optional",
		of->item->proof == PROOF_CSR ? "given" : "not given");
}

static void say_start(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size,
		"not_before at most %" PRId64 " s in the past and %" PRId64 " s in the future",
		of->policy->clock_skew, of->policy->max_start_ahead);
}

static void say_lifetime(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "from %" PRId64 " s to %" PRId64 " s", of->policy->min_lifetime,
		of->policy->max_lifetime);
}

static void say_end(const struct rules_of *of, char *out, size_t size)
{
	(void)of;
	snprintf(out, size, "expires before the delegation certificate");
}

static void say_hold(const struct rules_of *of, char *out, size_t size)
{
	(void)of;
	snprintf(out, size, "neither the key nor the client is on hold");
}

static void say_idempotency(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "%s",
		of->item->idempotency[0] == '\0' ? "no Idempotency-Key was sent"
		: (of->grant->flags & GRANT_REPLAYED) != 0
			? "the credential that was issued under this Idempotency-Key"
			: "this Idempotency-Key has no released credential");
}

static void say_shared(const struct rules_of *of, char *out, size_t size)
{
	snprintf(out, size, "%s",
		(of->grant->flags & GRANT_KEY_SHARED) != 0
			? "another client holds a live credential for this public key; possession "
			  "is proved"
			: "no other client holds a live credential for this public key");
}

static void say_live(const struct rules_of *of, char *out, size_t size)
{
	size_t used = (size_t)snprintf(out, size, "key %s: at most %" PRIu64 " unexpired",
		of->key->name, of->policy->max_live);

	if (of->client->max_live != 0 && used < size)
		snprintf(out + used, size - used, "; client %s: at most %" PRIu64, of->client->name,
			of->client->max_live);
}

/* In the order in which they are applied; what each refuses with. */
static const struct {
	const char *name;
	void (*say)(const struct rules_of *of, char *out, size_t size);
	enum err refuses[ERRORS_MAX];
} rules[] = {
	{"client", say_client, {ERR_UNKNOWN_CLIENT, ERR_NO_RIGHT}},
	{"key", say_key, {ERR_NO_KEY}},
	{"public_key", say_public_key,
		{ERR_SPKI_UNKNOWN, ERR_SPKI_FORBIDDEN, ERR_SPKI_INVALID, ERR_SPKI_WEAK,
			ERR_PROOF_INVALID, ERR_PROOF_UNSUPPORTED}},
	{"algorithm", say_algorithms, {ERR_ALGORITHM, ERR_SPKI_MISMATCH}},
	{"own_key", say_own, {ERR_SPKI_REUSED}},
	{"certificate", say_certificate, {ERR_CERT_NOT_YET, ERR_CERT_EXPIRED}},
	{"role", say_roles, {ERR_ROLE, ERR_CERT_PURPOSE}},
	{"proof_of_possession", say_proof, {ERR_PROOF_REQUIRED, ERR_PROOF_UNSUPPORTED}},
	{"not_before", say_start, {ERR_START_FUTURE, ERR_START_PAST}},
	{"lifetime", say_lifetime, {ERR_LIFETIME_LONG, ERR_LIFETIME_SHORT}},
	{"certificate_end", say_end, {ERR_BEYOND_CERT, ERR_NO_ROOM}},
	{"hold", say_hold, {ERR_HELD}},
	{"idempotency", say_idempotency, {ERR_IDEMPOTENCY_MISMATCH, ERR_IDEMPOTENCY_EXPIRED}},
	{"key_shared", say_shared, {ERR_KEY_SHARED}},
	{"max_live", say_live, {ERR_QUOTA}},
};
_Static_assert(sizeof(rules) / sizeof(rules[0]) <= RULES_MAX, "out has room");

static bool refuses(const enum err *list, enum err err, const struct rules_of *of)
{
	/* of a bare key it is said by the policy, which comes later */
	if (err == ERR_PROOF_UNSUPPORTED && list[0] == ERR_SPKI_UNKNOWN &&
		of->item->proof != PROOF_CSR)
		return false;
	for (size_t i = 0; i < ERRORS_MAX && list[i] != ERR_OK; i++)
		if (list[i] == err)
			return true;
	return false;
}

/* The replay of a released credential is judged by nothing that comes after. */
static bool is_last(const struct rule_applied *a, const struct msg_grant *grant)
{
	return !a->passed ||
	       (grant->refusal.err == ERR_OK && (grant->flags & GRANT_REPLAYED) != 0 &&
		       strcmp(a->name, "idempotency") == 0);
}

size_t rules_applied(const struct rules_of *of, struct rule_applied out[RULES_MAX])
{
	const struct refusal *why = &of->grant->refusal;
	size_t n = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		struct rule_applied *a = &out[n++];

		a->name = rules[i].name;
		a->passed = why->err == ERR_OK || !refuses(rules[i].refuses, why->err, of);
		if (a->passed)
			rules[i].say(of, a->detail, sizeof(a->detail));
		else
			snprintf(a->detail, sizeof(a->detail), "%s",
				why->detail[0] != '\0' ? why->detail : err_text(why->err));
		if (is_last(a, of->grant))
			break;
	}
	return n;
}
