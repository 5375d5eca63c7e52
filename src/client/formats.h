/* The files in which a delegated credential (DC) is kept. */
#ifndef DCSIGN_CLIENT_FORMATS_H
#define DCSIGN_CLIENT_FORMATS_H

#include <stdbool.h>

#include "dc.h"

enum dc_format {
	FORMAT_RAW,  /* the DelegatedCredential's octets */
	FORMAT_PEM,  /* label DELEGATED CREDENTIAL, base64 at 64 columns */
	FORMAT_HEX,  /* lowercase hex, one line */
	FORMAT_JSON, /* an object whose member "credential" is the base64 of the octets */
	FORMAT_FIZZ, /* one PEM file of Fizz: the DC, its private key (P-256), the chain */
	FORMATS
};

#define FORMAT_FILE_MAX (256 * 1024) /* octets of a file that is read */

const char *format_name(enum dc_format f); /* "raw", "pem", "hex", "json", "fizz" */
bool format_by_name(const char *name, enum dc_format *f);
/* The names, as "raw, pem, hex, json, fizz". */
extern const char format_names[];
/* The file's name in the folder of dcsign request: "credential.dc", ".pem", ".hex", ".json";
 * "fizz.pem". */
const char *format_file(enum dc_format f);

/*
 * Finds out the form of a file's octets and appends the DC's octets to *dc. What is none of the
 * text forms is taken as raw octets as it is. No DC's octets can be mistaken for text: read as text
 * they would announce a public key longer than a DC can be. ERR_FORMAT with *why when a text form
 * is damaged; buf's errors.
 */
enum err format_read(
	struct buf *dc, enum dc_format *form, const uint8_t *file, size_t len, struct refusal *why);

/* What a file is made of. */
struct format_source {
	const uint8_t *dc; /* the DelegatedCredential's octets */
	size_t len;
	/* for FORMAT_FIZZ alone */
	enum dc_role role;
	const struct buf
		*key; /* the DC's private key: PKCS#8 in PEM, as keygen_private_pem writes it */
	const struct buf *chain; /* PEM, the delegation certificate first */
};

/*
 * Appends the file. Not for FORMAT_JSON (ERR_FORMAT): that is made of more than the DC.
 * ERR_DC_ALGORITHM for FORMAT_FIZZ of a DC that is not ecdsa_secp256r1_sha256: Fizz loads no other.
 * A FORMAT_FIZZ file holds the private key: wipe the buffer, write it 0600.
 */
enum err format_write(struct buf *file, enum dc_format f, const struct format_source *source);

#endif
