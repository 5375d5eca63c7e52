#include <stddef.h>

#include "conffile_internal.h"
#include "log.h"

/* dcsignd.conf(5) as tables: what may stand where, its limits and its default. */
#define IN(s, member) .at = offsetof(struct s, member), .size = sizeof(((struct s *)NULL)->member)
#define LIST(s, member, count)                                                                     \
	.list = true, .at = offsetof(struct s, member),                                            \
	.size = sizeof(((struct s *)NULL)->member[0]), .of = offsetof(struct s, count)
#define MINUTE 60
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

static const struct word yes_no[] = {{"yes", true}, {"no", false}, {NULL, 0}};
static const struct word roles[] = {
	{"server", 1u << DC_SERVER}, {"client", 1u << DC_CLIENT}, {NULL, 0}};
static const struct word possession[] = {{"required", true}, {"optional", false}, {NULL, 0}};
static const struct word rights[] = {{"issue", RIGHT_ISSUE}, {"read", RIGHT_READ},
	{"hold", RIGHT_HOLD}, {"release", RIGHT_RELEASE}, {NULL, 0}};
static const struct word formats[] = {{"logfmt", false}, {"json", true}, {NULL, 0}};
static const struct word levels[] = {{"debug", LOG_LEVEL_DEBUG}, {"info", LOG_LEVEL_INFO},
	{"warning", LOG_LEVEL_WARNING}, {"error", LOG_LEVEL_ERROR}, {NULL, 0}};

const struct option conffile_root[] = {
	{.name = "node", .take = take_name, IN(config, node), .required = true},
	{.name = "origin", .take = take_origin, IN(config, origin), .required = true},
	{.name = "state", .take = take_path, IN(config, state), .otherwise = "/var/lib/dcsign"},
	{.name = "ledger", .take = take_ledger, IN(config, ledger), .required = true},
	{.name = "monitor", .take = take_monitor, IN(config, monitor)},
	{.name = "require_clock_sync",
		.take = take_choice,
		IN(config, require_clock_sync),
		.otherwise = "yes",
		.words = yes_no},
	{.name = "single_user",
		.take = take_choice,
		IN(config, single_user),
		.otherwise = "no",
		.words = yes_no},
	{.name = NULL},
};

static const struct option users[] = {
	{.name = "api", .take = take_text, IN(config, users.api), .otherwise = "_dcsign-api"},
	{.name = "hsm", .take = take_text, IN(config, users.hsm), .otherwise = "_dcsign-hsm"},
	{.name = "ledger",
		.take = take_text,
		IN(config, users.ledger),
		.otherwise = "_dcsign-ledger"},
	{.name = NULL},
};

static const struct option limits[] = {
	{.name = "max_lifetime",
		.take = take_duration,
		IN(config, limits.max_lifetime),
		.least = 1,
		.most = DC_MAX_VALID,
		.otherwise = "7d"},
	{.name = "request_deadline",
		.take = take_duration_ms,
		IN(config, limits.request_deadline_ms),
		.least = 100,
		.most = 60000,
		.otherwise = "3s"},
	{.name = "queue",
		.take = take_number,
		IN(config, limits.queue),
		.least = 1,
		.most = 1000000,
		.otherwise = "1024"},
	{.name = "connections",
		.take = take_number,
		IN(config, limits.connections),
		.least = 1,
		.most = 1000000,
		.otherwise = "4096"},
	{.name = "connections_per_address",
		.take = take_number,
		IN(config, limits.connections_per_address),
		.most = 1000000,
		.otherwise = "256"},
	{.name = NULL},
};

static const struct option checkpoint[] = {
	{.name = "key", .take = take_path, IN(config, checkpoint.key)},
	{.name = "every",
		.take = take_number,
		IN(config, checkpoint.every),
		.least = 1,
		.most = UINT32_MAX,
		.otherwise = "1000"},
	{.name = "interval",
		.take = take_duration,
		IN(config, checkpoint.interval),
		.least = 1,
		.most = 7 * DAY,
		.otherwise = "1m"},
	{.name = "file", .take = take_path, IN(config, checkpoint.file)},
	{.name = "command", .take = take_path, IN(config, checkpoint.command)},
	{.name = NULL},
};

static const struct option log_options[] = {
	{.name = "format",
		.take = take_choice,
		IN(config, log.json),
		.otherwise = "logfmt",
		.words = formats},
	{.name = "level",
		.take = take_choice,
		IN(config, log.level),
		.otherwise = "info",
		.words = levels},
	{.name = NULL},
};

static const struct option listen_options[] = {
	{.name = "certificate", .take = take_file, IN(config_listen, certificate)},
	{.name = "private_key", .take = take_private_key, IN(config_listen, private_key)},
	{.name = "client_ca", .take = take_file, IN(config_listen, client_ca)},
	{.name = "client_crl",
		.take = take_files,
		LIST(config_listen, client_crl, client_crl_count)},
	{.name = NULL},
};

static const struct option token[] = {
	{.name = "module", .take = take_module, IN(config_token, module), .required = true},
	{.name = "module_args", .take = take_text, IN(config_token, module_args)},
	{.name = "uri", .take = take_token_uri, IN(config_token, uri), .required = true},
	{.name = "pin", .take = take_pin, IN(config_token, pin), .required = true},
	{.name = "environment",
		.take = take_environment,
		LIST(config_token, environment, environment_count)},
	{.name = "sessions",
		.take = take_number,
		IN(config_token, sessions),
		.least = 1,
		.most = 1024,
		.otherwise = "8"},
	{.name = "workers",
		.take = take_number,
		IN(config_token, workers),
		.least = 2,
		.most = 4096}, /* default: twice the sessions */
	{.name = "concurrency",
		.take = take_number,
		IN(config_token, concurrency),
		.most = 1024,
		.otherwise = "0"},
	{.name = "sign_timeout",
		.take = take_duration_ms,
		IN(config_token, sign_timeout_ms),
		.least = 10,
		.most = 60000,
		.otherwise = "2s"},
	{.name = NULL},
};

/* Defaults: policy_defaults. Limits: policy_check. */
static const struct option policy[] = {
	{.name = "max_lifetime",
		.take = take_duration,
		IN(policy, max_lifetime),
		.least = 1,
		.most = DC_MAX_VALID},
	{.name = "min_lifetime",
		.take = take_duration,
		IN(policy, min_lifetime),
		.least = 1,
		.most = DC_MAX_VALID},
	{.name = "clock_skew",
		.take = take_duration,
		IN(policy, clock_skew),
		.least = POLICY_SKEW_MIN,
		.most = DC_MAX_VALID},
	{.name = "max_start_ahead",
		.take = take_duration,
		IN(policy, max_start_ahead),
		.most = DC_MAX_VALID},
	{.name = "roles", .take = take_bits, IN(policy, roles), .list = true, .words = roles},
	{.name = "algorithms", .take = take_schemes, IN(policy, schemes), .list = true},
	{.name = "proof_of_possession",
		.take = take_choice,
		IN(policy, possession_required),
		.words = possession},
	{.name = "max_live",
		.take = take_number,
		IN(policy, max_live),
		.least = 1,
		.most = UINT32_MAX},
	{.name = NULL},
};

static const struct option key[] = {
	{.name = "token", .take = take_name, IN(config_key, token), .required = true},
	{.name = "uri", .take = take_key_uri, IN(config_key, uri), .required = true},
	{.name = "certificate",
		.take = take_files,
		.required = true,
		LIST(config_key, certificate, certificate_count)},
	{.name = "issuer_ca", .take = take_file, IN(config_key, issuer_ca)},
	{.name = "policy", .take = take_name, IN(config_key, policy), .required = true},
	{.name = "accept_weak_key",
		.take = take_attributes,
		LIST(config_key, accept_weak_key, accept_weak_key_count)},
	{.name = NULL},
};

static const struct option match[] = {
	{.name = "uri", .take = take_match, .least = MATCH_URI},
	{.name = "dns", .take = take_match, .least = MATCH_DNS},
	{.name = "cn", .take = take_match, .least = MATCH_CN},
	{.name = "sha256", .take = take_match, .least = MATCH_SHA256},
	{.name = "spki_sha256", .take = take_match, .least = MATCH_SPKI_SHA256},
	{.name = "peer_uid", .take = take_match, .least = MATCH_PEER_UID},
	{.name = NULL},
};

static const struct option client[] = {
	{.name = "may",
		.take = take_bits,
		IN(config_client, may),
		.list = true,
		.required = true,
		.words = rights},
	{.name = "keys", .take = take_names, LIST(config_client, keys, key_count)},
	{.name = "policy", .take = take_name, IN(config_client, policy)},
	{.name = "rate", .take = take_rate},
	{.name = "max_live",
		.take = take_number,
		IN(config_client, max_live),
		.least = 1,
		.most = UINT32_MAX},
	{.name = NULL},
};

static void start_policy(void *base)
{
	policy_defaults(base);
}

#define SEVERAL(s, member, count)                                                                  \
	.several = true, .at = offsetof(struct s, member), .of = offsetof(struct s, count),        \
	.size = sizeof(*((struct s *)NULL)->member)

static const struct section match_section[] = {
	{.name = "match",
		.options = match,
		SEVERAL(config_client, match, match_count),
		.required = true},
	{.name = NULL},
};

const struct section conffile_sections[] = {
	{.name = "users", .options = users},
	{.name = "limits", .options = limits},
	{.name = "checkpoint", .options = checkpoint},
	{.name = "log", .options = log_options},
	{.name = "listen",
		.options = listen_options,
		.title = take_listen,
		SEVERAL(config, listen, listen_count),
		.required = true},
	{.name = "token",
		.options = token,
		.title = take_name,
		SEVERAL(config, token, token_count),
		.required = true},
	{.name = "policy",
		.options = policy,
		.title = take_name,
		.defaults = start_policy,
		SEVERAL(config, policy, policy_count),
		.required = true},
	{.name = "key",
		.options = key,
		.title = take_name,
		SEVERAL(config, key, key_count),
		.required = true},
	{.name = "client",
		.options = client,
		.inner = match_section,
		.title = take_name,
		SEVERAL(config, client, client_count),
		.required = true},
	{.name = NULL},
};
