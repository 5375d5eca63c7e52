#include "postgres.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX 512

/* The values that name a row, one after the other. */
static size_t key_of(uint8_t out[KEY_MAX], enum pg_table table, const char *kinds, va_list ap)
{
	size_t n = 0;

	out[n++] = (uint8_t)table;
	for (; *kinds; kinds++) {
		if (*kinds == 'i') {
			int64_t v = va_arg(ap, int64_t);

			memcpy(out + n, &v, sizeof(v));
			n += sizeof(v);
			continue;
		}
		const char *p = va_arg(ap, const char *);
		size_t len = *kinds == 'h' ? SHA256_SIZE : strlen(p) + 1;

		memcpy(out + n, p, len);
		n += len;
	}
	return n;
}

static struct pg_row **bucket_of(struct postgres *s, const uint8_t *key, size_t len)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * 0x100000001b3;
	return &s->bucket[(h >> 20) % PG_BUCKETS];
}

static struct pg_row *find(struct pg_row *at, const uint8_t *key, size_t len)
{
	while (at && (at->key_len != len || memcmp(at->key, key, len) != 0))
		at = at->next;
	return at;
}

struct pg_row *pg_row_find(struct postgres *s, enum pg_table table, const char *kinds, ...)
{
	uint8_t key[KEY_MAX];
	va_list ap;

	va_start(ap, kinds);
	size_t len = key_of(key, table, kinds, ap);
	va_end(ap);
	return find(*bucket_of(s, key, len), key, len);
}

struct pg_row *pg_row_make(struct postgres *s, enum pg_table table, const char *kinds, ...)
{
	uint8_t key[KEY_MAX];
	va_list ap;

	va_start(ap, kinds);
	size_t len = key_of(key, table, kinds, ap);
	va_end(ap);

	struct pg_row **bucket = bucket_of(s, key, len);
	struct pg_row *row = find(*bucket, key, len);

	if (row)
		return row;
	row = calloc(1, sizeof(*row) + len);
	if (!row)
		return NULL;
	memcpy(row->key, key, len);
	row->key_len = len;
	row->table = table;
	row->next = *bucket;
	*bucket = row;
	*s->last = row;
	s->last = &row->later;
	return row;
}

void pg_rows_free(struct postgres *s)
{
	struct pg_row *later;

	if (s->first)
		memset(s->bucket, 0, sizeof(s->bucket));
	for (struct pg_row *at = s->first; at; at = later) {
		later = at->later;
		free(at);
	}
	s->first = NULL;
	s->last = &s->first;
}

enum err pg_attempt_read(const PGresult *r, int row, struct store_attempt *out)
{
	bool ok = pg_text_of(r, row, 0, out->id, sizeof(out->id)) &&
		  pg_text_of(r, row, 2, out->chain, sizeof(out->chain)) &&
		  pg_text_of(r, row, 5, out->key, sizeof(out->key)) &&
		  pg_text_of(r, row, 6, out->client, sizeof(out->client)) &&
		  pg_octets_of(r, row, 7, out->spki_sha256, SHA256_SIZE) &&
		  pg_text_of(r, row, 9, out->idempotency, sizeof(out->idempotency));

	out->attempt = pg_int(r, row, 1);
	out->idx = pg_int(r, row, 3);
	out->issued = pg_int(r, row, 4);
	out->expiry = pg_int(r, row, 8);
	return ok ? ERR_OK : ERR_FORMAT;
}

enum err pg_idempotency_read(const PGresult *r, int row, int column, struct store_idempotency *out)
{
	bool ok = pg_text_of(r, row, column, out->client, sizeof(out->client)) &&
		  pg_text_of(r, row, column + 1, out->key, sizeof(out->key)) &&
		  pg_text_of(r, row, column + 2, out->idempotency, sizeof(out->idempotency)) &&
		  pg_octets_of(r, row, column + 3, out->request_sha256, SHA256_SIZE) &&
		  pg_text_of(r, row, column + 5, out->id, sizeof(out->id)) &&
		  pg_text_of(r, row, column + 6, out->chain, sizeof(out->chain));

	out->time = pg_int(r, row, column + 4);
	out->authorised = pg_int(r, row, column + 7);
	out->issued = pg_int(r, row, column + 8);
	return ok ? ERR_OK : ERR_FORMAT;
}
