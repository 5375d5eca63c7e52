#include "compat.h"

#include <stddef.h>

static const struct compat_stack_info stacks[COMPAT_STACKS] = {
	[COMPAT_NSS] = {"nss", "client",
		"NSS 3.117 to 3.121 refuse every correct delegated credential; older and newer "
		"ones take it"},
	[COMPAT_FIZZ] = {"fizz", "client and server", NULL},
	[COMPAT_BORINGSSL] = {"boringssl", "server", "it serves a credential without verifying it"},
	[COMPAT_CLOUDFLARE_GO] = {"cloudflare-go", "client and server", NULL},
	[COMPAT_TONGSUO] = {"tongsuo", "client and server", NULL},
	[COMPAT_TLSLITE_NG] = {"tlslite-ng", "client", "it does not look at the time"},
};

static bool nist_ecdsa(uint16_t code)
{
	return code == SCHEME_ECDSA_P256 || code == SCHEME_ECDSA_P384 || code == SCHEME_ECDSA_P521;
}

static bool nist_or_ed25519(uint16_t code)
{
	return nist_ecdsa(code) || code == SCHEME_ED25519;
}

static bool pss_rsae(uint16_t code)
{
	return code >= 0x0804 && code <= 0x0806;
}

static bool for_client(const struct compat_facts *f)
{
	return f->role == DC_CLIENT;
}

static bool key_not_nist(const struct compat_facts *f)
{
	return !nist_ecdsa(f->scheme);
}

static bool key_not_nist_or_ed25519(const struct compat_facts *f)
{
	return !nist_or_ed25519(f->scheme);
}

static bool algorithm_not_nist(const struct compat_facts *f)
{
	return !nist_ecdsa(f->algorithm);
}

static bool algorithm_not_go(const struct compat_facts *f)
{
	return !nist_or_ed25519(f->algorithm) && !pss_rsae(f->algorithm);
}

static bool key_types_differ(const struct compat_facts *f)
{
	const struct scheme *s = scheme_by_code(f->scheme);
	return !s || s->key != f->certificate_key;
}

static bool no_key_usage(const struct compat_facts *f)
{
	return !f->has_key_usage;
}

static bool critical(const struct compat_facts *f)
{
	return f->delegation_critical;
}

static bool outlives(const struct compat_facts *f)
{
	return f->expiry >= f->not_after;
}

static bool expired(const struct compat_facts *f)
{
	return f->now > f->expiry;
}

static bool at_its_end(const struct compat_facts *f)
{
	return f->now >= f->expiry;
}

static bool too_long(const struct compat_facts *f)
{
	return f->expiry - f->now > DC_MAX_VALID;
}

#define SEVEN "refuses a credential that stays valid for more than 7 days"

static const struct compat_rule rules[] = {
	{COMPAT_NSS, "NSS-ROLE", "nss takes no client's delegated credential", for_client},
	{COMPAT_NSS, "NSS-KEY", "nss takes keys on P-256, P-384 and P-521 alone", key_not_nist},
	{COMPAT_NSS, "NSS-ALGORITHM",
		"nss takes no signature by an RSA or Ed25519 certificate, only by one on P-256, "
		"P-384 or P-521",
		algorithm_not_nist},
	{COMPAT_NSS, "NSS-KEY-USAGE", "nss refuses a certificate without key usage", no_key_usage},
	{COMPAT_NSS, "NSS-EXPIRED", "nss refuses an expired credential", expired},
	{COMPAT_NSS, "NSS-VALIDITY", "nss " SEVEN, too_long},
	{COMPAT_FIZZ, "FIZZ-KEY", "fizz takes keys on P-256, P-384, P-521 and Ed25519 alone",
		key_not_nist_or_ed25519},
	{COMPAT_FIZZ, "FIZZ-KEY-TYPES",
		"fizz asks that the credential's key be of the same type as the certificate's",
		key_types_differ},
	{COMPAT_FIZZ, "FIZZ-KEY-USAGE", "fizz refuses a certificate without key usage",
		no_key_usage},
	{COMPAT_FIZZ, "FIZZ-OUTLIVES",
		"fizz refuses a credential that does not end before its certificate", outlives},
	{COMPAT_FIZZ, "FIZZ-EXPIRED", "fizz refuses a credential from its last second on",
		at_its_end},
	{COMPAT_FIZZ, "FIZZ-VALIDITY", "fizz " SEVEN, too_long},
	{COMPAT_BORINGSSL, "BORINGSSL-ROLE", "boringssl serves with delegated credentials only",
		for_client},
	{COMPAT_BORINGSSL, "BORINGSSL-KEY",
		"boringssl serves with keys on P-256, P-384, P-521 and Ed25519 alone",
		key_not_nist_or_ed25519},
	{COMPAT_CLOUDFLARE_GO, "CLOUDFLARE-GO-KEY",
		"cloudflare-go takes keys on P-256, P-384, P-521 and Ed25519 alone",
		key_not_nist_or_ed25519},
	{COMPAT_CLOUDFLARE_GO, "CLOUDFLARE-GO-ALGORITHM",
		"cloudflare-go takes signatures by certificates on P-256, P-384, P-521, Ed25519 "
		"and rsaEncryption alone",
		algorithm_not_go},
	{COMPAT_CLOUDFLARE_GO, "CLOUDFLARE-GO-CRITICAL",
		"cloudflare-go refuses a certificate whose DelegationUsage is critical", critical},
	{COMPAT_CLOUDFLARE_GO, "CLOUDFLARE-GO-KEY-USAGE",
		"cloudflare-go refuses a certificate without key usage", no_key_usage},
	{COMPAT_CLOUDFLARE_GO, "CLOUDFLARE-GO-EXPIRED",
		"cloudflare-go refuses a credential from its last second on", at_its_end},
	{COMPAT_CLOUDFLARE_GO, "CLOUDFLARE-GO-VALIDITY", "cloudflare-go " SEVEN, too_long},
	{COMPAT_TONGSUO, "TONGSUO-CRITICAL",
		"tongsuo refuses a certificate whose DelegationUsage is critical", critical},
	{COMPAT_TONGSUO, "TONGSUO-EXPIRED", "tongsuo refuses a credential from its last second on",
		at_its_end},
	{COMPAT_TLSLITE_NG, "TLSLITE-NG-ROLE", "tlslite-ng takes no client's delegated credential",
		for_client},
};

#define RULES (sizeof rules / sizeof rules[0])
_Static_assert(RULES <= 32, "a set of rules is one uint32_t");

void compat_facts(struct compat_facts *f, const struct dc *dc,
	const struct certificate *certificate, enum dc_role role, int64_t now)
{
	*f = (struct compat_facts){
		.role = role,
		.scheme = dc->scheme,
		.algorithm = dc->algorithm,
		.certificate_key = certificate->key_type,
		.delegation_critical = certificate->delegation_critical,
		.has_key_usage = certificate->has_key_usage,
		.expiry = dc_expiry(dc, certificate->not_before),
		.not_after = certificate->not_after,
		.now = now,
	};
}

const struct compat_stack_info *compat_stack(enum compat_stack stack)
{
	return &stacks[stack];
}

unsigned compat_rule_count(void)
{
	return RULES;
}

const struct compat_rule *compat_rule(unsigned index)
{
	return index < RULES ? &rules[index] : NULL;
}

uint32_t compat_warnings(const struct compat_facts *f)
{
	uint32_t set = 0;
	unsigned i;
	for (i = 0; i < RULES; i++)
		if (rules[i].broken(f))
			set |= UINT32_C(1) << i;
	return set;
}
