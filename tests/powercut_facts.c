#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "ledger/heads.h"
#include "ledger/tree.h"
#include "ledger/verify.h"
#include "powercut_lives.h"

struct fact {
	size_t event; /* it left the process here */
	enum fact_kind { FACT_RECORD, FACT_HEAD, FACT_HOLD } kind;
	uint64_t size; /* the index, or the size of a tree */
	uint8_t hash[SHA256_SIZE];
};

static struct fact fact[4096];
size_t facts;
static size_t kept; /* the first ones, of an earlier trace */

static void fact_add(size_t event, enum fact_kind kind, uint64_t size, const uint8_t *hash)
{
	ck_assert_uint_lt(facts, sizeof(fact) / sizeof(fact[0]));
	fact[facts] = (struct fact){.event = event, .kind = kind, .size = size};
	if (hash)
		memcpy(fact[facts].hash, hash, SHA256_SIZE);
	facts++;
}

static void facts_of_append(size_t event, struct reader *body)
{
	static struct msg_append_answer a;
	static const uint8_t none[SHA256_SIZE];

	ck_assert_int_eq(msg_append_answer_read(&a, body), ERR_OK);
	for (unsigned i = 0; i < a.count; i++) {
		if (memcmp(a.item[i].leaf_hash, none, SHA256_SIZE) != 0)
			fact_add(event, FACT_RECORD, a.item[i].idx, a.item[i].leaf_hash);
	}
}

static void facts_of_read(size_t event, struct reader *body)
{
	static struct msg_read_answer a;
	struct checkpoint c;

	ck_assert_int_eq(msg_read_answer_read(&a, body), ERR_OK);
	ck_assert_int_eq(checkpoint_read(&c, (const char *)a.text.at, a.text.len), ERR_OK);
	fact_add(event, FACT_HEAD, c.size, c.root);
}

void facts_keep(size_t events)
{
	for (kept = 0; events < SIZE_MAX && kept < facts && fact[kept].event < events; kept++)
		fact[kept].event = 0;
}

void facts_find(const struct cut_trace *t)
{
	facts = kept;
	for (size_t i = 0; i < t->count; i++) {
		const struct cut_event *e = &t->event[i];
		struct msg_hello_answer hello;
		struct msg_hold_answer held;
		struct msg_head head;
		struct reader body;

		if (e->type != POWERCUT_SAID || e->dropped)
			continue;
		ck_assert_int_eq(msg_open(&head, &body, e->octets, e->len), ERR_OK);
		if (head.type == MSG_ANSWER(MSG_APPEND))
			facts_of_append(i, &body);
		else if (head.type == MSG_ANSWER(MSG_READ))
			facts_of_read(i, &body);
		else if (head.type == MSG_ANSWER(MSG_HELLO) &&
			 !msg_hello_answer_read(&hello, &body))
			fact_add(i, FACT_HEAD, hello.size, hello.root);
		else if ((head.type == MSG_ANSWER(MSG_HOLD) ||
				 head.type == MSG_ANSWER(MSG_RELEASE)) &&
			 !msg_hold_answer_read(&held, &body) && !held.refusal.err)
			fact_add(i, FACT_HOLD, 0, NULL);
	}
}

/* ---- one image ---- */

char said[4096];

static void complain(const char *what, const char *detail)
{
	size_t len = strlen(said);

	snprintf(said + len, sizeof(said) - len, "%s: %s\n", what, detail);
}

static void verify_says(void *arg, const char *chain, int64_t idx, const char *what)
{
	char place[160];

	(void)arg;
	snprintf(place, sizeof(place), "verify: %s, record %lld", chain, (long long)idx);
	complain(place, what);
}

static void facts_check(struct ledger *l, size_t events)
{
	struct tree t = {.store = l->store, .chain = "sign1/main"};
	const struct store_engine *engine = l->store->engine;
	size_t size = 0;

	for (const struct chain *c = l->chains; c; c = c->next)
		size = strcmp(c->stored.chain, t.chain) == 0 ? c->stored.tree.size : size;
	for (size_t i = 0; i < facts; i++) {
		const struct fact *f = &fact[i];
		uint8_t hash[SHA256_SIZE];

		if (f->event >= events || (f->kind == FACT_HEAD && f->size == 0))
			continue;
		if (f->kind == FACT_RECORD && (engine->leaf_get(l->store, t.chain, f->size, hash) ||
						      memcmp(hash, f->hash, SHA256_SIZE) != 0))
			complain("an acknowledged record", "is not there");
		if (f->kind == FACT_HEAD &&
			(f->size > size || merkle_root_at(f->size, tree_subtree, &t, hash) ||
				memcmp(hash, f->hash, SHA256_SIZE) != 0))
			complain("a head that was given away", "is not this ledger's");
	}
}

struct holds {
	unsigned held, released;
};

static enum err holds_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct holds *h = arg;
	char text[65536];

	(void)idx;
	(void)leaf;
	snprintf(text, sizeof(text), "%.*s", (int)len, json);
	h->held += strstr(text, "\"type\":\"HELD\"") != NULL;
	h->released += strstr(text, "\"type\":\"RELEASED\"") != NULL;
	return ERR_OK;
}

/* The holds that were answered are in the chain, and in force as the chain says. */
static void holds_check(struct ledger *l, size_t events)
{
	struct holds h = {0};
	struct buf reason = BUF_INIT(4096);
	unsigned answered = 0;

	for (size_t i = 0; i < facts; i++)
		answered += fact[i].kind == FACT_HOLD && fact[i].event < events;
	ck_assert_int_eq(
		l->store->engine->record_walk(l->store, "sign1/main", 0, holds_row, &h), ERR_OK);
	if (h.held + h.released < answered)
		complain("an acknowledged hold", "is not there");

	enum err e = l->store->engine->hold_find(l->store, "www", "edge", &reason);

	if ((e == ERR_OK) != (h.held > h.released))
		complain("hold", "what is in force is not what the chain says");
	buf_free(&reason);
}

static void verify_check(struct store *s)
{
	struct verify v = {.problem = verify_says};
	enum err e = verify_store(&v, s, NULL);

	if (e)
		complain("verify", err_text(e));
	if (v.open)
		complain("verify", "an attempt has no outcome after the start");
}

/* The ledger's own start, in this process, and what follows of it. */
void image_check(const char *folder, size_t events, bool on)
{
	static struct ledger l;
	struct config *made = NULL;
	struct buf octets = BUF_INIT(CONFIG_BUNDLE_MAX);
	struct refusal why = {0};
	struct chain *c;

	move_to(folder);
	ck_assert_int_eq(config_encode(&octets, &rig.config), ERR_OK);
	ck_assert_int_eq(config_decode(&made, octets.octets, octets.len), ERR_OK);
	buf_free(&octets);

	enum err e = ledger_open(&l, rig.url, "sign1", HELP_NOW, &why);

	if (!e) {
		ledger_generation(&l, made);
		e = heads_open(&l, made, 1000, &why);
		if (e)
			ledger_abandon(&l);
	}
	config_unref(made);
	if (e) {
		complain("start", why.detail);
		return;
	}
	facts_check(&l, events);
	holds_check(&l, events);
	verify_check(l.store);
	if (!on) {
		ledger_abandon(&l);
		return;
	}
	if (ledger_serve(&l, "main", HELP_NOW, &c) || ledger_stop(&l, HELP_NOW, 2000))
		complain("stop", "failed");
}

size_t acknowledged(size_t events)
{
	size_t n = 0;

	while (n < facts && fact[n].event < events)
		n++;
	return n;
}
