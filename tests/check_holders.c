/* Who else has a DC key, and how many live: a store's answers beside those of a plain list, in
 * order and at random; and that SQLite's cost of the usual answer does not grow. */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#include "ledger/sqlite.h"
#include "ledger_help.h"
#include "run_suite.h"

#define MOST	6000
#define KEYS	2000
#define SEGMENT 131072 /* records */
#define AT_ONCE 50
#define NOW	1000

static char folder[64], path[128], url[HELP_URL];
static const struct store_engine *engine;
static struct store *st;
static uint64_t seed;

static struct listed {
	struct store_attempt a;
	bool gone;
} list[MOST];
static unsigned count;

static const char *const clients[] = {"edge", "other", "third", ""};

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
	help_ledger(url, folder, "ledger.db");
	snprintf(path, sizeof(path), "%s/ledger.db", folder);
	up();
}

static void end(void)
{
	ck_assert_int_eq(engine->stop(st), ERR_OK);
	help_folder_remove(folder);
}

static unsigned any(unsigned below)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(seed >> 33) % below;
}

/* Keys in pairs that have 4, 8 or 31 octets in common. */
static void key_of(uint8_t spki[SHA256_SIZE], unsigned n)
{
	static const uint8_t first[] = {4, 8, 31};
	unsigned pair = n / 2;

	memset(spki, (int)pair, SHA256_SIZE);
	spki[1] = (uint8_t)(pair >> 8);
	spki[first[pair % 3]] ^= n & 1;
}

static void attempt_make(struct store_attempt *a, unsigned n, int64_t idx)
{
	*a = (struct store_attempt){
		.attempt = 1, .chain = "n/t", .idx = idx, .issued = NO_IDX, .expiry = any(3000)};
	snprintf(a->id, sizeof(a->id), "%032x", n);
	strcpy(a->key, any(4) ? "www" : "mail");
	strcpy(a->client, clients[any(4)]);
	key_of(a->spki_sha256, any(KEYS));
}

/* AT_ONCE new ones, most of them issued, and some of those before taken back. */
static void grow(int64_t idx)
{
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	for (unsigned i = 0; i < AT_ONCE; i++) {
		struct listed *l = &list[count++];

		*l = (struct listed){.gone = false};
		attempt_make(&l->a, count, idx + 2 * i);
		ck_assert_int_eq(engine->attempt_put(st, &l->a), ERR_OK);
		if (any(8) == 0)
			continue;
		l->a.issued = l->a.idx + 1;
		ck_assert_int_eq(engine->attempt_issue(st, l->a.id, 1, l->a.issued), ERR_OK);
	}
	for (unsigned i = 0; i < 3; i++) {
		struct listed *l = &list[any(count)];

		if (l->gone || l->a.issued != NO_IDX)
			continue;
		l->gone = true;
		ck_assert_int_eq(engine->attempt_drop(st, &l->a), ERR_OK);
	}
	ck_assert_int_eq(engine->commit(st), ERR_OK);
}

static void shared_check(unsigned n, const char *client, int64_t now)
{
	bool shared, want = false;
	uint8_t spki[SHA256_SIZE];

	key_of(spki, n);
	for (unsigned i = 0; i < count; i++) {
		const struct store_attempt *a = &list[i].a;

		want |= !list[i].gone && *a->client && strcmp(a->client, client) != 0 &&
			a->expiry > now && memcmp(a->spki_sha256, spki, SHA256_SIZE) == 0;
	}
	ck_assert_int_eq(engine->live_shared(st, spki, client, now, &shared), ERR_OK);
	ck_assert_msg(shared == want, "key %u of %s at %d", n, client, (int)now);
}

static void latest_check(const char *key, const char *client, bool open, int64_t now)
{
	uint64_t live = 0, got;
	int64_t latest = 0, got_latest;

	for (unsigned i = 0; i < count; i++) {
		const struct store_attempt *a = &list[i].a;

		if (list[i].gone || !*a->client || (!open && a->issued == NO_IDX) ||
			a->expiry <= now || (*key && strcmp(a->key, key) != 0) ||
			(*client && strcmp(a->client, client) != 0))
			continue;
		live++;
		latest = a->expiry > latest ? a->expiry : latest;
	}
	ck_assert_int_eq(
		engine->live_latest(st, key, client, open, now, &got, &got_latest), ERR_OK);
	ck_assert_uint_eq(got, live);
	ck_assert_int_eq(got_latest, latest);
}

static void all_check(int64_t from)
{
	for (unsigned i = 0; i < 200; i++)
		for (unsigned c = 0; c < 3; c++)
			shared_check(any(KEYS + 1), clients[c], from + any(2000));
	shared_check(3, "nobody", from);
	for (unsigned i = 0; i < 8; i++) {
		latest_check(i & 1 ? "www" : "", i & 2 ? "edge" : "", i & 4, from);
		latest_check(i & 1 ? "mail" : "", i & 2 ? "third" : "", i & 4, from + any(2500));
	}
}

/* Segments are begun, left and come back to; started anew with some of it read and without. */
START_TEST(as_a_list_has_it)
{
	int64_t from = 0;

	seed = 1;
	begin();
	for (unsigned round = 0; count < MOST; round++) {
		grow((int64_t)(round / 8 % 3) * SEGMENT + any(32) * (int64_t)4096 + any(3900));
		if (any(3) == 0)
			ck_assert_int_eq(engine->tidy(st), ERR_OK);
		if (round % 16 == 9) {
			from = any(600);
			ck_assert_int_eq(engine->begin(st), ERR_OK);
			ck_assert_int_eq(engine->purge(st, from, 0), ERR_OK);
			ck_assert_int_eq(engine->commit(st), ERR_OK);
		}
		if (round % 40 == 32) {
			ck_assert_int_eq(engine->stop(st), ERR_OK);
			up();
		}
		if (round % 4 == 0)
			all_check(600);
	}
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(engine->tidy(st), ERR_OK);
	for (unsigned i = 0; i < 10; i++)
		all_check(600);
	end();
}
END_TEST

static struct holders *holders(void)
{
	return &((struct sqlite *)st)->holders;
}

/* How often the file was asked for this key since the last call. */
static int asked(unsigned n, const char *client)
{
	sqlite3_stmt *const ask = ((struct sqlite *)st)->statement[S_HOLDERS_OTHER];

	sqlite3_stmt_status(ask, SQLITE_STMTSTATUS_RUN, 1);
	shared_check(n, client, 0);
	return sqlite3_stmt_status(ask, SQLITE_STMTSTATUS_RUN, 1);
}

/* Keys 0 to 15 of edge, in two segments and all in the table. */
static void two_segments(void)
{
	struct store_attempt a;

	count = 0;
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	for (unsigned i = 0; i < 600; i++) {
		attempt_make(&a, i, i < 300 ? i : SEGMENT + i);
		strcpy(a.client, "edge");
		key_of(a.spki_sha256, i % 16);
		a.issued = a.idx;
		a.expiry = i < 300 ? NOW : 2 * NOW;
		list[count++] = (struct listed){a, false};
		ck_assert_int_eq(engine->attempt_put(st, &a), ERR_OK);
	}
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	ck_assert_uint_eq(((struct sqlite *)st)->pending.attempts, 0);
}

static void read_all(void)
{
	for (unsigned i = 0; i < 32; i++)
		ck_assert_int_eq(engine->tidy(st), ERR_OK);
}

START_TEST(the_usual_answer_needs_no_file)
{
	if (help_postgres())
		return;
	begin();
	two_segments();
	for (unsigned started = 0; started < 2; started++) {
		ck_assert_uint_eq(holders()->count, 2);
		ck_assert_int_eq(asked(33, "edge"), 0);
		ck_assert_int_eq(asked(3, "edge"), 0);
		ck_assert_int_eq(asked(3, "other"), 32);
		ck_assert_int_eq(engine->stop(st), ERR_OK);
		up();
		ck_assert_int_eq(asked(33, "edge"), 64);
		ck_assert_int_eq(asked(3, "edge"), 64);
		read_all();
	}
	end();
}
END_TEST

/* The last of what expired takes its memory with it. */
START_TEST(what_expired_is_forgotten)
{
	if (help_postgres())
		return;
	begin();
	two_segments();
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(engine->begin(st), ERR_OK);
		ck_assert_int_eq(engine->purge(st, NOW + 1, 0), ERR_OK);
		ck_assert_int_eq(engine->commit(st), ERR_OK);
		read_all();
	}
	ck_assert_uint_eq(holders()->count, 1);
	for (unsigned i = 0; i < 300; i++)
		list[i].gone = true;
	ck_assert_int_eq(asked(3, "edge"), 0);
	ck_assert_int_eq(asked(3, "other"), 32);
	ck_assert_int_eq(engine->begin(st), ERR_OK);
	ck_assert_int_eq(engine->purge(st, 2 * NOW + 1, 0), ERR_OK);
	ck_assert_int_eq(engine->commit(st), ERR_OK);
	read_all();
	ck_assert_uint_eq(holders()->count, 0);
	end();
}
END_TEST

RUN_SUITE("holders", as_a_list_has_it, the_usual_answer_needs_no_file, what_expired_is_forgotten)
