/*
 * The channels to the hsm processes and to the ledger: one thread polls them all, sends what the
 * HTTP threads ask, matches answers by serial, and ends every call exactly once: with its answer,
 * at its deadline, or when the process that it was sent to is gone.
 */
#ifndef DCSIGN_SIGNER_H
#define DCSIGN_SIGNER_H

#include <poll.h>

#include "checkpoint.h"
#include "peer.h"

#define SIGNER_POLL_MS	500  /* how often each process is asked for its state */
#define SIGNER_STALE_MS 2000 /* one that does not answer for so long is shown as not ready */
#define SIGNER_AWAY_MS	2000 /* for so long a call waits for the next process of its token */

struct signer;
struct signer *signer_new(void);    /* NULL: out of memory */
void signer_free(struct signer *s); /* closes the channels; no call may be waiting */

/* Takes the channel to this neighbour. One that it had before is not asked any more, and closed
 * when the last of its calls has ended. token: for ROLE_HSM. ERR_FORMAT for other roles. */
enum err signer_connect(struct signer *s, uint8_t role, const char *token, int fd);
/* At most this many calls wait for one token. */
void signer_queue(struct signer *s, unsigned queue);

/*
 * One turn of the thread: waits on own[0..own_count) (their revents are set) and on all channels,
 * at most timeout_ms; takes what came; ends what is over its deadline; asks for states.
 * ERR_FORMAT: a malformed message; the process must end (70).
 */
enum err signer_turn(struct signer *s, struct pollfd *own, size_t own_count, int timeout_ms);

/* What is asked for. All that it points to stays until the call has ended. */
struct signer_issue {
	const char *request; /* request id */
	const char *client;
	const struct peer *peer;
	bool dry_run;
	uint16_t count; /* 1..MSG_ITEMS */
	const struct msg_issue_item *item;
};
/*
 * A call that is under way. The caller fills the first part and keeps it until done() was called,
 * by the signer's thread, exactly once; grant, read and the octets they point to live until done()
 * returns. refusal.err ERR_OK: the one that was asked for is there; of a grant, its own refusal is
 * still to be looked at.
 */
struct signer_call {
	void (*done)(struct signer_call *call);
	int64_t deadline; /* monotonic_ms */

	struct refusal refusal;
	const struct msg_grant *grant; /* one for each item, in order */
	const struct msg_read_answer *read;
	const struct msg_hold_answer *held;

	/* the signer's own */
	uint64_t serial;
	struct link *link;
	uint16_t count; /* items asked for */
	bool holds;	/* a hold or its end may be in force when no answer comes */
	bool signs;	/* something may have been signed when no answer comes */
	char token[NAME_SIZE];
	struct signer_issue issue;
	struct signer_call *next;
};

/*
 * A call that a process did not take because it ends, or that comes when the process of its token
 * has just gone, is given to the next one, for which it waits up to SIGNER_AWAY_MS; nothing of it
 * has been signed.
 * Thread-safe, does not block. An error means that nothing was sent and done() will not be called:
 * ERR_KEY_UNAVAILABLE (no process for this token), ERR_OVERLOADED, ERR_TIMEOUT (no time left),
 * ERR_TOO_LARGE (a batch over one message), with *why filled.
 */
enum err signer_issue(struct signer *s, const char *token, const struct signer_issue *issue,
	struct signer_call *call, struct refusal *why);
/* READ. ERR_LEDGER_UNAVAILABLE, ERR_OVERLOADED, ERR_TIMEOUT. */
enum err signer_read(struct signer *s, const struct msg_read *read, struct signer_call *call,
	struct refusal *why);
/* READ_LIVE; key, client: "" = any; the same errors. */
enum err signer_live(struct signer *s, const char *key, const char *client,
	struct signer_call *call, struct refusal *why);
/* HOLD or (release) RELEASE; the same errors. */
enum err signer_hold(struct signer *s, bool release, const struct msg_hold *hold,
	struct signer_call *call, struct refusal *why);
/* Has the ledger write down that somebody asked who is no client; without a ledger, or when its
 * channel is full, nothing. Thread-safe, does not block. */
void signer_stranger(
	struct signer *s, const char *request, const struct peer *peer, uint64_t left_out);
/* Calls that wait for their answer. */
unsigned signer_waiting(struct signer *s);

/* What is known of a key now: err ERR_OK when its process serves it and answers. */
struct signer_key {
	enum err err;
	char detail[160];
	char weak[160];
	bool has_certificate;
	uint8_t certificate_sha256[SHA256_SIZE];
	int64_t certificate_not_after;
	uint16_t algorithm;
};
void signer_key(struct signer *s, const char *token, const char *key, struct signer_key *out);

/* Of a token and of the ledger, for monitoring. Thread-safe. */
struct signer_token {
	bool ready;
	char detail[160]; /* why not */
	unsigned waiting;
	uint64_t counter[COUNTER_COUNT];
	struct msg_histogram span[SPAN_COUNT];
	uint8_t generation[SHA256_SIZE];
};
void signer_token(struct signer *s, const char *token, struct signer_token *out);
/* False when the ledger does not answer. *heads: the last READ_HEADS. */
bool signer_ledger(struct signer *s, struct msg_read_answer *heads);
/* As the ledger last told: holds in force, unexpired credentials. */
void signer_live_now(struct signer *s, uint32_t *holds, uint64_t *live);
/* How often the process behind this role and token was born again, as far as it was introduced. */
unsigned signer_restarts(struct signer *s, uint8_t role, const char *token);
/* The newest signed head of this chain that the ledger has told: a C2SP note and a NUL. False:
 * none.
 */
bool signer_note(struct signer *s, const char *chain, char note[CHECKPOINT_MAX + 1]);
/* Is there a hold on this key (key: true) or client, as the ledger last told? Its reason; false:
 * none. */
bool signer_held(struct signer *s, bool key, const char *name, char reason[HOLD_REASON_MAX + 1]);

#endif
