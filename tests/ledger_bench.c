#include "settings.h"

#include "ledger/heads.h"
#include "ledger_bench.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void bench_make(struct bench *b)
{
	memset(b, 0, sizeof(*b));
	help_folder(b->folder);
	snprintf(b->path, sizeof(b->path), "%s/ledger.db", b->folder);
	help_ledger(b->url, b->folder, "ledger.db");
	issuer_make(&b->issuer);
	b->now = HELP_NOW;
	b->ms = 1000000;
	b->text = (struct buf)BUF_INIT(RECORD_MAX);
}

void bench_remove(struct bench *b)
{
	for (int i = 0; i < BENCH_ITEMS; i++)
		buf_free(&b->item[i].replay);
	config_unref(b->config);
	issuer_free(&b->issuer);
	buf_free(&b->text);
	help_folder_remove(b->folder);
}

static struct config *config_make(struct bench *b)
{
	char word[] = "x";
	struct config_token token = {.name = "main", .module = word, .uri = word, .pin = word};
	struct config_key key = {.name = "www", .token = "main", .uri = word, .policy = "default"};
	struct policy policy = {.name = "default"};
	char www[] = "www", *keys[] = {www};
	struct config_client clients[] = {
		{.name = "edge", .may = RIGHT_ISSUE, .keys = keys, .key_count = 1},
		{.name = "security", .may = RIGHT_HOLD | RIGHT_RELEASE},
		{.name = "watch", .may = RIGHT_HOLD}};
	struct config plain = {.node = "sign1",
		.origin = word,
		.state = word,
		.ledger = b->url,
		.token = &token,
		.token_count = 1,
		.policy = &policy,
		.policy_count = 1,
		.key = &key,
		.key_count = 1,
		.client = clients,
		.client_count = 3};
	struct buf octets = BUF_INIT(CONFIG_BUNDLE_MAX);
	struct config *made;

	policy_defaults(&policy);
	plain.state = b->folder;
	plain.origin = b->origin ? b->origin : word;
	plain.checkpoint.every = b->every;
	plain.checkpoint.interval = b->interval;
	plain.checkpoint.file = b->file;
	plain.checkpoint.command = b->command;
	plain.users.api = plain.users.hsm = plain.users.ledger = word;
	ck_assert_int_eq(config_encode(&octets, &plain), ERR_OK);
	ck_assert_int_eq(config_decode(&made, octets.octets, octets.len), ERR_OK);
	buf_free(&octets);
	memcpy(made->generation, b->issuer.generation, SHA256_SIZE);
	return made;
}

enum err bench_ledger_open(struct ledger *l, const struct bench *b, struct refusal *why)
{
	enum err e = ledger_open(l, b->url, "sign1", b->now, why);

	for (int i = 0; i < 200 && e == ERR_TIMEOUT && help_postgres(); i++) {
		nanosleep(&(struct timespec){0, 50000000}, NULL);
		e = ledger_open(l, b->url, "sign1", b->now, why);
	}
	return e;
}

enum err bench_try(struct bench *b, struct refusal *why)
{
	memset(why, 0, sizeof(*why));
	if (!b->config)
		b->config = config_make(b);

	enum err e = bench_ledger_open(&b->ledger, b, why);

	if (e)
		return e;
	e = b->sign ? heads_open(&b->ledger, b->config, b->ms, why) : ERR_OK;
	if (e)
		ledger_abandon(&b->ledger);
	else
		ledger_generation(&b->ledger, b->config);
	return e;
}

void bench_open(struct bench *b)
{
	struct refusal why;

	ck_assert_msg(bench_try(b, &why) == ERR_OK, "%s", why.detail);
	ck_assert_int_eq(ledger_serve(&b->ledger, "main", b->now, &b->chain), ERR_OK);
}

void bench_stop(struct bench *b)
{
	ck_assert_int_eq(ledger_stop(&b->ledger, b->now, b->ms), ERR_OK);
}

void bench_reopen(struct bench *b)
{
	bench_stop(b);
	bench_open(b);
}

enum err bench_group(struct bench *b, const struct record *const *records, size_t count,
	uint64_t max_live_key, uint64_t max_live_client)
{
	for (size_t i = 0; i < count; i++) {
		b->item[i].chain = b->chain;
		b->item[i].record = *records[i];
		b->item[i].max_live_key = max_live_key;
		b->item[i].max_live_client = max_live_client;
		b->item[i].own = false;
	}
	return commit_group(&b->ledger, b->item, count, b->now, b->ms);
}

enum err bench_put(struct bench *b, const struct record *r)
{
	ck_assert_int_eq(bench_group(b, &r, 1, 0, 0), ERR_OK);
	return b->item[0].answer.refusal.err;
}

enum err bench_own(struct bench *b, const struct record *r)
{
	b->item[0].chain = b->chain;
	b->item[0].record = *r;
	b->item[0].own = true;
	ck_assert_int_eq(commit_group(&b->ledger, b->item, 1, b->now, b->ms), ERR_OK);
	return b->item[0].answer.refusal.err;
}

int64_t bench_size(const struct bench *b)
{
	return (int64_t)b->chain->stored.tree.size;
}

const char *bench_text(struct bench *b, int64_t idx)
{
	uint8_t leaf[SHA256_SIZE];
	struct store *s = b->ledger.store;

	buf_reset(&b->text);
	ck_assert_int_eq(
		s->engine->record_get(s, b->chain->stored.chain, idx, &b->text, leaf), ERR_OK);
	return buf_cstr(&b->text);
}

void bench_reader(struct bench *b, struct store **s)
{
	const struct store_engine *engine;
	struct refusal why = {.err = ERR_OK};
	char url[HELP_URL];
	const char *where;

	strcpy(url, b->url);
	if (help_postgres())
		help_url(url, "auditor");
	ck_assert_int_eq(store_engine_of(url, &engine, &where, &why), ERR_OK);
	ck_assert_msg(engine->open_copy(s, where, &why) == ERR_OK, "%s", why.detail);
}

/* What is SQLite's way of saying it. */
static void postgres_sql(const char *sql)
{
	struct buf text = BUF_INIT(8192);
	const char *literal;

	buf_text(&text, "SET search_path = dcsign; CREATE OR REPLACE FUNCTION zeroblob(int) "
			"RETURNS bytea AS 'SELECT decode(repeat(''00'', $1), ''hex'')' LANGUAGE "
			"SQL; ");
	while ((literal = strstr(sql, "x'"))) {
		buf_put(&text, sql, (size_t)(literal - sql));
		buf_text(&text, "'\\x");
		sql = literal + 2;
	}
	buf_text(&text, sql);
	help_sql(buf_cstr(&text));
	buf_free(&text);
}

void bench_sql(struct bench *b, const char *sql)
{
	char *message = NULL;
	sqlite3 *db;

	if (help_postgres()) {
		postgres_sql(sql);
		return;
	}
	ck_assert_int_eq(sqlite3_open(b->path, &db), SQLITE_OK);
	ck_assert_msg(
		sqlite3_exec(db, sql, NULL, NULL, &message) == SQLITE_OK, "%s: %s", sql, message);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
