/*
 * The delegation keys of one token under one configuration: which certificate issues now, and why a
 * key is refused. A key issues only after it was proved: fit by its attributes, and a self-test
 * delegated credential, expired from birth, verified with its certificate's key.
 */
#ifndef DCSIGN_KEYRING_H
#define DCSIGN_KEYRING_H

#include "append.h"
#include "certificate.h"
#include "config.h"
#include "token.h"

struct keyring;

/*
 * Takes a reference of config. Reads the certificate files and the URIs; ERR_CERT_MALFORMED or
 * ERR_FORMAT with file or key in the detail when one can't be used by anybody. A certificate that
 * may not delegate refuses its key alone. token: a name of the configuration; NULL: the keys of
 * all tokens, only to check them. One reference.
 */
enum err keyring_new(
	struct keyring **out, struct config *config, const char *token, struct refusal *why);
/* Reads certificates in a thread of its own until the first keyring_prove: while the token is
 * opened, which takes long when there are thousands of keys. At most once. */
void keyring_read_ahead(struct keyring *k);
struct keyring *keyring_ref(struct keyring *k);
void keyring_unref(struct keyring *k);
const struct config *keyring_config(const struct keyring *k);

/* What a request issues with; borrowed from the keyring. */
struct keyring_use {
	const struct config_key *config;
	const struct certificate *certificate;
	struct token_key key;
};
/* The newest proved certificate that is valid now. ERR_NO_KEY; ERR_KEY_UNAVAILABLE with the reason
 * in the detail. */
enum err keyring_find(struct keyring *k, const char *name, int64_t now, struct keyring_use *use,
	struct refusal *why);
/* Will it be known soon whether this key is served? Then its turn comes before that of others. */
bool keyring_pending(struct keyring *k, const char *name, int64_t now);
/* Is this the key of a delegation certificate of the configuration? */
bool keyring_has_spki(const struct keyring *k, const uint8_t sha256[SHA256_SIZE]);
/* Is this the key of one of the service's own TLS certificates? */
bool keyring_server_spki(const struct keyring *k, const uint8_t sha256[SHA256_SIZE]);

/*
 * Looks at every key as things stand now, finds and proves what is not proved yet, in so many
 * threads, those that were asked for last first; each is served as soon as it is proved. Logs and
 * records each change. Keys that are absent or unfit are looked for again 30 s after the last
 * search at the latest, five minutes where there are 256 keys or more. One thread at a time; waits
 * for the ledger.
 * Not ERR_OK: not all could be looked at, call again soon. ERR_TIMEOUT: nothing came back for
 * limit_ms; what did not is written down as UNKNOWN, and its threads are left to themselves
 * (keyring_hung).
 */
enum err keyring_prove(struct keyring *k, struct token *token, struct append *ledger,
	unsigned threads, int64_t limit_ms);
/* Threads that were left and have not come back: the process can't end in order. */
unsigned keyring_hung(void);
/* No key can be used: a token that is not logged in. */
void keyring_refuse_all(struct keyring *k, const struct refusal *why);
/* Log and ledger hear of each key that is refused, once for the same reason. Waits for the ledger.
 */
enum err keyring_tell(struct keyring *k, struct append *ledger);
/* Every proof has to be made again (a fresh ledger channel). */
void keyring_forget(struct keyring *k);
/* Proofs of `old` hold for `k` where key URI, exceptions and certificate are the same. */
void keyring_adopt(struct keyring *k, struct keyring *old);

/* mark, total, from, count and key of the answer. doubt: why no key can be used now; NULL: none. */
void keyring_state(struct keyring *k, const struct msg_state *ask, int64_t now,
	const struct refusal *doubt, struct msg_state_answer *answer);

#endif
