/* The Merkle tree of RFC 9162 section 2.1 over SHA-256, kept as its right edge. */
#ifndef DCSIGN_MERKLE_H
#define DCSIGN_MERKLE_H

#include "digest.h"
#include "err.h"

#define MERKLE_LEVELS 64

/* The roots of the perfect subtrees that a tree of this size is made of, largest first. */
struct merkle {
	uint64_t size;
	uint8_t edge[MERKLE_LEVELS][SHA256_SIZE]; /* as many as size has one bits */
};

void merkle_init(struct merkle *m);
/* SHA-256(0x00 || record) */
void merkle_leaf(const void *record, size_t len, uint8_t out[SHA256_SIZE]);
/* SHA-256(0x01 || left || right) */
void merkle_node(const uint8_t left[SHA256_SIZE], const uint8_t right[SHA256_SIZE],
	uint8_t out[SHA256_SIZE]);
void merkle_append(struct merkle *m, const uint8_t leaf[SHA256_SIZE]);
/* The tree head; of an empty tree SHA-256(""). */
void merkle_root(const struct merkle *m, uint8_t out[SHA256_SIZE]);
/* Number of edge hashes for a size. */
unsigned merkle_edges(uint64_t size);

#endif
