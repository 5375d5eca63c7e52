/* Every decoder of the messages between processes: what is taken encodes to the same octets. */
#include <stdlib.h>
#include <string.h>

#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

#define MESSAGES(X)                                                                                \
	X(msg_hello)                                                                               \
	X(msg_hello_answer)                                                                        \
	X(msg_config)                                                                              \
	X(msg_config_answer)                                                                       \
	X(msg_issue)                                                                               \
	X(msg_issue_answer)                                                                        \
	X(msg_append)                                                                              \
	X(msg_append_answer)                                                                       \
	X(msg_read)                                                                                \
	X(msg_read_answer)                                                                         \
	X(msg_state)                                                                               \
	X(msg_state_answer)                                                                        \
	X(msg_hold)                                                                                \
	X(msg_hold_answer)                                                                         \
	X(msg_stranger)                                                                            \
	X(msg_decide)                                                                              \
	X(msg_decide_answer)

#define TRY(name)                                                                                  \
	static void try_##name(const uint8_t *octets, size_t len)                                  \
	{                                                                                          \
		static struct name m;                                                              \
		struct buf out = BUF_INIT(2 * MSG_MAX);                                            \
		struct reader r;                                                                   \
                                                                                                   \
		reader_init(&r, octets, len);                                                      \
		if (name##_read(&m, &r) != ERR_OK)                                                 \
			return;                                                                    \
		name##_write(&out, &m);                                                            \
		if (out.err != ERR_OK || out.len != len ||                                         \
			(len > 0 && memcmp(out.octets, octets, len) != 0))                         \
			abort();                                                                   \
		buf_free(&out);                                                                    \
	}
MESSAGES(TRY)

#define POINTER(name) try_##name,
static void (*const tries[])(const uint8_t *, size_t) = {MESSAGES(POINTER)};

/* The head, and the decoder that the first octet chooses. */
int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct msg_head head;
	struct reader body;

	if (len == 0 || len > MSG_MAX)
		return 0;
	(void)msg_open(&head, &body, octets, len);
	tries[octets[0] % (sizeof tries / sizeof tries[0])](octets + 1, len - 1);
	return 0;
}
