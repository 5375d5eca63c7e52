#include "policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HOUR 3600

/* Sums and differences that stop at the ends of int64: what lies beyond is refused by the very
 * comparisons that they are made for. */
static int64_t add(int64_t a, int64_t b)
{
	int64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return b < 0 ? INT64_MIN : INT64_MAX;
	return sum;
}

static int64_t sub(int64_t a, int64_t b)
{
	int64_t difference;

	if (__builtin_sub_overflow(a, b, &difference))
		return b < 0 ? INT64_MAX : INT64_MIN;
	return difference;
}

static int64_t least(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

void policy_defaults(struct policy *p)
{
	*p = (struct policy){
		.name = "default",
		.max_lifetime = 24 * HOUR,
		.min_lifetime = 300,
		.clock_skew = HOUR,
		.max_start_ahead = 300,
		.roles = 1U << DC_SERVER,
		.schemes = scheme_bit(SCHEME_ECDSA_P256) | scheme_bit(SCHEME_ECDSA_P384) |
			   scheme_bit(SCHEME_ECDSA_P521),
		.possession_required = true,
		.max_live = 100000,
	};
}

static uint32_t schemes_of_dc_keys(void)
{
	uint32_t set = 0;

	for (unsigned i = 0; i < scheme_count(); i++)
		if (scheme_at(i)->dc_key)
			set |= UINT32_C(1) << i;
	return set;
}

enum err policy_check(const struct policy *p, struct refusal *why)
{
	if (p->clock_skew < POLICY_SKEW_MIN || p->clock_skew >= DC_MAX_VALID)
		return refuse(why, ERR_FORMAT, "clock_skew",
			"must be from %d s to less than 7 days: clients' clocks are wrong by "
			"minutes",
			POLICY_SKEW_MIN);
	if (p->max_lifetime < 1 || p->max_lifetime > DC_MAX_VALID - p->clock_skew)
		return refuse(why, ERR_FORMAT, "max_lifetime",
			"must be from 1 s to %" PRId64 " s, which is 7 days less clock_skew",
			DC_MAX_VALID - p->clock_skew);
	if (p->min_lifetime < 1 || p->min_lifetime > p->max_lifetime)
		return refuse(why, ERR_FORMAT, "min_lifetime",
			"must be from 1 s to max_lifetime, %" PRId64 " s", p->max_lifetime);
	if (p->max_start_ahead < 0 || p->max_start_ahead > DC_MAX_VALID)
		return refuse(why, ERR_FORMAT, "max_start_ahead", "must be from 0 s to 7 days");
	if (p->roles == 0 || p->roles >> (DC_CLIENT + 1) != 0)
		return refuse(why, ERR_FORMAT, "roles", "must name server, client or both");
	if (p->schemes == 0 || (p->schemes & ~schemes_of_dc_keys()) != 0)
		return refuse(why, ERR_FORMAT, "algorithms",
			"must name at least one, and only ones that RFC 9345 allows for the key of "
			"a "
			"delegated credential: never rsa_pss_rsae_*");
	if (p->max_live == 0)
		return refuse(why, ERR_FORMAT, "max_live", "must be at least 1");
	return ERR_OK;
}

void policy_narrow(struct policy *out, const struct policy *a, const struct policy *b)
{
	struct policy p = *a;

	p.max_lifetime = least(a->max_lifetime, b->max_lifetime);
	p.min_lifetime = most(a->min_lifetime, b->min_lifetime);
	p.clock_skew = most(a->clock_skew, b->clock_skew);
	p.max_start_ahead = least(a->max_start_ahead, b->max_start_ahead);
	p.roles = a->roles & b->roles;
	p.schemes = a->schemes & b->schemes;
	p.possession_required = a->possession_required || b->possession_required;
	p.max_live = a->max_live < b->max_live ? a->max_live : b->max_live;
	*out = p;
}

/* What the policy and the certificate allow at this moment. */
struct bounds {
	const struct policy *policy;
	int64_t now;
	int64_t shortest, longest; /* lifetime */
	int64_t earliest, latest;  /* start */
	int64_t cert_end;
	const char *term; /* the member that said how long */
};

static struct bounds bounds_at(
	const struct policy *p, const struct policy_ask *ask, int64_t cert_end, int64_t now)
{
	int64_t skew = most(p->clock_skew, POLICY_SKEW_MIN);

	return (struct bounds){
		.policy = p,
		.now = now,
		.shortest = most(p->min_lifetime, 1),
		.longest = least(p->max_lifetime, sub(DC_MAX_VALID, skew)),
		.earliest = sub(now, skew),
		.latest = add(now, p->max_start_ahead),
		.cert_end = cert_end,
		.term = ask->term == TERM_NOT_AFTER ? "not_after" : "lifetime",
	};
}

static enum err check_certificate_time(int64_t begin, int64_t end, int64_t now, struct refusal *why)
{
	char text[21];

	if (now < begin) {
		time_text(text, begin);
		return refuse(why, ERR_CERT_NOT_YET, "",
			"the delegation certificate is valid from %s on", text);
	}
	if (now >= end) {
		time_text(text, end);
		return refuse(why, ERR_CERT_EXPIRED, "",
			"the delegation certificate expired at %s: the operator must renew it",
			text);
	}
	return ERR_OK;
}

static enum err check_kind(
	const struct policy *p, const struct policy_ask *ask, struct refusal *why)
{
	char names[224];

	if ((unsigned)ask->role > DC_CLIENT || (p->roles >> ask->role & 1) == 0)
		return refuse(why, ERR_ROLE, "role", "policy %s allows: %s%s%s", p->name,
			p->roles & 1U << DC_SERVER ? "server" : "", (p->roles & 3) == 3 ? ", " : "",
			p->roles & 1U << DC_CLIENT ? "client" : "");
	const struct scheme *scheme = scheme_by_code(ask->scheme);
	if (scheme == NULL || !scheme->dc_key || (p->schemes & scheme_bit(ask->scheme)) == 0) {
		scheme_set_text(p->schemes, names, sizeof names);
		return refuse(
			why, ERR_ALGORITHM, "algorithm", "policy %s allows: %s", p->name, names);
	}
	if (p->possession_required && !ask->possession)
		return refuse(why, ERR_PROOF_REQUIRED, "csr",
			"policy %s takes a PKCS#10 request signed with the credential's own key, "
			"not a bare public key",
			p->name);
	return ERR_OK;
}

static enum err check_start(const struct bounds *b, int64_t start, struct refusal *why)
{
	char from[21], to[21];

	if (start >= b->earliest && start <= b->latest)
		return ERR_OK;
	time_text(from, b->earliest);
	time_text(to, b->latest);
	return refuse(why, start > b->latest ? ERR_START_FUTURE : ERR_START_PAST, "not_before",
		"policy %s accepts a start from %s to %s; leave it out for one that starts now",
		b->policy->name, from, to);
}

static enum err too_long(const struct bounds *b, int64_t start, struct refusal *why)
{
	int64_t seconds = least(b->longest, sub(add(b->now, b->longest), start));
	char end[21];

	time_text(end, add(b->now, b->longest));
	return refuse(why, ERR_LIFETIME_LONG, b->term,
		"policy %s allows at most %" PRId64 " s from this start, and no end after %s",
		b->policy->name, seconds, end);
}

static enum err too_short(const struct bounds *b, struct refusal *why)
{
	char end[21];

	time_text(end, add(b->now, b->shortest));
	return refuse(why, ERR_LIFETIME_SHORT, b->term,
		"policy %s asks for at least %" PRId64 " s, and for an end not before %s",
		b->policy->name, b->shortest, end);
}

static enum err beyond_certificate(const struct bounds *b, int64_t start, struct refusal *why)
{
	int64_t seconds = sub(sub(b->cert_end, 1), start);
	char end[21];

	time_text(end, b->cert_end);
	if (sub(sub(b->cert_end, 1), b->now) < b->shortest || seconds < b->shortest)
		return refuse(why, ERR_BEYOND_CERT, b->term,
			"the delegation certificate ends at %s, too soon for any credential of "
			"policy %s: the operator must renew it",
			end, b->policy->name);
	return refuse(why, ERR_BEYOND_CERT, b->term,
		"a credential must expire before its delegation certificate, which ends at %s: ask "
		"for at most %" PRId64 " s",
		end, seconds);
}

/* The lifetime from `start` that is meant. Without a term: the longest that is allowed. */
static int64_t lifetime_asked(const struct bounds *b, const struct policy_ask *ask, int64_t start)
{
	if (ask->term == TERM_LIFETIME)
		return ask->lifetime;
	if (ask->term == TERM_NOT_AFTER)
		return sub(ask->not_after, start);
	return sub(b->longest, most(sub(start, b->now), 0));
}

static enum err check_term(const struct bounds *b, int64_t start, int64_t lifetime, int64_t expiry,
	struct refusal *why)
{
	if (lifetime > b->longest || expiry > add(b->now, b->longest))
		return too_long(b, start, why);
	if (lifetime < b->shortest || expiry < add(b->now, b->shortest))
		return too_short(b, why);
	if (expiry >= b->cert_end)
		return beyond_certificate(b, start, why);
	return ERR_OK;
}

enum err policy_decide(const struct policy *p, const struct policy_ask *ask,
	int64_t cert_not_before, int64_t cert_not_after, int64_t now, struct policy_grant *grant,
	struct refusal *why)
{
	struct bounds b = bounds_at(p, ask, cert_not_after, now);
	int64_t start = ask->has_not_before ? ask->not_before : now;
	enum err e;

	memset(grant, 0, sizeof *grant);
	if ((e = check_certificate_time(cert_not_before, cert_not_after, now, why)) != ERR_OK ||
		(e = check_kind(p, ask, why)) != ERR_OK ||
		(ask->has_not_before && (e = check_start(&b, start, why)) != ERR_OK))
		return e;

	int64_t lifetime = lifetime_asked(&b, ask, start);
	int64_t expiry = ask->term == TERM_NOT_AFTER ? ask->not_after : add(start, lifetime);
	if ((e = check_term(&b, start, lifetime, expiry, why)) != ERR_OK)
		return e;
	int64_t valid_time = sub(expiry, cert_not_before);
	if (valid_time < 1 || valid_time > UINT32_MAX)
		return refuse(why, ERR_NO_ROOM, "",
			"the delegation certificate began too long ago for valid_time, which "
			"counts "
			"seconds since then in 32 bits: the operator must renew it");

	*grant = (struct policy_grant){
		.now = now,
		.lifetime = expiry - now,
		.asked = lifetime,
		.expiry = expiry,
		.valid_time = (uint32_t)valid_time,
		.window_opens = dc_window_opens(cert_not_before, expiry),
	};
	return ERR_OK;
}
