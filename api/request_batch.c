#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "request_private.h"

#define INDEX_MAX 4 /* characters of "/255" */

static enum err find_list(json_t **list, json_t *object, struct refusal *why)
{
	*list = json_object_get(object, "requests");
	if (json_object_size(object) != 1 || !json_is_array(*list) || json_array_size(*list) == 0 ||
		json_array_size(*list) > MSG_ITEMS)
		return refuse(why, ERR_MALFORMED, "requests",
			"the one member is requests, a list of 1 to %d requests", MSG_ITEMS);
	return ERR_OK;
}

static void take_item(struct batch_item *item, json_t *object, const char *key, size_t index,
	const char *idempotency)
{
	struct request *q = &item->request;

	request_begin(q, key);
	if (idempotency != NULL)
		snprintf(q->item.idempotency, sizeof(q->item.idempotency), "%.*s/%u",
			IDEMPOTENCY_SIZE - 1 - INDEX_MAX, idempotency,
			(unsigned)(index % MSG_ITEMS));
	if (!json_is_object(object))
		(void)refuse(&item->refusal, ERR_MALFORMED, "requests",
			"each request is an object with the members of a single one");
	else
		(void)request_members(q, object, &item->refusal);
}

enum err batch_parse(struct batch_request *batch, const char *key, const char *idempotency,
	const uint8_t *body, size_t len, struct refusal *why)
{
	json_t *object = NULL, *list = NULL;
	enum err err;

	memset(batch, 0, sizeof(*batch));
	err = request_idempotency(idempotency, IDEMPOTENCY_SIZE - 1 - INDEX_MAX, why);
	if (err == ERR_OK)
		err = request_load(&object, body, len, why);
	if (err == ERR_OK)
		err = find_list(&list, object, why);
	if (err == ERR_OK) {
		batch->item = calloc(json_array_size(list), sizeof(*batch->item));
		if (batch->item == NULL)
			err = refuse(why, ERR_NOMEM, "", "%s", err_text(ERR_NOMEM));
	}
	if (err == ERR_OK)
		batch->count = json_array_size(list);
	for (size_t i = 0; i < batch->count; i++)
		take_item(&batch->item[i], json_array_get(list, i), key, i, idempotency);
	json_decref(object);
	return err;
}

void batch_free(struct batch_request *batch)
{
	for (size_t i = 0; i < batch->count; i++)
		request_free(&batch->item[i].request);
	free(batch->item);
	memset(batch, 0, sizeof(*batch));
}
