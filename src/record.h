/*
 * The ledger's records. A record is canonical JSON: one object, members sorted by name, no spaces,
 * UTF-8, integers only, the shortest escapes. One table in record.c says for each member its name,
 * kind and the types that carry it; the three forms (this struct, the octets inside APPEND, the
 * JSON text) all come from that table. Pure.
 */
#ifndef DCSIGN_RECORD_H
#define DCSIGN_RECORD_H

#include "message.h"

enum record_type {
	RECORD_START = 1, /* an hsm process began to write this chain */
	RECORD_STOP,	  /* it ended in order */
	RECORD_CONFIG,	  /* from here on this generation decides */
	RECORD_KEY_PROVED,
	RECORD_KEY_REFUSED,
	RECORD_SELF_TEST,  /* a signature is about to be asked for: outcome is KEY-PROVED,
			      KEY-REFUSED or UNKNOWN with the same id */
	RECORD_AUTHORISED, /* a signature is about to be asked for: outcome is ISSUED, FAILED,
			      UNKNOWN or LATE with the same id and attempt */
	RECORD_ISSUED,
	RECORD_FAILED,	/* no usable signature came of it */
	RECORD_UNKNOWN, /* it is not known whether there is a signature; nothing was released */
	RECORD_LATE,	/* a signature that was made but never released */
	RECORD_REFUSED,
	RECORD_HELD,
	RECORD_RELEASED,
	RECORD_CLOCK,
	RECORD_CHECKPOINT,
	RECORD_SUCCEEDED,
	RECORD_TYPES
};

#define RECORD_MAX  (4 << 20) /* octets of one record's JSON */
#define RECORD_NONE INT64_MIN /* an optional integer that is not there */

/*
 * Every member that a record can have. Texts and octets are borrowed; length 0 = absent. Integers:
 * RECORD_NONE = absent (record_init sets them so). A hex member holds octets here and lowercase hex
 * in JSON.
 */
struct record {
	enum record_type type;
	struct octets chain; /* node/token: set by the ledger process */
	int64_t idx;	     /* set by the ledger process */
	int64_t time; /* seconds since the epoch; set by the writer from its one clock reading */

	struct octets id;	/* 32 hex digits as text */
	int64_t attempt;	/* 1..3 */
	struct octets retry_of; /* id */
	struct octets request;
	struct octets client;
	struct octets client_sha256; /* hex */
	struct octets client_serial;
	struct octets peer;
	struct octets key;
	struct octets role;
	struct octets algorithm;	   /* name: dc_cert_verify_algorithm */
	struct octets signature_algorithm; /* name: how the DC is signed */
	struct octets spki;		   /* base64 */
	struct octets spki_sha256;	   /* hex */
	struct octets possession;	   /* "csr" or "none" */
	int64_t lifetime_asked, lifetime_granted;
	int64_t now;
	int64_t cert_not_before;
	int64_t valid_time;
	int64_t expiry;
	int64_t window_opens;
	struct octets certificate_sha256; /* hex */
	struct octets tbs_sha256;	  /* hex */
	struct octets policy;
	struct octets generation; /* hex */
	struct octets reference;
	struct octets idempotency;
	struct octets request_sha256; /* hex: what "the same request" means */
	struct octets dc;	      /* base64 */
	struct octets dc_sha256;      /* hex */
	int64_t shared; /* ISSUED, LATE: 1 = another client held a live DC of this key; else absent
			 */
	struct octets
		reason; /* name of an enum err, or a person's words (HELD, RELEASED, SUCCEEDED) */
	struct octets field;
	struct octets detail;
	int64_t count;		    /* REFUSED: how many of the same were put together */
	struct octets certificates; /* base64 list: each DER after a u24 length */
	struct octets weak;
	struct octets node, token, version, boot_id;
	int64_t boottime; /* CLOCK_BOOTTIME, milliseconds */
	int64_t single_user;
	struct octets config; /* canonical JSON, embedded */
	struct octets by;     /* HELD, RELEASED: the client that asked */
	int64_t live, latest_expiry;
	int64_t drift_ms;
	struct octets note;
	struct octets public_key; /* CHECKPOINT: a verifier key as signed-note has it */
	struct octets previous;
	int64_t size;
	struct octets root; /* hex */
};

/* All members absent. */
void record_init(struct record *r, enum record_type type);
const char *record_type_name(enum record_type type); /* "AUTHORISED", "KEY-PROVED", ... */
struct octets octets_text(const char *s);	     /* borrowed; NULL = absent */
struct octets octets_of(const void *at, size_t len);

/* What APPEND carries. chain, idx and config, which the ledger process sets, may be there or not
 * (they are in the records that it answers with); ERR_FORMAT when another member that the type must
 * have is missing, one that it can't have is there, or a value is not of its kind. Appends. */
enum err record_encode(struct buf *out, const struct record *r);
enum err record_decode(struct record *r, const uint8_t *octets, size_t len);

/* The canonical JSON with chain and idx: the leaf's octets. ERR_FORMAT as in record_encode,
 * ERR_NO_ROOM over RECORD_MAX. Appends. */
enum err record_write(struct buf *out, const struct record *r);
/*
 * Takes exactly what record_write makes, nothing else (ERR_FORMAT). What the record holds lives in
 * *store (a limit of RECORD_MAX is enough), which must be empty and is kept as long as *r.
 */
enum err record_parse(struct record *r, struct buf *store, const char *json, size_t len);

#endif
