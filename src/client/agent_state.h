/*
 * What dcsign agent keeps in the folder of a credential besides the sets (install.h), so that it
 * can be killed at any moment and goes on where it was:
 *
 *   .current/agent.json  in each set: how the set came to be and when it is to be renewed
 *   .pending             a renewal that is under way: its key, its request, its Idempotency-Key
 *   .ledger              what the ledger has signed so far (agent_witness.h)
 *   .reload              the server has not been told of the newest set yet
 *   .lock                held by the agent that looks after this folder
 */
#ifndef DCSIGN_CLIENT_AGENT_STATE_H
#define DCSIGN_CLIENT_AGENT_STATE_H

#include <openssl/types.h>

#include "agent_conf.h"
#include "certificate.h"

/* Opens (makes) the folder and takes its lock until close; *lock gets the lock's descriptor.
 * -1 with *why: another agent has it, or a system call failed. */
int agent_folder_open(const char *path, int *lock, struct refusal *why);

/* What makes a set this credential's: a set made for another wish is renewed at once. One line;
 * the caller frees it. */
char *agent_wish(const struct agent_credential *c);

/* One renewal. A retry sends the same octets under the same Idempotency-Key, so that the service
 * releases one DC for it, however often it is asked. */
struct agent_pending {
	char id[33]; /* the Idempotency-Key: 128 random bits in hex */
	char *wish;  /* agent_wish */
	char *body;  /* of the request */
	EVP_PKEY *key;
	struct buf spki; /* of the key, DER */
	int64_t made_at; /* seconds since the epoch */
};
/* Makes key and request. ERR_CRYPTO, ERR_NOMEM. Free with pending_free in any case. */
enum err pending_make(struct agent_pending *p, const struct agent_credential *c, int64_t now,
	struct refusal *why);
/* ERR_NOT_FOUND: none; ERR_FORMAT: damaged. */
enum err pending_load(struct agent_pending *p, int folder);
/* Durable when it returns ERR_OK: written beside, flushed, renamed. Mode 0600. */
enum err pending_save(const struct agent_pending *p, int folder, struct refusal *why);
void pending_drop(int folder);
/* Drops a renewal that has led to the set with this key: the agent was killed in between. */
void pending_settle(int folder, const uint8_t spki_sha256[SHA256_SIZE]);
void pending_free(struct agent_pending *p);

/* The set in place. */
struct agent_installed {
	bool usable;	    /* it verifies now, is whole and is what the configuration wishes */
	bool verifies;	    /* it serves, though perhaps not what is wished now */
	struct refusal why; /* when it is not usable */
	int64_t issued_at;  /* these times: seconds since the epoch; 0: not known */
	int64_t renew_at;
	int64_t expiry;
	int64_t certificate_not_after;
	uint8_t certificate_sha256[SHA256_SIZE]; /* of the delegation certificate */
	uint8_t spki_sha256[SHA256_SIZE];	 /* of the DC key */
	char id[64];				 /* of the DC in the service's ledger */
};
void installed_read(
	struct agent_installed *out, int folder, const struct agent_credential *c, int64_t now);

/* agent.json of a set; the caller frees it. */
char *agent_note(
	const struct agent_credential *c, const char *url, int64_t issued_at, int64_t renew_at);

/* Durable when it returns ERR_OK: written as `next`, flushed, renamed to `name`. Mode 0600.
 * ERR_SYSTEM with errno. */
enum err agent_file_write(
	int folder, const char *name, const char *next, const void *octets, size_t len);

/* The mark that the server is still to be told. ERR_SYSTEM. */
bool reload_is_due(int folder);
enum err reload_mark(int folder, bool due, struct refusal *why);

#endif
