#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conffile_internal.h"

/* Names and their sections: the structures are sorted, the sections as the file has them. */
static void missing(
	struct reading *r, cfg_t *section, const char *option, const char *kind, const char *name)
{
	char where[300];

	conffile_where(section, where, sizeof where);
	conffile_wrong(r, conffile_line(section, option),
		"option '%s'%s: got '%s', expected the name of a section '%s'", option, where, name,
		kind);
}

static void check_listen(struct reading *r, cfg_t *section, const struct config_listen *l)
{
	static const char *const options[] = {"certificate", "private_key", "client_ca"};
	char where[300];

	conffile_where(section, where, sizeof where);
	for (size_t i = 0; i < 3; i++) {
		bool there = cfg_size(section, options[i]) > 0;

		if (there && l->is_unix)
			conffile_wrong(r, conffile_line(section, options[i]),
				"option '%s'%s: a Unix socket has no TLS; clients are told apart "
				"by "
				"match { peer_uid }",
				options[i], where);
		if (!there && !l->is_unix)
			conffile_wrong(
				r, section->line, "option '%s'%s is missing", options[i], where);
	}
	if (l->is_unix && l->client_crl_count > 0)
		conffile_wrong(r, conffile_line(section, "client_crl"),
			"option 'client_crl'%s: a Unix socket has no TLS", where);
}

static void check_listens(struct reading *r, cfg_t *root)
{
	const struct config *c = r->config;

	if (c->listen_count > CONFFILE_LISTENS)
		conffile_wrong(r, cfg_getnsec(root, "listen", CONFFILE_LISTENS)->line,
			"at most %d sections 'listen'", CONFFILE_LISTENS);
	for (unsigned i = 0; i < c->listen_count; i++)
		check_listen(r, cfg_getnsec(root, "listen", i), &c->listen[i]);
}

static void check_token(struct reading *r, cfg_t *section)
{
	const struct config_token *found = config_token(r->config, cfg_title(section));
	struct config_token *t;

	if (found == NULL)
		return;
	t = &r->config->token[found - r->config->token];
	if (t->workers == 0)
		t->workers = 2 * t->sessions;
	if (t->workers <= t->sessions)
		conffile_wrong(r, conffile_line(section, "workers"),
			"option 'workers' in token '%s': got '%u', expected more than sessions "
			"(%u), so that a commit and a signature overlap",
			t->name, t->workers, t->sessions);
	if (t->concurrency > t->sessions)
		conffile_wrong(r, conffile_line(section, "concurrency"),
			"option 'concurrency' in token '%s': got '%u', expected at most sessions "
			"(%u), or 0 to have it measured",
			t->name, t->concurrency, t->sessions);
}

static void check_policy(struct reading *r, cfg_t *section)
{
	const struct policy *p = config_policy(r->config, cfg_title(section));
	struct refusal why = {.err = ERR_OK};

	if (p == NULL || policy_check(p, &why) == ERR_OK)
		return;
	cfg_opt_t *opt = cfg_getopt(section, why.field);
	conffile_wrong(r, conffile_line(section, why.field),
		"option '%s' in policy '%s': got '%s', expected: %s", why.field, p->name,
		opt != NULL && cfg_opt_size(opt) > 0 ? conffile_value(opt, 0).text : "the default",
		why.detail);
}

static void check_key(struct reading *r, cfg_t *section)
{
	const struct config_key *k = config_key(r->config, cfg_title(section));

	if (k == NULL)
		return;
	if (config_token(r->config, k->token) == NULL)
		missing(r, section, "token", "token", k->token);
	if (config_policy(r->config, k->policy) == NULL)
		missing(r, section, "policy", "policy", k->policy);
}

static void check_client(struct reading *r, cfg_t *section)
{
	const struct config_client *c = config_client(r->config, cfg_title(section));

	if (c == NULL)
		return;
	if (c->policy[0] != '\0' && config_policy(r->config, c->policy) == NULL)
		missing(r, section, "policy", "policy", c->policy);
	for (size_t i = 0; i < c->key_count; i++)
		if (config_key(r->config, c->keys[i]) == NULL)
			missing(r, section, "keys", "key", c->keys[i]);
	if ((c->may & RIGHT_ISSUE) != 0 && c->key_count == 0)
		conffile_wrong(r, section->line,
			"option 'keys' in client '%s' is missing: it may issue, but with no key",
			c->name);
}

/* One identity must not be two clients. */
struct claim {
	const struct config_match *match;
	const char *client;
};

static int by_match(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;
	int kinds = (int)x->match->kind - (int)y->match->kind;

	return kinds != 0 ? kinds : strcmp(x->match->value, y->match->value);
}

static void check_claims(struct reading *r, cfg_t *root)
{
	const struct config *c = r->config;
	size_t count = 0, n = 0;
	struct claim *claims;

	for (size_t i = 0; i < c->client_count; i++)
		count += c->client[i].match_count;
	if (count == 0 || (claims = calloc(count, sizeof *claims)) == NULL) {
		r->nomem = r->nomem || count > 0;
		return;
	}
	for (size_t i = 0; i < c->client_count; i++)
		for (size_t k = 0; k < c->client[i].match_count; k++)
			if (c->client[i].match[k].value != NULL)
				claims[n++] =
					(struct claim){&c->client[i].match[k], c->client[i].name};
	qsort(claims, n, sizeof *claims, by_match);
	for (size_t i = 1; i < n; i++)
		if (by_match(&claims[i - 1], &claims[i]) == 0)
			conffile_wrong(r, cfg_gettsec(root, "client", claims[i].client)->line,
				"client '%s': '%s' matches client '%s' too", claims[i].client,
				claims[i].match->value, claims[i - 1].client);
	free(claims);
}

static void each(struct reading *r, cfg_t *root, const char *kind,
	void (*check)(struct reading *r, cfg_t *section))
{
	for (unsigned i = 0, n = cfg_size(root, kind); i < n; i++)
		check(r, cfg_getnsec(root, kind, i));
}

static void check_matches(struct reading *r, cfg_t *section)
{
	for (unsigned i = 0, n = cfg_size(section, "match"); i < n; i++) {
		cfg_t *match = cfg_getnsec(section, "match", i);
		bool any = false;

		for (const cfg_opt_t *o = match->opts; o->name != NULL; o++)
			any = any || o->nvalues > 0;
		if (!any)
			conffile_wrong(r, match->line, "section 'match' in client '%s' is empty",
				cfg_title(section));
	}
}

void conffile_check(struct reading *r, cfg_t *root)
{
	check_listens(r, root);
	each(r, root, "token", check_token);
	each(r, root, "policy", check_policy);
	each(r, root, "key", check_key);
	each(r, root, "client", check_client);
	each(r, root, "client", check_matches);
	check_claims(r, root);
}
