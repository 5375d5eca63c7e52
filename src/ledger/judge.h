/* What the records of one chain say, one after the other: attempts and their outcomes, keys and
 * their proofs, credentials, holds. Places, hashes and heads are verify.h's. */
#ifndef DCSIGN_JUDGE_H
#define DCSIGN_JUDGE_H

#include "attempts.h"
#include "signatures.h"
#include "tables.h"

/* what: borrowed during the call */
typedef void judge_wrong(void *arg, int64_t idx, const char *what);

struct judge {
	judge_wrong *wrong;
	void *arg;
	struct attempts attempts;
	struct proved *proved;
	struct rules *rules;
	struct tally tally;
	struct signatures *signatures;
	int64_t *context; /* idx of CONFIG, KEY-PROVED, HELD, RELEASED: what later ones lean on */
	size_t contexts;
	struct tables *tables; /* NULL: are not looked at */
	bool begun;
	struct inforce *holds;
	struct buf opened, tbs;
	const char *json; /* the record at hand */
	size_t len;
	bool stopped;	      /* nothing but heads followed a STOP */
	uint64_t credentials; /* ISSUED */
};

/* ERR_NOMEM; judge_free all the same. */
enum err judge_init(struct judge *j, struct crew *crew, judge_wrong *say, void *arg);
void judge_free(struct judge *j);
/* The next record, and its text. ERR_NOMEM. */
enum err judge_take(struct judge *j, const struct record *r, const char *json, size_t len);
/* After the last record: what is still to be said. ERR_NOMEM. */
enum err judge_end(struct judge *j);
/* Attempts that have no outcome, of a chain that was not stopped in order. */
uint64_t judge_open(const struct judge *j);

/* judge_save.c: what a later run needs to go on, appended. Nothing may be under way (judge_end).
 * Attempts that are closed are not kept. */
void judge_save(const struct judge *j, struct buf *out);
/* Back into one that judge_init made; reads the records that it leans on. ERR_FORMAT: it is not
 * that, or the records are not there. */
enum err judge_load(struct judge *j, struct reader *in, struct store *s, const char *chain);

#endif
