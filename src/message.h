/*
 * The messages between the processes: one SOCK_SEQPACKET datagram each, at most MSG_MAX octets, big
 * endian. Requests are even, answers odd. Encoders append to a buf, decoders borrow from the octets
 * that were received; a decoder takes a message whole (unknown values, anything left over:
 * ERR_FORMAT), and whoever gets a malformed one ends itself: its peer is broken or hostile. An
 * encoder holds the same limits and sets the buf's err to ERR_FORMAT instead of sending what would
 * end its peer; texts for people that are not UTF-8 go out with '?' for what is not ASCII. Decoders
 * write only what the message has: the big structures need not be cleared before.
 *
 * Limits that the types do not show: names as name_valid, ids 32 lowercase hex digits, serials
 * lowercase hex, peer, chain and idempotency visible ASCII, details UTF-8.
 *
 * Absent on purpose: sign-these-octets, load-key, a time of day, a mechanism, a handle.
 */
#ifndef DCSIGN_MESSAGE_H
#define DCSIGN_MESSAGE_H

#include "buf.h"
#include "digest.h"

#define MSG_MAX		 (256 * 1024)
#define MSG_ITEMS	 256
#define MSG_FDS		 32
#define MSG_PROTOCOL	 1
#define ID_SIZE		 33 /* 32 lowercase hex digits and a NUL */
#define PEER_SIZE	 64
#define REFERENCE_MAX	 256
#define IDEMPOTENCY_SIZE 129

enum msg_type {
	MSG_HELLO = 2, /* parent -> child with one descriptor: your channel to somebody; hsm ->
			  ledger: who am I */
	MSG_CONFIG =
		4, /* parent -> child with descriptors: a bundle and the secrets of this child */
	MSG_ISSUE = 6,	/* api -> hsm */
	MSG_APPEND = 8, /* hsm -> ledger */
	MSG_READ = 10,	/* api -> ledger */
	MSG_STATE = 12, /* api -> hsm: how are your keys; child -> parent: I am ready (no answer) */
	MSG_HOLD = 14,	/* api -> ledger */
	MSG_RELEASE = 16,  /* api -> ledger */
	MSG_STRANGER = 18, /* api -> ledger (no answer) */
	MSG_DECIDE = 20	   /* root, over a socket in the state folder -> parent -> hsm or ledger */
			   /* the answer to each is the number after it */
};
#define MSG_ANSWER(type) ((uint16_t)((type) + 1))

/* Every message begins with this. serial: chosen by the asker, returned in the answer. */
struct msg_head {
	uint16_t type;
	uint64_t serial;
};
void msg_begin(struct buf *out, uint16_t type, uint64_t serial);
/* Reads the head; body is what follows. ERR_FORMAT. */
enum err msg_open(struct msg_head *head, struct reader *body, const uint8_t *octets, size_t len);

struct octets { /* borrowed octets or text */
	const uint8_t *at;
	size_t len;
};

/* HELLO. From the parent, with one descriptor: role and name of the process at its other end. From
 * hsm to ledger, over a new channel: role HSM, name = token. */
enum msg_role { ROLE_PARENT = 1, ROLE_API, ROLE_HSM, ROLE_LEDGER };
struct msg_hello {
	uint8_t role;
	char name[NAME_SIZE]; /* the token, for ROLE_HSM; else "" */
};
void msg_hello_write(struct buf *out, const struct msg_hello *m);
enum err msg_hello_read(struct msg_hello *m, struct reader *r);

/* HELLO's answer (ledger -> hsm): the chain that this channel writes, and where it stands. */
struct msg_hello_answer {
	enum err err;
	char chain[2 * NAME_SIZE + 8]; /* node/token, later node/token#2 */
	uint64_t size;		       /* records */
	int64_t last_time; /* member time of the last record that a writer of this chain sent (not
			      of the ledger's own); 0 when there is none */
	uint8_t root[SHA256_SIZE];
};
void msg_hello_answer_write(struct buf *out, const struct msg_hello_answer *m);
enum err msg_hello_answer_read(struct msg_hello_answer *m, struct reader *r);

/* CONFIG: what the attached descriptors are, in order. Labels: "bundle"; for hsm "pin"; for
 * api "listen", "monitor", "tls_key" (PEM file); for ledger "lock". */
#define LABEL_SIZE 32
struct msg_config {
	uint16_t count; /* 1..MSG_FDS */
	char label[MSG_FDS][LABEL_SIZE];
};
void msg_config_write(struct buf *out, const struct msg_config *m);
enum err msg_config_read(struct msg_config *m, struct reader *r);
/* CONFIG's answer. text: for a person, names file and option; "" when err is ERR_OK. */
struct msg_config_answer {
	enum err err;
	char text[512];
};
void msg_config_answer_write(struct buf *out, const struct msg_config_answer *m);
enum err msg_config_answer_read(struct msg_config_answer *m, struct reader *r);

/* DECIDE: what only a person can say. The parent puts in whose word it is. The answer's text says
 * what was done, or why it was not. */
enum decide_what {
	DECIDE_CLOCK = 1, /* to hsm, name = token: this machine's clock is right now */
	DECIDE_SUCCEED	  /* to ledger, name = chain: it can't go on, another one goes on for it */
};
#define DECIDE_REASON_MAX 100
struct msg_decide {
	uint8_t what; /* enum decide_what */
	char name[2 * NAME_SIZE + 8];
	uint32_t uid;
	char reason[DECIDE_REASON_MAX + 1]; /* printable ASCII, not empty */
};
void msg_decide_write(struct buf *out, const struct msg_decide *m);
enum err msg_decide_read(struct msg_decide *m, struct reader *r);
struct msg_decide_answer {
	enum err err;
	char text[512];
};
void msg_decide_answer_write(struct buf *out, const struct msg_decide_answer *m);
enum err msg_decide_answer_read(struct msg_decide_answer *m, struct reader *r);

/* ISSUE: one call of one client, 1..256 credentials. The facts about the client are told by the
 * api; hsm looks the client up in its own configuration and judges by that. */
enum msg_proof {
	PROOF_NONE = 0 /* spki is a SubjectPublicKeyInfo */,
	PROOF_CSR = 1 /* it is a PKCS#10 request */
};
struct msg_issue_item {
	char key[NAME_SIZE];
	uint8_t role;	    /* enum dc_role */
	uint16_t algorithm; /* SignatureScheme of the DC key; 0: the key's default */
	uint8_t proof;	    /* enum msg_proof */
	struct octets spki; /* DER, 1..8192 octets */
	uint8_t term;	    /* enum policy_term */
	int64_t term_value; /* seconds: a lifetime or a not_after; not sent for TERM_DEFAULT */
	uint8_t has_not_before;
	int64_t not_before;		    /* sent only when there is one; else reads as 0 */
	struct octets reference;	    /* UTF-8, 0..REFERENCE_MAX */
	char idempotency[IDEMPOTENCY_SIZE]; /* "" when none */
};
struct msg_issue {
	char request[ID_SIZE]; /* request id, stands in answer, log and ledger */
	char client[NAME_SIZE];
	uint8_t client_sha256[SHA256_SIZE]; /* of the client's certificate */
	uint8_t client_spki_sha256[SHA256_SIZE];
	char client_serial[48]; /* lowercase hex */
	char peer[PEER_SIZE];	/* address and port, or "unix" */
	uint32_t deadline_ms;	/* time left for this request when it was sent */
	uint8_t dry_run;
	uint16_t count; /* 1..MSG_ITEMS */
	struct msg_issue_item item[MSG_ITEMS];
};
void msg_issue_write(struct buf *out, const struct msg_issue *m);
enum err msg_issue_read(struct msg_issue *m, struct reader *r);
/* One item alone, as it stands inside the message: the SHA-256 of this, with an empty idempotency
 * key, is what "the same request" means. */
void msg_issue_item_write(struct buf *out, const struct msg_issue_item *m);

#define GRANT_REPLAYED	 1u /* this is the credential of an earlier call with this key */
#define GRANT_KEY_SHARED 2u /* another client holds a live credential for the DC key */
#define GRANT_DRY_RUN	 4u /* nothing was signed: id, dc and the ledger's members are empty */

struct msg_grant {		/* answer to one item */
	struct refusal refusal; /* err == ERR_OK: granted, what follows holds; else it is not sent
				   and reads as zeros */
	char id[ID_SIZE];
	uint8_t role;
	uint16_t scheme;    /* dc_cert_verify_algorithm */
	uint16_t algorithm; /* the DC's own signature */
	struct octets dc;
	int64_t not_before; /* window opens */
	int64_t not_after;  /* expiry */
	uint32_t valid_time;
	uint8_t spki_sha256[SHA256_SIZE];
	uint8_t certificate_sha256[SHA256_SIZE]; /* of the delegation certificate: the api has its
						    chain */
	uint32_t flags;				 /* GRANT_ */
	uint32_t compat;			 /* compat_warnings: bit i for compat_rule(i) */
	char chain[2 * NAME_SIZE + 8];		 /* the ledger's chain */
	uint64_t idx;				 /* of the ISSUED record */
	uint8_t leaf_hash[SHA256_SIZE];		 /* of the ISSUED record */
};
struct msg_issue_answer {
	char request[ID_SIZE];
	uint16_t count;
	struct msg_grant grant[MSG_ITEMS];
};
void msg_issue_answer_write(struct buf *out, const struct msg_issue_answer *m);
enum err msg_issue_answer_read(struct msg_issue_answer *m, struct reader *r);

/* APPEND: records to be made durable in one transaction, in order. The octets of a record are those
 * of record_encode. The other members count for AUTHORISED only; max_live_* 0 = no limit. */
struct msg_append_item {
	struct octets record;
	uint64_t max_live_key, max_live_client;
	uint8_t judge_only; /* answered as if it were written, and not written: a dry run */
};
struct msg_append {
	uint16_t count; /* 1..MSG_ITEMS */
	struct msg_append_item item[MSG_ITEMS];
};
void msg_append_write(struct buf *out, const struct msg_append *m);
enum err msg_append_read(struct msg_append *m, struct reader *r);

struct msg_appended {
	/* ERR_OK: the record is durable as it was sent. Else for AUTHORISED: refused (a REFUSED
	 * record stands in its place); for ISSUED: recorded as LATE; for another outcome: its
	 * attempt is not open, nothing was written; for all: ERR_LEDGER_UNAVAILABLE, nothing was
	 * written. */
	struct refusal refusal;
	uint64_t idx; /* 0 for a REFUSED that was only counted (one of a flood) */
	uint8_t leaf_hash[SHA256_SIZE];
	uint8_t shared; /* AUTHORISED: another client holds a live DC for this SPKI */
	/* ERR_OK or not: the released DC of this idempotency key, as records (record_encode, with
	 * chain and idx; idx and leaf_hash above are those of the ISSUED one); empty: none. With an
	 * AUTHORISED and ERR_OK nothing was authorised: this is what to answer. */
	struct octets replay_authorised, replay_issued;
};
struct msg_append_answer {
	uint16_t count;
	struct msg_appended item[MSG_ITEMS];
};
void msg_append_answer_write(struct buf *out, const struct msg_append_answer *m);
enum err msg_append_answer_read(struct msg_append_answer *m, struct reader *r);

/*
 * HOLD and RELEASE, of one form: issuance with a key, for a client, or for this client with this
 * key is stopped, or goes on. The ledger asks its own configuration whether the client `by` has the
 * right, then writes one HELD or RELEASED into every chain of its node, in one transaction with the
 * hold itself: every AUTHORISED that is committed after the answer is subject to it. A hold on what
 * is held already replaces the reason; a release ends the hold on exactly this key and client.
 */
#define HOLD_REASON_MAX 200
struct msg_hold {
	char request[ID_SIZE];
	char by[NAME_SIZE];		/* the client that asks, as told by the api */
	uint8_t by_sha256[SHA256_SIZE]; /* of its certificate */
	char by_serial[48];
	char peer[PEER_SIZE];
	char key[NAME_SIZE], client[NAME_SIZE]; /* "" = any, not both */
	struct octets reason;			/* UTF-8, 1..HOLD_REASON_MAX octets */
};
void msg_hold_write(struct buf *out, const struct msg_hold *m);
enum err msg_hold_read(struct msg_hold *m, struct reader *r);
/* ERR_NO_RIGHT; ERR_NO_KEY, ERR_NOT_FOUND: no such key, client or hold; ERR_LEDGER_UNAVAILABLE. */
struct msg_hold_answer {
	struct refusal refusal;
	uint64_t live; /* unexpired credentials of this key and client, with those under way */
	int64_t latest_expiry; /* of these; 0 = none */
};
void msg_hold_answer_write(struct buf *out, const struct msg_hold_answer *m);
enum err msg_hold_answer_read(struct msg_hold_answer *m, struct reader *r);

/*
 * STRANGER: somebody asked who is no client (ERR_UNKNOWN_CLIENT); the ledger writes a REFUSED into
 * its node's first chain. The api tells at most one a second, the ledger counts what is more.
 */
#define SUBJECT_MAX 255
struct msg_stranger {
	char request[ID_SIZE];
	uint8_t has_certificate; /* else a process of this machine; then the next two are zeros */
	uint8_t sha256[SHA256_SIZE]; /* of the certificate */
	char serial[48];
	char peer[PEER_SIZE];
	struct octets subject; /* UTF-8, 0..SUBJECT_MAX octets */
	uint64_t left_out;     /* how many were not told since the last one */
};
void msg_stranger_write(struct buf *out, const struct msg_stranger *m);
enum err msg_stranger_read(struct msg_stranger *m, struct reader *r);

/*
 * READ: api -> ledger. Each answer is of one moment and bounded; what comes in pages says where the
 * next one begins. Only durable records are seen.
 */
enum msg_read_kind {
	READ_LIVE = 1,
	READ_HEADS,
	READ_HOLDS,
	READ_CREDENTIALS, /* key, client, live_at, after, limit: released ones, oldest first */
	READ_CREDENTIAL,  /* id */
	READ_CHECKPOINT,  /* chain: its signed head; signed now when a record is not covered yet */
	READ_PROOF,	  /* id: READ_CREDENTIAL, READ_CHECKPOINT and the inclusion proof */
	READ_CONSISTENCY, /* chain, from, to: sizes, 1 <= from <= to; to 0: the signed head's */
	READ_RECORDS,	  /* chain, from, offset */
	READ_NOTE	  /* chain: its signed head as it is kept now, perhaps none */
};
#define READ_PAGE      64   /* credentials in an answer */
#define READ_SCAN      4096 /* credentials looked at for an answer */
#define READ_PROOF_MAX 64
#define READ_HELD      64
struct msg_read {
	uint8_t kind;
	char key[NAME_SIZE], client[NAME_SIZE]; /* READ_LIVE: "" = any; READ_HOLDS: those after the
						   hold on these; both "": from the first on */
	char id[ID_SIZE];			/* "" = none */
	char chain[2 * NAME_SIZE + 8];
	int64_t live_at; /* out and unexpired then; 0 = any */
	uint64_t after;	 /* READ_CREDENTIALS: 0, or `next` of the page before */
	uint16_t limit;	 /* READ_CREDENTIALS: 1..READ_PAGE; 0 = READ_PAGE */
	uint64_t from, to;
	uint64_t offset; /* READ_RECORDS: octets of the record `from` that are not wanted again */
};
/* A credential that was released. */
struct msg_released {
	char chain[2 * NAME_SIZE + 8];
	uint64_t idx; /* of the ISSUED record */
	uint8_t leaf_hash[SHA256_SIZE];
	struct octets authorised,
		issued; /* records as record_encode gives them, with chain and idx */
};
struct msg_hash {
	uint8_t octets[SHA256_SIZE];
};
struct msg_held {
	char key[NAME_SIZE], client[NAME_SIZE]; /* "" = any */
	char reason[HOLD_REASON_MAX + 1];
};
struct msg_head_of_chain {
	char chain[2 * NAME_SIZE + 8];
	uint64_t size;
	int64_t last_time;
	uint8_t root[SHA256_SIZE];
};
struct msg_read_answer {
	enum err err; /* ERR_NOT_FOUND: no such chain, credential, size or index;
			 ERR_LEDGER_UNAVAILABLE: nothing can be signed now */
	uint8_t kind;
	uint64_t live;	       /* READ_LIVE: unexpired DCs now */
	int64_t latest_expiry; /* READ_LIVE: 0 = none */
	uint64_t octets;       /* READ_HEADS: size of the store on disk */
	uint16_t count;	       /* READ_HEADS */
	struct msg_head_of_chain head[64];
	uint16_t held_count; /* READ_HOLDS: READ_HELD of them means that there may be more */
	struct msg_held held[READ_HELD];
	uint16_t released_count; /* READ_CREDENTIALS, READ_CREDENTIAL, READ_PROOF */
	struct msg_released released[READ_PAGE];
	uint64_t next;	      /* READ_CREDENTIALS: `after` of the next page, 0 = that was all (an
				 empty page is not the end); READ_RECORDS: `from` */
	uint64_t next_offset; /* READ_RECORDS: `offset` */
	/* READ_CHECKPOINT, READ_PROOF, READ_CONSISTENCY, READ_NOTE: the note, of size `to`.
	 * READ_RECORDS: octets of a stream of records, a line each, cut anywhere; none: the end. */
	struct octets text;
	char verifier_key[512]; /* READ_CHECKPOINT: C2SP signed-note, for people */
	uint64_t to;
	uint16_t proof_count;
	struct msg_hash proof[READ_PROOF_MAX];
};
void msg_read_write(struct buf *out, const struct msg_read *m);
enum err msg_read_read(struct msg_read *m, struct reader *r);
void msg_read_answer_write(struct buf *out, const struct msg_read_answer *m);
enum err msg_read_answer_read(struct msg_read_answer *m, struct reader *r);

/* STATE: api -> hsm asks for keys from index `from` on, in the order of their names; the
 * answer holds up to STATE_KEYS of them and how many there are, so the api asks again until it has
 * all. Whoever names the mark that all pages had gets no keys while it is still the same. Child ->
 * parent: STATE with an empty body, once, when it serves. */
#define STATE_KEYS 128
struct msg_state_key {
	char name[NAME_SIZE];
	enum err err; /* ERR_OK: served */
	char detail[160];
	char weak[160];				 /* what accept_weak_key let pass; "" = nothing */
	uint8_t certificate_sha256[SHA256_SIZE]; /* the one that issues; zeros when not served */
	int64_t certificate_not_after;
	uint16_t algorithm; /* of this key's signatures */
};
enum msg_counter { /* monotonic unless said otherwise; the api shows them in /metrics */
	COUNTER_SIGNATURES,
	COUNTER_SIGN_ERRORS,
	COUNTER_SIGN_US,	 /* microseconds inside C_SignInit and C_Sign */
	COUNTER_VERIFY_FAILURES, /* signatures that did not verify and were not released */
	COUNTER_QUEUE,		 /* gauge: requests waiting for a worker */
	COUNTER_WORKERS_BUSY,	 /* gauge */
	COUNTER_SESSIONS,	 /* gauge: open PKCS#11 sessions */
	COUNTER_LEDGER_US,	 /* microseconds waited for the ledger */
	COUNTER_CLOCK_DRIFT_MS,	 /* gauge, absolute */
	COUNTER_COUNT
};
/* How long the parts of a request took, as histograms: bucket i counts those of at most
 * msg_bound_us[i] microseconds, the last one the rest. Monotonic like the counters. */
#define MSG_BUCKETS 16
extern const uint32_t msg_bound_us[MSG_BUCKETS - 1];
enum msg_span {
	SPAN_QUEUE,  /* until a worker took it */
	SPAN_LEDGER, /* each wait for the ledger */
	SPAN_SIGN,   /* each C_SignInit and C_Sign */
	SPAN_VERIFY, /* each check of a signature */
	SPAN_TOTAL,  /* from its arrival in the hsm process to its answer */
	SPAN_COUNT
};
struct msg_histogram {
	uint64_t sum_us;
	uint64_t bucket[MSG_BUCKETS];
};
struct msg_state {
	uint32_t from;
	uint64_t mark; /* of the states that the api has; 0: none */
};
struct msg_state_answer {
	uint8_t token_ok;
	char token_detail[160];
	uint8_t generation[SHA256_SIZE];
	uint64_t counter[COUNTER_COUNT];
	uint16_t span_count; /* SPAN_COUNT */
	struct msg_histogram span[SPAN_COUNT];
	uint64_t mark;	/* of all keys' states as they are now, not 0 */
	uint32_t total; /* keys of this token */
	uint32_t from;
	uint16_t count;
	struct msg_state_key key[STATE_KEYS];
};
void msg_state_write(struct buf *out, const struct msg_state *m);
enum err msg_state_read(struct msg_state *m, struct reader *r);
void msg_state_answer_write(struct buf *out, const struct msg_state_answer *m);
enum err msg_state_answer_read(struct msg_state_answer *m, struct reader *r);

#endif
