#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent.h"
#include "set.h"
#include "tool.h"

#define PENDING_SECONDS (12 * 3600) /* shorter than the service keeps an Idempotency-Key: 24 h */
#define CLOCK_TOLERANCE 30
#define HURRY		60 /* seconds that are left: servers first, questions later */

/* Still the same renewal? Not for another configuration, and not when what it would bring is half
 * spent. */
static bool still_good(const struct agent_pending *p, const struct agent_item *item, int64_t now)
{
	const int64_t lifetime = item->c->lifetime;
	int64_t limit = lifetime && lifetime / 2 < PENDING_SECONDS ? lifetime / 2 : PENDING_SECONDS;
	char *wish = agent_wish(item->c);
	bool same = wish && strcmp(wish, p->wish) == 0;

	free(wish);
	return same && now - p->made_at < limit;
}

static enum err begin_or_go_on(
	struct agent_pending *p, const struct agent_item *item, int64_t now, struct refusal *why)
{
	enum err e = pending_load(p, item->folder);

	if (!e && still_good(p, item, now))
		return ERR_OK;
	pending_free(p);
	if (e != ERR_NOT_FOUND)
		pending_drop(item->folder);
	e = pending_make(p, item->c, now, why);
	return e ? e : pending_save(p, item->folder, why);
}

static enum err chain_verifies(const struct agent_credential *c, const struct issued *got,
	int64_t now, struct refusal *why)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf ca = BUF_INIT(1u << 20);
	size_t i, count = 0;
	enum err e = c->issuer_ca ? tool_read(&ca, c->issuer_ca, why) : ERR_OK;

	if (!e && c->issuer_ca) {
		e = certificate_read_pem(
			chain, CERT_CHAIN_MAX, &count, got->chain.octets, got->chain.len);
		if (!e)
			e = certificate_chain_verify(chain, count, ca.octets, ca.len, now, why);
	}
	for (i = 0; i < count; i++)
		certificate_free(&chain[i]);
	buf_free(&ca);
	return e;
}

/* Half of what is left, less up to a tenth of it, so that many machines do not come at once. */
static int64_t renewal_time(int64_t now, int64_t expiry)
{
	int64_t left = expiry - now;
	return now + left / 2 - agent_random(left / 10);
}

static bool clock_may_be_to_blame(enum err e, const struct agent_service *s)
{
	return llabs(s->clock_offset) >= CLOCK_TOLERANCE &&
	       (e == ERR_CERT_NOT_YET || e == ERR_CERT_EXPIRED || e == ERR_DC_EXPIRED ||
		       e == ERR_DC_VALIDITY);
}

static enum err put(const struct agent_item *item, const struct agent_pending *p,
	const struct issued *got, struct install *in, const char *url, struct refusal *why)
{
	const struct agent_credential *c = item->c;
	int64_t now = time(NULL);
	char *note = agent_note(c, url, now, renewal_time(now, got->expiry));
	const struct set_wish wish = {.formats = c->formats,
		.role = c->role,
		.key = p->key,
		.key_mode = c->mode,
		.note = note};
	enum err e = note ? ERR_OK : refuse(why, ERR_NOMEM, "", "out of memory");

	if (!e && agent_reload_wanted(&c->reload))
		e = reload_mark(item->folder, true, why);
	if (!e)
		e = set_put(in, got, &wish, why);
	free(note);
	return e;
}

static void witness(struct agent_item *item, const struct witness_before *before,
	const struct issued *got, const char *url)
{
	witness_renewal(&item->witness, item->folder, item->c, before,
		json_object_get(got->root, "ledger"), url);
}

static int take(struct agent_item *item, const struct agent_pending *p,
	const struct service_answer *answer, struct install *in, const char *url,
	struct refusal *why)
{
	const struct agent_credential *c = item->c;
	const struct asked asked = {.key = c->key,
		.role = c->role,
		.scheme = c->scheme,
		.spki = p->spki.octets,
		.spki_len = p->spki.len};
	int64_t now = time(NULL);
	bool hurry = !item->in.verifies || item->in.expiry - now < HURRY;
	struct witness_before before;
	struct issued got;
	enum err e = issued_read(&got, answer->body.octets, answer->body.len, &asked, now, why);
	bool believed;

	if (!e)
		e = chain_verifies(c, &got, now, why);
	believed = !e;
	witness_before(&before, item->folder, item->in.expiry);
	if (!e && !hurry)
		witness(item, &before, &got, url);
	if (!e)
		e = put(item, p, &got, in, url, why);
	if (believed && hurry)
		witness(item, &before, &got, url);
	/* asked again with the same Idempotency-Key the service would say the same again */
	if (!e || (!believed && !clock_may_be_to_blame(e, c->service)))
		pending_drop(item->folder);
	if (e && clock_may_be_to_blame(e, c->service)) {
		struct refusal inner = *why;
		refuse(why, e, inner.field,
			"%.160s (the clocks of %s and of this machine differ by %" PRId64 " s)",
			inner.detail, url, c->service->clock_offset);
	}
	issued_free(&got);
	return e ? TOOL_UNEXPECTED : TOOL_OK;
}

static int renew(struct agent_item *item, struct install *in, struct refusal *why)
{
	struct service_answer answer = {.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	struct agent_pending p;
	struct service_call call = {0};
	char path[128];
	const char *url = "";
	int code = TOOL_UNEXPECTED;

	if (begin_or_go_on(&p, item, time(NULL), why) != ERR_OK)
		goto out;
	snprintf(path, sizeof path, "/v1/keys/%s/credentials", item->c->key);
	call = (struct service_call){path, p.body, p.id, NULL};
	code = agent_call(item->c->service, &call, &answer, &url, why);
	if (code == TOOL_OK && answer.status != 201) {
		refuse(why, ERR_FORMAT, "", "%s: an answer that this service never gives (%ld)",
			url, answer.status);
		code = TOOL_UNEXPECTED;
	}
	if (code == TOOL_OK)
		code = take(item, &p, &answer, in, url, why);
	else if (why->err == ERR_IDEMPOTENCY_MISMATCH || why->err == ERR_IDEMPOTENCY_EXPIRED)
		pending_drop(item->folder);
out:
	buf_free(&answer.body);
	pending_free(&p);
	return code;
}

int agent_renew(struct agent_item *item, struct refusal *why)
{
	struct install in = INSTALL_INIT;
	int code = TOOL_UNEXPECTED;

	memset(why, 0, sizeof *why);
	if (install_open(&in, item->c->output, why) == ERR_OK) {
		in.uid = item->c->uid;
		in.gid = item->c->gid;
		in.keep_previous = true;
		code = renew(item, &in, why);
	}
	install_close(&in);
	return code;
}
