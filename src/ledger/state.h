/*
 * The rules of the conditional records, judged and applied in the store's open transaction, in the
 * order of arrival. A rule that speaks of a time means the record's own clock reading (member now).
 * Functions give ERR_OK when the store could be asked; the judgement stands in *refusal or *v.
 */
#ifndef DCSIGN_STATE_H
#define DCSIGN_STATE_H

#include "record.h"
#include "store.h"

#define IDEMPOTENCY_TERM 86400 /* seconds */

struct verdict {
	struct refusal refusal;
	bool shared; /* another client holds a live credential for this DC key */
	/* replay: a released credential of this idempotency key; nothing is to be written */
	bool replay;
	struct store_idempotency idempotency;
	char retry_of[ID_SIZE]; /* the unreleased attempt before this one; "" = none */
};

/* A member as a C string; false when it does not fit. */
bool state_text(char *out, size_t size, const struct octets *o);

/* Whether the members of a record that a writer sent can be what its type needs here: lengths,
 * values, members that need each other. False: the writer is broken. */
bool state_sound(const struct record *r);

/*
 * AUTHORISED: held; idempotency key used for another request; already released (replay, or
 * refused when that credential has expired); DC key of another client without proof of possession;
 * limits of live credentials (0 = none), open attempts counted.
 */
enum err state_authorise(struct store *s, const struct record *r, uint64_t max_live_key,
	uint64_t max_live_client, struct verdict *v);
/* It was written as record idx of this chain. */
enum err state_authorised(struct store *s, const struct record *r, const char *chain, int64_t idx);

enum err state_self_test(struct store *s, const struct record *r, const char *chain, int64_t idx);

/* ISSUED: may it be released? Refused when its attempt is not open in this chain, or when its
 * idempotency key has a released credential (v->replay). */
enum err state_issue(struct store *s, const struct record *r, const char *chain, struct verdict *v);
enum err state_issued(struct store *s, const struct record *r, int64_t idx);

/* The outcomes without a credential: ERR_NOT_FOUND when its attempt is not open in this chain. */
enum err state_close(struct store *s, const struct record *r, const char *chain);

/* HELD and RELEASED. */
enum err state_hold(struct store *s, const struct record *r);

/* A record, as record_encode gives it with chain and idx, and its leaf hash. Appends.
 * ERR_NOT_FOUND: it is archived. */
enum err state_record(struct store *s, const char *chain, int64_t idx, struct buf *out,
	uint8_t leaf[SHA256_SIZE]);

/* The two records of a released credential, with chain and idx, as record_encode gives them, and
 * the second one's leaf hash. Appends. */
enum err state_replay(struct store *s, const struct store_idempotency *i, struct buf *authorised,
	struct buf *issued, uint8_t leaf[SHA256_SIZE]);

#endif
