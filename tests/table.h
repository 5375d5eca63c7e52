/* Reads the tables of tests/vectors: blocks of `name = value`, ended by an empty line. */
#ifndef DCSIGN_TESTS_TABLE_H
#define DCSIGN_TESTS_TABLE_H

#include "buf.h"

#define TABLE_FIELDS 24

struct block {
	char *names[TABLE_FIELDS], *values[TABLE_FIELDS];
	unsigned count;
};

/* Calls f for each block of $TOP_SRCDIR/tests/vectors/<name>; returns how many there were. */
unsigned table_each(const char *name, void (*f)(const struct block *));
/* The value; "" when the block has no such field. */
const char *block_get(const struct block *b, const char *name);
/* The octets of a hex value; the caller frees the buf. */
struct buf block_octets(const struct block *b, const char *name);
int64_t block_number(const struct block *b, const char *name);
uint16_t block_code(const struct block *b, const char *name); /* four hex digits */

/* Appends the certificate as PEM text. */
void pem_certificate(struct buf *out, const struct buf *der);

#endif
