#include <stdlib.h>
#include <string.h>

#include "token_private.h"

/* A token with many objects takes long to find one: so all are found once. */
struct entry {
	CK_OBJECT_HANDLE handle;
	uint8_t *text; /* label, then id: owned */
	uint16_t label_len, id_len;
};

struct token_index {
	struct entry *entry; /* by label */
	struct entry **by_id;
	size_t count;
};

static int compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int c = memcmp(a, b, a_len < b_len ? a_len : b_len);

	return c != 0 ? c : (a_len > b_len) - (a_len < b_len);
}

static int by_label(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return compare(x->text, x->label_len, y->text, y->label_len);
}

static int by_id(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	return compare(x->text + x->label_len, x->id_len, y->text + y->label_len, y->id_len);
}

void token_index_free(struct token_index *x)
{
	if (x == NULL)
		return;
	for (size_t i = 0; i < x->count; i++)
		free(x->entry[i].text);
	free(x->entry);
	free(x->by_id);
	free(x);
}

/* False: no memory. A key without a label or an id has an empty one. */
static bool entry_read(struct token *t, struct entry *e, CK_OBJECT_HANDLE handle)
{
	uint8_t label[256], id[256];
	size_t label_len, id_len;

	CK_ATTRIBUTE both[] = {{CKA_LABEL, label, sizeof label}, {CKA_ID, id, sizeof id}};

	if (t->p11->C_GetAttributeValue(t->keeper, handle, both, 2) == CKR_OK &&
		both[0].ulValueLen <= sizeof label && both[1].ulValueLen <= sizeof id) {
		label_len = both[0].ulValueLen;
		id_len = both[1].ulValueLen;
	} else {
		if (attribute_read(t, handle, CKA_LABEL, label, sizeof label, &label_len) != CKR_OK)
			label_len = 0;
		if (attribute_read(t, handle, CKA_ID, id, sizeof id, &id_len) != CKR_OK)
			id_len = 0;
	}
	*e = (struct entry){
		handle, malloc(label_len + id_len + 1), (uint16_t)label_len, (uint16_t)id_len};
	if (e->text == NULL)
		return false;
	memcpy(e->text, label, label_len);
	memcpy(e->text + label_len, id, id_len);
	return true;
}

/* Handles of all private keys, in one search; the caller frees them. With keeper_lock. */
static enum err all_keys(
	struct token *t, CK_OBJECT_HANDLE **out, CK_ULONG *count, struct refusal *why)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = {CKA_CLASS, &class, sizeof class};
	CK_ULONG room = 0, got = 1;
	CK_RV rv = t->p11->C_FindObjectsInit(t->keeper, &template, 1);
	enum err e = ERR_OK;

	*count = 0;
	*out = NULL;
	if (rv != CKR_OK)
		return token_refuse(why, "C_FindObjectsInit", rv);
	while (e == ERR_OK && rv == CKR_OK && got > 0) {
		if (*count == room) {
			CK_OBJECT_HANDLE *more =
				realloc(*out, (room + 1024) * sizeof(CK_OBJECT_HANDLE));

			if (more == NULL) {
				e = refuse(why, ERR_NOMEM, "", "%s", "");
				break;
			}
			*out = more;
			room += 1024;
		}
		keeper_touch(t);
		rv = t->p11->C_FindObjects(t->keeper, *out + *count, room - *count, &got);
		if (rv == CKR_OK)
			*count += got;
	}
	t->p11->C_FindObjectsFinal(t->keeper);
	return rv == CKR_OK ? e : token_refuse(why, "C_FindObjects", rv);
}

enum err token_index_make(struct token *t, struct token_index **out, struct refusal *why)
{
	struct token_index *x = calloc(1, sizeof *x);
	CK_OBJECT_HANDLE *found = NULL;
	CK_ULONG count = 0;
	enum err e;

	*out = NULL;
	if (x == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	keeper_lock(t);
	e = all_keys(t, &found, &count, why);
	keeper_unlock(t);
	if (e == ERR_OK) {
		x->entry = calloc(count + 1, sizeof *x->entry);
		x->by_id = calloc(count + 1, sizeof(struct entry *));
		if (x->entry == NULL || x->by_id == NULL)
			e = refuse(why, ERR_NOMEM, "", "%s", "");
	}
	for (CK_ULONG i = 0; e == ERR_OK && i < count; i++) {
		keeper_lock(t); /* others may use the keeper session in between */
		if (entry_read(t, &x->entry[i], found[i]))
			x->count++;
		else
			e = refuse(why, ERR_NOMEM, "", "%s", "");
		keeper_unlock(t);
	}
	free(found);
	if (e != ERR_OK) {
		token_index_free(x);
		return e;
	}
	qsort(x->entry, x->count, sizeof *x->entry, by_label);
	for (size_t i = 0; i < x->count; i++)
		x->by_id[i] = &x->entry[i];
	qsort(x->by_id, x->count, sizeof(struct entry *), by_id);
	*out = x;
	return ERR_OK;
}

static bool fits(const struct entry *e, const CK_ATTRIBUTE *template, CK_ULONG n)
{
	bool ok = true;

	for (CK_ULONG i = 0; ok && i < n; i++)
		if (template[i].type == CKA_LABEL)
			ok = compare(e->text, e->label_len, template[i].pValue,
				     template[i].ulValueLen) == 0;
		else if (template[i].type == CKA_ID)
			ok = compare(e->text + e->label_len, e->id_len, template[i].pValue,
				     template[i].ulValueLen) == 0;
	return ok;
}

/* The template is uri_template's: a class, then a label, an id or both. */
CK_ULONG
index_find(const struct token_index *x, const CK_ATTRIBUTE *template, CK_ULONG n,
	CK_OBJECT_HANDLE found[2])
{
	const CK_ATTRIBUTE *first = &template[1];
	bool label = first->type == CKA_LABEL;
	size_t low = 0, high = x->count;
	CK_ULONG count = 0;

	while (low < high) { /* the first that is not less */
		size_t middle = low + (high - low) / 2;
		const struct entry *e = label ? &x->entry[middle] : x->by_id[middle];
		int c = label ? compare(e->text, e->label_len, first->pValue, first->ulValueLen)
			      : compare(e->text + e->label_len, e->id_len, first->pValue,
					first->ulValueLen);

		if (c < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < x->count && count < 2; low++) {
		const struct entry *e = label ? &x->entry[low] : x->by_id[low];

		if (!fits(e, first, 1))
			break;
		if (fits(e, template, n))
			found[count++] = e->handle;
	}
	return count;
}
