/* The configuration of dcsign agent: dcsign-agent(1) says what may stand in the file. */
#ifndef DCSIGN_CLIENT_AGENT_CONF_H
#define DCSIGN_CLIENT_AGENT_CONF_H

#include <sys/types.h>

#include "checkpoint.h"
#include "dc.h"
#include "log.h"

#define AGENT_CONF_MAX (1u << 20) /* octets */

struct agent_section {
	char name[NAME_SIZE];
	int line; /* of the file */
};

struct agent_service {
	struct agent_section section;
	char **urls; /* https://host:port, in the order of preference */
	size_t url_count;
	char *ca, *certificate, *private_key;	/* paths */
	uint8_t (*ledger_keys)[CHECKPOINT_KEY]; /* who sign the ledger's heads: one for each node */
	size_t ledger_key_count;		/* 0: whoever is met first */
	/* while it runs: */
	size_t current;	      /* the URL that answered last */
	int64_t clock_offset; /* its clock less this machine's, seconds, as of its last answer */
	int64_t clock_said;   /* the offset that was last complained about; 0: none */
};

struct agent_reload {
	char **command; /* argv, ended with NULL; or NULL */
	char *unit;	/* systemctl reload UNIT; or NULL */
	char *pid_file; /* gets `signal`; or NULL */
	int signal;
};

struct agent_credential {
	struct agent_section section;
	char service_name[NAME_SIZE];
	struct agent_service *service; /* borrowed */
	char key[NAME_SIZE];	       /* the delegation key's id */
	const struct scheme *scheme;   /* of the DC key */
	enum dc_role role;
	int64_t lifetime; /* seconds; 0: all that the policy allows */
	unsigned formats; /* 1u << enum dc_format */
	char *output;	  /* the folder */
	char *issuer_ca;  /* PEM: the delegation certificate's chain must verify; or NULL */
	char *reference;  /* or NULL */
	uid_t uid;	  /* owner and group of the files; -1: the agent's */
	gid_t gid;
	mode_t mode; /* of the files with the private key */
	struct agent_reload reload;
};

struct agent_config {
	char *metrics;		/* textfile for Prometheus; or NULL */
	int64_t check_interval; /* seconds between looks at the delegation certificate */
	int log_json;		/* 0 or 1 */
	enum log_level log_level;
	struct agent_service *services;
	size_t service_count;
	struct agent_credential *credentials;
	size_t credential_count;
};

/*
 * Reads and checks the file. Whatever is wrong in it is told on standard error, one line each with
 * file, line and what was expected; NULL then. Relative paths start at the file's folder. Free with
 * agent_conf_free.
 */
struct agent_config *agent_conf_read(const char *path);
void agent_conf_free(struct agent_config *config);

#endif
