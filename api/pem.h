/* PEM in the strict form of RFC 7468: each DER has one spelling. Pure. */
#ifndef DCSIGN_PEM_H
#define DCSIGN_PEM_H

#include "buf.h"

/*
 * Takes exactly one block with this label ("PUBLIC KEY"): lines of 64 characters ended by LF, the
 * last one shorter or as long, strict base64, nothing before and nothing after; only the LF behind
 * the END line may be missing. Appends the octets to out. ERR_FORMAT for anything else.
 */
enum err pem_decode(struct buf *out, const char *label, const char *text, size_t len);
/* The reverse: appends the block to out, with the LF behind its END line. */
void pem_encode(struct buf *out, const char *label, const uint8_t *octets, size_t len);
/* Does the text begin as a PEM block does? */
bool pem_begins(const char *text, size_t len);

#endif
