#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "compat.h"
#include "credential.h"

static struct octets name_of_scheme(uint16_t code)
{
	const struct scheme *s = scheme_by_code(code);

	return octets_text(s == NULL ? NULL : s->name);
}

static enum err encode(struct credential *c, const struct record *r)
{
	buf_reset(&c->record);
	return record_encode(&c->record, r);
}

/* Who asked for what: AUTHORISED and REFUSED. */
static void put_request(struct record *r, const struct batch *b, const struct credential *c)
{
	r->time = b->now;
	r->now = b->now;
	r->id = octets_text(c->id);
	r->request = octets_text(b->ask->request);
	r->client = octets_text(b->ask->client);
	r->client_sha256 = octets_of(b->ask->client_sha256, SHA256_SIZE);
	r->client_serial = octets_text(b->ask->client_serial);
	r->peer = octets_text(b->ask->peer);
	r->key = octets_text(c->ask->key);
	r->role = octets_text(dc_role_name((enum dc_role)c->ask->role));
	r->possession = octets_text(c->ask->proof == PROOF_CSR ? "csr" : "none");
	r->reference = c->ask->reference;
	r->generation = octets_of(keyring_config(b->issuer->keys)->generation, SHA256_SIZE);
}

static void put_idempotency(struct record *r, struct credential *c)
{
	struct msg_issue_item bare = *c->ask;
	struct buf octets = BUF_INIT(MSG_MAX);

	if (c->ask->idempotency[0] == '\0')
		return;
	bare.idempotency[0] = '\0';
	msg_issue_item_write(&octets, &bare);
	sha256(octets.octets, octets.len, c->request_sha256);
	buf_free(&octets);
	r->idempotency = octets_text(c->ask->idempotency);
	r->request_sha256 = octets_of(c->request_sha256, SHA256_SIZE);
}

enum err evidence_authorised(const struct batch *b, struct credential *c)
{
	const struct certificate *cert = c->use.certificate;
	struct record r;

	record_init(&r, RECORD_AUTHORISED);
	put_request(&r, b, c);
	put_idempotency(&r, c);
	r.attempt = c->attempt;
	r.algorithm = name_of_scheme(c->fields.scheme);
	r.signature_algorithm = name_of_scheme(c->fields.algorithm);
	r.spki = octets_of(c->fields.spki, c->fields.spki_len);
	r.spki_sha256 = octets_of(c->spki_sha256, SHA256_SIZE);
	r.lifetime_asked = c->decision.asked;
	r.lifetime_granted = c->decision.lifetime;
	r.cert_not_before = cert->not_before;
	r.valid_time = c->decision.valid_time;
	r.expiry = c->decision.expiry;
	r.window_opens = c->decision.window_opens;
	r.certificate_sha256 = octets_of(cert->sha256, SHA256_SIZE);
	r.tbs_sha256 = octets_of(c->tbs_sha256, SHA256_SIZE);
	r.policy = octets_text(c->policy.name);
	return encode(c, &r);
}

enum err evidence_signed(const struct batch *b, struct credential *c, bool late)
{
	struct record r;
	enum err e;

	c->fields.signature = c->signature.octets;
	c->fields.signature_len = c->signature.len;
	buf_reset(&c->dc);
	e = dc_build(&c->dc, &c->fields);
	if (e != ERR_OK)
		return e;
	sha256(c->dc.octets, c->dc.len, c->dc_sha256);
	record_init(&r, late ? RECORD_LATE : RECORD_ISSUED);
	r.time = b->now;
	r.id = octets_text(c->id);
	r.attempt = c->attempt;
	r.dc = octets_of(c->dc.octets, c->dc.len);
	r.dc_sha256 = octets_of(c->dc_sha256, SHA256_SIZE);
	if (c->shared)
		r.shared = 1;
	return encode(c, &r);
}

enum err evidence_unsigned(const struct batch *b, struct credential *c)
{
	struct record r;

	record_init(&r, c->step == STEP_UNKNOWN ? RECORD_UNKNOWN : RECORD_FAILED);
	r.time = b->now;
	r.id = octets_text(c->id);
	r.attempt = c->attempt;
	r.reason = octets_text(err_name(c->grant->refusal.err));
	r.detail = octets_text(c->grant->refusal.detail);
	return encode(c, &r);
}

void evidence_abandoned(struct append *ledger, const struct attempt *attempt)
{
	struct buf octets = BUF_INIT(RECORD_MAX);
	struct record r;

	record_init(&r, RECORD_UNKNOWN);
	r.time = clock_estimate();
	r.id = octets_text(attempt->id);
	r.attempt = attempt->number == 0 ? RECORD_NONE : attempt->number;
	r.reason = octets_text(err_name(ERR_TIMEOUT));
	r.detail = octets_text("the token did not answer within the request's deadline");
	if (record_encode(&octets, &r) == ERR_OK) {
		struct append_item item = {.record = octets_of(octets.octets, octets.len)};

		append_post(ledger, &item, 1);
	}
	buf_free(&octets);
}

enum err evidence_refused(const struct batch *b, struct credential *c)
{
	struct record r;

	record_init(&r, RECORD_REFUSED);
	put_request(&r, b, c);
	r.reason = octets_text(err_name(c->grant->refusal.err));
	r.field = octets_text(c->grant->refusal.field);
	r.detail = octets_text(c->grant->refusal.detail);
	return encode(c, &r);
}

/* Which verifiers refuse it. certificate: the one that signed it. */
static uint32_t warnings_of(const struct batch *b, const struct dc *dc,
	const struct certificate *certificate, enum dc_role role)
{
	struct compat_facts facts;

	compat_facts(&facts, dc, certificate, role, b->now);
	return compat_warnings(&facts);
}

void grant_fill(const struct batch *b, struct credential *c, const char *chain,
	const struct msg_appended *issued)
{
	struct msg_grant *g = c->grant;

	g->refusal = (struct refusal){.err = ERR_OK};
	g->role = (uint8_t)c->role;
	g->scheme = c->fields.scheme;
	g->algorithm = c->fields.algorithm;
	g->not_before = c->decision.window_opens;
	g->not_after = c->decision.expiry;
	g->valid_time = c->decision.valid_time;
	memcpy(g->spki_sha256, c->spki_sha256, SHA256_SIZE);
	memcpy(g->certificate_sha256, c->use.certificate->sha256, SHA256_SIZE);
	g->flags = c->shared ? GRANT_KEY_SHARED : 0;
	g->compat = warnings_of(b, &c->fields, c->use.certificate, c->role);
	if (issued == NULL) {
		g->flags |= GRANT_DRY_RUN;
		return;
	}
	memcpy(g->id, c->id, sizeof g->id);
	g->dc = octets_of(c->dc.octets, c->dc.len);
	snprintf(g->chain, sizeof g->chain, "%s", chain);
	g->idx = issued->idx;
	memcpy(g->leaf_hash, issued->leaf_hash, SHA256_SIZE);
}

static bool text_take(char *out, size_t size, const struct octets *text)
{
	if (text->len == 0 || text->len >= size)
		return false;
	memcpy(out, text->at, text->len);
	out[text->len] = '\0';
	return true;
}

static bool digest_take(uint8_t out[SHA256_SIZE], const struct octets *digest)
{
	if (digest->len != SHA256_SIZE)
		return false;
	memcpy(out, digest->at, SHA256_SIZE);
	return true;
}

static bool scheme_take(uint16_t *code, const struct octets *name)
{
	char text[64];
	const struct scheme *s = text_take(text, sizeof text, name) ? scheme_by_name(text) : NULL;

	*code = s == NULL ? 0 : s->code;
	return s != NULL;
}

enum err grant_replay(const struct batch *b, struct credential *c, const char *chain,
	const struct msg_appended *from, struct refusal *why)
{
	struct record authorised, issued;
	struct msg_grant *g = c->grant;
	char role[16];
	enum dc_role known;
	struct dc dc;

	if (record_decode(&authorised, from->replay_authorised.at, from->replay_authorised.len) !=
			ERR_OK ||
		record_decode(&issued, from->replay_issued.at, from->replay_issued.len) != ERR_OK ||
		!text_take(g->id, sizeof g->id, &authorised.id) ||
		!text_take(role, sizeof role, &authorised.role) || !dc_role_parse(role, &known) ||
		!scheme_take(&g->scheme, &authorised.algorithm) ||
		!scheme_take(&g->algorithm, &authorised.signature_algorithm) ||
		!digest_take(g->spki_sha256, &authorised.spki_sha256) ||
		!digest_take(g->certificate_sha256, &authorised.certificate_sha256) ||
		issued.dc.len == 0)
		return refuse(why, ERR_INTERNAL, "", "the ledger's replay can't be read");
	if (authorised.expiry <= b->now)
		return refuse(why, ERR_IDEMPOTENCY_EXPIRED, "Idempotency-Key", "%s", "");
	buf_reset(&c->dc);
	buf_put(&c->dc, issued.dc.at, issued.dc.len);
	if (c->dc.err != ERR_OK)
		return refuse(why, c->dc.err, "", "%s", "");
	g->refusal = (struct refusal){.err = ERR_OK};
	g->role = (uint8_t)known;
	g->not_before = authorised.window_opens;
	g->not_after = authorised.expiry;
	g->valid_time = (uint32_t)authorised.valid_time;
	g->dc = octets_of(c->dc.octets, c->dc.len);
	g->flags = GRANT_REPLAYED | (issued.shared == 1 ? GRANT_KEY_SHARED : 0);
	if (memcmp(g->certificate_sha256, c->use.certificate->sha256, SHA256_SIZE) == 0 &&
		dc_parse(&dc, c->dc.octets, c->dc.len) == ERR_OK)
		g->compat = warnings_of(b, &dc, c->use.certificate, known);
	if (!text_take(g->chain, sizeof g->chain, &issued.chain))
		snprintf(g->chain, sizeof g->chain, "%s", chain);
	g->idx = (uint64_t)issued.idx;
	memcpy(g->leaf_hash, from->leaf_hash, SHA256_SIZE);
	return ERR_OK;
}

void grant_hide(struct credential *c)
{
	struct msg_grant *g = c->grant;

	g->flags |= GRANT_DRY_RUN;
	g->id[0] = g->chain[0] = '\0';
	g->dc = (struct octets){0};
	g->idx = 0;
	memset(g->leaf_hash, 0, sizeof g->leaf_hash);
}
