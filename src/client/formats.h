/* The files in which a delegated credential (DC) is kept. */
#ifndef DCSIGN_CLIENT_FORMATS_H
#define DCSIGN_CLIENT_FORMATS_H

#include <stdbool.h>

#include "buf.h"

enum dc_format {
	FORMAT_RAW,  /* the DelegatedCredential's octets */
	FORMAT_PEM,  /* label DELEGATED CREDENTIAL, base64 at 64 columns */
	FORMAT_HEX,  /* lowercase hex, one line */
	FORMAT_JSON, /* an object whose member "credential" is the base64 of the octets */
	FORMATS
};

#define FORMAT_FILE_MAX (256 * 1024) /* octets of a file that is read */

const char *format_name(enum dc_format f); /* "raw", "pem", "hex", "json" */
bool format_by_name(const char *name, enum dc_format *f);
/* The file's name in the folder of dcsign request: "credential.dc", ".pem", ".hex", ".json". */
const char *format_file(enum dc_format f);

/*
 * Finds out the form of a file's octets and appends the DC's octets to *dc. What is none of the
 * text forms is taken as raw octets as it is. No DC's octets can be mistaken for text: read as text
 * they would announce a public key longer than a DC can be. ERR_FORMAT with *why when a text form
 * is damaged; buf's errors.
 */
enum err format_read(
	struct buf *dc, enum dc_format *form, const uint8_t *file, size_t len, struct refusal *why);

/* Appends the file. Not for FORMAT_JSON (ERR_FORMAT): that is made of more than the DC. */
enum err format_write(struct buf *file, enum dc_format f, const uint8_t *dc, size_t len);

#endif
