#include "merkle.h"

#include <string.h>

void merkle_init(struct merkle *m)
{
	memset(m, 0, sizeof *m);
}

void merkle_leaf(const void *record, size_t len, uint8_t out[SHA256_SIZE])
{
	const struct digest_part parts[] = {{"\x00", 1}, {record, len}};

	sha256_parts(parts, 2, out);
}

void merkle_node(
	const uint8_t left[SHA256_SIZE], const uint8_t right[SHA256_SIZE], uint8_t out[SHA256_SIZE])
{
	const struct digest_part parts[] = {{"\x01", 1}, {left, SHA256_SIZE}, {right, SHA256_SIZE}};

	sha256_parts(parts, 3, out);
}

unsigned merkle_edges(uint64_t size)
{
	return (unsigned)__builtin_popcountll(size);
}

void merkle_append_seen(
	struct merkle *m, const uint8_t leaf[SHA256_SIZE], merkle_seen *seen, void *arg)
{
	uint8_t node[SHA256_SIZE];
	unsigned n = merkle_edges(m->size), level = 0;
	uint64_t index = m->size;

	memcpy(node, leaf, sizeof node);
	seen(arg, level, index, node);
	/* each low one bit is a full subtree as large as the one that has just been completed */
	while ((index & 1) != 0) {
		merkle_node(m->edge[--n], node, node);
		index >>= 1;
		seen(arg, ++level, index, node);
	}
	memcpy(m->edge[n], node, sizeof node);
	m->size++;
}

static void unseen(void *arg, unsigned level, uint64_t index, const uint8_t hash[SHA256_SIZE])
{
	(void)arg;
	(void)level;
	(void)index;
	(void)hash;
}

void merkle_append(struct merkle *m, const uint8_t leaf[SHA256_SIZE])
{
	merkle_append_seen(m, leaf, unseen, NULL);
}

void merkle_root(const struct merkle *m, uint8_t out[SHA256_SIZE])
{
	unsigned n = merkle_edges(m->size);

	if (n == 0) {
		sha256("", 0, out);
		return;
	}
	memcpy(out, m->edge[--n], SHA256_SIZE);
	while (n > 0)
		merkle_node(m->edge[--n], out, out);
}
