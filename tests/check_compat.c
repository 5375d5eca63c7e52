/* Each rule of compat.h is flipped by a credential that differs from a good one in one thing. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "compat.h"
#include "dc_maker.h"
#include "run_suite.h"

static uint32_t bit(const char *code)
{
	unsigned i;
	for (i = 0; i < compat_rule_count(); i++)
		if (strcmp(compat_rule(i)->code, code) == 0)
			return UINT32_C(1) << i;
	ck_abort_msg("there is no rule %s", code);
	return 0;
}

/* codes: separated by spaces. */
static uint32_t bits(const char *codes)
{
	char list[512], *at, *code;
	uint32_t set = 0;
	snprintf(list, sizeof list, "%s", codes);
	for (code = strtok_r(list, " ", &at); code; code = strtok_r(NULL, " ", &at))
		set |= bit(code);
	return set;
}

static void names(uint32_t set, char *text, size_t size)
{
	unsigned i;
	*text = 0;
	for (i = 0; i < compat_rule_count(); i++)
		if (set & UINT32_C(1) << i)
			snprintf(text + strlen(text), size - strlen(text), " %s",
				compat_rule(i)->code);
}

struct wish {
	struct cert_wish certificate;
	struct dc_wish dc;
	int64_t now;
	bool critical;
};

static struct wish good(void)
{
	return (struct wish){good_certificate, good_dc, MAKER_NB + 3600, false};
}

static uint32_t seen; /* every rule that some test has flipped */

static void warns(const struct wish *w, const char *codes)
{
	struct made_certificate by;
	struct buf octets = BUF_INIT(1 << 18);
	struct compat_facts f;
	struct dc dc;
	char got[512];
	uint32_t set;

	make_certificate(&by, &w->certificate);
	by.certificate.delegation_critical = w->critical;
	make_dc(&octets, &by, &w->dc);
	ck_assert_int_eq(dc_parse(&dc, octets.octets, octets.len), ERR_OK);
	compat_facts(&f, &dc, &by.certificate, w->dc.role, w->now);
	set = compat_warnings(&f);
	names(set, got, sizeof got);
	ck_assert_msg(set == bits(codes), "warned of%s instead of %s", got, codes);
	seen |= set;
	buf_free(&octets);
	made_certificate_free(&by);
}

START_TEST(the_one_that_everybody_takes)
{
	struct wish w = good();
	warns(&w, "");
}
END_TEST

static void keys(void)
{
	struct wish w = good();
	w.dc.type = "P-384";
	w.dc.scheme = 0x0503;
	warns(&w, "FIZZ-KEY-TYPES");
	w.dc.type = "ED25519";
	w.dc.scheme = 0x0807;
	warns(&w, "NSS-KEY FIZZ-KEY-TYPES");
	w.dc.type = "RSA-PSS";
	w.dc.scheme = 0x0809;
	warns(&w, "NSS-KEY FIZZ-KEY FIZZ-KEY-TYPES BORINGSSL-KEY CLOUDFLARE-GO-KEY");
	w.certificate.type = "P-384";
	w.dc = good_dc;
	w.dc.algorithm = 0x0503;
	warns(&w, "FIZZ-KEY-TYPES");
	w.dc.type = "P-384";
	w.dc.scheme = 0x0503;
	warns(&w, "");
}

static void algorithms(void)
{
	struct wish w = good();
	w.certificate.type = "ED25519";
	w.dc.algorithm = 0x0807;
	warns(&w, "NSS-ALGORITHM FIZZ-KEY-TYPES");
	w.certificate.type = "RSA";
	w.dc.algorithm = 0x0804;
	warns(&w, "NSS-ALGORITHM FIZZ-KEY-TYPES");
	w.certificate.type = "RSA-PSS"; /* id-RSASSA-PSS */
	w.dc.algorithm = 0x0809;
	warns(&w, "NSS-ALGORITHM FIZZ-KEY-TYPES CLOUDFLARE-GO-ALGORITHM");
}

static void roles(void)
{
	struct wish w = good();
	w.dc.role = DC_CLIENT;
	warns(&w, "NSS-ROLE BORINGSSL-ROLE TLSLITE-NG-ROLE");
}

static void certificates(void)
{
	struct wish w = good();
	w.certificate.key_usage = NULL;
	warns(&w, "NSS-KEY-USAGE FIZZ-KEY-USAGE CLOUDFLARE-GO-KEY-USAGE");
	w = good();
	w.critical = true;
	warns(&w, "CLOUDFLARE-GO-CRITICAL TONGSUO-CRITICAL");
}

static void times(void)
{
	struct wish w = good();
	w.now = MAKER_NB + 86399;
	warns(&w, "");
	w.now = MAKER_NB + 86400;
	warns(&w, "FIZZ-EXPIRED CLOUDFLARE-GO-EXPIRED TONGSUO-EXPIRED");
	w.now = MAKER_NB + 86401;
	warns(&w, "NSS-EXPIRED FIZZ-EXPIRED CLOUDFLARE-GO-EXPIRED TONGSUO-EXPIRED");
	w = good();
	w.dc.valid_time = 3600 + 604800;
	warns(&w, "");
	w.dc.valid_time++;
	warns(&w, "NSS-VALIDITY FIZZ-VALIDITY CLOUDFLARE-GO-VALIDITY");
	w = good();
	w.certificate.not_after = MAKER_NB + 86401;
	warns(&w, "");
	w.certificate.not_after--;
	warns(&w, "FIZZ-OUTLIVES");
}

START_TEST(each_rule_is_flipped)
{
	char missing[512];
	uint32_t all = UINT32_MAX >> (32 - compat_rule_count());
	keys();
	algorithms();
	roles();
	certificates();
	times();
	names(all & ~seen, missing, sizeof missing);
	ck_assert_msg(seen == all, "no credential here flips%s", missing);
}
END_TEST

START_TEST(rules_tell_their_stack)
{
	unsigned i;
	for (i = 0; i < compat_rule_count(); i++) {
		const struct compat_rule *r = compat_rule(i);
		const char *name = compat_stack(r->stack)->name;
		ck_assert_msg(strncmp(r->text, name, strlen(name)) == 0, "%s", r->text);
		ck_assert_msg(strncasecmp(r->code, name, strlen(name)) == 0, "%s", r->code);
		ck_assert_uint_eq(bit(r->code), UINT32_C(1) << i);
	}
	ck_assert_ptr_null(compat_rule(i));
	for (i = 0; i < COMPAT_STACKS; i++)
		ck_assert_ptr_nonnull(compat_stack((enum compat_stack)i)->side);
}
END_TEST

RUN_SUITE("compat", the_one_that_everybody_takes, each_rule_is_flipped, rules_tell_their_stack)
