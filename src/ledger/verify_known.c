#include <stdio.h>

#include "tree.h"
#include "verify_walk.h"

void verify_known_before(struct walk *w)
{
	struct tree t = {.store = w->store, .chain = w->chain->chain};
	struct merkle_proof proof;
	uint8_t root[SHA256_SIZE];

	merkle_root(&w->tree, root);
	for (struct known *k = w->v->known; k; k = k->next) {
		if (k->head.size == 0 || k->head.size > w->tree.size ||
			!witness_origin(k->head.origin, w->chain->chain))
			continue;
		k->seen = true;
		if (!witness_signed(w->v->verifier, w->v->verifiers, k))
			verify_wrong(w, (int64_t)k->head.size - 1,
				"a kept checkpoint of this size is not signed with the key given");
		if (merkle_consistency(&proof, k->head.size, w->tree.size, tree_subtree, &t) ||
			!merkle_consistent(&proof, k->head.size, w->tree.size, k->head.root, root))
			verify_wrong(w, (int64_t)k->head.size - 1,
				"a kept checkpoint of this size has another root: the records were "
				"rewritten");
	}
}

void verify_known(struct verify *v, const char *chain)
{
	char text[128];

	for (const struct known *k = v->known; k; k = k->next) {
		if (k->seen || k->head.size == 0 ||
			(chain && !witness_origin(k->head.origin, chain)))
			continue;
		snprintf(text, sizeof(text),
			"a kept checkpoint has %llu records of it: records are missing at its end",
			(unsigned long long)k->head.size);
		v->problems++;
		v->problem(v->arg, k->head.origin, NO_IDX, text);
	}
}

void verify_cosigned(struct verify *v)
{
	char text[CHECKPOINT_ORIGIN_SIZE + 128];

	for (const struct known *k = v->known; k; k = k->next) {
		for (size_t i = 0; i < v->witnesses; i++) {
			if (!checkpoint_cosigned(k->note, k->len, &v->witness[i], NULL))
				continue;
			snprintf(text, sizeof(text),
				"a kept checkpoint of %llu records has no good cosignature of %s",
				(unsigned long long)k->head.size, v->witness[i].name);
			v->problems++;
			v->problem(v->arg, k->head.origin, NO_IDX, text);
		}
	}
}
