/* The Merkle tree of RFC 9162 section 2.1 over SHA-256, kept as its right edge. */
#ifndef DCSIGN_MERKLE_H
#define DCSIGN_MERKLE_H

#include <stdbool.h>

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
/* The same; seen gets each perfect subtree that the leaf completes, the leaf itself first: its
 * leaves are those from index << level on, 1 << level of them. */
typedef void merkle_seen(
	void *arg, unsigned level, uint64_t index, const uint8_t hash[SHA256_SIZE]);
void merkle_append_seen(
	struct merkle *m, const uint8_t leaf[SHA256_SIZE], merkle_seen *seen, void *arg);
/* The tree head; of an empty tree SHA-256(""). */
void merkle_root(const struct merkle *m, uint8_t out[SHA256_SIZE]);
/* Number of edge hashes for a size. */
unsigned merkle_edges(uint64_t size);

/* Proofs: the hashes in the order of RFC 9162. */
#define MERKLE_PROOF_MAX 64
struct merkle_proof {
	unsigned count;
	uint8_t hash[MERKLE_PROOF_MAX][SHA256_SIZE];
};
/* Where the hashes of perfect subtrees come from, counted as by merkle_seen. */
typedef enum err merkle_subtree(
	void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE]);
/* The root of the first `size` leaves. size >= 1. */
enum err merkle_root_at(uint64_t size, merkle_subtree *from, void *arg, uint8_t out[SHA256_SIZE]);
/* Section 2.1.3.1: leaf idx is in the tree of this size. idx < size, else ERR_NOT_FOUND. */
enum err merkle_inclusion(
	struct merkle_proof *proof, uint64_t idx, uint64_t size, merkle_subtree *from, void *arg);
/* Section 2.1.4.1: the tree of size `later` begins with that of size `earlier`. 1 <= earlier <=
 * later, else ERR_NOT_FOUND. */
enum err merkle_consistency(struct merkle_proof *proof, uint64_t earlier, uint64_t later,
	merkle_subtree *from, void *arg);
/* Sections 2.1.3.2 and 2.1.4.2. */
bool merkle_included(const struct merkle_proof *proof, uint64_t idx, uint64_t size,
	const uint8_t leaf[SHA256_SIZE], const uint8_t root[SHA256_SIZE]);
bool merkle_consistent(const struct merkle_proof *proof, uint64_t earlier, uint64_t later,
	const uint8_t earlier_root[SHA256_SIZE], const uint8_t later_root[SHA256_SIZE]);

#endif
