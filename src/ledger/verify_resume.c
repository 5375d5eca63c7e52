#include <stdio.h>
#include <string.h>

#include "bookmark.h"
#include "verify_walk.h"

enum err verify_save(struct walk *w)
{
	struct buf out = BUF_INIT(UINT32_MAX);
	enum err e = judge_end(&w->judge);

	buf_u8(&out, w->v->chain_only);
	buf_u64(&out, w->tree.size);
	buf_put(&out, w->tree.edge, merkle_edges(w->tree.size) * SHA256_SIZE);
	buf_u64(&out, w->problems);
	buf_u64(&out, w->witness.count);
	buf_str(&out, w->witness.newest.origin);
	buf_u64(&out, w->witness.newest.size);
	buf_vec(&out, w->witness.newest.root, SHA256_SIZE);
	buf_vec(&out, w->witness.key, CHECKPOINT_KEY);
	judge_save(&w->judge, &out);
	w->saved = time(NULL);
	if (!e)
		e = bookmark_put(w->v->resume, w->chain->chain, &out);
	return e ? e : bookmark_write(w->v->resume);
}

enum err verify_load(struct walk *w, const struct buf *known)
{
	struct reader in;
	const uint8_t *at;
	char text[128];

	reader_init(&in, known->octets, known->len);
	if (reader_u8(&in) != w->v->chain_only) {
		verify_wrong(w, NO_IDX,
			"an earlier run looked at other things (--chain-only or not): give another "
			"file");
		return ERR_NOT_FOUND;
	}
	w->tree.size = reader_u64(&in);
	at = reader_take(&in, merkle_edges(w->tree.size) * SHA256_SIZE);
	if (at)
		memcpy(w->tree.edge, at, merkle_edges(w->tree.size) * SHA256_SIZE);
	w->problems = reader_u64(&in);
	w->witness.count = reader_u64(&in);
	reader_str(&in, w->witness.newest.origin, sizeof(w->witness.newest.origin));
	w->witness.newest.size = reader_u64(&in);
	reader_fixed(&in, w->witness.newest.root, SHA256_SIZE);
	reader_fixed(&in, w->witness.key, CHECKPOINT_KEY);
	if (in.failed) {
		verify_wrong(w, NO_IDX, "what an earlier run knew of it can't be read");
		return ERR_NOT_FOUND;
	}
	w->next = (int64_t)w->tree.size;
	if (w->tree.size > w->chain->tree.size) {
		verify_wrong(w, NO_IDX, "it has fewer records than were verified before");
		return ERR_NOT_FOUND;
	}
	if (w->problems) {
		snprintf(text, sizeof(text), "%llu problems were found in it before this run",
			(unsigned long long)w->problems);
		w->v->problems += w->problems;
		w->v->problem(w->v->arg, w->chain->chain, NO_IDX, text);
	}
	w->v->records += w->tree.size;

	enum err e = judge_load(&w->judge, &in, w->store, w->chain->chain);

	if (e == ERR_FORMAT || !reader_done(&in)) {
		verify_wrong(w, NO_IDX,
			"records that were verified before are not there or not the same");
		return ERR_NOT_FOUND;
	}
	verify_known_before(w);
	return e;
}
