/* The octets of a row of the table `pending`: one change after the other, each its kind and its
 * members in the order of these tables. */
#include "sqlite-pending.h"

#include <stddef.h>
#include <string.h>

enum kind { END, TEXT, NUMBER, HASH };

struct member {
	enum kind kind;
	size_t at, size;
};

#define M(kind, member)                                                                            \
	{                                                                                          \
		kind, offsetof(struct pending_done, member),                                       \
			sizeof(((struct pending_done *)NULL)->member)                              \
	}
#define MEMBERS 12

static const struct member members[PENDING_KINDS][MEMBERS] = {
	[PENDING_ATTEMPT] = {M(TEXT, attempt.id), M(NUMBER, attempt.attempt),
		M(TEXT, attempt.chain), M(NUMBER, attempt.idx), M(NUMBER, attempt.issued),
		M(TEXT, attempt.key), M(TEXT, attempt.client), M(HASH, attempt.spki_sha256),
		M(NUMBER, attempt.expiry), M(TEXT, attempt.idempotency)},
	[PENDING_ISSUE] = {M(TEXT, attempt.id), M(NUMBER, attempt.attempt),
		M(NUMBER, attempt.issued)},
	[PENDING_DROP] = {M(TEXT, attempt.id), M(NUMBER, attempt.attempt)},
	[PENDING_IDEMPOTENCY] = {M(TEXT, idempotency.client), M(TEXT, idempotency.key),
		M(TEXT, idempotency.idempotency), M(HASH, idempotency.request_sha256),
		M(NUMBER, idempotency.time), M(TEXT, idempotency.id), M(TEXT, idempotency.chain),
		M(NUMBER, idempotency.authorised), M(NUMBER, idempotency.issued)},
	[PENDING_CREDENTIAL] = {M(TEXT, credential.id), M(TEXT, credential.chain),
		M(NUMBER, credential.authorised), M(NUMBER, credential.issued),
		M(TEXT, credential.key), M(TEXT, credential.client), M(NUMBER, credential.expiry),
		M(NUMBER, credential.time)},
	[PENDING_NODE] = {M(TEXT, node.chain), M(NUMBER, node.level), M(NUMBER, node.index),
		M(HASH, node.hash)},
};

enum err pending_log_write(struct buf *log, const struct pending_done *d)
{
	buf_u8(log, (uint8_t)d->what);
	for (const struct member *m = members[d->what]; m->kind != END; m++) {
		const char *at = (const char *)d + m->at;
		int64_t number;

		if (m->kind == TEXT) {
			buf_str(log, at);
		} else if (m->kind == HASH) {
			buf_put(log, at, m->size);
		} else {
			memcpy(&number, at, sizeof(number));
			buf_u64(log, (uint64_t)number);
		}
	}
	return log->err;
}

enum err pending_log_read(struct reader *in, struct pending_done *d)
{
	uint8_t what = reader_u8(in);

	if (in->failed || !what || what >= PENDING_KINDS)
		return ERR_FORMAT;
	memset(d, 0, sizeof(*d));
	d->what = (enum pending_what)what;
	for (const struct member *m = members[what]; m->kind != END; m++) {
		char *at = (char *)d + m->at;

		if (m->kind == TEXT) {
			reader_str(in, at, m->size);
		} else if (m->kind == HASH) {
			const uint8_t *hash = reader_take(in, m->size);

			if (hash)
				memcpy(at, hash, m->size);
		} else {
			uint64_t number = reader_u64(in);

			memcpy(at, &number, sizeof(number));
		}
	}
	return in->failed ? ERR_FORMAT : ERR_OK;
}
