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

void merkle_append(struct merkle *m, const uint8_t leaf[SHA256_SIZE])
{
	uint8_t node[SHA256_SIZE];
	unsigned n = merkle_edges(m->size);

	memcpy(node, leaf, sizeof node);
	/* each low one bit is a full subtree as large as the one that has just been completed */
	for (uint64_t size = m->size; (size & 1) != 0; size >>= 1)
		merkle_node(m->edge[--n], node, node);
	memcpy(m->edge[n], node, sizeof node);
	m->size++;
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
