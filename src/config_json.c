#include "config.h"

#include <string.h>

#include "json.h"

/* Canonical JSON: the members of each object are written in the order of their names. */
static void put_string(struct buf *out, const char *s)
{
	canon_text(out, &(struct octets){(const uint8_t *)s, strlen(s)});
}

static void member(struct buf *out, const char *name)
{
	if (out->len > 0 && out->octets[out->len - 1] != '{')
		buf_u8(out, ',');
	put_string(out, name);
	buf_u8(out, ':');
}

static void put_text(struct buf *out, const char *name, const char *value)
{
	member(out, name);
	put_string(out, value);
}

static void put_number(struct buf *out, const char *name, uint64_t value)
{
	member(out, name);
	buf_printf(out, "%llu", (unsigned long long)value);
}

/* Between the elements of a list. */
static void element(struct buf *out)
{
	if (out->len > 0 && out->octets[out->len - 1] != '[')
		buf_u8(out, ',');
}

static void begin_list(struct buf *out, const char *name)
{
	member(out, name);
	buf_u8(out, '[');
}

static void put_texts(struct buf *out, const char *name, char *const *text, size_t count)
{
	begin_list(out, name);
	for (size_t i = 0; i < count; i++) {
		element(out);
		put_string(out, text[i]);
	}
	buf_u8(out, ']');
}

static const char *const match_names[] = {
	[MATCH_URI] = "uri",
	[MATCH_DNS] = "dns",
	[MATCH_CN] = "cn",
	[MATCH_SHA256] = "sha256",
	[MATCH_SPKI_SHA256] = "spki_sha256",
	[MATCH_PEER_UID] = "peer_uid",
};

static void put_client(struct buf *out, const struct config_client *c)
{
	static const struct {
		unsigned right;
		const char *name;
	} rights[] = {{RIGHT_HOLD, "hold"}, {RIGHT_ISSUE, "issue"}, {RIGHT_READ, "read"},
		{RIGHT_RELEASE, "release"}};

	buf_u8(out, '{');
	put_texts(out, "keys", c->keys, c->key_count);
	begin_list(out, "match");
	for (size_t i = 0; i < c->match_count; i++) {
		element(out);
		buf_u8(out, '{');
		put_text(out, match_names[c->match[i].kind], c->match[i].value);
		buf_u8(out, '}');
	}
	buf_u8(out, ']');
	put_number(out, "max_live", c->max_live);
	begin_list(out, "may");
	for (size_t i = 0; i < sizeof rights / sizeof rights[0]; i++)
		if (c->may & rights[i].right) {
			element(out);
			put_string(out, rights[i].name);
		}
	buf_u8(out, ']');
	put_text(out, "name", c->name);
	put_text(out, "policy", c->policy);
	put_number(out, "rate_count", c->rate_count);
	put_number(out, "rate_seconds", c->rate_seconds);
	buf_u8(out, '}');
}

static void put_key(struct buf *out, const struct config_key *k)
{
	buf_u8(out, '{');
	put_texts(out, "accept_weak_key", k->accept_weak_key, k->accept_weak_key_count);
	begin_list(out, "certificate");
	for (size_t i = 0; i < k->certificate_count; i++) {
		element(out);
		put_string(out, k->certificate[i].path);
	}
	buf_u8(out, ']');
	put_text(out, "issuer_ca", k->issuer_ca.path != NULL ? k->issuer_ca.path : "");
	put_text(out, "name", k->name);
	put_text(out, "policy", k->policy);
	put_text(out, "uri", k->uri);
	buf_u8(out, '}');
}

static void put_policy(struct buf *out, const struct policy *p)
{
	buf_u8(out, '{');
	begin_list(out, "algorithms");
	for (unsigned i = 0; i < scheme_count(); i++)
		if (p->schemes & scheme_bit(scheme_at(i)->code)) {
			element(out);
			put_string(out, scheme_at(i)->name);
		}
	buf_u8(out, ']');
	put_number(out, "clock_skew", (uint64_t)p->clock_skew);
	put_number(out, "max_lifetime", (uint64_t)p->max_lifetime);
	put_number(out, "max_live", p->max_live);
	put_number(out, "max_start_ahead", (uint64_t)p->max_start_ahead);
	put_number(out, "min_lifetime", (uint64_t)p->min_lifetime);
	put_text(out, "name", p->name);
	put_text(out, "proof_of_possession", p->possession_required ? "required" : "optional");
	begin_list(out, "roles");
	for (unsigned role = DC_SERVER; role <= DC_CLIENT; role++)
		if (p->roles & 1u << role) {
			element(out);
			put_string(out, dc_role_name((enum dc_role)role));
		}
	buf_u8(out, ']');
	buf_u8(out, '}');
}

static bool on_token(const struct config *c, const char *key, const char *token)
{
	return strcmp(config_key(c, key)->token, token) == 0;
}

static bool uses_token(
	const struct config *c, const struct config_client *client, const char *token)
{
	for (size_t i = 0; i < client->key_count; i++)
		if (on_token(c, client->keys[i], token))
			return true;
	return false;
}

void config_json(struct buf *out, const struct config *c, const char *token)
{
	buf_u8(out, '{');
	begin_list(out, "clients");
	for (size_t i = 0; i < c->client_count; i++)
		if (uses_token(c, &c->client[i], token)) {
			element(out);
			put_client(out, &c->client[i]);
		}
	buf_u8(out, ']');
	begin_list(out, "keys");
	for (size_t i = 0; i < c->key_count; i++)
		if (strcmp(c->key[i].token, token) == 0) {
			element(out);
			put_key(out, &c->key[i]);
		}
	buf_u8(out, ']');
	put_number(out, "max_lifetime", (uint64_t)c->limits.max_lifetime);
	begin_list(out, "policies");
	for (size_t i = 0; i < c->policy_count; i++) {
		element(out);
		put_policy(out, &c->policy[i]);
	}
	buf_u8(out, ']');
	buf_u8(out, '}');
}
