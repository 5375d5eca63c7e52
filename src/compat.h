/*
 * Which TLS stacks are known to refuse a delegated credential that RFC 9345 allows, as rules over
 * its fields. Pure. What the rules say was read in the stacks' sources or tried; they cover what
 * differs between stacks, not what all of them refuse (a signature that does not verify, a
 * certificate without DelegationUsage).
 *
 * How the issuer uses it: compat_facts of what it is about to release, with now its one clock
 * reading; compat_warnings gives a set of broken rules in one word, which fits any message;
 * compat_rule(i)->code and ->text of each bit i of it are what the client is told.
 */
#ifndef DCSIGN_COMPAT_H
#define DCSIGN_COMPAT_H

#include "certificate.h"

struct compat_facts {
	enum dc_role role;
	uint16_t scheme;	       /* dc_cert_verify_algorithm */
	uint16_t algorithm;	       /* how the DC is signed */
	enum key_type certificate_key; /* of the delegation certificate */
	bool delegation_critical;      /* its DelegationUsage extension is critical */
	bool has_key_usage;	       /* it has a key usage extension */
	int64_t expiry;		       /* of the DC; seconds since the epoch, like the next two */
	int64_t not_after;	       /* of the certificate */
	int64_t now;
};

void compat_facts(struct compat_facts *f, const struct dc *dc,
	const struct certificate *certificate, enum dc_role role, int64_t now);

enum compat_stack {
	COMPAT_NSS,
	COMPAT_FIZZ,
	COMPAT_BORINGSSL,
	COMPAT_CLOUDFLARE_GO,
	COMPAT_TONGSUO,
	COMPAT_TLSLITE_NG,
	COMPAT_STACKS
};

struct compat_stack_info {
	const char *name; /* "nss", ... as rules and options spell it */
	const char *side; /* what it does with DCs */
	const char *note; /* what no field of a DC shows; NULL: nothing */
};
const struct compat_stack_info *compat_stack(enum compat_stack stack);

struct compat_rule {
	enum compat_stack stack;
	const char *code; /* stable: "NSS-ALGORITHM", ... */
	const char *text; /* a sentence that begins with the stack's name */
	bool (*broken)(const struct compat_facts *f);
};
/* index < compat_rule_count(), which is at most 32. */
unsigned compat_rule_count(void);
const struct compat_rule *compat_rule(unsigned index);

/* The rules that are broken: bit i for compat_rule(i). 0: every stack of the list takes it. */
uint32_t compat_warnings(const struct compat_facts *f);

#endif
