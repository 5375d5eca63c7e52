/* Groups, floods, tails, and a disk that is full. */
#include "settings.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "channel.h"
#include "ledger/gather.h"
#include "ledger/tail.h"
#include "ledger/verify.h"
#include "ledger_bench.h"

static struct bench b;
static struct sample s[4];
static char said[4096];

static void set_up(void)
{
	bench_make(&b);
	bench_open(&b);
	for (unsigned i = 0; i < 4; i++)
		sample_make(&s[i], &b.issuer, i + 1);
}

static void tear_down(void)
{
	if (b.ledger.store)
		bench_stop(&b);
	for (unsigned i = 0; i < 4; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

static bool says(int64_t idx, const char *what)
{
	return strstr(bench_text(&b, idx), what) != NULL;
}

static struct record clock_of(int64_t drift)
{
	struct record r;

	record_init(&r, RECORD_CLOCK);
	r.time = HELP_NOW;
	r.drift_ms = drift;
	return r;
}

START_TEST(a_group_is_written_in_the_order_of_arrival)
{
	struct record r[64];
	const struct record *group[64];
	char drift[32];

	for (int i = 0; i < 64; i++) {
		r[i] = clock_of(i);
		group[i] = &r[i];
	}
	ck_assert_int_eq(bench_group(&b, group, 64, 0, 0), ERR_OK);
	ck_assert_int_eq(bench_size(&b), 64);
	for (int i = 0; i < 64; i++) {
		const struct msg_appended *a = &b.item[i].answer;
		uint8_t leaf[SHA256_SIZE];

		snprintf(drift, sizeof(drift), "\"drift_ms\":%d,", i);
		ck_assert(says(i, drift));
		ck_assert_uint_eq(a->idx, (uint64_t)i);
		merkle_leaf(b.text.octets, b.text.len, leaf);
		ck_assert_mem_eq(leaf, a->leaf_hash, SHA256_SIZE);
	}
}
END_TEST

/* A refused member leaves its record and does not stop the others. */
START_TEST(a_refused_member_aborts_nobody)
{
	const struct record *group[] = {
		&s[0].authorised, &s[1].authorised, &s[0].issued, &s[2].self_test};

	ck_assert_int_eq(bench_group(&b, group, 4, 1, 0), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(b.item[1].answer.refusal.err, ERR_QUOTA);
	ck_assert_int_eq(b.item[2].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(b.item[3].answer.refusal.err, ERR_OK);
	ck_assert(says(0, "\"type\":\"AUTHORISED\""));
	ck_assert(says(1, "\"type\":\"REFUSED\""));
	ck_assert(says(1, "\"reason\":\"quota_exceeded\""));
	ck_assert(says(2, "\"type\":\"ISSUED\""));
	ck_assert(says(3, "\"type\":\"SELF-TEST\""));
}
END_TEST

START_TEST(chains_do_not_mix)
{
	struct record r = clock_of(0);
	struct chain *first = b.chain, *second;

	ck_assert_int_eq(ledger_serve(&b.ledger, "second", b.now, &second), ERR_OK);
	for (int i = 0; i < 8; i++) {
		b.item[i].chain = i % 2 ? second : first;
		b.item[i].record = r;
		b.item[i].own = false;
	}
	ck_assert_int_eq(commit_group(&b.ledger, b.item, 8, b.now, b.ms), ERR_OK);
	for (int i = 0; i < 8; i++)
		ck_assert_uint_eq(b.item[i].answer.idx, (uint64_t)i / 2);
	ck_assert_mem_ne(first->stored.root, second->stored.root, SHA256_SIZE);
	ck_assert_str_eq(second->stored.chain, "sign1/second");
}
END_TEST

START_TEST(the_time_of_the_chain_is_its_writers)
{
	struct record r = clock_of(0);

	b.now = HELP_NOW + 1000000;
	ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	bench_reopen(&b); /* STOP and UNKNOWN have the ledger's time */
	ck_assert(says(bench_size(&b) - 1, "\"type\":\"STOP\""));
	ck_assert(says(bench_size(&b) - 1, "\"time\":1801000000"));
	ck_assert_int_eq(b.chain->stored.last_time, HELP_NOW);
}
END_TEST

/* Nothing that lives is forgotten because this process's clock has jumped. */
START_TEST(a_clock_far_ahead_forgets_nothing)
{
	const struct record *late[] = {&s[1].refused, &s[2].self_test};
	struct record r = clock_of(0);
	uint64_t live;
	int64_t latest;

	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	b.now = HELP_NOW + INT64_C(10) * 365 * 86400;
	ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	ck_assert_int_eq(bench_group(&b, late, 2, 0, 0), ERR_OK);
	ck_assert_int_eq(b.ledger.store->engine->live_latest(
				 b.ledger.store, "www", "edge", false, HELP_NOW, &live, &latest),
		ERR_OK);
	ck_assert_uint_eq(live, 1);
	ck_assert_int_eq(
		bench_group(&b, (const struct record *[]){&s[1].authorised}, 1, 1, 0), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_QUOTA);
}
END_TEST

START_TEST(a_flood_of_refusals_is_counted)
{
	const struct record *group[BENCH_ITEMS];
	struct record other = s[1].refused;
	int64_t size;

	other.reason = octets_text("role_not_allowed");
	for (int i = 0; i < BENCH_ITEMS; i++)
		group[i] = i == 200 ? &other : &s[0].refused;
	ck_assert_int_eq(bench_group(&b, group, BENCH_ITEMS, 0, 0), ERR_OK);
	ck_assert_int_eq(bench_size(&b), 2);
	ck_assert(says(0, "lifetime_too_long"));
	ck_assert(!says(0, "count"));
	ck_assert(says(1, "role_not_allowed"));
	b.ms += 500;
	ck_assert_int_eq(bench_put(&b, &s[0].refused), ERR_OK);
	ck_assert_int_eq(bench_size(&b), 2);
	ck_assert_int_eq(flood_wait(&b.ledger.flood, b.ms), 500);
	b.ms += 500;
	ck_assert_int_eq(flood_wait(&b.ledger.flood, b.ms), 0);
	ck_assert_int_eq(commit_group(&b.ledger, NULL, 0, b.now, b.ms), ERR_OK);
	ck_assert_int_eq(bench_size(&b), 3);
	ck_assert(says(2, "\"count\":255"));
	ck_assert(says(2, "\"client\":\"edge\""));
	ck_assert(!says(2, "\"id\""));
	ck_assert_int_eq(flood_wait(&b.ledger.flood, b.ms), -1);
	/* after a quiet second the first stands alone again */
	b.ms += 1001;
	ck_assert_int_eq(bench_put(&b, &s[2].refused), ERR_OK);
	ck_assert(says(3, s[2].id));
	/* what is counted at the stop is written */
	ck_assert_int_eq(bench_put(&b, &s[0].refused), ERR_OK);
	size = bench_size(&b);
	bench_reopen(&b);
	ck_assert(says(size, "\"count\":1,"));
	ck_assert(says(size + 1, "\"type\":\"STOP\""));
}
END_TEST

START_TEST(a_start_closes_what_is_open)
{
	struct refusal why = {0};

	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].self_test), ERR_OK);
	ledger_abandon(&b.ledger);
	ck_assert_int_eq(bench_ledger_open(&b.ledger, &b, &why), ERR_OK);
	b.chain = b.ledger.chains;
	ck_assert_int_eq(bench_size(&b), 4);
	ck_assert(says(2, "\"type\":\"UNKNOWN\""));
	ck_assert(says(2, "\"attempt\":1,"));
	ck_assert(says(2, s[0].id));
	ck_assert(says(3, "\"type\":\"UNKNOWN\""));
	ck_assert(!says(3, "\"attempt\""));
	ck_assert(says(3, s[1].id));
}
END_TEST

static const char *const damages[][2] = {
	{"UPDATE records SET leaf_hash = zeroblob(32) WHERE idx = 2000", "record 2000"},
	{"UPDATE records SET record = replace(record, 'ms\":1', 'ms\":3') WHERE idx = 1900",
		"record 1900"},
	{"DELETE FROM records WHERE idx = 2100", "record 2100"},
	{"DELETE FROM records WHERE idx = 2199", "record 2199"},
	{"INSERT INTO records SELECT chain, 2201, record, leaf_hash FROM records WHERE idx = 9",
		"record 2201"},
	{"UPDATE records SET (record, leaf_hash) = (SELECT record, leaf_hash FROM records WHERE "
	 "idx = 1999) WHERE idx = 2000",
		"record 2000"},
	{"UPDATE chains SET root = zeroblob(32)", "root"},
	{"UPDATE chains SET edge = zeroblob(length(edge))", "root"},
	{"UPDATE chains SET edge = x'00'", "damaged"},
	{"UPDATE chains SET size = size - 1", "damaged"},
	{"DELETE FROM records", "missing"},
};

START_TEST(a_damaged_tail_stops_the_start)
{
	struct record r[BENCH_ITEMS];
	const struct record *group[BENCH_ITEMS];
	struct refusal why = {0};
	struct ledger l;

	for (int i = 0; i < BENCH_ITEMS; i++)
		group[i] = &r[i];
	for (int n = 0; n < 2200; n += 200) {
		for (int i = 0; i < 200; i++)
			r[i] = clock_of(n + i);
		ck_assert_int_eq(bench_group(&b, group, 200, 0, 0), ERR_OK);
	}
	bench_stop(&b); /* record 2200 is STOP */
	bench_open(&b);
	b.chain->served = false;
	bench_stop(&b);
	bench_sql(&b, damages[_i][0]);
	ck_assert_int_eq(bench_ledger_open(&l, &b, &why), ERR_FORMAT);
	if (strcmp(damages[_i][1], "damaged") != 0)
		ck_assert_msg(strstr(why.detail, damages[_i][1]), "%s", why.detail);
	ck_assert_ptr_null(l.store);
}
END_TEST

/* The oldest of the tail's subtrees are compared with the edge, too: swap two records and their
 * leaf hashes, with the members as they must be. */
START_TEST(a_rewritten_tail_does_not_fit_the_edge)
{
	struct record r = clock_of(1);
	struct refusal why = {0};
	struct ledger l;
	uint8_t leaf[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1], sql[2048];

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	bench_stop(&b);
	snprintf(sql, sizeof(sql),
		"{\"chain\":\"sign1/"
		"main\",\"drift_ms\":2,\"idx\":1,\"time\":%d,\"type\":\"CLOCK\"}",
		HELP_NOW);
	merkle_leaf(sql, strlen(sql), leaf);
	hex_encode(hex, leaf, SHA256_SIZE);
	snprintf(sql, sizeof(sql),
		"UPDATE records SET record = replace(record, '\"drift_ms\":1', '\"drift_ms\":2'), "
		"leaf_hash = x'%s' WHERE idx = 1",
		hex);
	bench_sql(&b, sql);
	ck_assert_int_eq(bench_ledger_open(&l, &b, &why), ERR_FORMAT);
	ck_assert_msg(strstr(why.detail, "edge"), "%s", why.detail);
}
END_TEST

/* ---- answers that do not fit ---- */

START_TEST(an_answer_with_too_many_replays_still_fits)
{
	static struct msg_append m;
	static struct msg_append_answer answers;
	static uint8_t octets[MSG_MAX];
	struct buf one = BUF_INIT(MSG_MAX), message = BUF_INIT(MSG_MAX);
	struct msg_head head;
	struct reader body;
	struct gather g;
	size_t len, lost_count, replays = 0;
	int ends[2], lost[GATHER_ITEMS];
	struct record *a = &s[0].authorised;
	enum { ASKED = 250 };
	static uint8_t reference[REFERENCE_MAX];

	memset(reference, 'r', sizeof(reference));
	a->reference = octets_of(reference, sizeof(reference));
	a->idempotency = octets_text("again");
	a->request_sha256 = octets_of(s[0].request_sha256, SHA256_SIZE);
	ck_assert_int_eq(bench_put(&b, a), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	ck_assert_int_eq(record_encode(&one, a), ERR_OK);
	m.count = ASKED;
	for (int i = 0; i < ASKED; i++)
		m.item[i].record = octets_of(one.octets, one.len);
	msg_begin(&message, MSG_APPEND, 77);
	msg_append_write(&message, &m);
	ck_assert_int_eq(message.err, ERR_OK);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	ck_assert_int_eq(gather_init(&g), ERR_OK);
	ck_assert_int_eq(gather_add(&g, ends[0], b.chain, message.octets, message.len), ERR_OK);
	ck_assert_int_eq(
		gather_commit(&g, &b.ledger, b.now, b.ms, 1000, lost, &lost_count), ERR_OK);
	ck_assert_uint_eq(lost_count, 0);
	ck_assert_int_eq(
		channel_receive(ends[1], octets, sizeof(octets), &len, NULL, NULL, 60000), ERR_OK);
	ck_assert_int_eq(msg_open(&head, &body, octets, len), ERR_OK);
	ck_assert_uint_eq(head.serial, 77);
	ck_assert_int_eq(msg_append_answer_read(&answers, &body), ERR_OK);
	ck_assert_uint_eq(answers.count, ASKED);
	while (replays < ASKED && answers.item[replays].replay_issued.len)
		replays++;
	ck_assert_uint_gt(replays, 40);
	ck_assert_uint_lt(replays, ASKED);
	for (size_t i = 0; i < ASKED; i++)
		ck_assert_int_eq(
			answers.item[i].refusal.err, i < replays ? ERR_OK : ERR_OVERLOADED);
	gather_free(&g);
	close(ends[0]);
	close(ends[1]);
	buf_free(&one);
	buf_free(&message);
}
END_TEST

/* ---- a full disk ---- */

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	snprintf(said, sizeof(said), "%s %lld %s", chain, (long long)idx, what);
}

static bool put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Who may not mount here may in a user namespace of his own. */
static bool own_mounts(void)
{
	char uid[32], gid[32];

	if (unshare(CLONE_NEWNS) == 0)
		return true;
	snprintf(uid, sizeof(uid), "0 %u 1", getuid());
	snprintf(gid, sizeof(gid), "0 %u 1", getgid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && put("/proc/self/setgroups", "deny") &&
	       put("/proc/self/uid_map", uid) && put("/proc/self/gid_map", gid);
}

/* A file system of our own of this many MiB on the folder; false: not allowed here. */
static bool small_disk(const char *folder, int mib)
{
	char size[32];

	snprintf(size, sizeof(size), "size=%dm,mode=700", mib);
	return own_mounts() && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("dcsign-test", folder, "tmpfs", 0, size) == 0;
}

static void fill(const char *folder, bool up)
{
	char path[128], block[4096] = {1};
	int fd;

	snprintf(path, sizeof(path), "%s/ballast", folder);
	if (!up) {
		ck_assert_int_eq(unlink(path), 0);
		return;
	}
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	while (write(fd, block, sizeof(block)) == sizeof(block))
		;
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

/* No more AUTHORISED, but outcomes in the room that was kept back; and then all of it again. */
START_TEST(outcomes_fit_on_a_full_disk)
{
	struct verify v = {.problem = problem};
	struct store *copy;
	struct refusal why;
	enum err e = ERR_OK;
	int64_t size;

	if (help_postgres()) /* the server's disk is its own matter */
		return;
	bench_stop(&b);
	if (!small_disk(b.folder, 24)) {
		fprintf(stderr, "no mount here: the test of a full disk is left out\n");
		b.ledger.store = NULL;
		return;
	}
	bench_open(&b);
	ck_assert(b.ledger.reserve);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	fill(b.folder, true);
	/* what the store has open already may still hold a little */
	for (int64_t i = 0; i < 2000 && !e; i++) {
		struct record more = s[1].authorised;
		char id[ID_SIZE];

		snprintf(id, sizeof(id), "%032llx", (unsigned long long)(i + 5000));
		more.id = octets_text(id);
		size = bench_size(&b);
		e = bench_put(&b, &more);
		ck_assert(e || b.ledger.reserve); /* the reserve is for outcomes */
	}
	ck_assert_int_eq(e, ERR_LEDGER_UNAVAILABLE);
	ck_assert(!b.ledger.reserve);
	ck_assert_int_eq(bench_size(&b), size);
	b.ms += 2000;
	fill(b.folder, true);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_LEDGER_UNAVAILABLE);
	fill(b.folder, false);
	b.ms += 2000;
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	ck_assert(b.ledger.reserve);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	/* again, and now an outcome meets the full disk first */
	fill(b.folder, true);
	char *pad = calloc(1, 600001);

	memset(pad, 'x', 600000);
	s[2].failed.detail = octets_text(pad);
	ck_assert_int_eq(bench_put(&b, &s[2].failed), ERR_OK);
	free(pad);
	ck_assert(!b.ledger.reserve);
	bench_stop(&b);
	ck_assert_int_eq(store_sqlite.open_copy(&copy, b.path, &why), ERR_OK);
	ck_assert_int_eq(verify_store(&v, copy, NULL), ERR_OK);
	store_sqlite.abandon(copy);
	ck_assert_uint_eq(v.open, 0);
	ck_assert_int_eq(umount2(b.folder, MNT_DETACH), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("commit");
	TCase *c = tcase_create("commit");

	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, a_group_is_written_in_the_order_of_arrival);
	tcase_add_test(c, a_refused_member_aborts_nobody);
	tcase_add_test(c, chains_do_not_mix);
	tcase_add_test(c, the_time_of_the_chain_is_its_writers);
	tcase_add_test(c, a_clock_far_ahead_forgets_nothing);
	tcase_add_test(c, a_flood_of_refusals_is_counted);
	tcase_add_test(c, a_start_closes_what_is_open);
	tcase_add_loop_test(
		c, a_damaged_tail_stops_the_start, 0, (int)(sizeof(damages) / sizeof(damages[0])));
	tcase_add_test(c, a_rewritten_tail_does_not_fit_the_edge);
	tcase_add_test(c, an_answer_with_too_many_replays_still_fits);
	tcase_add_test(c, outcomes_fit_on_a_full_disk);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
