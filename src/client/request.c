#include "request.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "keygen.h"
#include "load.h"
#include "set.h"
#include "tool.h"

const char request_help[] =
	"usage: dcsign request --url URL --key ID --cert FILE --tls-key FILE --ca FILE\n"
	"           (--new-key ALG | --csr FILE | --public-key FILE) -o DIR [OPTION]...\n"
	"\n"
	"Asks the service for a delegated credential, verifies what it gives, and puts it into "
	"DIR\n"
	"with its certificate chain and, if it was made here, its key, as one set.\n"
	"\n"
	"The service:\n"
	"  --url URL              https://host:port (DCSIGN_URL)\n"
	"  --ca FILE              the CA of the service's certificate, PEM (DCSIGN_CA)\n"
	"  --cert FILE            your client certificate, PEM (DCSIGN_CERT)\n"
	"  --tls-key FILE         its private key, PEM (DCSIGN_KEY)\n"
	"  --key ID               the delegation key's name there (DCSIGN_DELEGATION_KEY)\n"
	"The credential's key, one of:\n"
	"  --new-key ALG          made here: ecdsa_secp256r1_sha256 (P-256),\n"
	"                         ecdsa_secp384r1_sha384 (P-384), ecdsa_secp521r1_sha512 (P-521),\n"
	"                         ed25519, rsa_pss_pss_sha256\n"
	"  --csr FILE             a PKCS#10 request, PEM or DER: proves that you hold the key\n"
	"  --public-key FILE      PEM or DER; where the service's policy takes one without proof\n"
	"What it is to be:\n"
	"  --algorithm NAME       with --csr or --public-key: a SignatureScheme of the key's type\n"
	"  --role ROLE            server (the default) or client\n"
	"  --lifetime TIME        30m, 24h, 7d or seconds; default: all that the policy allows\n"
	"  --not-after TIME       instead: when it ends, like 2026-01-31T12:00:00Z\n"
	"  --not-before TIME      when you mean to begin to use it\n"
	"  --reference TEXT       a note for the ledger: a ticket, a change\n"
	"  --idempotency-key KEY  with --csr or --public-key: a repeated call gets the same "
	"answer\n"
	"Output:\n"
	"  -o, --output DIR       credential.dc, chain.pem, credential.json and, with --new-key,\n"
	"                         key.pem\n"
	"  --format FORM          raw (credential.dc, the default), pem (credential.pem),\n"
	"                         hex (credential.hex), json (credential.json alone), fizz\n"
	"                         (fizz.pem: credential, key and chain; with --new-key P-256)\n"
	"  --dry-run              only ask whether it would be issued; nothing is signed or "
	"written\n"
	"  --json                 print the result as one JSON object\n"
	"\n"
	"Examples:\n"
	"  dcsign request --url https://sign1.example:8443 --ca ca.pem --cert edge.pem \\\n"
	"      --tls-key edge.key --key www --new-key P-256 --lifetime 24h -o /etc/edge/dc\n"
	"  dcsign request --key www --csr request.pem --dry-run      (the rest from DCSIGN_...)\n";

#define COMMAND "request"

static int wrong_pair(const struct request *r)
{
	int keys = !!r->new_key + !!r->csr + !!r->public_key;
	if (keys != 1)
		return tool_usage(COMMAND, "give one of --new-key, --csr and --public-key");
	if (r->lifetime && r->not_after)
		return tool_usage(COMMAND, "give --lifetime or --not-after, not both");
	if (r->new_key && r->algorithm)
		return tool_usage(COMMAND, "--new-key says the algorithm: leave --algorithm out");
	if (r->new_key && r->idempotency)
		return tool_usage(COMMAND, "--idempotency-key needs --csr or --public-key: a "
					   "repeated --new-key makes another key");
	if (!r->output && !r->dry_run)
		return tool_usage(COMMAND, "-o is missing: the folder for the files");
	return TOOL_OK;
}

static int wrong_service(const struct request *r)
{
	const struct {
		const char *value, *name, *variable;
	} needed[] = {
		{r->service.url, "--url", "DCSIGN_URL"},
		{r->key, "--key", "DCSIGN_DELEGATION_KEY"},
		{r->service.ca, "--ca", "DCSIGN_CA"},
		{r->service.cert, "--cert", "DCSIGN_CERT"},
		{r->service.tls_key, "--tls-key", "DCSIGN_KEY"},
	};
	size_t i;
	for (i = 0; i < sizeof needed / sizeof needed[0]; i++)
		if (!needed[i].value)
			return tool_usage(COMMAND, "%s is missing (or set %s)", needed[i].name,
				needed[i].variable);
	if (strncmp(r->service.url, "https://", 8) != 0)
		return tool_usage(COMMAND, "--url %s: give https://host:port", r->service.url);
	if (!name_valid(r->key))
		return tool_usage(COMMAND, "--key %s: a key's name is of a-z, 0-9 and -", r->key);
	return TOOL_OK;
}

static int wrong_scheme(struct request *r)
{
	char names[512];
	if (r->new_key && !keygen_scheme(r->new_key)) {
		keygen_names(names, sizeof names);
		return tool_usage(COMMAND, "--new-key %s: give one of %s", r->new_key, names);
	}
	if (r->algorithm) {
		r->asked.scheme = scheme_by_name(r->algorithm);
		if (!r->asked.scheme)
			return tool_usage(COMMAND,
				"--algorithm %s: give a SignatureScheme of TLS, such as "
				"ecdsa_secp256r1_sha256",
				r->algorithm);
	}
	return TOOL_OK;
}

/* What the strings mean. */
static int wrong_value(struct request *r)
{
	int64_t t;
	if (r->lifetime && (!tool_duration(r->lifetime, &r->seconds) || r->seconds == 0))
		return tool_usage(
			COMMAND, "--lifetime %s: give 30m, 24h, 7d or seconds", r->lifetime);
	if (r->not_after && !time_parse(r->not_after, &r->asked.not_after))
		return tool_usage(COMMAND, "--not-after %s: give a time like 2026-01-31T12:00:00Z",
			r->not_after);
	r->asked.key = r->key;
	r->asked.has_not_after = r->not_after != NULL;
	if (r->not_before && !time_parse(r->not_before, &t))
		return tool_usage(COMMAND, "--not-before %s: give a time like 2026-01-31T12:00:00Z",
			r->not_before);
	if (r->role && !dc_role_parse(r->role, &r->asked.role))
		return tool_usage(COMMAND, "--role %s: give server or client", r->role);
	if (r->format && !format_by_name(r->format, &r->form))
		return tool_usage(COMMAND, "--format %s: give one of %s", r->format, format_names);
	if (r->form == FORMAT_FIZZ &&
		(!r->new_key || keygen_scheme(r->new_key) != scheme_by_code(SCHEME_ECDSA_P256)))
		return tool_usage(COMMAND,
			"--format fizz needs --new-key P-256: the file holds the private key, and "
			"Fizz loads no other type");
	return wrong_scheme(r);
}

static int read_options(struct request *r, int argc, char **argv)
{
	const struct tool_option options[] = {
		{"url", &r->service.url, NULL, "DCSIGN_URL", 0},
		{"ca", &r->service.ca, NULL, "DCSIGN_CA", 0},
		{"cert", &r->service.cert, NULL, "DCSIGN_CERT", 0},
		{"tls-key", &r->service.tls_key, NULL, "DCSIGN_KEY", 0},
		{"key", &r->key, NULL, "DCSIGN_DELEGATION_KEY", 0},
		{"new-key", &r->new_key, NULL, NULL, 0},
		{"csr", &r->csr, NULL, NULL, 0},
		{"public-key", &r->public_key, NULL, NULL, 0},
		{"algorithm", &r->algorithm, NULL, NULL, 0},
		{"role", &r->role, NULL, NULL, 0},
		{"lifetime", &r->lifetime, NULL, NULL, 0},
		{"not-after", &r->not_after, NULL, NULL, 0},
		{"not-before", &r->not_before, NULL, NULL, 0},
		{"reference", &r->reference, NULL, NULL, 0},
		{"idempotency-key", &r->idempotency, NULL, NULL, 0},
		{"format", &r->format, NULL, NULL, 0},
		{"output", &r->output, NULL, NULL, 'o'},
		{"dry-run", NULL, &r->dry_run, NULL, 0},
		{"json", NULL, &r->json, NULL, 0},
		{NULL, NULL, NULL, NULL, 0},
	};
	int code = tool_options(options, argc, argv, NULL, 0);
	if (code == TOOL_OK)
		code = wrong_service(r);
	if (code == TOOL_OK)
		code = wrong_pair(r);
	return code == TOOL_OK ? wrong_value(r) : code;
}

/* One error, for a person or for a program. */
static int failed(const struct request *r, int code, long status, const char *name,
	const char *field, const char *detail)
{
	json_t *o;
	if (!r->json && status)
		return tool_fail(COMMAND, code, "the service refused (%ld %s%s%s): %s", status,
			name, *field ? ", " : "", field, detail);
	if (!r->json)
		return tool_fail(COMMAND, code, "%s", detail);
	o = json_pack("{s:{s:s, s:s, s:s, s:I}}", "error", "code", name, "field", field, "detail",
		detail, "status", (json_int_t)status);
	print_json(o);
	json_decref(o);
	return code;
}

static int failed_here(const struct request *r, int code, const struct refusal *why)
{
	return failed(r, code, 0, err_name(why->err), why->field,
		why->detail[0] ? why->detail : err_text(why->err));
}

static const char *member(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s ? s : "";
}

static int refused_by_service(const struct request *r, const struct service_answer *a)
{
	struct service_problem problem;
	int code = service_problem(a, &problem);

	return failed(r, code, a->status, problem.code, problem.field, problem.detail);
}

static int ask(const struct request *r, struct service_answer *answer)
{
	struct refusal why = {0};
	char path[128], *body = request_body(r);
	const struct service_call call = {path, body, r->idempotency, NULL};
	long good = r->dry_run ? 200 : 201;
	enum err e;

	if (!body)
		return failed(r, TOOL_UNEXPECTED, 0, "out_of_memory", "", "out of memory");
	snprintf(path, sizeof path, "/v1/keys/%s/credentials%s", r->key,
		r->dry_run ? "?dry_run=true" : "");
	e = service_call(&r->service, &call, answer, &why);
	free(body);
	if (e)
		return failed_here(r, TOOL_UNREACHABLE, &why);
	return answer->status == good ? TOOL_OK : refused_by_service(r, answer);
}

static int show_decision(const struct request *r, const struct service_answer *a)
{
	json_t *o = json_loadb((const char *)a->body.octets, a->body.len, 0, NULL);
	if (!o)
		return failed(r, TOOL_UNEXPECTED, a->status, "unexpected", "", "not JSON");
	if (!r->json)
		printf("It would be issued:\n");
	print_json(o);
	json_decref(o);
	return TOOL_OK;
}

static enum err write_set(
	const struct request *r, const struct issued *got, struct install *in, struct refusal *why)
{
	const struct set_wish wish = {
		.formats = 1u << r->form, .role = r->asked.role, .key = r->made, .key_mode = 0600};
	return set_put(in, got, &wish, why);
}

static void show_issued(const struct request *r, const struct issued *got, bool replayed)
{
	const json_t *warnings = json_object_get(got->root, "warnings");
	int64_t left = got->expiry - time(NULL);
	char expiry[21];
	size_t i;

	if (r->json) {
		json_object_set_new(got->root, "directory", json_string(r->output));
		print_json(got->root);
		return;
	}
	time_text(expiry, got->expiry);
	printf("issued    %s%s\n", member(got->root, "id"), replayed ? " (again)" : "");
	printf("key       %s, %s role\n", r->key, dc_role_name(r->asked.role));
	printf("algorithm %s\n", scheme_by_code(got->dc.scheme)->name);
	printf("expires   %s, in %" PRId64 " h %" PRId64 " min\n", expiry, left / 3600,
		left % 3600 / 60);
	printf("files     %s/: %s, chain.pem%s%s\n", r->output, format_file(r->form),
		r->made ? ", key.pem" : "", r->form == FORMAT_JSON ? "" : ", credential.json");
	for (i = 0; i < json_array_size(warnings); i++) {
		const char *text = json_string_value(json_array_get(warnings, i));
		printf("warning   %s\n", text ? text : "");
	}
}

static int take(struct request *r, const struct service_answer *answer, struct install *in)
{
	struct refusal why = {0};
	struct issued got;
	int code = TOOL_OK;

	if (issued_read(&got, answer->body.octets, answer->body.len, &r->asked, time(NULL), &why))
		code = failed_here(r, TOOL_UNEXPECTED, &why);
	else if (write_set(r, &got, in, &why))
		code = failed_here(r, TOOL_UNEXPECTED, &why);
	else
		show_issued(r, &got, answer->replayed);
	issued_free(&got);
	return code;
}

int command_request(int argc, char **argv)
{
	struct request r = {
		.csr_pem = BUF_INIT(2 * FORMAT_FILE_MAX), .spki = BUF_INIT(FORMAT_FILE_MAX)};
	struct service_answer answer = {.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	struct install in = INSTALL_INIT;
	struct refusal why = {0};
	int code = read_options(&r, argc, argv);

	if (code != TOOL_OK)
		return code;
	if ((!r.dry_run && install_open(&in, r.output, &why) != ERR_OK) ||
		request_key(&r, &why) != ERR_OK)
		code = failed_here(&r, TOOL_REFUSED, &why);
	else
		code = ask(&r, &answer);
	if (code == TOOL_OK)
		code = r.dry_run ? show_decision(&r, &answer) : take(&r, &answer, &in);
	install_close(&in);
	buf_free(&answer.body);
	request_free(&r);
	return code;
}
