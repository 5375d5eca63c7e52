#include "tree.h"

void tree_keep(void *arg, unsigned level, uint64_t index, const uint8_t hash[SHA256_SIZE])
{
	struct tree *t = arg;

	if (level && level % TREE_STEP == 0 && !t->err)
		t->err = t->store->engine->node_put(t->store, t->chain, level, index, hash);
}

enum err tree_subtree(void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE])
{
	const struct tree *t = arg;
	const struct store_engine *engine = t->store->engine;
	uint8_t right[SHA256_SIZE];
	enum err e;

	if (level % TREE_STEP == 0) {
		e = level ? engine->node_get(t->store, t->chain, level, index, out)
			  : engine->leaf_get(t->store, t->chain, index, out);
		return e == ERR_NOT_FOUND ? ERR_FORMAT : e;
	}
	e = tree_subtree(arg, level - 1, 2 * index, out);
	if (!e)
		e = tree_subtree(arg, level - 1, 2 * index + 1, right);
	if (!e)
		merkle_node(out, right, out);
	return e;
}
