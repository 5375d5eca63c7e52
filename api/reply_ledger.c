/* What is answered of the ledger: released credentials, heads, proofs. */
#include <string.h>

#include "record.h"
#include "reply_private.h"

static void set_octets(json_t *o, const char *name, const struct octets *text)
{
	if (text->len > 0)
		json_object_set_new(o, name, json_stringn((const char *)text->at, text->len));
}

static void set_digest(json_t *o, const char *name, const struct octets *digest)
{
	if (digest->len == SHA256_SIZE)
		reply_set_hex(o, name, digest->at);
}

static json_t *where(const struct msg_released *released, const char *note)
{
	json_t *o = json_object();

	json_object_set_new(o, "chain", json_string(released->chain));
	json_object_set_new(o, "index", json_integer((json_int_t)released->idx));
	reply_set_hex(o, "leaf_hash", released->leaf_hash);
	json_object_set_new(o, "checkpoint", note != NULL ? json_string(note) : json_null());
	return o;
}

/* NULL: the records can't be read. */
static json_t *released_json(const struct msg_released *released, const char *note)
{
	const struct octets *octets = &released->authorised;
	struct record a, issued;
	json_t *o;

	if (record_decode(&a, octets->at, octets->len) != ERR_OK ||
		record_decode(&issued, released->issued.at, released->issued.len) != ERR_OK)
		return NULL;
	o = json_object();
	set_octets(o, "id", &a.id);
	set_octets(o, "key", &a.key);
	set_octets(o, "client", &a.client);
	set_octets(o, "role", &a.role);
	set_octets(o, "algorithm", &a.algorithm);
	set_octets(o, "signature_algorithm", &a.signature_algorithm);
	json_object_set_new(o, "credential", reply_base64(&issued.dc));
	reply_set_time(o, "issued", issued.time);
	reply_set_time(o, "not_before", a.window_opens);
	reply_set_time(o, "not_after", a.expiry);
	json_object_set_new(o, "valid_time", json_integer(a.valid_time));
	set_digest(o, "public_key_sha256", &a.spki_sha256);
	set_digest(o, "certificate_sha256", &a.certificate_sha256);
	set_octets(o, "possession", &a.possession);
	set_octets(o, "request", &a.request);
	set_octets(o, "reference", &a.reference);
	json_object_set_new(o, "shared", json_boolean(issued.shared == 1));
	json_object_set_new(o, "ledger", where(released, note));
	return o;
}

bool reply_released(struct reply *r, const struct msg_released *released, const char *note)
{
	json_t *o = released_json(released, note);

	if (o == NULL)
		return false;
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
	return true;
}

bool reply_released_page(struct reply *r, const struct msg_read_answer *page)
{
	json_t *list = json_array(), *o;

	for (size_t i = 0; i < page->released_count; i++) {
		o = released_json(&page->released[i], NULL);
		if (o == NULL) {
			json_decref(list);
			return false;
		}
		json_array_append_new(list, o);
	}
	o = json_object();
	json_object_set_new(o, "credentials", list);
	json_object_set_new(
		o, "next", page->next != 0 ? json_integer((json_int_t)page->next) : json_null());
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
	return true;
}

static json_t *hashes(const struct msg_read_answer *proof)
{
	json_t *list = json_array();
	char text[2 * SHA256_SIZE + 1];

	for (size_t i = 0; i < proof->proof_count; i++) {
		hex_encode(text, proof->proof[i].octets, SHA256_SIZE);
		json_array_append_new(list, json_string(text));
	}
	return list;
}

/* The leaf's octets. NULL: they can't be made. */
static json_t *leaf(const struct msg_released *released)
{
	struct buf text = BUF_INIT(RECORD_MAX);
	json_t *string = NULL;
	struct record issued;

	if (record_decode(&issued, released->issued.at, released->issued.len) == ERR_OK &&
		record_write(&text, &issued) == ERR_OK)
		string = json_stringn((const char *)text.octets, text.len);
	buf_free(&text);
	return string;
}

static void set_head(json_t *o, const struct msg_read_answer *proof)
{
	json_object_set_new(o, "size", json_integer((json_int_t)proof->to));
	json_object_set_new(o, "proof", hashes(proof));
	json_object_set_new(o, "checkpoint",
		proof->text.len > 0 ? json_stringn((const char *)proof->text.at, proof->text.len)
				    : json_null());
}

bool reply_proof(struct reply *r, const struct msg_read_answer *proof)
{
	const struct msg_released *released = &proof->released[0];
	json_t *record = proof->released_count == 1 ? leaf(released) : NULL, *o;

	if (record == NULL)
		return false;
	o = json_object();
	json_object_set_new(o, "chain", json_string(released->chain));
	json_object_set_new(o, "index", json_integer((json_int_t)released->idx));
	reply_set_hex(o, "leaf_hash", released->leaf_hash);
	json_object_set_new(o, "record", record);
	set_head(o, proof);
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
	return true;
}

void reply_consistency(
	struct reply *r, const char *chain, uint64_t from, const struct msg_read_answer *proof)
{
	json_t *o = json_object();

	json_object_set_new(o, "chain", json_string(chain));
	json_object_set_new(o, "from", json_integer((json_int_t)from));
	set_head(o, proof);
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}

void reply_heads(struct reply *r, const struct msg_read_answer *heads)
{
	json_t *list = json_array(), *o;

	for (size_t i = 0; i < heads->count; i++) {
		const struct msg_head_of_chain *head = &heads->head[i];

		o = json_object();
		json_object_set_new(o, "chain", json_string(head->chain));
		json_object_set_new(o, "size", json_integer((json_int_t)head->size));
		reply_set_hex(o, "root", head->root);
		json_object_set_new(o, "last_record", json_null());
		if (head->last_time != 0)
			reply_set_time(o, "last_record", head->last_time);
		json_array_append_new(list, o);
	}
	o = json_object();
	json_object_set_new(o, "heads", list);
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}
