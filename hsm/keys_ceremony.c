#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "csr.h"
#include "json.h"
#include "keys.h"
#include "token_keygen.h"

static const struct {
	const char *name;
	enum key_type type;
	unsigned bits;
} types[] = {
	{"P-256", KEY_EC_P256, 0},
	{"P-384", KEY_EC_P384, 0},
	{"P-521", KEY_EC_P521, 0},
	{"P256", KEY_EC_P256, 0},
	{"P384", KEY_EC_P384, 0},
	{"P521", KEY_EC_P521, 0},
	{"Ed25519", KEY_ED25519, 0},
	{"RSA-2048", KEY_RSA, 2048},
	{"RSA-3072", KEY_RSA, 3072},
	{"RSA-4096", KEY_RSA, 4096},
};

static const char *const verdicts[] = {[VERDICT_OK] = "ok",
	[VERDICT_NOTE] = "note",
	[VERDICT_ACCEPTED] = "accepted",
	[VERDICT_REFUSED] = "REFUSED"};

/* What a command prints, a line or a JSON object per item. */
struct printing {
	bool json;
	unsigned items;
};

/* ,"name":"value" as canonical JSON writes it; without the comma for the first. */
static void print_member(const char *name, const char *value, bool first)
{
	struct buf text = BUF_INIT(4096);
	const struct octets o = {(const uint8_t *)value, strlen(value)};

	canon_text(&text, &o);
	printf("%s\"%s\":%.*s", first ? "" : ",", name, (int)text.len, (const char *)text.octets);
	buf_free(&text);
}

static void tell_dropped(void *arg, const char *attribute, const char *why)
{
	struct printing *p = arg;

	fprintf(stderr, "dcsign keys: the token does not take %s (%s): left out\n", attribute, why);
	if (p->json)
		printf("%s", p->items++ == 0 ? "{\"left_out\":[{" : ",{");
	if (p->json) {
		print_member("attribute", attribute, true);
		print_member("reason", why, false);
		printf("}");
	}
}

enum err keys_generate(struct token *t, const struct options *o, struct refusal *why)
{
	struct printing p = {.json = o->json};
	struct token_new_key k = {.uri = o->key_uri, .dropped = tell_dropped, .arg = &p};
	const char *name = NULL;
	enum err e;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (o->type != NULL && strcasecmp(o->type, types[i].name) == 0) {
			name = types[i].name;
			k.type = types[i].type;
			k.bits = types[i].bits;
		}
	if (k.type == KEY_NONE)
		return refuse(why, ERR_FORMAT, "type",
			"it must be P-256, P-384, P-521, Ed25519, RSA-2048, RSA-3072 or RSA-4096");
	e = token_key_generate(t, &k, why);
	if (e != ERR_OK)
		return e;
	if (!o->json) {
		printf("made %s %s\n", name, o->key_uri);
		return ERR_OK;
	}
	printf("%s]", p.items == 0 ? "{\"left_out\":[" : "");
	print_member("type", name, false);
	print_member("uri", o->key_uri, false);
	printf("}\n");
	return ERR_OK;
}

static enum err write_out(const char *path, const struct buf *text, struct refusal *why)
{
	FILE *f = path == NULL ? stdout : fopen(path, "w");
	bool ok = f != NULL && fwrite(text->octets, 1, text->len, f) == text->len;

	if (f != NULL && (f == stdout ? fflush(f) : fclose(f)) != 0)
		ok = false;
	if (ok)
		return ERR_OK;
	return refuse(why, ERR_SYSTEM, "output", "%s: %s", path == NULL ? "standard output" : path,
		strerror(errno));
}

enum err keys_csr(struct token *t, const struct options *o, struct refusal *why)
{
	struct csr_wish wish = {.subject = o->subject, .dns = o->dns, .dns_count = o->dns_count};
	struct buf pem = BUF_INIT(65536);
	EVP_PKEY *public_key = NULL;
	struct token_key key;
	enum err e;

	if (o->subject == NULL && o->dns_count == 0)
		return refuse(why, ERR_FORMAT, "subject", "--subject or --dns must be given");
	if (wish.subject == NULL)
		wish.subject = "";
	e = token_key_find(t, o->key_uri, &key, why);
	if (e == ERR_OK)
		e = token_key_public(t, o->key_uri, &public_key, why);
	if (e == ERR_OK)
		e = csr_make(&pem, &wish, t, &key, public_key, why);
	if (e == ERR_OK)
		e = write_out(o->output, &pem, why);
	EVP_PKEY_free(public_key);
	buf_free(&pem);
	return e;
}

static void print_listed(void *arg, const struct token_listed *key)
{
	struct printing *p = arg;

	if (!p->json) {
		printf("%-10s id=%-24s %s\n", key->type, key->id, key->label);
		return;
	}
	printf("%s{", p->items++ == 0 ? "" : ",");
	print_member("id", key->id, true);
	print_member("label", key->label, false);
	print_member("type", key->type, false);
	printf("}");
}

enum err keys_list(struct token *t, const struct options *o, struct refusal *why)
{
	struct printing p = {.json = o->json};
	enum err e;

	if (o->json)
		printf("{\"keys\":[");
	e = token_key_list(t, print_listed, &p, why);
	if (o->json)
		printf("]}\n");
	return e;
}

static void print_verdict(void *arg, const char *attribute, const char *value, enum token_verdict v)
{
	struct printing *p = arg;

	if (!p->json) {
		printf("%-20s %-32s %s\n", attribute, value, verdicts[v]);
		return;
	}
	printf("%s{", p->items++ == 0 ? "" : ",");
	print_member("attribute", attribute, true);
	print_member("value", value, false);
	print_member("verdict", verdicts[v], false);
	printf("}");
}

/* The attribute table, and whether the key may delegate. */
static enum err print_table(struct token *t, const struct options *o, struct refusal *why)
{
	struct printing p = {.json = o->json};
	struct token_key_rules rules = {.accept = o->accept,
		.accept_count = o->accept_count,
		.line = print_verdict,
		.arg = &p};
	struct token_key key;
	char weak[512];
	enum err e = token_key_find(t, o->key_uri, &key, why), offered;

	if (e != ERR_OK)
		return e;
	print_verdict(&p, "key type", key_type_name(key.type), VERDICT_OK);
	offered = token_type_offered(t, key.type, 0, why);
	print_verdict(&p, "mechanism", offered == ERR_OK ? "offered" : "not offered by the token",
		offered == ERR_OK ? VERDICT_OK : VERDICT_REFUSED);
	e = token_key_check(t, &key, &rules, weak, sizeof weak, offered == ERR_OK ? why : NULL);
	return offered == ERR_OK ? e : offered;
}

enum err keys_check(struct token *t, const struct options *o, struct refusal *why)
{
	enum err e;

	if (o->json)
		printf("{\"attributes\":[");
	e = print_table(t, o, why);
	if (o->json) {
		printf("]");
		print_member("detail", e == ERR_OK ? "" : why->detail, false);
		print_member("verdict", e == ERR_OK ? "ok" : err_name(e), false);
		printf("}\n");
	}
	return e;
}
