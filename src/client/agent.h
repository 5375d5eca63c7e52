/* Between the files of dcsign agent. */
#ifndef DCSIGN_CLIENT_AGENT_H
#define DCSIGN_CLIENT_AGENT_H

#include "agent_conf.h"
#include "agent_state.h"
#include "agent_witness.h"
#include "service.h"

/* One credential that is looked after. Times with _mono are of CLOCK_BOOTTIME, all others seconds
 * since the epoch: a step of the wall clock moves what is due, never how often it is tried. */
struct agent_item {
	const struct agent_credential *c;
	int folder, lock;
	struct agent_installed in; /* as of the last look */
	char etag[128];		   /* of the delegation certificate that was last seen */
	bool certificate_changed;  /* the service signs with another one than the set's */
	int64_t try_mono;	   /* no attempt before */
	int64_t check_mono;	   /* when to look at the delegation certificate */
	int64_t reload_mono;	   /* no reload before */
	int64_t changed_mono;	   /* of the last renewal because of the certificate; 0: none */
	unsigned failures;	   /* of the renewal that is due, in a row */
	unsigned check_failures, reload_failures;
	uint64_t renewals_total, failures_total;
	struct agent_witness witness;
};

/*
 * One attempt at a renewal, at each URL of the service until one answers; a refusal by the service
 * is final. The set in place stays until a verified one takes its place. TOOL_OK or another code
 * of tool.h with *why; why->retry_after as the service says.
 */
int agent_renew(struct agent_item *item, struct refusal *why);

/*
 * Asks which delegation certificate the service signs with now. Sets item->certificate_changed.
 * TOOL_OK or another code with *why.
 */
int agent_check(struct agent_item *item, struct refusal *why);

/*
 * Calls the service at each of its URLs, the one that answered last first, until one gives an
 * answer that is not of the kind "try another": no connection, 429, 5xx or something that this
 * service never says. TOOL_OK for a status of 2xx or 3xx. *url: the one that gave the last answer.
 * answer->body is to be freed in any case.
 */
int agent_call(struct agent_service *s, const struct service_call *call,
	struct service_answer *answer, const char **url, struct refusal *why);

/* The same at one URL alone. */
int agent_call_at(struct agent_service *s, const char *url, const struct service_call *call,
	struct service_answer *answer, struct refusal *why);

/* Compares the service's clock with this machine's, and says so when they differ. before, after:
 * this machine's when it was asked and when it had answered. */
void agent_clock(struct agent_service *s, int64_t date, int64_t before, int64_t after);
/* Says so when this machine's clock was stepped since the last call. */
void agent_clock_steps(void);
int64_t agent_mono(void); /* seconds of CLOCK_BOOTTIME */
/* A random number from 0 to most, both included. */
int64_t agent_random(int64_t most);

/* Tells the server of the new set, as the configuration says. ERR_SYSTEM, ERR_TIMEOUT with *why. */
bool agent_reload_wanted(const struct agent_reload *r);
enum err agent_reload(const struct agent_reload *r, struct refusal *why);

/* Writes the metrics' file, by a rename; says so when it can't. */
void agent_metrics(const struct agent_config *config, const struct agent_item *items);

#endif
