/* The bodies of a batch, and of a hold or release. */
#include <stdlib.h>
#include <string.h>

#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void check_refusal(enum err err, const struct refusal *why)
{
	if (why->err != err || why->detail[0] == '\0' ||
		!utf8_valid((const uint8_t *)why->field, strlen(why->field)) ||
		!utf8_valid((const uint8_t *)why->detail, strlen(why->detail)))
		abort();
}

static void batch(const uint8_t *octets, size_t len)
{
	struct batch_request batch;
	struct refusal why;
	struct buf out = BUF_INIT(MSG_MAX);
	enum err err;

	memset(&why, 0, sizeof why);
	err = batch_parse(&batch, "www", "key", octets, len, &why);
	if (err != ERR_OK)
		check_refusal(err, &why);
	else if (batch.count < 1 || batch.count > MSG_ITEMS)
		abort();
	for (size_t i = 0; err == ERR_OK && i < batch.count; i++) {
		const struct batch_item *item = &batch.item[i];

		buf_reset(&out);
		if (item->refusal.err != ERR_OK)
			check_refusal(item->refusal.err, &item->refusal);
		else
			msg_issue_item_write(&out, &item->request.item);
		if (out.err != ERR_OK)
			abort();
	}
	batch_free(&batch);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	char reason[HOLD_REASON_MAX + 1];
	struct refusal why;
	enum err err;

	if (len > BATCH_MAX)
		return 0;
	batch(octets, len);
	memset(&why, 0, sizeof why);
	err = reason_parse(reason, octets, len, &why);
	if (err != ERR_OK)
		check_refusal(err, &why);
	else if (reason[0] == '\0' || !utf8_valid((const uint8_t *)reason, strlen(reason)))
		abort();
	return 0;
}
