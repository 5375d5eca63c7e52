/*
 * The issuer's decision. Pure: `now` is an argument, nothing is looked up. RFC 9345 sections 4.1.3,
 * 7.6; the time rule stands at policy_decide.
 */
#ifndef DCSIGN_POLICY_H
#define DCSIGN_POLICY_H

#include "dc.h"

#define POLICY_SKEW_MIN 300 /* seconds: a smaller clock_skew is refused */

struct policy {
	char name[NAME_SIZE];
	int64_t max_lifetime;	 /* seconds, at most DC_MAX_VALID - clock_skew */
	int64_t min_lifetime;	 /* seconds, at least 1 */
	int64_t clock_skew;	 /* seconds, at least POLICY_SKEW_MIN */
	int64_t max_start_ahead; /* seconds, 0 or more */
	uint32_t roles;		 /* 1 << enum dc_role */
	uint32_t schemes;	 /* scheme_bit()s of the allowed dc_cert_verify_algorithm */
	bool possession_required;
	uint64_t max_live; /* unexpired DCs per delegation key */
};

/* The defaults of a `policy` section that says nothing. */
void policy_defaults(struct policy *p);
/* Are the values possible in themselves? field of *why: the option. */
enum err policy_check(const struct policy *p, struct refusal *why);
/* out = the narrower of a and b in every member; out may be a or b. The name stays a's. */
void policy_narrow(struct policy *out, const struct policy *a, const struct policy *b);

enum policy_term { TERM_DEFAULT, TERM_LIFETIME, TERM_NOT_AFTER };

struct policy_ask {
	enum dc_role role;
	uint16_t scheme; /* dc_cert_verify_algorithm */
	bool possession; /* proved */
	enum policy_term term;
	int64_t lifetime;  /* seconds, with TERM_LIFETIME */
	int64_t not_after; /* with TERM_NOT_AFTER */
	bool has_not_before;
	int64_t not_before;
};

struct policy_grant {
	int64_t now;	  /* the one clock reading of this request */
	int64_t lifetime; /* granted: expiry - now */
	int64_t asked;	  /* lifetime asked for after resolving term; of TERM_DEFAULT the maximum */
	int64_t expiry;
	uint32_t valid_time;
	int64_t window_opens;
};

/*
 * With P = min(max_lifetime, DC_MAX_VALID - clock_skew), NB/NA the certificate's bounds:
 * refuses unless NB <= now < NA; role and scheme allowed; possession where required;
 * L = lifetime | not_after - (not_before or now) | the longest that the rest allows: P, less what a
 * later not_before takes of it; min_lifetime <= L <= P;
 * not_before within [now - clock_skew, now + max_start_ahead]; E = (not_before or now) + L;
 * now + min_lifetime <= E <= now + P; E < NA (never clamped); 1 <= E - NB <= 2^32 - 1.
 * All in int64 seconds without overflow for any input. Each refusal names the request's member
 * (role, algorithm, lifetime, not_after, not_before, csr) and says what would be accepted.
 */
enum err policy_decide(const struct policy *p, const struct policy_ask *ask,
	int64_t cert_not_before, int64_t cert_not_after, int64_t now, struct policy_grant *grant,
	struct refusal *why);

#endif
