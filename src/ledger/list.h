/* The records of a ledger, and the credentials in it, for a person or a program to read. */
#ifndef DCSIGN_LIST_H
#define DCSIGN_LIST_H

#include <stdio.h>

#include "record.h"
#include "store.h"

struct list {
	const char *chain, *key, *client; /* NULL: any */
	int64_t from, to;		  /* member time: from <= time < to */
	int64_t live_at; /* only what was out and unexpired then; RECORD_NONE: any */
	/* 64 hex digits; NULL: any */
	const char *spki_sha256, *certificate_sha256;
	const char *id;	       /* NULL: any */
	enum record_type type; /* records alone; 0: any */
	bool csv;
	bool json; /* credentials as JSON lines, not as a table */
	FILE *out;
	uint64_t count;	     /* of lines */
	uint64_t archived;   /* records that were passed over: their text is in an archive */
	uint64_t unreadable; /* the same: they are damaged */
	int64_t latest;	     /* expiry of these credentials; 0: none */
};

/* The released credentials (ISSUED), each with what was authorised; a record that can't be read is
 * passed over. Errors as verify_store. */
enum err list_credentials(struct list *l, struct store *s);
/* The records' own octets, a line each; with csv a table of their main members (export.c). An
 * outcome is of the key and client of its AUTHORISED record. spki_sha256, certificate_sha256 and
 * live_at are not looked at. */
enum err list_records(struct list *l, struct store *s);

/* All records of l->chain, or of all chains. opened: the AUTHORISED or SELF-TEST record of the
 * attempt that r is about, as long as it was open or UNKNOWN; else NULL. Anything but ERR_OK ends
 * the walk. */
typedef enum err list_record(void *arg, const struct record *r, const struct record *opened);
enum err list_walk(struct list *l, struct store *s, list_record *take, void *arg);

/* export.c: a record as a line of CSV (RFC 4180), without its end; the line of names. A text that a
 * spreadsheet would take for a formula gets an apostrophe in front. */
void export_row(struct buf *out, const struct record *r);
extern const char export_names[];

#endif
