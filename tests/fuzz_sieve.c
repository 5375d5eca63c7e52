/*
 * What a connection brings, before libmicrohttpd. The first octet says how the rest is cut into
 * pieces. However it is cut the verdict is the same, what passes is what came, up to a head that is
 * refused, and what has passed once passes again.
 */
#include "fuzz_files.h"

#include "sieve.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

struct passed {
	struct refusal refusal;
	unsigned heads;
	bool begun;
	size_t len;
	uint8_t *octets;
};

static struct passed through(const uint8_t *octets, size_t len, size_t step, size_t bite)
{
	struct passed p = {.octets = malloc(len + sizeof SIEVE_STAND_IN)};
	struct sieve v;

	insist(p.octets != NULL);
	sieve_init(&v);
	for (size_t at = 0, n; at < len; at += n) {
		n = step == 0 || step > len - at ? len - at : step;
		insist(sieve_put(&v, octets + at, n) == ERR_OK);
		while (sieve_ready(&v) > 0) {
			insist(p.len + sieve_ready(&v) < len + sizeof SIEVE_STAND_IN);
			p.len += sieve_take(&v, p.octets + p.len, bite);
		}
		insist(v.len - v.ready <= FRAMING_HEADER_MAX);
	}
	p.refusal = v.refusal;
	p.heads = v.heads;
	p.begun = sieve_begun(&v);
	sieve_free(&v);
	return p;
}

static bool same(const struct passed *a, const struct passed *b)
{
	return a->refusal.err == b->refusal.err && a->heads == b->heads && a->begun == b->begun &&
	       a->len == b->len && memcmp(a->octets, b->octets, a->len) == 0 &&
	       strcmp(a->refusal.detail, b->refusal.detail) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	const size_t ours = sizeof SIEVE_STAND_IN - 1;
	struct passed whole, cut, again;
	size_t good;

	if (len == 0)
		return 0;
	whole = through(octets + 1, len - 1, 0, 65536);
	cut = through(octets + 1, len - 1, octets[0] % 64 + 1, octets[0] / 64 + 1);
	insist(same(&whole, &cut));
	good = whole.len;
	if (whole.refusal.err != ERR_OK) {
		insist(whole.heads > 0 && good >= ours && whole.refusal.detail[0] != '\0');
		good -= ours;
		insist(memcmp(whole.octets + good, SIEVE_STAND_IN, ours) == 0);
	}
	insist(good <= len - 1 && memcmp(whole.octets, octets + 1, good) == 0);
	again = through(whole.octets, good, 0, 65536);
	insist(again.refusal.err == ERR_OK && again.len == good && !again.begun &&
		again.heads == whole.heads - (whole.refusal.err != ERR_OK));
	free(whole.octets);
	free(cut.octets);
	free(again.octets);
	return 0;
}
