/*
 * One PKCS#11 token: the only module that knows Cryptoki. libp11 loads the module and finds the
 * token; then keys are found and signatures are made on sessions of our own over the
 * same module. Nothing but the octets of a message under a SignatureScheme can be signed, with one
 * mechanism per key type. An error that a fresh session does not cure makes the token lost: the
 * process then ends and is born again.
 */
#ifndef DCSIGN_TOKEN_H
#define DCSIGN_TOKEN_H

#include "buf.h"
#include "scheme.h"

struct token;
struct token_session;

struct token_spec {
	const char *module;	 /* absolute path of the shared object */
	const char *module_args; /* NULL: none */
	const char *uri;	 /* RFC 7512 with token and/or serial, see token_uri_check */
	unsigned sessions;	 /* sessions that may be in use at the same time, 1.. */
	unsigned concurrency; /* threads inside C_Sign, 1..sessions; 0: adapted, see token_gate.h */
};

struct token_facts {
	char label[33], serial[17], manufacturer[33], model[17];
	bool pin_count_low, pin_final_try, pin_locked; /* as the token said at token_open */
};

/*
 * RFC 7512: `pkcs11:` with token and/or serial (key: with object and/or id). Refused: a query, a
 * slot, an attribute twice, white space, and every attribute that is not understood, since such a
 * URI would match anything. field of *why: uri.
 */
enum err token_uri_check(const char *uri, struct refusal *why);
enum err token_key_uri_check(const char *uri, struct refusal *why);

/* Loads the module and finds the one token; does not log in. ERR_TOKEN: the module can't be
 * loaded, the token is not there, or several match. ERR_OVERLOADED: it has no session to give. One
 * token at a time per process and module. */
enum err token_open(struct token **out, const struct token_spec *spec, struct refusal *why);
const struct token_facts *token_facts(const struct token *t);
/* ERR_PIN when the token says that a try is dangerous, beyond what the caller was told to risk. A
 * locked PIN is never tried. */
enum login_risk { RISK_NONE, RISK_COUNT_LOW, RISK_FINAL_TRY };
enum err token_login_allowed(const struct token *t, enum login_risk risk, struct refusal *why);
/* One C_Login. */
enum login_result {
	LOGIN_DONE,
	LOGIN_REFUSED,	 /* the PIN is not taken */
	LOGIN_NOT_TRIED, /* the token did not look at it */
	LOGIN_UNSURE	 /* another failure */
};
enum login_result token_login(struct token *t, const char *pin, struct refusal *why);
/* All sessions must have been given back. NULL is allowed. */
void token_close(struct token *t);

/* Is the token still there? C_GetTokenInfo and the keeper session; may hang as the module may. */
enum err token_probe(struct token *t, struct refusal *why);
/* True for good after an error that needs a new process. */
bool token_lost(const struct token *t);
/* Calls that do not come back: half of the sessions for limit_ms, or the keeper's for twice that.
 */
bool token_stuck(const struct token *t, int64_t limit_ms);
/* Nobody gets a session any more: who waits for one gives up. */
void token_give_up(struct token *t);
unsigned token_sessions_open(const struct token *t);
/* How many threads can sign at the same time now, at least 1. */
unsigned token_width(const struct token *t);
/* gate_turn and gate_crowd of its gate. */
unsigned token_turn(const struct token *t);
void token_crowd(struct token *t, bool crowd);

/* A private key. Handles hold as long as the process lives. */
struct token_key {
	unsigned long handle;
	enum key_type type;   /* KEY_RSA for every RSA key */
	size_t signature_len; /* octets of a raw signature */
};

/* Exactly one private key matches: else ERR_KEY_MISSING, ERR_KEY_AMBIGUOUS, ERR_CERT_KEY (a type
 * that can't sign DCs), ERR_TOKEN. */
enum err token_key_find(
	struct token *t, const char *uri, struct token_key *key, struct refusal *why);

/* All private keys as they are now, to look many up: a token takes long to find one of thousands.
 * Free with token_index_free. */
struct token_index;
enum err token_index_make(struct token *t, struct token_index **out, struct refusal *why);
void token_index_free(struct token_index *x);

enum token_verdict { VERDICT_OK, VERDICT_NOTE, VERDICT_ACCEPTED, VERDICT_REFUSED };
struct token_key_rules {
	char *const *accept; /* attributes without CKA_, lower case, that may be as they are */
	size_t accept_count;
	/* one call per attribute; NULL: none */
	void (*line)(void *arg, const char *attribute, const char *value, enum token_verdict v);
	void *arg;
};
/*
 * Reads the attributes that make a key fit to delegate, one at a time. ERR_KEY_WEAK with the first
 * one that does not fit and is not accepted. weak[size]: what was accepted or could not be known,
 * "" = nothing.
 */
enum err token_key_check(struct token *t, const struct token_key *key,
	const struct token_key_rules *rules, char *weak, size_t size, struct refusal *why);
/* token_key_find, in an index (NULL: in the token), and token_key_check, with one question to the
 * token where that is enough: each takes as long as the next. */
enum err token_key_look(struct token *t, const struct token_index *x, const char *uri,
	const struct token_key_rules *rules, struct token_key *key, char *weak, size_t size,
	struct refusal *why);

/*
 * Sessions. take waits for a free one until `until` (monotonic_ms): ERR_TIMEOUT; ERR_TOKEN when
 * none can be opened or the token is lost. A signature on it is not begun after `until`. give
 * returns it; one that had any error, or was spoiled, is closed instead and never used again.
 */
enum err token_session_take(
	struct token *t, int64_t until, struct token_session **out, struct refusal *why);
void token_session_give(struct token_session *s);
/* A signature on it is begun no later than this. */
void token_session_until(struct token_session *s, int64_t until);
void token_session_spoil(struct token_session *s);

enum token_outcome {
	SIGN_DONE,
	SIGN_NOT_DONE, /* refused before C_Sign */
	SIGN_MAYBE     /* C_Sign failed, or gave something else: a signature may have been made */
};
#define TOKEN_SIGNATURE_MAX 1024
struct token_signature {
	enum token_outcome outcome;
	bool again; /* worth another try on a fresh session */
	size_t len;
	uint8_t raw[TOKEN_SIGNATURE_MAX]; /* ECDSA: r || s */
	struct refusal why;		  /* when not SIGN_DONE */
};
/* Signs a whole message under a scheme of the key's type; the scheme's hashing is done here. */
void token_sign(struct token_session *s, const struct token_key *key, const struct scheme *scheme,
	const uint8_t *message, size_t len, struct token_signature *out);

/* CLOCK_MONOTONIC in milliseconds, the clock of all deadlines in this folder. */
int64_t monotonic_ms(void);

#endif
