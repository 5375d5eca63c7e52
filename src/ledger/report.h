/* `dcsign ledger report`: what a ledger comes to, gathered in one walk, and the page that shows it.
 */
#ifndef DCSIGN_REPORT_H
#define DCSIGN_REPORT_H

#include <stdio.h>

#include "store.h"
#include "verify.h"

/* Of a key, a client, a reason ... */
struct figure {
	char name[256];	     /* cut at its size */
	uint64_t count;	     /* issued; of reasons: refused */
	uint64_t refused;    /* of keys and clients */
	uint64_t live;	     /* unexpired at report.now */
	int64_t last, until; /* newest issuance; last expiry of what is unexpired; 0: none */
};

struct figures {
	struct figure *at;
	size_t count;
};

struct report_certificate {
	char key[NAME_SIZE], subject[256], sha256[2 * SHA256_SIZE + 1];
	int64_t not_before, not_after;
};

struct report_head {
	struct checkpoint head;
	char vkey[CHECKPOINT_ORIGIN_SIZE + 64];
};

#define REPORT_PROBLEMS	 100 /* shown */
#define REPORT_LIFETIMES 8

struct report {
	int64_t now; /* what is unexpired then is live */
	struct figures keys, clients, reasons;
	struct figures types; /* records of each */
	struct figures holds; /* count 1: in force, since last */
	/* issued by the hour, from first_hour on */
	uint64_t *hour;
	size_t hours;
	int64_t first_hour; /* seconds since the epoch / 3600 */
	uint64_t lifetime[REPORT_LIFETIMES];
	int64_t *live; /* expiry of each credential that is unexpired */
	size_t lives, lives_room;
	struct report_certificate *certificate;
	size_t certificates;
	struct report_head *head;
	size_t heads;
	char *problem[REPORT_PROBLEMS];
	struct buf notes;    /* what verification said that is not wrong: texts, each with its 0 */
	int64_t first, last; /* time of a record; RECORD_NONE: there is none to be read */
	struct verify verify;
	enum err err; /* of a callback: ERR_NOMEM */
};

/* The upper ends of the classes of lifetimes, in seconds; the last one has none (INT64_MAX). */
extern const int64_t report_lifetimes[REPORT_LIFETIMES];

/* Verifies and gathers. r: now and verify's known and verifier are set, the rest is zero.
 * report_free whatever comes back. Errors as verify_store. */
enum err report_gather(struct report *r, struct store *s);
void report_free(struct report *r);
/* report_html.c: one page without scripts and without anything from elsewhere. */
void report_html(struct buf *out, const struct report *r);

#endif
