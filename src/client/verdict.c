#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "compat.h"
#include "load.h"
#include "tool.h"
#include "verify.h"

const char verify_help[] =
	"usage: dcsign verify --certificate FILE [--at TIME] [--role server|client] [--compat]\n"
	"           [--json] FILE\n"
	"\n"
	"Judges a delegated credential as a careful TLS client does (RFC 9345 sections 4.1.3 and\n"
	"4.2). Errors bear the name that NSS (Firefox) gives them. The certificate's chain and "
	"the\n"
	"server's name are not judged.\n"
	"\n"
	"  FILE                 raw octets, PEM, hex or JSON (found out); - for standard input\n"
	"  --certificate FILE   the delegation certificate, PEM or DER; of a chain the first\n"
	"  --at TIME            judge at this time (2026-01-31T12:00:00Z) instead of now\n"
	"  --role ROLE          server (the default) or client: whose credential it is\n"
	"  --compat             also which TLS stacks are known to take it, and why others do not\n"
	"  --json               the verdict as one JSON object\n"
	"\n"
	"Examples:\n"
	"  dcsign verify --certificate dc/chain.pem dc/credential.dc\n"
	"  dcsign verify --compat --certificate dc/chain.pem dc/credential.dc\n";

struct verdict {
	struct loaded_dc in;
	struct certificate certificate;
	enum dc_role role;
	int64_t now;
	struct refusal why;
	json_t *compat; /* a list, one object per stack; NULL: not asked for */
};

static json_t *valid_json(const struct verdict *v)
{
	int64_t expiry = dc_expiry(&v->in.dc, v->certificate.not_before);
	char opens[21], until[21];

	time_text(opens, dc_window_opens(v->certificate.not_before, expiry));
	time_text(until, expiry);
	return json_pack("{s:b, s:s, s:s, s:s, s:s}", "valid", 1, "role", dc_role_name(v->role),
		"algorithm", scheme_by_code(v->in.dc.scheme)->name, "window_opens", opens,
		"expires", until);
}

static json_t *invalid_json(const struct verdict *v)
{
	return json_pack("{s:b, s:s, s:s?, s:s, s:s}", "valid", 0, "code", err_name(v->why.err),
		"nss", verify_nss_name(v->why.err), "field", v->why.field, "detail",
		v->why.detail[0] ? v->why.detail : err_text(v->why.err));
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s ? s : "";
}

static void print_compat(const json_t *compat)
{
	const json_t *stack, *reason;
	size_t i, k;

	json_array_foreach(compat, i, stack)
	{
		const json_t *why = json_object_get(stack, "why");
		printf("  %-13s  %-17s  %s\n", text_of(stack, "stack"), text_of(stack, "side"),
			json_is_true(json_object_get(stack, "takes")) ? "takes it" : "NOT");
		json_array_foreach(why, k, reason)
			printf("    %s: %s\n", text_of(reason, "code"), text_of(reason, "text"));
		if (*text_of(stack, "note"))
			printf("    note: %s\n", text_of(stack, "note"));
	}
}

static void print_verdict(const struct verdict *v, bool json)
{
	json_t *o = v->why.err ? invalid_json(v) : valid_json(v);

	if (json) {
		if (v->compat)
			json_object_set(o, "compat", v->compat);
		print_json(o);
	} else if (v->why.err) {
		const char *nss = verify_nss_name(v->why.err);
		printf("invalid: %s: %s\n", nss ? nss : text_of(o, "code"), text_of(o, "detail"));
	} else {
		printf("valid: a %s delegated credential for %s, accepted from %s to %s\n",
			text_of(o, "role"), text_of(o, "algorithm"), text_of(o, "window_opens"),
			text_of(o, "expires"));
	}
	if (!json)
		print_compat(v->compat);
	json_decref(o);
}

/* What every stack refuses, whatever the rules of compat.h say of the rest. */
static bool nobody_takes_it(struct verdict *v)
{
	static const enum err all[] = {
		ERR_CERT_NO_DELEGATION, ERR_CERT_PURPOSE, ERR_CERT_NOT_YET, ERR_CERT_EXPIRED};
	size_t i;
	for (i = 0; i < sizeof all / sizeof all[0]; i++)
		if (v->why.err == all[i])
			return true;
	if (v->why.err == ERR_CERT_KEY_USAGE && v->certificate.has_key_usage)
		return true;
	return v->in.dc.spki == NULL ||
	       verify_dc_sound(&v->in.dc, &v->certificate, v->role, &(struct refusal){0}) != ERR_OK;
}

static json_t *reasons(enum compat_stack stack, uint32_t broken)
{
	json_t *list = json_array();
	unsigned i;
	for (i = 0; i < compat_rule_count(); i++) {
		const struct compat_rule *rule = compat_rule(i);
		if (rule->stack == stack && broken & UINT32_C(1) << i)
			json_array_append_new(list,
				json_pack("{s:s, s:s}", "code", rule->code, "text", rule->text));
	}
	return list;
}

static void judge_compat(struct verdict *v)
{
	bool nobody = nobody_takes_it(v);
	struct compat_facts facts;
	uint32_t broken;
	int stack;

	compat_facts(&facts, &v->in.dc, &v->certificate, v->role, v->now);
	broken = compat_warnings(&facts);
	v->compat = json_array();
	for (stack = 0; stack < COMPAT_STACKS; stack++) {
		const struct compat_stack_info *info = compat_stack((enum compat_stack)stack);
		json_t *why = nobody ? json_pack("[{s:s, s:s}]", "code", err_name(v->why.err),
					       "text", "refused by every stack, see above")
				     : reasons((enum compat_stack)stack, broken);
		json_array_append_new(
			v->compat, json_pack("{s:s, s:s, s:b, s:o, s:s?}", "stack", info->name,
					   "side", info->side, "takes", json_array_size(why) == 0,
					   "why", why, "note", info->note));
	}
}

/* A file that does not parse is refused with the same form of verdict as one that does not verify.
 */
static int judge(
	struct verdict *v, const char *file, const char *certificate, bool compat, bool json)
{
	enum err e = load_certificate(&v->certificate, certificate, &v->why);
	if (e)
		return tool_fail("verify", TOOL_REFUSED, "%s", v->why.detail);
	e = load_dc(&v->in, file, &v->why);
	if (e == ERR_SYSTEM)
		return tool_fail("verify", TOOL_REFUSED, "%s", v->why.detail);
	if (!e)
		e = verify_dc(&v->in.dc, v->in.octets.octets, v->in.octets.len, &v->certificate,
			v->role, v->now, &v->why);
	v->why.err = e;
	if (compat)
		judge_compat(v);
	print_verdict(v, json);
	return e ? TOOL_REFUSED : TOOL_OK;
}

int command_verify(int argc, char **argv)
{
	const char *file = NULL, *certificate = NULL, *at = NULL, *role = NULL;
	bool json = false, compat = false;
	const struct tool_option options[] = {
		{"certificate", &certificate, NULL, NULL, 0},
		{"at", &at, NULL, NULL, 0},
		{"role", &role, NULL, NULL, 0},
		{"compat", NULL, &compat, NULL, 0},
		{"json", NULL, &json, NULL, 0},
		{NULL, NULL, NULL, NULL, 0},
	};
	struct verdict v = {.role = DC_SERVER, .now = time(NULL)};
	int code = tool_options(options, argc, argv, &file, 1);

	if (code != TOOL_OK)
		return code;
	if (!certificate)
		return tool_usage("verify", "--certificate is missing: a delegated credential "
					    "means nothing without its certificate");
	if (at && !time_parse(at, &v.now))
		return tool_usage("verify", "--at %s: give a time like 2026-01-31T12:00:00Z", at);
	if (role && !dc_role_parse(role, &v.role))
		return tool_usage("verify", "--role %s: give server or client", role);
	code = judge(&v, file, certificate, compat, json);
	json_decref(v.compat);
	load_certificate_free(&v.certificate);
	load_dc_free(&v.in);
	return code;
}
