/* Records as JSON (first octet even) and as APPEND octets (odd): what is taken comes back the same
 * in both forms. */
#include <stdlib.h>
#include <string.h>

#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void same(const struct buf *b, const uint8_t *octets, size_t len)
{
	if (b->err || b->len != len || memcmp(b->octets, octets, len) != 0)
		abort();
}

static void text_round(const struct record *r, const uint8_t *octets, size_t len)
{
	struct buf text = BUF_INIT(RECORD_MAX), store = BUF_INIT(RECORD_MAX);
	struct record back;

	if (record_write(&text, r) == ERR_OK) {
		if (octets)
			same(&text, octets, len);
		if (record_parse(&back, &store, (const char *)text.octets, text.len))
			abort();
	} else if (octets) {
		abort();
	}
	buf_free(&text);
	buf_free(&store);
}

static void wire_round(const struct record *r, const uint8_t *octets, size_t len)
{
	struct buf wire = BUF_INIT(RECORD_MAX);
	struct record back;

	if (record_encode(&wire, r) || record_decode(&back, wire.octets, wire.len))
		abort();
	if (octets)
		same(&wire, octets, len);
	buf_free(&wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct buf store = BUF_INIT(RECORD_MAX);
	struct record r;

	if (len == 0)
		return 0;
	if (octets[0] & 1) {
		if (record_decode(&r, octets + 1, len - 1) == ERR_OK) {
			wire_round(&r, octets + 1, len - 1);
			text_round(&r, NULL, 0);
		}
	} else if (record_parse(&r, &store, (const char *)octets + 1, len - 1) == ERR_OK) {
		text_round(&r, octets + 1, len - 1);
		wire_round(&r, NULL, 0);
	}
	buf_free(&store);
	return 0;
}
