/* Inside of record.c: the members of a record, and which types have which. */
#ifndef DCSIGN_RECORD_MEMBERS_H
#define DCSIGN_RECORD_MEMBERS_H

#include <stddef.h>

#include "record.h"

enum member_kind {
	TYPE,	/* the record's type, by its name */
	TEXT,	/* UTF-8 without NUL */
	ID,	/* text: 32 lowercase hex digits */
	HEX,	/* SHA256_SIZE octets as lowercase hex */
	BASE64, /* octets */
	INT,	/* int64, RECORD_NONE = absent */
	JSON	/* canonical JSON, embedded */
};

/* must: types that have the member; may: types that can have it besides. */
struct member {
	const char *name;
	size_t name_len;
	enum member_kind kind;
	size_t offset;
	uint32_t must, may;
	bool ledgers; /* the ledger process sets it: APPEND need not carry it */
};

#define RECORD_MEMBERS 58
extern const struct member record_members[RECORD_MEMBERS]; /* sorted by name */
extern const char *const record_type_names[RECORD_TYPES];

bool record_type_known(enum record_type type);
/* A set of members: bit i is record_members[i]. */
uint64_t record_members_present(const struct record *r);
/* Whether the members that are there are those that the type has. complete: the ledger's own, too.
 */
bool record_members_fit(uint64_t set, enum record_type type, bool complete);
bool record_is_id(const struct octets *o);
bool record_value_fits(const struct member *m, const struct octets *o);

static inline int64_t *int_of(struct record *r, const struct member *m)
{
	return (int64_t *)(void *)((char *)r + m->offset);
}

static inline int64_t int_at(const struct record *r, const struct member *m)
{
	return *(const int64_t *)(const void *)((const char *)r + m->offset);
}

static inline struct octets *octets_in(struct record *r, const struct member *m)
{
	return (struct octets *)(void *)((char *)r + m->offset);
}

static inline const struct octets *octets_at(const struct record *r, const struct member *m)
{
	return (const struct octets *)(const void *)((const char *)r + m->offset);
}

#endif
