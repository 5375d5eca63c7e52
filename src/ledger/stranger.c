#include "stranger.h"

enum err stranger_take(struct ledger *l, const struct msg_stranger *m, int64_t now, int64_t ms)
{
	const struct config *c = l->generation[0];
	struct commit_item it = {.own = true};
	struct record *r = &it.record;
	enum err e;

	it.chain = ledger_chain(l, c->token[0].name);
	if (!it.chain)
		return ERR_NOMEM;
	record_init(r, RECORD_REFUSED);
	r->time = now;
	r->request = octets_text(m->request);
	r->peer = octets_text(m->peer);
	r->reason = octets_text(err_name(ERR_UNKNOWN_CLIENT));
	r->detail = m->subject;
	if (m->has_certificate) {
		r->client_sha256 = octets_of(m->sha256, SHA256_SIZE);
		r->client_serial = octets_text(m->serial);
	}
	if (m->left_out)
		r->count = (int64_t)(m->left_out < INT32_MAX ? m->left_out : INT32_MAX) + 1;
	e = commit_group(l, &it, 1, now, ms);
	buf_free(&it.replay);
	return e;
}
