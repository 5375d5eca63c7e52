/* What `dcsign ledger verify --resume` left, as it is (first octet odd) or between the head and the
 * digest that such a file has: what is taken is written and read the same. */
#include "fuzz_files.h"

#include "ledger/bookmark.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void prepare(const uint8_t *octets, size_t len, bool frame)
{
	struct buf b = BUF_INIT(1 << 20);
	uint8_t digest[SHA256_SIZE];

	if (frame)
		buf_text(&b, "dcsign ledger verify 1\n");
	buf_put(&b, octets, len);
	sha256(b.octets, b.len, digest);
	if (frame)
		buf_put(&b, digest, sizeof digest);
	fuzz_write("bookmark", b.octets, b.len);
	buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct bookmark one, two;
	struct refusal why = {.err = ERR_OK};
	enum err e;

	if (len == 0 || len > 65536)
		return 0;
	prepare(octets + 1, len - 1, (octets[0] & 1) == 0);
	e = bookmark_open(&one, fuzz_path("bookmark"), &why);
	insist(e == ERR_OK || (why.err == e && why.detail[0] != '\0'));
	if (e == ERR_OK) {
		insist(bookmark_write(&one) == ERR_OK);
		insist(bookmark_open(&two, fuzz_path("bookmark"), &why) == ERR_OK);
		for (const struct bookmark_chain *c = one.chains; c; c = c->next) {
			const struct buf *same = bookmark_find(&two, c->chain);

			insist(same != NULL && same->len == c->octets.len &&
				(same->len == 0 ||
					memcmp(same->octets, c->octets.octets, same->len) == 0));
		}
		bookmark_close(&two);
	}
	bookmark_close(&one);
	return 0;
}
