/* An engine by the contract of store.h: SQLite, or PostgreSQL (see help_postgres). */
#include "settings.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/store.h"
#include "ledger_help.h"
#include "run_suite.h"

static char folder[64], path[128], url[HELP_URL];
static const struct store_engine *engine;
static struct store *st;

static void up(void)
{
	struct refusal why = {0};
	const char *where;

	ck_assert_int_eq(store_engine_of(url, &engine, &where, &why), ERR_OK);
	ck_assert_msg(engine->open(&st, where, &why) == ERR_OK, "%s", why.detail);
}

static void begin(void)
{
	help_folder(folder);
	/* a name that is awkward in a URI */
	help_ledger(url, folder, "a b%20?c#d");
	snprintf(path, sizeof(path), "%s/a b%%20?c#d", folder);
	up();
}

static void end(void)
{
	ck_assert_int_eq(engine->stop(st), ERR_OK);
	help_folder_remove(folder);
}

static struct store_attempt attempt_of(unsigned n, const char *client, int64_t expiry)
{
	struct store_attempt a = {.attempt = 1,
		.chain = "n/t",
		.idx = n,
		.issued = NO_IDX,
		.key = "www",
		.expiry = expiry};

	snprintf(a.id, sizeof(a.id), "%032x", n);
	strcpy(a.client, client);
	memset(a.spki_sha256, (int)n, SHA256_SIZE);
	return a;
}

static uint64_t live(const char *key, const char *client, int64_t now)
{
	uint64_t n;

	ck_assert_int_eq(engine->live_count(st, key, client, now, &n), ERR_OK);
	return n;
}

START_TEST(urls_name_engines)
{
	static const char *const bad[] = {
		"", "ledger.db", "sqlite:ledger.db", "sqlite:", "postgresql:", "SQLITE:/x"};
	const char *where;
	struct refusal why;

	ck_assert_int_eq(store_engine_of("postgresql://h/d", &engine, &where, &why), ERR_OK);
	ck_assert_ptr_eq(engine, &store_postgres);
	ck_assert_str_eq(where, "postgresql://h/d");
	ck_assert_int_eq(store_engine_of("sqlite:/a/b", &engine, &where, &why), ERR_OK);
	ck_assert_ptr_eq(engine, &store_sqlite);
	ck_assert_str_eq(where, "/a/b");
	ck_assert_int_eq(store_engine_of("/a/b", &engine, &where, &why), ERR_OK);
	ck_assert_str_eq(where, "/a/b");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ck_assert_int_eq(store_engine_of(bad[i], &engine, &where, &why), ERR_NOT_FOUND);
		ck_assert_ptr_nonnull(strstr(why.detail, "sqlite:/absolute/path"));
	}
}
END_TEST

START_TEST(what_is_rolled_back_is_gone)
{
	struct store_chain c = {.chain = "n/t", .last_time = 5}, back;
	struct store_attempt a = attempt_of(1, "edge", 100);
	uint8_t leaf[SHA256_SIZE] = {1};
	struct buf json = BUF_INIT(1000);

	begin();
	for (int round = 0; round < 2; round++) {
		bool kept = round == 1;

		ck_assert_int_eq(engine->begin(st), ERR_OK);
		c.tree.size = 5; /* two edge hashes */
		memset(c.tree.edge[0], 0x55, SHA256_SIZE);
		memset(c.tree.edge[1], 0x56, SHA256_SIZE);
		memset(c.root, 0x66, SHA256_SIZE);
		ck_assert_int_eq(engine->chain_put(st, &c), ERR_OK);
		ck_assert_int_eq(engine->record_put(st, "n/t", 4, "{}", 2, leaf), ERR_OK);
		ck_assert_int_eq(engine->attempt_put(st, &a), ERR_OK);
		ck_assert_int_eq(kept ? engine->commit(st) : engine->rollback(st), ERR_OK);
		ck_assert_int_eq(
			engine->chain_get(st, "n/t", &back), kept ? ERR_OK : ERR_NOT_FOUND);
		ck_assert_int_eq(engine->record_get(st, "n/t", 4, &json, leaf),
			kept ? ERR_OK : ERR_NOT_FOUND);
		ck_assert_uint_eq(live("www", "", 0), kept);
	}
	ck_assert_int_eq(engine->stop(st), ERR_OK);
	up();
	ck_assert_int_eq(engine->chain_get(st, "n/t", &back), ERR_OK);
	ck_assert_str_eq(back.chain, c.chain);
	ck_assert_uint_eq(back.tree.size, c.tree.size);
	ck_assert_mem_eq(back.tree.edge, c.tree.edge, sizeof(c.tree.edge));
	ck_assert_mem_eq(back.root, c.root, SHA256_SIZE);
	ck_assert_int_eq(back.last_time, c.last_time);
	ck_assert_str_eq(buf_cstr(&json), "{}");
	ck_assert_int_eq(engine->rollback(st), ERR_OK); /* nothing to roll back */
	buf_free(&json);
	end();
}
END_TEST

START_TEST(a_record_is_written_once)
{
	uint8_t leaf[SHA256_SIZE] = {0};

	begin();
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	ck_assert_int_eq(engine->record_put(st, "n/t", 0, "{}", 2, leaf), ERR_OK);
	ck_assert_int_eq(engine->record_put(st, "n/u", 0, "[]", 2, leaf), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	ck_assert_int_eq(engine->begin(st), ERR_OK);

	/* an engine may say it at the end of the transaction */
	enum err e = engine->record_put(st, "n/t", 0, "[]", 2, leaf);

	ck_assert_int_eq(e ? e : engine->commit(st), ERR_FORMAT);
	ck_assert_int_eq(engine->rollback(st), ERR_OK);
	end();
}
END_TEST

START_TEST(chains_come_in_order)
{
	static const char *const names[] = {"b/x", "a/y", "a/x"};
	struct store_chain c = {.chain = ""};
	char seen[64] = "";

	begin();
	for (int i = 0; i < 3; i++) {
		struct store_chain put = {.chain = ""};

		strcpy(put.chain, names[i]);
		ck_assert_int_eq(engine->chain_put(st, &put), ERR_OK);
	}
	while (engine->chain_after(st, c.chain, &c) == ERR_OK)
		strcat(strcat(seen, c.chain), " ");
	ck_assert_str_eq(seen, "a/x a/y b/x ");
	end();
}
END_TEST

START_TEST(attempts_are_counted_by_key_and_client)
{
	struct store_attempt a = attempt_of(1, "edge", 100), c = attempt_of(2, "other", 200),
			     test = attempt_of(3, "", 300), back;
	bool shared;

	begin();
	ck_assert_int_eq(engine->attempt_put(st, &a), ERR_OK);
	ck_assert_int_eq(engine->attempt_put(st, &c), ERR_OK);
	ck_assert_int_eq(engine->attempt_put(st, &test), ERR_OK);
	ck_assert_int_eq(engine->attempt_put(st, &a), ERR_FORMAT);
	ck_assert_uint_eq(live("www", "", 99), 2);
	ck_assert_uint_eq(live("www", "", 100), 1);
	ck_assert_uint_eq(live("www", "", 200), 0);
	ck_assert_uint_eq(live("", "edge", 99), 1);
	ck_assert_uint_eq(live("", "edge", 100), 0);
	ck_assert_uint_eq(live("mail", "", 0), 0);
	ck_assert_int_eq(engine->live_shared(st, a.spki_sha256, "other", 99, &shared), ERR_OK);
	ck_assert(shared);
	ck_assert_int_eq(engine->live_shared(st, a.spki_sha256, "edge", 99, &shared), ERR_OK);
	ck_assert(!shared);
	ck_assert_int_eq(engine->live_shared(st, a.spki_sha256, "other", 100, &shared), ERR_OK);
	ck_assert(!shared);
	ck_assert_int_eq(engine->attempt_open(st, "n/t", NO_IDX, &back), ERR_OK);
	ck_assert_str_eq(back.id, a.id);
	ck_assert_str_eq(back.chain, a.chain);
	ck_assert_str_eq(back.key, a.key);
	ck_assert_str_eq(back.client, a.client);
	ck_assert_str_eq(back.idempotency, a.idempotency);
	ck_assert_mem_eq(back.spki_sha256, a.spki_sha256, SHA256_SIZE);
	ck_assert_int_eq(back.attempt, a.attempt);
	ck_assert_int_eq(back.idx, a.idx);
	ck_assert_int_eq(back.issued, a.issued);
	ck_assert_int_eq(back.expiry, a.expiry);
	ck_assert_int_eq(engine->attempt_issue(st, a.id, 1, 9), ERR_OK);
	ck_assert_int_eq(engine->attempt_open(st, "n/t", NO_IDX, &back), ERR_OK);
	ck_assert_str_eq(back.id, c.id);
	ck_assert_int_eq(engine->attempt_open(st, "n/t", c.idx, &back), ERR_OK);
	ck_assert_str_eq(back.id, test.id);
	ck_assert_int_eq(engine->attempt_open(st, "n/u", NO_IDX, &back), ERR_NOT_FOUND);
	ck_assert_int_eq(engine->attempt_drop(st, &c), ERR_OK);
	ck_assert_uint_eq(live("www", "", 0), 1);
	ck_assert_uint_eq(live("", "other", 0), 0);
	end();
}
END_TEST

/* Issued and expired ones go, a bounded number at a time; the counts stay right. */
START_TEST(purging_forgets_the_expired)
{
	struct store_idempotency i = {
		.client = "edge", .key = "www", .idempotency = "k", .time = 50, .issued = NO_IDX};
	struct store_attempt back;
	char id[ID_SIZE];
	unsigned there = 0;

	begin();
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	for (unsigned n = 0; n < 600; n++) {
		struct store_attempt a = attempt_of(n, "edge", 100 + (n & 1));

		ck_assert_int_eq(engine->attempt_put(st, &a), ERR_OK);
		if (n >= 2)
			ck_assert_int_eq(engine->attempt_issue(st, a.id, 1, n), ERR_OK);
	}
	ck_assert_int_eq(engine->idempotency_put(st, &i), ERR_OK);
	ck_assert_int_eq(engine->purge(st, 101, 50), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	ck_assert_uint_eq(live("www", "", 0), 600 - 299);
	ck_assert_uint_eq(live("", "edge", 100), 300);
	for (unsigned n = 0; n < 600; n++) {
		snprintf(id, sizeof(id), "%032x", n);
		there += engine->attempt_get(st, id, 1, &back) == ERR_OK;
	}
	ck_assert_uint_eq(there, 600 - 299);
	ck_assert_int_eq(engine->idempotency_get(st, &i), ERR_OK);
	ck_assert_int_eq(engine->purge(st, 1000, 51), ERR_OK);
	ck_assert_int_eq(engine->idempotency_get(st, &i), ERR_NOT_FOUND);
	ck_assert_uint_eq(live("www", "", 0), 2); /* the open ones */
	end();
}
END_TEST

START_TEST(holds_match_what_they_name)
{
	struct buf reason = BUF_INIT(100);

	begin();
	ck_assert_int_eq(engine->hold_find(st, "www", "edge", &reason), ERR_NOT_FOUND);
	ck_assert_int_eq(engine->hold_put(st, "www", "edge", "both"), ERR_OK);
	ck_assert_int_eq(engine->hold_find(st, "www", "other", &reason), ERR_NOT_FOUND);
	ck_assert_int_eq(engine->hold_find(st, "mail", "edge", &reason), ERR_NOT_FOUND);
	ck_assert_int_eq(engine->hold_find(st, "www", "edge", &reason), ERR_OK);
	ck_assert_str_eq(buf_cstr(&reason), "both");
	ck_assert_int_eq(engine->hold_drop(st, "www", ""), ERR_OK);
	ck_assert_int_eq(engine->hold_find(st, "www", "edge", &reason), ERR_OK);
	ck_assert_int_eq(engine->hold_drop(st, "www", "edge"), ERR_OK);
	ck_assert_int_eq(engine->hold_find(st, "www", "edge", &reason), ERR_NOT_FOUND);
	buf_free(&reason);
	end();
}
END_TEST

START_TEST(the_files_are_the_owners)
{
	struct stat s;
	struct store *other;
	struct refusal why;
	char sub[160];

	if (help_postgres())
		return;
	umask(077);
	begin();
	ck_assert_int_eq(stat(path, &s), 0);
	ck_assert_uint_eq(s.st_mode & 07777, 0600);
	ck_assert_int_eq(engine->open(&other, path, &why), ERR_TIMEOUT);
	snprintf(sub, sizeof(sub), "%s/none/none/x", folder);
	ck_assert_int_eq(engine->open(&other, sub, &why), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.detail, "none/none"));
	ck_assert_int_eq(engine->open_copy(&other, sub, &why), ERR_NOT_FOUND);
	snprintf(sub, sizeof(sub), "%s/text", folder);

	FILE *f = fopen(sub, "w");

	for (int i = 0; i < 200; i++)
		fputs("this is no database\n", f);
	fclose(f);
	ck_assert_int_eq(engine->open(&other, sub, &why), ERR_FORMAT);
	ck_assert(engine->reserve_fill(st));
	snprintf(sub, sizeof(sub), "%s-reserve", path);
	ck_assert_int_eq(stat(sub, &s), 0);
	ck_assert_int_ge(s.st_blocks * 512, 8 << 20);
	engine->reserve_spend(st);
	ck_assert_int_eq(stat(sub, &s), 0);
	ck_assert_int_eq(s.st_blocks, 0);
	end();
}
END_TEST

/* The log does not grow without end, and a stop leaves one file. */
START_TEST(the_journal_is_folded_in)
{
	char journal[160], text[4000];
	uint8_t leaf[SHA256_SIZE] = {0};
	struct stat s;

	if (help_postgres())
		return;
	begin();
	memset(text, 'x', sizeof(text));
	snprintf(journal, sizeof(journal), "%s-wal", path);
	for (int64_t i = 0; i < 4000; i++) {
		if (i % 20 == 0)
			ck_assert_int_eq(engine->begin(st), ERR_OK);
		ck_assert_int_eq(
			engine->record_put(st, "n/t", i, text, sizeof(text), leaf), ERR_OK);
		if (i % 20 < 19)
			continue;
		ck_assert_int_eq(engine->commit(st), ERR_OK);
		ck_assert_int_eq(engine->tidy(st), ERR_OK);
	}
	ck_assert_int_eq(stat(journal, &s), 0);
	ck_assert_int_lt(s.st_size, 8 << 20);
	ck_assert_uint_gt(engine->octets(st), 16000000);
	ck_assert_int_eq(engine->stop(st), ERR_OK);
	ck_assert_int_ne(stat(journal, &s), 0);
	up();
	end();
}
END_TEST

/* Credential n: as a writer's two records leave it behind, in one transaction each. */
static void credential_make(unsigned n)
{
	struct store_attempt a = attempt_of(2 * n, n & 1 ? "edge" : "other", 100 + n);
	struct store_idempotency i = {
		.client = "edge", .key = "www", .chain = "n/t", .time = 50, .issued = NO_IDX};
	struct store_credential c = {.chain = "n/t", .issued = 2 * n + 1, .time = n};

	strcpy(i.id, a.id);
	strcpy(c.id, a.id);
	snprintf(i.idempotency, sizeof(i.idempotency), "k%u", n);
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	ck_assert_int_eq(engine->attempt_put(st, &a), ERR_OK);
	ck_assert_int_eq(engine->idempotency_put(st, &i), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	i.issued = c.issued;
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	ck_assert_int_eq(engine->attempt_issue(st, a.id, 1, c.issued), ERR_OK);
	ck_assert_int_eq(engine->idempotency_put(st, &i), ERR_OK);
	ck_assert_int_eq(engine->credential_put(st, &c), ERR_OK);
	ck_assert_int_eq(engine->node_put(st, "n/t", 4, n, a.spki_sha256), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
}

static enum err numbered(void *arg, const struct store_credential *c)
{
	int64_t *last = arg;

	ck_assert_int_eq(c->number, ++*last);
	ck_assert_int_eq(c->time, c->number);
	return ERR_OK;
}

/* Credentials 1 to count, every one as credential_make has it; attempt 1 is open. */
static void credentials_check(unsigned count)
{
	struct store_idempotency i = {.client = "edge", .key = "www"};
	struct store_credential c;
	struct store_attempt a;
	uint8_t hash[SHA256_SIZE];
	char id[ID_SIZE];
	int64_t last = 0, since;
	bool shared;

	for (unsigned n = 1; n <= count; n++) {
		snprintf(id, sizeof(id), "%032x", 2 * n);
		snprintf(i.idempotency, sizeof(i.idempotency), "k%u", n);
		ck_assert_int_eq(engine->attempt_get(st, id, 1, &a), ERR_OK);
		ck_assert_int_eq(a.issued, 2 * n + 1);
		ck_assert_int_eq(engine->idempotency_get(st, &i), ERR_OK);
		ck_assert_int_eq(i.issued, 2 * n + 1);
		ck_assert_str_eq(i.id, id);
		ck_assert_int_eq(engine->credential_get(st, id, &c), ERR_OK);
		ck_assert_int_eq(c.number, n);
		ck_assert_int_eq(engine->node_get(st, "n/t", 4, n, hash), ERR_OK);
		ck_assert_mem_eq(hash, a.spki_sha256, SHA256_SIZE);
		ck_assert_int_eq(engine->credential_since(st, n, &since), ERR_OK);
		ck_assert_int_eq(since, n - 1);
		ck_assert_int_eq(
			engine->live_shared(st, a.spki_sha256, a.client, 0, &shared), ERR_OK);
	}
	ck_assert_int_eq(engine->credential_walk(st, 0, numbered, &last), ERR_OK);
	ck_assert_int_eq(last, count);
	ck_assert_uint_eq(live("www", "", 0), count + 1);
	ck_assert_uint_eq(live("", "edge", 0), (count + 1) / 2);
	ck_assert_uint_eq(live("www", "", 100 + count - 1), 1);
	ck_assert_int_eq(engine->attempt_open(st, "n/t", NO_IDX, &a), ERR_OK);
	ck_assert_int_eq(a.idx, 1);
	ck_assert_int_eq(engine->attempt_open(st, "n/t", 1, &a), ERR_NOT_FOUND);
}

/* Whether it stands in the tables or only in what was noted for them. */
START_TEST(what_is_committed_outlives_the_process)
{
	struct store_attempt open = attempt_of(1, "third", 99), gone = attempt_of(3, "third", 99);
	unsigned made = 0;

	begin();
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	ck_assert_int_eq(engine->attempt_put(st, &open), ERR_OK);
	ck_assert_int_eq(engine->attempt_put(st, &gone), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	ck_assert_int_eq(engine->attempt_drop(st, &gone), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	for (unsigned round = 0; round < 5; round++) {
		while (made < round * 97 + 3)
			credential_make(++made);
		ck_assert_int_eq(engine->begin(st), ERR_OK);
		ck_assert_int_eq(engine->attempt_drop(st, &open), ERR_OK);
		ck_assert_int_eq(engine->rollback(st), ERR_OK);
		credentials_check(made);
		if (round & 1)
			ck_assert_int_eq(engine->stop(st), ERR_OK);
		else
			engine->abandon(st);
		up();
		credentials_check(made);
	}
	end();
}
END_TEST

RUN_SUITE("store", urls_name_engines, what_is_rolled_back_is_gone, a_record_is_written_once,
	what_is_committed_outlives_the_process, chains_come_in_order,
	attempts_are_counted_by_key_and_client, purging_forgets_the_expired,
	holds_match_what_they_name, the_files_are_the_owners, the_journal_is_folded_in)
