/* Files of the command line read into what they hold. */
#ifndef DCSIGN_CLIENT_LOAD_H
#define DCSIGN_CLIENT_LOAD_H

#include <jansson.h>

#include "certificate.h"
#include "dc.h"
#include "formats.h"

struct loaded_dc {
	struct buf octets;
	enum dc_format form;
	struct dc dc; /* borrowed from octets */
};

/* A DC in any form of formats.h, parsed. *why names the file. */
enum err load_dc(struct loaded_dc *out, const char *file, struct refusal *why);
void load_dc_free(struct loaded_dc *in);
/* The first certificate of a PEM file, or a DER one. *why names the file. */
enum err load_certificate(struct certificate *out, const char *file, struct refusal *why);
void load_certificate_free(struct certificate *in);
/* The octets of a PEM file's first block with one of these labels (the list ends with NULL), or of
 * the file itself when it has no PEM block: DER. Appends. *why names the file. */
enum err load_der(struct buf *out, const char *file, const char *const *labels, size_t max,
	struct refusal *why);

/* Prints an object as indented JSON and a line feed on standard output. */
void print_json(const json_t *o);

#endif
