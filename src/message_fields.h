/* Inside of message.c: how its tables are written and walked. */
#ifndef DCSIGN_MESSAGE_FIELDS_H
#define DCSIGN_MESSAGE_FIELDS_H

#include <stddef.h>

#include "message.h"

/*
 * One table per message says what stands in it, in order. Writer and reader walk the same table, so
 * that they can't disagree, and apply the same limits, so that nobody can send what its peer would
 * have to refuse.
 */
enum field_kind { UINT, FIXED, TEXT, OCTETS, LIST, WHEN, END };

struct field {
	enum field_kind kind;
	size_t at;	/* offset in the structure */
	size_t size;	/* of the member; LIST: of one item */
	uint64_t least; /* UINT: value. OCTETS: length. LIST: count */
	uint64_t most;
	bool (*good)(const char *text, size_t len); /* TEXT, OCTETS */
	size_t of; /* LIST: offset of the 16 bit count; WHEN: of the enum err or flag */
	const struct field *fields; /* LIST: of one item; WHEN: only there if ... */
	bool unless;		    /* WHEN: ... the integer is 0; else: is not 0 */
};

#define SIZE_OF(s, member) sizeof(((struct s *)NULL)->member)
#define MEMBER(s, member)  .at = offsetof(struct s, member), .size = SIZE_OF(s, member)
#define RANGE(s, member, lo, hi)                                                                   \
	{                                                                                          \
		.kind = UINT, MEMBER(s, member), .least = (lo), .most = (hi)                       \
	}
#define FLAG(s, member)	  RANGE(s, member, 0, 1)
#define NUMBER(s, member) RANGE(s, member, 0, UINT64_MAX)
#define CODE(s, member)	  RANGE(s, member, 0, ERR_COUNT - 1)
#define DIGEST(s, member)                                                                          \
	{                                                                                          \
		.kind = FIXED, MEMBER(s, member)                                                   \
	}
#define STRING(s, member, check)                                                                   \
	{                                                                                          \
		.kind = TEXT, MEMBER(s, member), .good = (check)                                   \
	}
#define BYTES(s, member, lo, hi, check)                                                            \
	{                                                                                          \
		.kind = OCTETS, MEMBER(s, member), .least = (lo), .most = (hi), .good = (check)    \
	}
/* `count items of the member` and how each looks; its count stands before it on the wire. */
#define ITEMS(s, member, count, lo, hi, item)                                                      \
	{                                                                                          \
		.kind = LIST, .at = offsetof(struct s, member), .size = SIZE_OF(s, member[0]),     \
		.least = (lo), .most = (hi), .of = offsetof(struct s, count), .fields = (item)     \
	}
#define ONLY_IF(s, flag, what)                                                                     \
	{                                                                                          \
		.kind = WHEN, .size = SIZE_OF(s, flag), .of = offsetof(struct s, flag),            \
		.fields = (what)                                                                   \
	}
#define ONLY_UNLESS(s, flag, what)                                                                 \
	{                                                                                          \
		.kind = WHEN, .size = SIZE_OF(s, flag), .of = offsetof(struct s, flag),            \
		.fields = (what), .unless = true                                                   \
	}
#define FIELDS_END                                                                                 \
	{                                                                                          \
		.kind = END                                                                        \
	}

/* A text for people: what else stands in it is written as question marks. */
bool field_is_utf8(const char *s, size_t len);
/* Appends what the table says of the structure at base; what doesn't fit it makes out->err
 * ERR_FORMAT. */
void fields_write(struct buf *out, const struct field *f, const uint8_t *base);
/* Fills *m, which borrows from the reader's octets. ERR_FORMAT: a limit of the table is passed, or
 * something follows. */
enum err fields_read(struct reader *r, const struct field *f, void *m);

#endif
