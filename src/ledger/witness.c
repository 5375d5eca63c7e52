#include "witness.h"

#include <stdlib.h>
#include <string.h>

enum err known_read(struct known **list, const char *text, size_t len)
{
	enum err e = ERR_OK;

	while (!e && len > 0) {
		struct known *k = calloc(1, sizeof(*k));
		size_t note = checkpoint_length(text, len);

		if (!k)
			return ERR_NOMEM;
		k->next = *list;
		*list = k;
		k->note = text;
		k->len = note;
		e = note ? checkpoint_read(&k->head, text, note) : ERR_FORMAT;
		text += note;
		len -= note;
	}
	return e;
}

void known_free(struct known *list)
{
	struct known *next;

	for (; list; list = next) {
		next = list->next;
		free(list);
	}
}

/* Origins are ORIGIN/NODE/TOKEN. */
static bool same_node(const char *a, const char *b)
{
	const char *end = strrchr(a, '/');

	return end && strncmp(a, b, (size_t)(end - a) + 1) == 0 && !strchr(b + (end - a) + 1, '/');
}

static bool may_sign(const struct verifier *list, size_t count, const char *origin, size_t i)
{
	if (same_node(list[i].name, origin))
		return true;
	for (size_t n = 0; n < count; n++) {
		if (same_node(list[n].name, origin))
			return false;
	}
	return true;
}

bool witness_key(const struct verifier *list, size_t count, const char *origin,
	const uint8_t key[CHECKPOINT_KEY])
{
	for (size_t i = 0; i < count; i++) {
		if (memcmp(list[i].key, key, CHECKPOINT_KEY) == 0 &&
			may_sign(list, count, origin, i))
			return true;
	}
	return count == 0;
}

bool witness_signed(const struct verifier *list, size_t count, const struct known *k)
{
	struct checkpoint c;

	for (size_t i = 0; i < count; i++) {
		if (may_sign(list, count, k->head.origin, i) &&
			!checkpoint_verify(&c, k->note, k->len, list[i].key))
			return true;
	}
	return count == 0;
}

bool witness_origin(const char *origin, const char *chain)
{
	size_t len = strlen(origin), tail = strlen(chain);

	return len > tail + 1 && origin[len - tail - 1] == '/' &&
	       strcmp(origin + len - tail, chain) == 0;
}

const char *witness_record(
	struct witness *w, const struct record *r, const uint8_t root[SHA256_SIZE])
{
	uint8_t key[CHECKPOINT_KEY];
	char name[CHECKPOINT_ORIGIN_SIZE];
	struct checkpoint c;

	if (checkpoint_vkey_read((const char *)r->public_key.at, r->public_key.len, name, key))
		return "does not name a verifier key";
	if (checkpoint_verify(&c, (const char *)r->note.at, r->note.len, key))
		return "has a note that its key did not sign";
	if (!witness_key(w->verifier, w->verifiers, c.origin, key))
		return "was signed with another key than the one given";
	if (strcmp(c.origin, name) != 0 || !witness_origin(c.origin, w->chain) ||
		(*w->newest.origin && strcmp(w->newest.origin, c.origin) != 0))
		return "has a note of another origin";
	if (c.size != (uint64_t)r->idx || r->size != r->idx ||
		memcmp(c.root, root, SHA256_SIZE) != 0 ||
		memcmp(r->root.at, root, SHA256_SIZE) != 0)
		return "has a head that is not that of the records before it";
	w->newest = c;
	memcpy(w->key, key, sizeof(key));
	w->count++;
	return NULL;
}

const char *witness_size(const struct witness *w, struct known *list, uint64_t size,
	void (*root)(void *arg, uint8_t out[SHA256_SIZE]), void *arg)
{
	uint8_t now[SHA256_SIZE];

	for (struct known *k = list; k; k = k->next) {
		if (k->head.size != size || !witness_origin(k->head.origin, w->chain))
			continue;
		k->seen = true;
		if (!witness_signed(w->verifier, w->verifiers, k))
			return "a kept checkpoint of this size is not signed with the key given";
		root(arg, now);
		if (memcmp(now, k->head.root, SHA256_SIZE) != 0)
			return "a kept checkpoint of this size has another root: the records were "
			       "rewritten";
	}
	return NULL;
}

uint64_t witness_next(const struct witness *w, const struct known *list, uint64_t size)
{
	uint64_t next = UINT64_MAX;

	for (; list; list = list->next) {
		if (list->head.size > size && list->head.size < next &&
			witness_origin(list->head.origin, w->chain))
			next = list->head.size;
	}
	return next;
}
