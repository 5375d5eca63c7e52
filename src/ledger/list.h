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
	bool csv;
	bool json; /* credentials as JSON lines, not as a table */
	FILE *out;
	uint64_t count; /* of lines */
	int64_t latest; /* expiry of these credentials; 0: none */
};

/* The released credentials (ISSUED), each with what was authorised; a record that can't be read is
 * passed over. Errors as verify_store. */
enum err list_credentials(struct list *l, struct store *s);
/* The records' own octets, a line each; key and client are not looked at. */
enum err list_records(struct list *l, struct store *s);

#endif
