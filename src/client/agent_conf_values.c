#include "settings.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_conf_internal.h"
#include "checkpoint.h"
#include "formats.h"
#include "keygen.h"
#include "tool.h"

static void *member(const struct conf_place *p)
{
	return (char *)p->base + p->option->at;
}

static void put_text(const struct conf_place *p, char *text)
{
	memcpy(member(p), &text, sizeof text);
}

static char *absolute(const struct conf_reading *r, const char *path)
{
	const char *slash = strrchr(r->path, '/');
	char *full = NULL;
	int len = *path == '/' || !slash
			  ? asprintf(&full, "%s", path)
			  : asprintf(&full, "%.*s/%s", (int)(slash - r->path), r->path, path);
	return len < 0 ? NULL : full;
}

static void take_path(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	(void)count;
	if (!*v->text)
		conf_expected(p, v, "a path");
	put_text(p, absolute(p->r, v->text));
}

static void take_text(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	(void)count;
	if (!*v->text || strlen(v->text) > 256)
		conf_expected(p, v, "1 to 256 octets");
	put_text(p, strdup(v->text));
}

static void take_name(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	(void)count;
	if (name_valid(v->text))
		snprintf(member(p), NAME_SIZE, "%s", v->text);
	else
		conf_expected(p, v, "a name: 1 to 64 of a-z, 0-9 and -");
}

static void take_duration(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	const struct conf_option *o = p->option;
	int64_t seconds = 0;

	(void)count;
	if (!tool_duration(v->text, &seconds) || seconds < o->least || seconds > o->most)
		conf_expected(p, v, "a time such as 90s, 30m, 24h or 7d, from %lld to %lld seconds",
			(long long)o->least, (long long)o->most);
	memcpy(member(p), &seconds, sizeof seconds);
}

/* The word's index, into an int or an enum. */
static void take_word(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	const char *const *words = p->option->words;
	char all[256] = "";
	int i;

	(void)count;
	for (i = 0; words[i]; i++) {
		if (strcmp(words[i], v->text) == 0) {
			memcpy(member(p), &i, sizeof i);
			return;
		}
		snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "",
			words[i]);
	}
	conf_expected(p, v, "one of %s", all);
}

static char **copy_list(const struct conf_value *v, size_t count)
{
	char **list = calloc(count + 1, sizeof *list);
	size_t i;
	for (i = 0; list && i < count; i++)
		list[i] = strdup(v[i].text);
	return list;
}

static void take_urls(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	struct agent_service *s = p->base;
	size_t i;
	for (i = 0; i < count; i++)
		if (strncmp(v[i].text, "https://", 8) != 0 || !v[i].text[8])
			conf_expected(p, &v[i], "https://host:port");
	s->urls = copy_list(v, count);
	s->url_count = s->urls ? count : 0;
}

static void take_ledger_keys(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	struct agent_service *s = p->base;
	size_t i;

	s->ledger_keys = calloc(count, sizeof *s->ledger_keys);
	s->ledger_key_count = s->ledger_keys ? count : 0;
	for (i = 0; i < s->ledger_key_count; i++)
		if (checkpoint_vkey_read(v[i].text, strlen(v[i].text), NULL, s->ledger_keys[i]) !=
			ERR_OK)
			conf_expected(
				p, &v[i], "a verifier key, as dcsign ledger verify prints it");
}

static void take_scheme(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	struct agent_credential *c = p->base;
	char names[512];

	(void)count;
	c->scheme = keygen_scheme(v->text);
	if (!c->scheme) {
		keygen_names(names, sizeof names);
		conf_expected(p, v, "one of %s", names);
	}
}

static void take_formats(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	unsigned *formats = member(p);
	enum dc_format f;
	size_t i;
	for (i = 0; i < count; i++)
		if (format_by_name(v[i].text, &f))
			*formats |= 1u << f;
		else
			conf_expected(p, &v[i], "formats: %s", format_names);
}

#define SELF "-" /* the agent's own user or group */

static bool number(const char *text, int base, unsigned long most, unsigned long *n)
{
	char *end;
	errno = 0;
	*n = strtoul(text, &end, base);
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno && *n <= most;
}

static void take_owner(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	const struct passwd *user = getpwnam(v->text);
	unsigned long n = (unsigned long)-1;

	(void)count;
	if (!user && strcmp(v->text, SELF) != 0 && !number(v->text, 10, UINT32_MAX - 1, &n))
		conf_expected(p, v, "a user of this machine, or a number");
	*(uid_t *)member(p) = user ? user->pw_uid : (uid_t)n;
}

static void take_group(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	const struct group *group = getgrnam(v->text);
	unsigned long n = (unsigned long)-1;

	(void)count;
	if (!group && strcmp(v->text, SELF) != 0 && !number(v->text, 10, UINT32_MAX - 1, &n))
		conf_expected(p, v, "a group of this machine, or a number");
	*(gid_t *)member(p) = group ? group->gr_gid : (gid_t)n;
}

static void take_mode(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	unsigned long n = 0;

	(void)count;
	if (!number(v->text, 8, 0777, &n) || n & ~0640ul || !(n & 0400))
		conf_expected(p, v, "0400, 0440, 0600 or 0640: a private key is nobody else's");
	*(mode_t *)member(p) = (mode_t)n;
}

static void take_command(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	if (v->text[0] != '/')
		conf_expected(p, v, "the program's path from the root, then its arguments");
	*(char ***)member(p) = copy_list(v, count);
}

static void take_signal(const struct conf_place *p, const struct conf_value *v, size_t count)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = {{"HUP", SIGHUP}, {"USR1", SIGUSR1}, {"USR2", SIGUSR2}, {"WINCH", SIGWINCH}};
	size_t i;

	(void)count;
	for (i = 0; i < sizeof signals / sizeof signals[0]; i++)
		if (strcmp(signals[i].name, v->text) == 0) {
			*(int *)member(p) = signals[i].number;
			return;
		}
	conf_expected(p, v, "HUP, USR1, USR2 or WINCH");
}

static const char *const log_formats[] = {"logfmt", "json", NULL};
static const char *const log_levels[] = {"debug", "info", "warning", "error", NULL};
static const char *const roles[] = {"server", "client", NULL};

#define AT(s, member) .at = offsetof(struct s, member)
#define DAY	      86400

const struct conf_option agent_conf_root[] = {
	{.name = "metrics", .take = take_path, AT(agent_config, metrics)},
	{.name = "check_interval",
		.take = take_duration,
		AT(agent_config, check_interval),
		.least = 1,
		.most = DAY,
		.otherwise = "60s"},
	{.name = "log_format",
		.take = take_word,
		AT(agent_config, log_json),
		.words = log_formats,
		.otherwise = "logfmt"},
	{.name = "log_level",
		.take = take_word,
		AT(agent_config, log_level),
		.words = log_levels,
		.otherwise = "info"},
	{.name = NULL},
};

const struct conf_option agent_conf_service[] = {
	{.name = "url", .take = take_urls, .list = true, .required = true},
	{.name = "ca", .take = take_path, AT(agent_service, ca), .required = true},
	{.name = "certificate",
		.take = take_path,
		AT(agent_service, certificate),
		.required = true},
	{.name = "private_key",
		.take = take_path,
		AT(agent_service, private_key),
		.required = true},
	{.name = "ledger_key", .take = take_ledger_keys, .list = true},
	{.name = NULL},
};

const struct conf_option agent_conf_credential[] = {
	{.name = "service",
		.take = take_name,
		AT(agent_credential, service_name),
		.required = true},
	{.name = "key", .take = take_name, AT(agent_credential, key), .required = true},
	{.name = "algorithm", .take = take_scheme, .otherwise = "ecdsa_secp256r1_sha256"},
	{.name = "role",
		.take = take_word,
		AT(agent_credential, role),
		.words = roles,
		.otherwise = "server"},
	{.name = "lifetime",
		.take = take_duration,
		AT(agent_credential, lifetime),
		.least = 2,
		.most = DC_MAX_VALID},
	{.name = "output", .take = take_path, AT(agent_credential, output), .required = true},
	{.name = "formats",
		.take = take_formats,
		AT(agent_credential, formats),
		.list = true,
		.otherwise = "raw"},
	{.name = "owner", .take = take_owner, AT(agent_credential, uid), .otherwise = SELF},
	{.name = "group", .take = take_group, AT(agent_credential, gid), .otherwise = SELF},
	{.name = "mode", .take = take_mode, AT(agent_credential, mode), .otherwise = "0600"},
	{.name = "issuer_ca", .take = take_path, AT(agent_credential, issuer_ca)},
	{.name = "reference", .take = take_text, AT(agent_credential, reference)},
	{.name = "reload_command",
		.take = take_command,
		AT(agent_credential, reload.command),
		.list = true},
	{.name = "reload_unit", .take = take_text, AT(agent_credential, reload.unit)},
	{.name = "reload_pid_file", .take = take_path, AT(agent_credential, reload.pid_file)},
	{.name = "reload_signal",
		.take = take_signal,
		AT(agent_credential, reload.signal),
		.otherwise = "HUP"},
	{.name = NULL},
};
