#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "load.h"
#include "tool.h"
#include "verify.h"

const char verify_help[] =
	"usage: dcsign verify --certificate FILE [--at TIME] [--role server|client] [--json] FILE\n"
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
	"  --json               the verdict as one JSON object\n"
	"\n"
	"Example:\n"
	"  dcsign verify --certificate dc/chain.pem dc/credential.dc\n";

struct verdict {
	struct loaded_dc in;
	struct certificate certificate;
	enum dc_role role;
	int64_t now;
	struct refusal why;
};

static void print_valid(const struct verdict *v, bool json)
{
	int64_t expiry = dc_expiry(&v->in.dc, v->certificate.not_before);
	char opens[21], until[21];
	json_t *o;

	time_text(opens, dc_window_opens(v->certificate.not_before, expiry));
	time_text(until, expiry);
	if (!json) {
		printf("valid: a %s delegated credential for %s, accepted from %s to %s\n",
			dc_role_name(v->role), scheme_by_code(v->in.dc.scheme)->name, opens, until);
		return;
	}
	o = json_pack("{s:b, s:s, s:s, s:s, s:s}", "valid", 1, "role", dc_role_name(v->role),
		"algorithm", scheme_by_code(v->in.dc.scheme)->name, "window_opens", opens,
		"expires", until);
	print_json(o);
	json_decref(o);
}

static void print_invalid(const struct verdict *v, bool json)
{
	const char *nss = verify_nss_name(v->why.err), *code = err_name(v->why.err);
	const char *detail = v->why.detail[0] ? v->why.detail : err_text(v->why.err);
	json_t *o;

	if (!json) {
		printf("invalid: %s: %s\n", nss ? nss : code, detail);
		return;
	}
	o = json_pack("{s:b, s:s, s:s?, s:s, s:s}", "valid", 0, "code", code, "nss", nss, "field",
		v->why.field, "detail", detail);
	print_json(o);
	json_decref(o);
}

/* A file that does not parse is refused with the same form of verdict as one that does not verify.
 */
static int judge(struct verdict *v, const char *file, const char *certificate, bool json)
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
	if (e)
		print_invalid(v, json);
	else
		print_valid(v, json);
	return e ? TOOL_REFUSED : TOOL_OK;
}

int command_verify(int argc, char **argv)
{
	const char *file = NULL, *certificate = NULL, *at = NULL, *role = NULL;
	bool json = false;
	const struct tool_option options[] = {
		{"certificate", &certificate, NULL, NULL, 0},
		{"at", &at, NULL, NULL, 0},
		{"role", &role, NULL, NULL, 0},
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
	code = judge(&v, file, certificate, json);
	load_certificate_free(&v.certificate);
	load_dc_free(&v.in);
	return code;
}
