#include "inforce.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool names(const struct octets *o, const char *name)
{
	return o->len == strlen(name) && (o->len == 0 || memcmp(o->at, name, o->len) == 0);
}

void inforce_free(struct inforce *list)
{
	struct inforce *next;

	for (; list; list = next) {
		next = list->next;
		free(list);
	}
}

bool inforce_take(struct inforce **list, const struct record *r)
{
	struct inforce **at = list, *h;

	while (*at && !(names(&r->key, (*at)->key) && names(&r->client, (*at)->client)))
		at = &(*at)->next;
	h = *at;
	if (r->type == RECORD_RELEASED && h) {
		*at = h->next;
		free(h);
	}
	if (r->type == RECORD_RELEASED || h)
		return true;
	h = calloc(1, sizeof(*h));
	if (!h)
		return false;
	h->idx = r->idx;
	snprintf(h->key, sizeof(h->key), "%.*s", (int)r->key.len, (const char *)r->key.at);
	snprintf(h->client, sizeof(h->client), "%.*s", (int)r->client.len,
		(const char *)r->client.at);
	h->next = *list;
	*list = h;
	return true;
}

const struct inforce *inforce_find(const struct inforce *list, const struct record *r)
{
	for (; list; list = list->next) {
		if ((!*list->key || names(&r->key, list->key)) &&
			(!*list->client || names(&r->client, list->client)))
			return list;
	}
	return NULL;
}
