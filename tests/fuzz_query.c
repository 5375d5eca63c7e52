/* The query of a target. What was taken fits READ, and is refused where it is not taken. */
#include <stdlib.h>
#include <string.h>

#include "query.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

#define ALL 0x3ffu

static void encode(const struct query *q)
{
	struct msg_read read = {.kind = READ_CREDENTIALS}, again;
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_head head;
	struct reader body;

	memcpy(read.key, q->key, sizeof read.key);
	memcpy(read.client, q->client, sizeof read.client);
	memcpy(read.id, q->id, sizeof read.id);
	memcpy(read.chain, q->chain, sizeof read.chain);
	read.live_at = q->live_at;
	read.after = q->after;
	read.from = q->from;
	read.to = q->to;
	msg_begin(&out, MSG_READ, 1);
	msg_read_write(&out, &read);
	if (out.err != ERR_OK || msg_open(&head, &body, out.octets, out.len) != ERR_OK ||
		msg_read_read(&again, &body) != ERR_OK || strcmp(again.chain, q->chain) != 0)
		abort();
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct query q, less;
	struct refusal why;
	char text[1024];
	enum err err;

	if (len >= sizeof text)
		return 0;
	memcpy(text, octets, len);
	text[len] = '\0';
	memset(&why, 0, sizeof why);
	err = query_parse(&q, ALL, 0, text, &why);
	if (err == ERR_OK) {
		encode(&q);
		for (unsigned bit = 1; bit < ALL; bit <<= 1) {
			if ((q.given & bit) != 0 &&
				query_parse(&less, ALL & ~bit, 0, text, &why) == ERR_OK)
				abort();
			if ((q.given & bit) == 0 &&
				query_parse(&less, ALL, bit, text, &why) == ERR_OK)
				abort();
		}
	} else if (why.err != ERR_MALFORMED || why.detail[0] == '\0') {
		abort();
	}
	return 0;
}
