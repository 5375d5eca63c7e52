#include "rules.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rules {
	uint8_t generation[SHA256_SIZE];
	json_t *config; /* NULL: can't be read */
	struct rules *next;
};

enum err rules_add(struct rules **list, const struct record *r)
{
	struct rules *g = *list;

	while (g && memcmp(g->generation, r->generation.at, SHA256_SIZE) != 0)
		g = g->next;
	if (!g) {
		g = calloc(1, sizeof(*g));
		if (!g)
			return ERR_NOMEM;
		memcpy(g->generation, r->generation.at, SHA256_SIZE);
		g->next = *list;
		*list = g;
	}
	json_decref(g->config);
	g->config =
		json_loadb((const char *)r->config.at, r->config.len, JSON_REJECT_DUPLICATES, NULL);
	return g->config ? ERR_OK : ERR_FORMAT;
}

void rules_free(struct rules *list)
{
	while (list) {
		struct rules *next = list->next;

		json_decref(list->config);
		free(list);
		list = next;
	}
}

const struct rules *rules_find(const struct rules *list, const struct record *r)
{
	while (list && memcmp(list->generation, r->generation.at, SHA256_SIZE) != 0)
		list = list->next;
	return list;
}

/* The object of this name in a list of the configuration; NULL. */
static json_t *named(const struct rules *g, const char *of, const char *name, size_t len)
{
	json_t *list = json_object_get(g->config, of), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		const json_t *text = json_object_get(one, "name");

		if (json_string_length(text) == len &&
			memcmp(json_string_value(text), name, len) == 0)
			return one;
	}
	return NULL;
}

static json_t *named_by(const struct rules *g, const char *of, const struct octets *name)
{
	return name->len ? named(g, of, (const char *)name->at, name->len) : NULL;
}

static int64_t number(const json_t *of, const char *member)
{
	return json_integer_value(json_object_get(of, member));
}

static bool lists(const json_t *of, const char *member, const char *word, size_t len)
{
	json_t *list = json_object_get(of, member), *one;
	size_t i;

	json_array_foreach(list, i, one)
	{
		if (json_string_length(one) == len &&
			memcmp(json_string_value(one), word, len) == 0)
			return true;
	}
	return false;
}

static void policy_read(struct policy *p, const json_t *from)
{
	json_t *list = json_object_get(from, "algorithms"), *one;
	const char *proof = json_string_value(json_object_get(from, "proof_of_possession"));
	size_t i;

	*p = (struct policy){.max_lifetime = number(from, "max_lifetime"),
		.min_lifetime = number(from, "min_lifetime"),
		.clock_skew = number(from, "clock_skew"),
		.max_start_ahead = number(from, "max_start_ahead"),
		.max_live = (uint64_t)number(from, "max_live"),
		.possession_required = !proof || strcmp(proof, "required") == 0};
	json_array_foreach(list, i, one)
	{
		const char *name = json_string_value(one);
		const struct scheme *s = name ? scheme_by_name(name) : NULL;

		p->schemes |= s ? scheme_bit(s->code) : 0;
	}
	for (unsigned role = DC_SERVER; role <= DC_CLIENT; role++) {
		const char *name = dc_role_name((enum dc_role)role);

		if (lists(from, "roles", name, strlen(name)))
			p->roles |= 1u << role;
	}
}

/* The policy that a key or client names; false: it names none that there is. */
static bool policy_named(struct policy *p, const struct rules *g, const json_t *by)
{
	const json_t *name = json_object_get(by, "policy"), *found;

	found = json_string_length(name)
			? named(g, "policies", json_string_value(name), json_string_length(name))
			: NULL;
	if (found)
		policy_read(p, found);
	return found != NULL;
}

/* Ceiling, the key's and the client's policy: each only narrows. */
static bool policy_of(struct policy *p, const struct rules *g, const json_t *key, const json_t *by)
{
	struct policy theirs;
	int64_t ceiling = number(g->config, "max_lifetime");

	if (!policy_named(p, g, key))
		return false;
	if (policy_named(&theirs, g, by))
		policy_narrow(p, p, &theirs);
	if (ceiling > 0 && ceiling < p->max_lifetime)
		p->max_lifetime = ceiling;
	return true;
}

static bool word(char *out, size_t size, const struct octets *o)
{
	return snprintf(out, size, "%.*s", (int)o->len, (const char *)o->at) < (int)size;
}

/* What was asked, as the record shows it: its start is what is left of its end. */
static void ask_of(struct policy_ask *ask, const struct record *r)
{
	char name[64];
	const struct scheme *s =
		word(name, sizeof(name), &r->algorithm) ? scheme_by_name(name) : NULL;

	*ask = (struct policy_ask){.scheme = s ? s->code : 0,
		.possession = r->possession.len == 3 && memcmp(r->possession.at, "csr", 3) == 0,
		.term = TERM_LIFETIME,
		.lifetime = r->lifetime_asked,
		.has_not_before = true};
	if (__builtin_sub_overflow(r->expiry, r->lifetime_asked, &ask->not_before))
		ask->not_before = INT64_MAX;
	ask->role = DC_SERVER;
	if (word(name, sizeof(name), &r->role))
		dc_role_parse(name, &ask->role);
}

void rules_check(const struct rules *g, const struct record *r, const struct certificate *c,
	void (*say)(void *arg, const char *what), void *arg)
{
	const json_t *key = named_by(g, "keys", &r->key), *by = named_by(g, "clients", &r->client);
	struct policy_grant grant;
	struct policy_ask ask;
	struct refusal why = {0};
	struct policy p;
	char text[600];

	if (!key || !by || !policy_of(&p, g, key, by)) {
		say(arg, "its key or client is not in the configuration of its time");
		return;
	}
	if (!lists(by, "may", "issue", 5) ||
		!lists(by, "keys", (const char *)r->key.at, r->key.len))
		say(arg, "its client was not allowed to issue with its key");
	if (!c)
		return;
	ask_of(&ask, r);
	if (policy_decide(&p, &ask, c->not_before, c->not_after, r->now, &grant, &why)) {
		snprintf(text, sizeof(text), "the policy of its time does not allow it: %s, %s",
			err_name(why.err), why.detail);
		say(arg, text);
	} else if (grant.expiry != r->expiry || grant.lifetime != r->lifetime_granted ||
		   grant.valid_time != r->valid_time || grant.window_opens != r->window_opens)
		say(arg, "the policy of its time grants other times");
}

void rules_limits(
	const struct rules *g, const struct record *r, uint64_t *of_key, uint64_t *of_client)
{
	const json_t *key = named_by(g, "keys", &r->key), *by = named_by(g, "clients", &r->client);
	struct policy p;

	*of_key = *of_client = 0;
	if (!key || !by || !policy_of(&p, g, key, by))
		return;
	*of_key = p.max_live;
	*of_client = (uint64_t)number(by, "max_live");
}
