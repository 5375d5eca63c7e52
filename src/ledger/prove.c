#include "prove.h"

#include <string.h>

#include "json.h"
#include "tree.h"

/* The head to prove under, and its note. */
static enum err head_find(struct buf *note, struct checkpoint *head, struct store *s,
	const char *chain, const struct known *known)
{
	const struct known *best = NULL;
	enum err e;

	for (; known; known = known->next) {
		if (witness_origin(known->head.origin, chain) &&
			(!best || known->head.size > best->head.size))
			best = known;
	}
	if (best) {
		buf_put(note, best->note, best->len);
		*head = best->head;
		return note->err;
	}
	e = s->engine->checkpoint_get(s, chain, note);
	return e ? e : checkpoint_read(head, (const char *)note->octets, note->len);
}

static void object_write(struct buf *out, const struct store_credential *c,
	const uint8_t leaf[SHA256_SIZE], const struct buf *note, const struct merkle_proof *proof,
	const struct buf *record)
{
	struct octets chain = octets_text(c->chain), text = octets_of(note->octets, note->len);

	buf_text(out, "{\"chain\":");
	canon_text(out, &chain);
	buf_printf(out, ",\"idx\":%lld,\"leaf_hash\":\"", (long long)c->issued);
	buf_hex(out, leaf, SHA256_SIZE);
	buf_text(out, "\",\"note\":");
	canon_text(out, &text);
	buf_text(out, ",\"proof\":[");
	for (unsigned i = 0; i < proof->count; i++) {
		buf_text(out, i ? ",\"" : "\"");
		buf_hex(out, proof->hash[i], SHA256_SIZE);
		buf_u8(out, '"');
	}
	buf_text(out, "],\"record\":");
	if (record->len)
		buf_put(out, record->octets, record->len);
	else
		buf_text(out, "null");
	buf_text(out, "}");
}

static enum err prove_record(struct buf *out, struct store *s, const struct store_credential *c,
	const struct checkpoint *head, const struct buf *note, struct refusal *why)
{
	struct tree t = {.store = s, .chain = c->chain};
	struct buf record = BUF_INIT(RECORD_MAX);
	struct merkle_proof proof;
	uint8_t leaf[SHA256_SIZE], stored[SHA256_SIZE];
	struct store_chain chain;
	enum err e = s->engine->chain_get(s, c->chain, &chain);

	if (!e && head->size > chain.tree.size)
		e = refuse(why, ERR_FORMAT, "", "the head has %llu records, the ledger %llu",
			(unsigned long long)head->size, (unsigned long long)chain.tree.size);
	if (!e)
		e = s->engine->record_get(s, c->chain, c->issued, &record, stored);
	if (!e)
		e = merkle_inclusion(&proof, (uint64_t)c->issued, head->size, tree_subtree, &t);
	if (!e) {
		if (record.len)
			merkle_leaf(record.octets, record.len, leaf);
		else /* archived: its hash is still proved */
			memcpy(leaf, stored, sizeof(leaf));
		if (!merkle_included(&proof, (uint64_t)c->issued, head->size, leaf, head->root))
			e = refuse(why, ERR_FORMAT, "",
				"the records of %s are not those that its head was signed over",
				c->chain);
	}
	if (!e)
		object_write(out, c, leaf, note, &proof, &record);
	buf_free(&record);
	return e ? e : out->err;
}

enum err prove(struct buf *out, struct store *s, const char *id, const struct known *known,
	struct refusal *why)
{
	struct buf note = BUF_INIT(CHECKPOINT_MAX);
	struct store_credential c;
	struct checkpoint head;
	enum err e = s->engine->credential_get(s, id, &c);

	if (e)
		return e == ERR_NOT_FOUND
			       ? refuse(why, e, "", "no credential of the id %s was released", id)
			       : e;
	e = head_find(&note, &head, s, c.chain, known);
	if (e == ERR_NOT_FOUND || (!e && head.size <= (uint64_t)c.issued))
		e = refuse(why, ERR_NOT_FOUND, "",
			"no signed head covers record %lld of %s yet: the next one does",
			(long long)c.issued, c.chain);
	if (!e)
		e = prove_record(out, s, &c, &head, &note, why);
	buf_free(&note);
	return e;
}
