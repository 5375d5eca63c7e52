/* A credential in the ledger against the records that led to it, computed anew. */
#ifndef DCSIGN_REBUILD_H
#define DCSIGN_REBUILD_H

#include "certificate.h"
#include "record.h"

/* A certificate that a KEY-PROVED record shows, and for which key. */
struct proved {
	char key[NAME_SIZE];
	struct certificate certificate;
	struct proved *next;
};

void proved_free(struct proved *list);
/* Adds what a KEY-PROVED record shows. NULL: good; else what is wrong, static. */
const char *proved_add(struct proved **list, const struct record *r);
/* The certificate that this record names; NULL. */
const struct certificate *proved_find(const struct proved *list, const struct record *r);

/* AUTHORISED: do its members follow from each other and from the certificate? tbs, empty, gets the
 * octets to be signed. NULL: they do; else what is wrong, static. */
const char *rebuild_authorised(
	const struct record *r, const struct certificate *c, struct buf *tbs);
/* The credential of ISSUED or LATE, against its AUTHORISED; or of KEY-PROVED, against its
 * SELF-TEST: all but the signature. NULL: good; then *dc, borrowed from r, has the signature, and
 * tbs, empty before, what it must be over. */
const char *rebuild_credential(const struct record *r, const struct record *authorised,
	const struct certificate *c, struct dc *dc, struct buf *tbs);

#endif
