/* A ledger in a folder of its own, written through commit.h in this process. */
#ifndef LEDGER_BENCH_H
#define LEDGER_BENCH_H

#include "ledger/commit.h"
#include "ledger_help.h"

#define BENCH_ITEMS 256

struct bench {
	char folder[64], path[128], url[HELP_URL];
	struct issuer issuer;
	bool sign; /* heads, as these say */
	uint64_t every;
	int64_t interval;
	char *file, *command, *origin;
	struct config *config;
	struct ledger ledger;
	struct chain *chain; /* sign1/main */
	int64_t now, ms;     /* the ledger's clocks */
	struct commit_item item[BENCH_ITEMS];
	struct buf text;
};

/* The folder and the delegation key; nothing is open. */
void bench_make(struct bench *b);
/* After an open ledger was stopped or abandoned. */
void bench_remove(struct bench *b);
void bench_open(struct bench *b);
/* ledger_open of this ledger; waits while PostgreSQL has not noticed the end of its last user. */
enum err bench_ledger_open(struct ledger *l, const struct bench *b, struct refusal *why);
/* The same without a writer; what the start says. */
enum err bench_try(struct bench *b, struct refusal *why);
/* Stops it and opens it again. */
void bench_reopen(struct bench *b);
void bench_stop(struct bench *b);

/* One record each in one group; gives what commit_group gives. The answers are in b->item. */
enum err bench_group(struct bench *b, const struct record *const *records, size_t count,
	uint64_t max_live_key, uint64_t max_live_client);
/* One record alone; the refusal's code. */
enum err bench_put(struct bench *b, const struct record *r);
/* The same for a record of the ledger's own. */
enum err bench_own(struct bench *b, const struct record *r);
int64_t bench_size(const struct bench *b);
/* A record as text, borrowed until the next call. */
const char *bench_text(struct bench *b, int64_t idx);
/* As an auditor opens it: a file at rest, a database at any time. */
void bench_reader(struct bench *b, struct store **s);
/* SQL on the ledger at rest, as SQLite has it. */
void bench_sql(struct bench *b, const char *sql);

#endif
