/* The issuer's decision at each of its boundaries: RFC 9345 sections 4.1.3 and 7.6. */
#include <stdio.h>
#include <string.h>

#include "policy.h"
#include "run_suite.h"

#define HOUR  3600
#define NB    INT64_C(1767225600) /* 2026-01-01 */
#define NOW   (NB + 1000000)
#define NA    (NOW + 10000000)
#define MAX   (24 * HOUR)
#define MIN   300
#define SKEW  HOUR
#define AHEAD 300

static struct policy policy;
static struct policy_ask ask;
static struct policy_grant grant;
static struct refusal why;

static void fresh(void)
{
	policy_defaults(&policy);
	ask = (struct policy_ask){
		.role = DC_SERVER, .scheme = SCHEME_ECDSA_P256, .possession = true};
	memset(&why, 0, sizeof why);
}

static enum err decide_at(int64_t nb, int64_t na, int64_t now)
{
	memset(&grant, 0xee, sizeof grant);
	memset(&why, 0, sizeof why);
	enum err e = policy_decide(&policy, &ask, nb, na, now, &grant, &why);
	if (e == ERR_OK)
		return e;
	/* a refusal names its code, says what would do, and grants nothing */
	ck_assert_int_eq(why.err, e);
	ck_assert_uint_gt(strlen(why.detail), 20);
	ck_assert_int_eq(grant.expiry, 0);
	ck_assert_uint_eq(grant.valid_time, 0);
	return e;
}

static enum err decide(void)
{
	return decide_at(NB, NA, NOW);
}

static void lifetime(int64_t seconds)
{
	ask.term = TERM_LIFETIME;
	ask.lifetime = seconds;
}

static void not_after(int64_t t)
{
	ask.term = TERM_NOT_AFTER;
	ask.not_after = t;
}

static void not_before(int64_t t)
{
	ask.has_not_before = true;
	ask.not_before = t;
}

START_TEST(default_term)
{
	fresh();
	ck_assert_int_eq(decide(), ERR_OK);
	ck_assert_int_eq(grant.now, NOW);
	ck_assert_int_eq(grant.expiry, NOW + MAX);
	ck_assert_int_eq(grant.lifetime, MAX);
	ck_assert_int_eq(grant.asked, MAX);
	ck_assert_int_eq(grant.valid_time, 1000000 + MAX);
	ck_assert_int_eq(grant.window_opens, NOW + MAX - DC_MAX_VALID);
	/* a later start takes of it, an earlier one too */
	not_before(NOW + AHEAD);
	ck_assert_int_eq(decide(), ERR_OK);
	ck_assert_int_eq(grant.expiry, NOW + MAX);
	ck_assert_int_eq(grant.asked, MAX - AHEAD);
	not_before(NOW - SKEW);
	ck_assert_int_eq(decide(), ERR_OK);
	ck_assert_int_eq(grant.expiry, NOW + MAX - SKEW);
	ck_assert_int_eq(grant.lifetime, MAX - SKEW);
}
END_TEST

START_TEST(certificate_bounds)
{
	const int64_t far = NOW + 2 * MAX;

	fresh();
	ck_assert_int_eq(decide_at(NOW - 1, far, NOW), ERR_OK);
	ck_assert_int_eq(decide_at(NOW, far, NOW), ERR_OK);
	ck_assert_int_eq(grant.valid_time, MAX);
	ck_assert_int_eq(grant.window_opens, NOW);
	ck_assert_int_eq(decide_at(NOW + 1, far, NOW), ERR_CERT_NOT_YET);
	lifetime(MIN);
	ck_assert_int_eq(decide_at(NB, NOW + 1, NOW), ERR_BEYOND_CERT);
	ck_assert_int_eq(decide_at(NB, NOW, NOW), ERR_CERT_EXPIRED);
	ck_assert_int_eq(decide_at(NB, NOW - 1, NOW), ERR_CERT_EXPIRED);
}
END_TEST

START_TEST(expiry_before_certificate)
{
	fresh();
	lifetime(1000);
	ck_assert_int_eq(decide_at(NB, NOW + 999, NOW), ERR_BEYOND_CERT);
	ck_assert_int_eq(decide_at(NB, NOW + 1000, NOW), ERR_BEYOND_CERT);
	ck_assert_str_eq(why.field, "lifetime");
	ck_assert_ptr_nonnull(strstr(why.detail, "at most 999 s"));
	ck_assert_int_eq(decide_at(NB, NOW + 1001, NOW), ERR_OK);
	not_after(NOW + 1000);
	ck_assert_int_eq(decide_at(NB, NOW + 1000, NOW), ERR_BEYOND_CERT);
	ck_assert_str_eq(why.field, "not_after");
	ck_assert_int_eq(decide_at(NB, NOW + 1001, NOW), ERR_OK);
	/* never clamped, not for the default either */
	ask.term = TERM_DEFAULT;
	ck_assert_int_eq(decide_at(NB, NOW + MAX, NOW), ERR_BEYOND_CERT);
	ck_assert_int_eq(decide_at(NB, NOW + MAX + 1, NOW), ERR_OK);
	lifetime(MIN);
	ck_assert_int_eq(decide_at(NB, NOW + MIN, NOW), ERR_BEYOND_CERT);
	ck_assert_ptr_nonnull(strstr(why.detail, "renew"));
}
END_TEST

START_TEST(lifetime_bounds)
{
	fresh();
	for (int64_t d = -1; d <= 1; d++) {
		lifetime(MAX + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_LIFETIME_LONG : ERR_OK);
		lifetime(MIN + d);
		ck_assert_int_eq(decide(), d < 0 ? ERR_LIFETIME_SHORT : ERR_OK);
		not_after(NOW + MAX + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_LIFETIME_LONG : ERR_OK);
		not_after(NOW + MIN + d);
		ck_assert_int_eq(decide(), d < 0 ? ERR_LIFETIME_SHORT : ERR_OK);
		if (d >= 0)
			ck_assert_int_eq(grant.expiry, NOW + MIN + d);
	}
	lifetime(0);
	ck_assert_int_eq(decide(), ERR_LIFETIME_SHORT);
	ck_assert_str_eq(why.field, "lifetime");
	ck_assert_ptr_nonnull(strstr(why.detail, "300 s"));
	lifetime(-1);
	ck_assert_int_eq(decide(), ERR_LIFETIME_SHORT);
	lifetime(MAX + 1);
	ck_assert_int_eq(decide(), ERR_LIFETIME_LONG);
	ck_assert_ptr_nonnull(strstr(why.detail, "86400 s"));
	not_after(NOW - 1);
	ck_assert_int_eq(decide(), ERR_LIFETIME_SHORT);
	ck_assert_str_eq(why.field, "not_after");
}
END_TEST

START_TEST(start_bounds)
{
	fresh();
	lifetime(7200);
	for (int64_t d = -1; d <= 1; d++) {
		not_before(NOW - SKEW + d);
		ck_assert_int_eq(decide(), d < 0 ? ERR_START_PAST : ERR_OK);
		if (d >= 0)
			ck_assert_int_eq(grant.expiry, NOW - SKEW + d + 7200);
		not_before(NOW + AHEAD + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_START_FUTURE : ERR_OK);
		if (d <= 0)
			ck_assert_int_eq(grant.expiry, NOW + AHEAD + d + 7200);
	}
	ck_assert_str_eq(why.field, "not_before");
	ck_assert_ptr_nonnull(
		strstr(why.detail, "from 2026-01-12T12:46:40Z to 2026-01-12T13:51:40Z;"));
	policy.max_start_ahead = 0;
	not_before(NOW);
	ck_assert_int_eq(decide(), ERR_OK);
	not_before(NOW + 1);
	ck_assert_int_eq(decide(), ERR_START_FUTURE);
}
END_TEST

/* A start that is allowed must not carry the end beyond now + P, nor below now + min. */
START_TEST(window_bounds)
{
	fresh();
	for (int64_t d = -1; d <= 1; d++) {
		not_before(NOW + 100);
		lifetime(MAX - 100 + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_LIFETIME_LONG : ERR_OK);
		not_after(NOW + MAX + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_LIFETIME_LONG : ERR_OK);
		not_before(NOW - 1000);
		lifetime(1000 + MIN + d);
		ck_assert_int_eq(decide(), d < 0 ? ERR_LIFETIME_SHORT : ERR_OK);
		not_before(NOW - 100);
		not_after(NOW - 100 + MAX + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_LIFETIME_LONG : ERR_OK);
	}
	not_before(NOW + 100);
	lifetime(MAX);
	ck_assert_int_eq(decide(), ERR_LIFETIME_LONG);
	ck_assert_ptr_nonnull(strstr(why.detail, "at most 86300 s"));
}
END_TEST

/* However the policy is set, no more than 7 days less the skew can remain: no far-future start. */
START_TEST(seven_days)
{
	fresh();
	policy.max_lifetime = INT64_MAX;
	for (int64_t d = -1; d <= 1; d++) {
		lifetime(DC_MAX_VALID - SKEW + d);
		ck_assert_int_eq(decide(), d > 0 ? ERR_LIFETIME_LONG : ERR_OK);
		if (d <= 0)
			ck_assert_int_le(grant.window_opens, NOW - SKEW);
	}
	policy.clock_skew = 0; /* a policy that policy_check would refuse */
	lifetime(DC_MAX_VALID - POLICY_SKEW_MIN);
	ck_assert_int_eq(decide(), ERR_OK);
	lifetime(DC_MAX_VALID - POLICY_SKEW_MIN + 1);
	ck_assert_int_eq(decide(), ERR_LIFETIME_LONG);
	policy.clock_skew = INT64_MIN;
	ck_assert_int_eq(decide(), ERR_LIFETIME_LONG);
	policy.min_lifetime = INT64_MIN;
	lifetime(0);
	ck_assert_int_eq(decide(), ERR_LIFETIME_SHORT);
}
END_TEST

START_TEST(valid_time_bounds)
{
	const int64_t limit = INT64_C(4294967295);

	fresh();
	lifetime(1000);
	for (int64_t d = -1; d <= 1; d++) {
		ck_assert_int_eq(
			decide_at(NOW + 1000 - limit - d, NA, NOW), d > 0 ? ERR_NO_ROOM : ERR_OK);
		if (d <= 0)
			ck_assert_int_eq(grant.valid_time, limit + d);
	}
	policy.min_lifetime = 1;
	lifetime(1);
	ck_assert_int_eq(decide_at(NOW, NA, NOW), ERR_OK);
	ck_assert_int_eq(grant.valid_time, 1);
}
END_TEST

START_TEST(kinds)
{
	fresh();
	ask.role = DC_CLIENT;
	ck_assert_int_eq(decide(), ERR_ROLE);
	ck_assert_str_eq(why.field, "role");
	ck_assert_ptr_nonnull(strstr(why.detail, "server"));
	ask.role = (enum dc_role)33;
	ck_assert_int_eq(decide(), ERR_ROLE);
	policy.roles = 3;
	ask.role = DC_CLIENT;
	ck_assert_int_eq(decide(), ERR_OK);
	ask.scheme = SCHEME_ED25519;
	ck_assert_int_eq(decide(), ERR_ALGORITHM);
	ck_assert_str_eq(why.field, "algorithm");
	ck_assert_ptr_nonnull(strstr(why.detail, "ecdsa_secp384r1_sha384"));
	policy.schemes = UINT32_MAX;
	ck_assert_int_eq(decide(), ERR_OK);
	static const uint16_t never[] = {0x0804, 0x0805, 0x0806, 0x0401, 0x0203, 0x0a0a, 0};
	for (unsigned i = 0; i < sizeof never / sizeof *never; i++) {
		ask.scheme = never[i];
		ck_assert_int_eq(decide(), ERR_ALGORITHM);
	}
	fresh();
	ask.possession = false;
	ck_assert_int_eq(decide(), ERR_PROOF_REQUIRED);
	ck_assert_str_eq(why.field, "csr");
	policy.possession_required = false;
	ck_assert_int_eq(decide(), ERR_OK);
	/* nobody has to want the reasons */
	lifetime(-5);
	ck_assert_int_eq(
		policy_decide(&policy, &ask, NB, NA, NOW, &grant, NULL), ERR_LIFETIME_SHORT);
}
END_TEST

/* Each field at each extreme: nothing overflows (UBSan), and what is granted keeps the rule. */
START_TEST(extremes)
{
	static const int64_t values[] = {INT64_MIN, INT64_MIN + 1, -604800, -1, 0, 1, 300, 604800,
		NOW, INT64_MAX - 604800, INT64_MAX - 1, INT64_MAX};
	const unsigned n = sizeof values / sizeof *values;
	unsigned granted = 0;

	fresh();
	for (unsigned i = 0; i < n * n * n * n; i++) {
		int64_t a = values[i % n], b = values[i / n % n], c = values[i / n / n % n],
			now = values[i / n / n / n];
		for (unsigned form = 0; form < 6; form++) {
			fresh();
			if (form % 3 == 1)
				lifetime(a);
			else if (form % 3 == 2)
				not_after(a);
			if (form >= 3)
				not_before(b);
			else
				policy.max_lifetime = policy.max_start_ahead = b;
			enum err e = policy_decide(&policy, &ask, c, INT64_MAX, now, &grant, NULL);
			if (e != ERR_OK)
				continue;
			granted++;
			ck_assert(c <= now && grant.expiry > now);
			ck_assert_int_le(grant.expiry - now, DC_MAX_VALID - SKEW);
			ck_assert_int_ge(grant.expiry - now, MIN);
			ck_assert_int_eq(c + (int64_t)grant.valid_time, grant.expiry);
		}
	}
	ck_assert_uint_gt(granted, 100);
}
END_TEST

static void expect_option(const char *option)
{
	ck_assert_int_eq(policy_check(&policy, &why), ERR_FORMAT);
	ck_assert_str_eq(why.field, option);
}

START_TEST(checks)
{
	fresh();
	ck_assert_int_eq(policy_check(&policy, &why), ERR_OK);
	policy.clock_skew = POLICY_SKEW_MIN;
	policy.max_lifetime = DC_MAX_VALID - POLICY_SKEW_MIN;
	ck_assert_int_eq(policy_check(&policy, &why), ERR_OK);
	policy.max_lifetime++;
	expect_option("max_lifetime");
	policy.max_lifetime = 0;
	expect_option("max_lifetime");
	fresh();
	policy.clock_skew = POLICY_SKEW_MIN - 1;
	expect_option("clock_skew");
	policy.clock_skew = INT64_MAX;
	expect_option("clock_skew");
	fresh();
	policy.min_lifetime = 0;
	expect_option("min_lifetime");
	policy.min_lifetime = policy.max_lifetime + 1;
	expect_option("min_lifetime");
	fresh();
	policy.max_start_ahead = -1;
	expect_option("max_start_ahead");
	fresh();
	policy.roles = 0;
	expect_option("roles");
	policy.roles = 4;
	expect_option("roles");
	fresh();
	policy.schemes = 0;
	expect_option("algorithms");
	policy.schemes = scheme_bit(0x0804);
	expect_option("algorithms");
	policy.schemes = 1U << 31;
	expect_option("algorithms");
	fresh();
	policy.max_live = 0;
	expect_option("max_live");
}
END_TEST

/* A policy that takes one role, asked for the other, and one that there is not. */
START_TEST(roles)
{
	fresh();
	policy.roles = 1U << DC_CLIENT;
	ck_assert_int_eq(decide(), ERR_ROLE);
	ck_assert_ptr_nonnull(strstr(why.detail, "allows: client"));
	ask.role = DC_CLIENT;
	ck_assert_int_eq(decide(), ERR_OK);
	policy.roles = 1U << DC_SERVER;
	ck_assert_int_eq(decide(), ERR_ROLE);
	ck_assert_ptr_nonnull(strstr(why.detail, "allows: server"));
	policy.roles = 1U << DC_SERVER | 1U << DC_CLIENT;
	ask.role = (enum dc_role)2;
	ck_assert_int_eq(decide(), ERR_ROLE);
	ck_assert_ptr_nonnull(strstr(why.detail, "allows: server, client"));
}
END_TEST

START_TEST(narrowing)
{
	struct policy other;

	fresh();
	policy_defaults(&other);
	strcpy(other.name, "other");
	other.max_lifetime = HOUR;
	other.min_lifetime = 600;
	other.clock_skew = 300;
	other.max_start_ahead = 10;
	other.roles = 3;
	other.schemes = scheme_bit(SCHEME_ECDSA_P384) | scheme_bit(SCHEME_ED25519);
	other.possession_required = false;
	other.max_live = 5;
	policy_narrow(&policy, &policy, &other);
	ck_assert_str_eq(policy.name, "default");
	ck_assert_int_eq(policy.max_lifetime, HOUR);
	ck_assert_int_eq(policy.min_lifetime, 600);
	ck_assert_int_eq(policy.clock_skew, SKEW);
	ck_assert_int_eq(policy.max_start_ahead, 10);
	ck_assert_uint_eq(policy.roles, 1U << DC_SERVER);
	ck_assert_uint_eq(policy.schemes, scheme_bit(SCHEME_ECDSA_P384));
	ck_assert(policy.possession_required);
	ck_assert_uint_eq(policy.max_live, 5);
	policy_narrow(&other, &policy, &other);
	ck_assert_int_eq(other.max_lifetime, HOUR);
	ck_assert(other.possession_required); /* whoever of the two asks for it */
	policy.possession_required = false;
	policy_narrow(&policy, &policy, &other);
	ck_assert(policy.possession_required);
	other = policy;
	other.possession_required = policy.possession_required = false;
	policy_narrow(&policy, &policy, &other);
	ck_assert(!policy.possession_required);
}
END_TEST

RUN_SUITE("policy", default_term, certificate_bounds, expiry_before_certificate, lifetime_bounds,
	start_bounds, window_bounds, seven_days, valid_time_bounds, kinds, extremes, checks, roles,
	narrowing)
