/* The body of a request. What was taken must fit what ISSUE can carry, and mean the same again. */
#include <stdlib.h>
#include <string.h>

#include "request.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void encode(struct buf *out, const struct request *request)
{
	buf_reset(out);
	msg_issue_item_write(out, &request->item);
	if (out->err != ERR_OK)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct request request, again;
	struct refusal why;
	struct buf first = BUF_INIT(MSG_MAX), second = BUF_INIT(MSG_MAX);
	enum err err;

	if (len > REQUEST_MAX)
		return 0;
	memset(&why, 0, sizeof why);
	err = request_parse(&request, "www", NULL, octets, len, &why);
	if (err == ERR_OK) {
		encode(&first, &request);
		if (request_parse(&again, "www", NULL, octets, len, &why) != ERR_OK)
			abort();
		encode(&second, &again);
		if (first.len != second.len || memcmp(first.octets, second.octets, first.len) != 0)
			abort();
		request_free(&again);
	} else if (why.err != err || why.detail[0] == '\0' ||
		   !utf8_valid((const uint8_t *)why.field, strlen(why.field)) ||
		   !utf8_valid((const uint8_t *)why.detail, strlen(why.detail))) {
		abort();
	}
	request_free(&request);
	buf_free(&first);
	buf_free(&second);
	return 0;
}
