#include "merkle.h"

#include <string.h>

/* A part of the tree's leaves: `size` of them from `first` on, where no perfect subtree is cut. */
struct part {
	uint64_t first, size;
	merkle_subtree *from;
	void *arg;
};

/* The largest power of two below n; n >= 2. */
static uint64_t split(uint64_t n)
{
	return 1ull << (63 - __builtin_clzll(n - 1));
}

static struct part left_of(const struct part *p, uint64_t k)
{
	return (struct part){p->first, k, p->from, p->arg};
}

static struct part right_of(const struct part *p, uint64_t k)
{
	return (struct part){p->first + k, p->size - k, p->from, p->arg};
}

/* MTH */
static enum err head(const struct part *p, uint8_t out[SHA256_SIZE])
{
	if ((p->size & (p->size - 1)) == 0) {
		unsigned level = (unsigned)__builtin_ctzll(p->size);

		return p->from(p->arg, level, p->first >> level, out);
	}

	uint64_t k = split(p->size);
	struct part left = left_of(p, k), right = right_of(p, k);
	uint8_t rest[SHA256_SIZE];
	enum err e = head(&left, out);

	if (!e)
		e = head(&right, rest);
	if (!e)
		merkle_node(out, rest, out);
	return e;
}

static enum err put(struct merkle_proof *proof, const struct part *p)
{
	if (proof->count == MERKLE_PROOF_MAX)
		return ERR_NO_ROOM;

	enum err e = head(p, proof->hash[proof->count]);

	proof->count += !e;
	return e;
}

enum err merkle_root_at(uint64_t size, merkle_subtree *from, void *arg, uint8_t out[SHA256_SIZE])
{
	struct part all = {0, size, from, arg};

	return size ? head(&all, out) : ERR_NOT_FOUND;
}

/* PATH */
static enum err path(struct merkle_proof *proof, uint64_t m, const struct part *p)
{
	if (p->size == 1)
		return ERR_OK;

	uint64_t k = split(p->size);
	struct part left = left_of(p, k), right = right_of(p, k);
	enum err e = m < k ? path(proof, m, &left) : path(proof, m - k, &right);

	return e ? e : put(proof, m < k ? &right : &left);
}

enum err merkle_inclusion(
	struct merkle_proof *proof, uint64_t idx, uint64_t size, merkle_subtree *from, void *arg)
{
	struct part all = {0, size, from, arg};

	proof->count = 0;
	return idx < size ? path(proof, idx, &all) : ERR_NOT_FOUND;
}

/* SUBPROOF; whole: the part begins with the whole earlier tree, whose root the reader has */
static enum err subproof(struct merkle_proof *proof, uint64_t m, const struct part *p, bool whole)
{
	if (m == p->size)
		return whole ? ERR_OK : put(proof, p);

	uint64_t k = split(p->size);
	struct part left = left_of(p, k), right = right_of(p, k);
	enum err e =
		m <= k ? subproof(proof, m, &left, whole) : subproof(proof, m - k, &right, false);

	return e ? e : put(proof, m <= k ? &right : &left);
}

enum err merkle_consistency(struct merkle_proof *proof, uint64_t earlier, uint64_t later,
	merkle_subtree *from, void *arg)
{
	struct part all = {0, later, from, arg};

	proof->count = 0;
	return earlier && earlier <= later ? subproof(proof, earlier, &all, true) : ERR_NOT_FOUND;
}

/* ---- verification ---- */

/* The next hash stands left of what is known: then levels where there is no right sibling follow.
 */
static bool is_left(uint64_t *fn, uint64_t *sn)
{
	if (!(*fn & 1) && *fn != *sn)
		return false;
	while (!(*fn & 1) && *fn != 0) {
		*fn >>= 1;
		*sn >>= 1;
	}
	return true;
}

bool merkle_included(const struct merkle_proof *proof, uint64_t idx, uint64_t size,
	const uint8_t leaf[SHA256_SIZE], const uint8_t root[SHA256_SIZE])
{
	uint64_t fn = idx, sn = size - 1;
	uint8_t r[SHA256_SIZE];

	if (idx >= size)
		return false;
	memcpy(r, leaf, sizeof r);
	for (unsigned i = 0; i < proof->count; i++) {
		if (sn == 0)
			return false;
		if (is_left(&fn, &sn))
			merkle_node(proof->hash[i], r, r);
		else
			merkle_node(r, proof->hash[i], r);
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(r, root, sizeof r) == 0;
}

bool merkle_consistent(const struct merkle_proof *proof, uint64_t earlier, uint64_t later,
	const uint8_t earlier_root[SHA256_SIZE], const uint8_t later_root[SHA256_SIZE])
{
	uint64_t fn = earlier - 1, sn = later - 1;
	uint8_t fr[SHA256_SIZE], sr[SHA256_SIZE];
	unsigned i = 0;

	if (earlier == 0 || earlier > later)
		return false;
	if (earlier == later)
		return proof->count == 0 && memcmp(earlier_root, later_root, sizeof fr) == 0;
	if (proof->count == 0)
		return false;
	memcpy(fr, (earlier & (earlier - 1)) == 0 ? earlier_root : proof->hash[i++], sizeof fr);
	memcpy(sr, fr, sizeof sr);
	while (fn & 1) {
		fn >>= 1;
		sn >>= 1;
	}
	for (; i < proof->count; i++) {
		if (sn == 0)
			return false;
		if (is_left(&fn, &sn)) {
			merkle_node(proof->hash[i], fr, fr);
			merkle_node(proof->hash[i], sr, sr);
		} else {
			merkle_node(sr, proof->hash[i], sr);
		}
		fn >>= 1;
		sn >>= 1;
	}
	return sn == 0 && memcmp(fr, earlier_root, sizeof fr) == 0 &&
	       memcmp(sr, later_root, sizeof sr) == 0;
}
