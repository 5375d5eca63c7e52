/*
 * A chain's Merkle tree at rest. Of the perfect subtrees the store keeps the leaves (with the
 * records) and the roots of every TREE_STEP-th level, so that a proof reads a few dozen rows
 * however long the chain is.
 */
#ifndef DCSIGN_TREE_H
#define DCSIGN_TREE_H

#include "store.h"

#define TREE_STEP 4

struct tree {
	struct store *store;
	const char *chain;
	enum err err; /* of tree_keep: the first failure */
};

/* For merkle_append_seen: keeps what is to be kept. arg: struct tree. */
merkle_seen tree_keep;
/* For proofs. arg: struct tree. What is missing is ERR_FORMAT: the store is damaged. */
merkle_subtree tree_subtree;

#endif
