/*
 * The configuration as every process sees it: an immutable snapshot, decoded from the bundle. The
 * bundle is one sealed memfd that holds the configuration's values and the octets of every
 * non-secret file that it names; its SHA-256 is the generation. Only dcsignd reads files
 * (conffile.h).
 */
#ifndef DCSIGN_CONFIG_H
#define DCSIGN_CONFIG_H

#include "policy.h"

#define CONFIG_BUNDLE_MAX (256u << 20)

struct config_file {
	char *path; /* as the configuration names it, for messages */
	uint8_t *octets;
	size_t len;
};

struct config_listen {
	char *address; /* "host:port" or "unix:/path" */
	bool is_unix;
	struct config_file certificate; /* PEM chain of the TLS server */
	char *private_key;		/* absolute path; the parent hands over a descriptor */
	struct config_file client_ca;
	struct config_file *client_crl;
	size_t client_crl_count;
};

struct config_token {
	char name[NAME_SIZE];
	char *module;	    /* absolute path */
	char *module_args;  /* NULL when none */
	char *uri;	    /* RFC 7512: token and/or serial */
	char *pin;	    /* file:PATH, credential:NAME, fd:N; the parent opens it */
	char **environment; /* NAME=value */
	size_t environment_count;
	unsigned sessions;    /* 1.. */
	unsigned workers;     /* > sessions */
	unsigned concurrency; /* threads inside C_Sign; 0 = measured at start */
	int64_t sign_timeout_ms;
};

struct config_key {
	char name[NAME_SIZE];
	char token[NAME_SIZE];
	char *uri;			 /* RFC 7512: object and/or id */
	struct config_file *certificate; /* PEM chains, leaf first; several for rollover */
	size_t certificate_count;
	struct config_file issuer_ca; /* octets NULL: none */
	char policy[NAME_SIZE];
	char **accept_weak_key; /* attribute names without CKA_, lower case: "modifiable", ... */
	size_t accept_weak_key_count;
};

enum match_kind { MATCH_URI, MATCH_DNS, MATCH_CN, MATCH_SHA256, MATCH_SPKI_SHA256, MATCH_PEER_UID };
struct config_match {
	enum match_kind kind;
	char *value; /* digests: 64 lowercase hex digits; peer_uid: decimal */
};

#define RIGHT_ISSUE   1u
#define RIGHT_READ    2u
#define RIGHT_HOLD    4u
#define RIGHT_RELEASE 8u

struct config_client {
	char name[NAME_SIZE];
	struct config_match *match; /* any one of them matches */
	size_t match_count;
	unsigned may; /* RIGHT_ */
	char **keys;  /* names; sorted */
	size_t key_count;
	char policy[NAME_SIZE]; /* "" = none of its own */
	uint32_t rate_count;	/* rate = rate_count per rate_seconds; 0 = no limit */
	uint32_t rate_seconds;
	uint64_t max_live; /* 0 = no limit of its own */
};

struct config {
	char node[NAME_SIZE];
	char *origin;
	char *state;   /* absolute path of a folder */
	char *ledger;  /* URL */
	char *monitor; /* host:port; NULL: none */
	bool require_clock_sync, single_user;
	struct {
		char *api, *hsm, *ledger; /* user names or decimal ids */
	} users;
	struct {
		int64_t max_lifetime;		  /* seconds: ceiling over all policies */
		int64_t request_deadline_ms;	  /* default 3000 */
		unsigned queue;			  /* requests waiting per token; default 1024 */
		unsigned connections;		  /* default 4096 */
		unsigned connections_per_address; /* 0 = no cap */
	} limits;
	struct {
		char *key; /* path */
		uint64_t every;
		int64_t interval; /* seconds */
		char *file, *command;
	} checkpoint;
	struct {
		bool json;
		int level; /* enum log_level */
	} log;
	struct config_listen *listen;
	size_t listen_count;
	struct config_token *token; /* these four sorted by name */
	size_t token_count;
	struct policy *policy;
	size_t policy_count;
	struct config_key *key;
	size_t key_count;
	struct config_client *client;
	size_t client_count;

	uint8_t generation[SHA256_SIZE]; /* set by whoever decodes and has digest.h; zeros in the
					    parent and the api */
	unsigned references;		 /* config_ref, config_unref: atomic */
};

/* The bundle's octets. The parent writes them to a memfd and seals it. */
enum err config_encode(struct buf *out, const struct config *c);
/* A new snapshot with one reference; everything is copied. ERR_FORMAT, ERR_NOMEM. */
enum err config_decode(struct config **out, const uint8_t *octets, size_t len);
/* Maps a sealed memfd and decodes it; if digest is not NULL it gets the octets to hash before they
 * are unmapped. A descriptor that is not sealed against writing: ERR_FORMAT. Does not close fd. */
enum err config_from_fd(struct config **out, int fd,
	void (*digest)(const void *octets, size_t len, uint8_t out[SHA256_SIZE]));
struct config *config_ref(struct config *c);
void config_unref(struct config *c); /* frees at the last one; NULL is allowed */

const struct config_token *config_token(const struct config *c, const char *name);
const struct config_key *config_key(const struct config *c, const char *name);
const struct config_client *config_client(const struct config *c, const char *name);
const struct policy *config_policy(const struct config *c, const char *name);
bool config_client_has_key(const struct config_client *client, const char *key);
/* What decides for this client and key: ceiling, the key's policy, the client's; each only narrows.
 * client NULL: the key alone. */
void config_effective_policy(struct policy *out, const struct config *c,
	const struct config_key *key, const struct config_client *client);
/* The CONFIG record's member: policies, keys and clients of one token in canonical JSON. Appends.
 */
void config_json(struct buf *out, const struct config *c, const char *token);

#endif
