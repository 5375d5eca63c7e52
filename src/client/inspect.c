#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "command.h"
#include "load.h"
#include "spki.h"
#include "tool.h"

const char inspect_help[] =
	"usage: dcsign inspect FILE [--certificate FILE] [--json]\n"
	"\n"
	"Shows a delegated credential field by field, with the delegation certificate also when\n"
	"it can be used. Nothing is verified: see dcsign help verify.\n"
	"\n"
	"  FILE                 raw octets, PEM, hex or JSON (found out); - for standard input\n"
	"  --certificate FILE   PEM or DER; a chain's first certificate is taken\n"
	"  --json               the fields as one JSON object\n"
	"\n"
	"Example:\n"
	"  dcsign inspect dc/credential.dc --certificate dc/chain.pem\n";

static json_t *text(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static json_t *text(const char *fmt, ...)
{
	json_t *j;
	va_list ap;
	va_start(ap, fmt);
	j = json_vsprintf(fmt, ap);
	va_end(ap);
	return j;
}

static json_t *digest_text(const void *octets, size_t len)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	sha256(octets, len, digest);
	hex_encode(hex, digest, sizeof digest);
	return json_string(hex);
}

static json_t *time_json(int64_t t)
{
	char at[21];
	time_text(at, t);
	return json_string(at);
}

static json_t *scheme_json(uint16_t code)
{
	const struct scheme *s = scheme_by_code(code);
	return text("0x%04x %s", code, s ? s->name : "(unknown)");
}

static json_t *key_json(const struct dc *dc)
{
	struct spki spki;
	enum err e = spki_recognise(&spki, dc->spki, dc->spki_len);
	return e ? text("%s", err_text(e)) : text("%s", key_type_name(spki.key));
}

static const char *state(int64_t now, int64_t opens, int64_t expiry)
{
	return now > expiry ? "expired" : now < opens ? "not usable yet" : "usable";
}

static void add_certificate(json_t *o, const struct loaded_dc *in, const struct certificate *c)
{
	int64_t expiry = dc_expiry(&in->dc, c->not_before);
	int64_t opens = dc_window_opens(c->not_before, expiry);
	json_object_set_new(o, "certificate_subject", json_string(c->subject));
	json_object_set_new(o, "certificate_sha256", digest_text(c->der, c->len));
	json_object_set_new(o, "certificate_not_before", time_json(c->not_before));
	json_object_set_new(o, "certificate_not_after", time_json(c->not_after));
	json_object_set_new(o, "window_opens", time_json(opens));
	json_object_set_new(o, "expires", time_json(expiry));
	json_object_set_new(o, "state", json_string(state(time(NULL), opens, expiry)));
}

static json_t *describe(const struct loaded_dc *in)
{
	const struct dc *dc = &in->dc;
	json_t *o = json_object();
	json_object_set_new(o, "format", json_string(format_name(in->form)));
	json_object_set_new(o, "octets", json_integer((json_int_t)in->octets.len));
	json_object_set_new(o, "sha256", digest_text(in->octets.octets, in->octets.len));
	json_object_set_new(o, "valid_time", json_integer(dc->valid_time));
	json_object_set_new(o, "dc_cert_verify_algorithm", scheme_json(dc->scheme));
	json_object_set_new(o, "public_key_type", key_json(dc));
	json_object_set_new(o, "public_key_octets", json_integer((json_int_t)dc->spki_len));
	json_object_set_new(o, "public_key_sha256", digest_text(dc->spki, dc->spki_len));
	json_object_set_new(o, "algorithm", scheme_json(dc->algorithm));
	json_object_set_new(o, "signature_octets", json_integer((json_int_t)dc->signature_len));
	return o;
}

static void print_lines(json_t *o)
{
	const char *name;
	json_t *value;
	json_object_foreach(o, name, value)
	{
		printf("%-26s ", name);
		if (json_is_integer(value))
			printf("%" JSON_INTEGER_FORMAT "\n", json_integer_value(value));
		else
			printf("%s\n", json_string_value(value) ? json_string_value(value) : "");
	}
}

int command_inspect(int argc, char **argv)
{
	const char *file = NULL, *certificate_file = NULL;
	bool json = false;
	const struct tool_option options[] = {
		{"certificate", &certificate_file, NULL, NULL, 0},
		{"json", NULL, &json, NULL, 0},
		{NULL, NULL, NULL, NULL, 0},
	};
	struct loaded_dc in = {0};
	struct certificate certificate = {0};
	struct refusal why = {0};
	json_t *o = NULL;
	int code = tool_options(options, argc, argv, &file, 1);

	if (code != TOOL_OK)
		return code;
	if (load_dc(&in, file, &why) != ERR_OK ||
		(certificate_file &&
			load_certificate(&certificate, certificate_file, &why) != ERR_OK)) {
		code = tool_fail("inspect", TOOL_REFUSED, "%s", why.detail);
		goto out;
	}
	o = describe(&in);
	if (certificate_file)
		add_certificate(o, &in, &certificate);
	if (json)
		print_json(o);
	else
		print_lines(o);
out:
	json_decref(o);
	load_certificate_free(&certificate);
	load_dc_free(&in);
	return code;
}
