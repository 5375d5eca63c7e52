/* What verify says of ledgers that were tampered with, and of ledgers whose hashes are right but
 * whose records are not. */
#include "settings.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger/list.h"
#include "ledger/verify.h"
#include "ledger_bench.h"

#define CREDENTIALS 4

static struct bench b;
static struct sample test, s[CREDENTIALS], foreign;
static char said[65536];
static const char *only; /* NULL: all chains, and the tables */

static void say(void *arg, const char *chain, int64_t idx, const char *what)
{
	size_t len = strlen(said);

	(void)arg;
	snprintf(said + len, sizeof(said) - len, "%s %lld %s\n", chain, (long long)idx, what);
}

/* The number of problems of the ledger at rest; -1: the store itself is damaged. */
static int verify(struct verify *v)
{
	struct verify own;
	struct store *st;
	struct refusal why;

	said[0] = '\0';
	v = v ? v : &own;
	*v = (struct verify){.problem = say};
	if (store_sqlite.open_copy(&st, b.path, &why))
		return -1;

	enum err e = verify_store(v, st, only);

	store_sqlite.abandon(st);
	return e ? -1 : (int)v->problems;
}

static void set_up(void)
{
	struct issuer other;

	bench_make(&b);
	sample_make(&test, &b.issuer, 100);
	for (unsigned i = 0; i < CREDENTIALS; i++)
		sample_make(&s[i], &b.issuer, i + 1);
	issuer_make(&other);
	sample_make(&foreign, &other, 1);
	issuer_free(&other);
}

static void tear_down(void)
{
	sample_free(&test);
	sample_free(&foreign);
	for (unsigned i = 0; i < CREDENTIALS; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

/* START, CONFIG, SELF-TEST, KEY-PROVED, then credentials, STOP. */
static void ledger_make(void)
{
	struct record start, config;

	bench_open(&b);
	help_start(&start, &b.issuer);
	help_config(&config, &b.issuer);
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &config), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &test.self_test), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &test.proved), ERR_OK);
	for (int i = 0; i < CREDENTIALS; i++) {
		ck_assert_int_eq(bench_put(&b, &s[i].authorised), ERR_OK);
		ck_assert_int_eq(bench_put(&b, i == 2 ? &s[i].failed : &s[i].issued), ERR_OK);
	}
	bench_stop(&b);
}

#define RECORDS (5 + 2 * CREDENTIALS)

START_TEST(a_good_ledger_is_good)
{
	struct verify v;

	ledger_make();
	ck_assert_msg(verify(&v) == 0, "%s", said);
	ck_assert_uint_eq(v.chains, 1);
	ck_assert_uint_eq(v.records, RECORDS);
	ck_assert_uint_eq(v.credentials, CREDENTIALS - 1);
	ck_assert_uint_eq(v.open, 0);
}
END_TEST

/* One bit of each record at a time: no more than a few places in each. */
START_TEST(a_flipped_bit_is_found)
{
	char *good, sql[512], expected[64];
	size_t size = 0;
	FILE *f;

	ledger_make();
	f = fopen(b.path, "r");
	fseek(f, 0, SEEK_END);
	size = (size_t)ftell(f);
	rewind(f);
	good = malloc(size);
	ck_assert_uint_eq(fread(good, 1, size, f), size);
	fclose(f);
	for (int idx = 0; idx < RECORDS; idx++) {
		for (int at = 1; at < 40; at += 9) {
			snprintf(sql, sizeof(sql),
				"UPDATE records SET record = substr(record, 1, length(record) * %d "
				"/ 40) || char(unicode(substr(record, length(record) * %d / 40 + "
				"1, 1)) + 1) || substr(record, length(record) * %d / 40 + 2) WHERE "
				"idx = %d",
				at, at, at, idx);
			bench_sql(&b, sql);
			snprintf(expected, sizeof(expected), "sign1/main %d the stored leaf hash",
				idx);
			ck_assert_int_gt(verify(NULL), 0);
			ck_assert_msg(strstr(said, expected), "%s", said);
			ck_assert_ptr_nonnull(strstr(said, "its root is not"));
			f = fopen(b.path, "r+");
			ck_assert_uint_eq(fwrite(good, 1, size, f), size);
			fclose(f);
		}
	}
	ck_assert_int_eq(verify(NULL), 0);
	free(good);
}
END_TEST

#define DROP(which) "DELETE FROM records WHERE idx = " which ";"
static const struct {
	const char *sql, *says;
} tampering[] = {
	{DROP("0"), "sign1/main 1 1 record is missing before it"},
	{DROP("5"), "sign1/main 6 1 record is missing before it"},
	{DROP("5") DROP("6"), "sign1/main 7 2 records are missing before it"},
	{DROP("12"), "it has 12 records, its head says 13"},
	{DROP("12") "UPDATE chains SET size = 12", "store is damaged"},
	{"DELETE FROM records", "it has 0 records, its head says 13"},
	/* close the gap */
	{DROP("4") DROP("5") "UPDATE records SET idx = idx - 2 WHERE idx > 5",
		"sign1/main 4 names another place than its own"},
	/* reorder */
	{"UPDATE records SET idx = -1 WHERE idx = 5; UPDATE records SET idx = 5 WHERE idx = 4;"
	 "UPDATE records SET idx = 4 WHERE idx = -1",
		"sign1/main 4 names another place than its own"},
	/* duplicate */
	{"INSERT INTO records SELECT chain, 13, record, leaf_hash FROM records WHERE idx = 7",
		"sign1/main 13 stands behind the end of its chain"},
	{"UPDATE records SET (record, leaf_hash) = (SELECT record, leaf_hash FROM records WHERE "
	 "idx = 5) WHERE idx = 7",
		"sign1/main 7 names another place than its own"},
	{"UPDATE records SET leaf_hash = zeroblob(32) WHERE idx = 3",
		"sign1/main 3 the stored leaf hash"},
	{"UPDATE records SET leaf_hash = x'00' WHERE idx = 3", "sign1/main 3 the stored leaf hash"},
	{"UPDATE chains SET root = zeroblob(32)", "its root is not that of its records"},
	{"UPDATE chains SET last_time = last_time - 1", "its last_time is not that of its writer"},
	{"UPDATE records SET record = replace(record, ',\"idx\"', ', \"idx\"') WHERE idx = 9",
		"sign1/main 9 is not a record in canonical form"},
};

START_TEST(tampering_is_found)
{
	ledger_make();
	bench_sql(&b, tampering[_i].sql);

	int problems = verify(NULL);

	if (problems < 0)
		ck_assert_str_eq(tampering[_i].says, "store is damaged");
	else
		ck_assert_msg(problems > 0 && strstr(said, tampering[_i].says), "%s", said);
}
END_TEST

static const char config[] =
	"{\"clients\":[{\"keys\":[\"www\"],\"max_live\":0,\"may\":[\"issue\"],\"name\":\"edge\","
	"\"policy\":\"\"}],\"keys\":[{\"name\":\"www\",\"policy\":\"default\"}],"
	"\"max_lifetime\":604800,\"policies\":[{\"algorithms\":[\"ecdsa_secp256r1_sha256\"],"
	"\"clock_skew\":3600,\"max_lifetime\":86400,\"max_live\":10,\"max_start_ahead\":300,"
	"\"min_lifetime\":300,\"name\":\"default\",\"proof_of_possession\":\"required\","
	"\"roles\":[\"server\"]}]}";

/* Any records, with places, hashes and heads as they must be. */
static void raw_ledger(struct record *const *records, size_t count)
{
	struct store_chain c = {.chain = "sign1/main"};
	struct buf json = BUF_INIT(RECORD_MAX);
	uint8_t leaf[SHA256_SIZE];
	struct refusal why;
	struct store *st;

	ck_assert_int_eq(store_sqlite.open(&st, b.path, &why), ERR_OK);
	ck_assert_int_eq(store_sqlite.begin(st), ERR_OK);
	merkle_init(&c.tree);
	for (size_t i = 0; i < count; i++) {
		struct record r = *records[i];

		r.chain = octets_text(c.chain);
		r.idx = (int64_t)i;
		if (r.type == RECORD_CONFIG)
			r.config = octets_text(config);
		buf_reset(&json);
		ck_assert_int_eq(record_write(&json, &r), ERR_OK);
		merkle_leaf(json.octets, json.len, leaf);
		merkle_append(&c.tree, leaf);
		c.last_time = r.time;
		ck_assert_int_eq(
			store_sqlite.record_put(st, c.chain, r.idx, json.octets, json.len, leaf),
			ERR_OK);
	}
	merkle_root(&c.tree, c.root);
	ck_assert_int_eq(store_sqlite.chain_put(st, &c), ERR_OK);
	ck_assert_int_eq(store_sqlite.commit(st), ERR_OK);
	ck_assert_int_eq(store_sqlite.stop(st), ERR_OK);
	buf_free(&json);
}

/* A well-formed ledger of one credential, then one thing is made wrong. Its records: */
enum { R_START, R_CONFIG, R_TEST, R_PROVED, R_AUTHORISED, R_OUTCOME, R_EXTRA, R_COUNT };
static struct record line[R_COUNT];
static struct record *lines[R_COUNT];
static uint8_t scratch[1024];

static void line_make(void)
{
	help_start(&line[R_START], &b.issuer);
	help_config(&line[R_CONFIG], &b.issuer);
	line[R_TEST] = test.self_test;
	line[R_PROVED] = test.proved;
	line[R_AUTHORISED] = s[0].authorised;
	line[R_OUTCOME] = s[0].issued;
	record_init(&line[R_EXTRA], RECORD_CLOCK);
	line[R_EXTRA].time = HELP_NOW;
	line[R_EXTRA].drift_ms = 0;
	for (int i = 0; i < R_COUNT; i++)
		lines[i] = &line[i];
}

static void nothing(void)
{
}

static void late_after_unknown(void)
{
	line[R_OUTCOME] = s[0].unknown;
	line[R_EXTRA] = s[0].issued;
	line[R_EXTRA].type = RECORD_LATE;
}

static void late_after_failed(void)
{
	late_after_unknown();
	line[R_OUTCOME] = s[0].failed;
}

static void open_at_the_end(void)
{
	line[R_OUTCOME] = line[R_EXTRA];
}

static void signature_broken(void)
{
	memcpy(scratch, s[0].dc.octets, s[0].dc.len);
	scratch[s[0].dc.len - 1] ^= 1;
	line[R_OUTCOME].dc = octets_of(scratch, s[0].dc.len);
	sha256(scratch, s[0].dc.len, s[0].dc_sha256);
}

static void late_after_failed_broken(void)
{
	signature_broken();
	line[R_EXTRA] = line[R_OUTCOME];
	line[R_EXTRA].type = RECORD_LATE;
	line[R_OUTCOME] = s[0].failed;
}

static void signature_of_another_key(void)
{
	line[R_OUTCOME].dc = octets_of(foreign.dc.octets, foreign.dc.len);
	line[R_OUTCOME].dc_sha256 = octets_of(foreign.dc_sha256, SHA256_SIZE);
}

static void another_credential(void)
{
	line[R_OUTCOME].dc = octets_of(s[1].dc.octets, s[1].dc.len);
	line[R_OUTCOME].dc_sha256 = octets_of(s[1].dc_sha256, SHA256_SIZE);
}

static void wrong_dc_sha256(void)
{
	line[R_OUTCOME].dc_sha256 = octets_of(s[1].dc_sha256, SHA256_SIZE);
}

static void no_credential(void)
{
	line[R_OUTCOME].dc = octets_text("no credential");
	sha256("no credential", 13, scratch);
	line[R_OUTCOME].dc_sha256 = octets_of(scratch, SHA256_SIZE);
}

static void wrong_tbs(void)
{
	line[R_AUTHORISED].tbs_sha256 = octets_of(s[1].tbs_sha256, SHA256_SIZE);
}

static void wrong_role(void)
{
	line[R_AUTHORISED].role = octets_text("client");
}

static void wrong_expiry(void)
{
	line[R_AUTHORISED].expiry++;
}

static void wrong_granted(void)
{
	line[R_AUTHORISED].lifetime_granted++;
}

static void wrong_not_before(void)
{
	line[R_AUTHORISED].cert_not_before--;
	line[R_AUTHORISED].valid_time++;
}

static void wrong_spki_sha256(void)
{
	line[R_AUTHORISED].spki_sha256 = octets_of(s[1].spki_sha256, SHA256_SIZE);
}

static void unknown_generation(void)
{
	memset(scratch, 9, SHA256_SIZE);
	line[R_AUTHORISED].generation = octets_of(scratch, SHA256_SIZE);
}

static void unproved_key(void)
{
	line[R_AUTHORISED].key = octets_text("mail");
}

static void authorised_twice(void)
{
	line[R_EXTRA] = line[R_AUTHORISED];
}

static void issued_twice(void)
{
	line[R_EXTRA] = line[R_OUTCOME];
}

static void failed_and_issued(void)
{
	line[R_EXTRA] = line[R_OUTCOME];
	line[R_OUTCOME] = s[0].failed;
}

static void issued_after_unknown(void)
{
	line[R_EXTRA] = line[R_OUTCOME];
	line[R_OUTCOME] = s[0].unknown;
}

static void issued_from_nowhere(void)
{
	line[R_OUTCOME] = s[1].issued;
}

static void open_before_start(void)
{
	line[R_OUTCOME] = line[R_START];
}

static void open_before_stop(void)
{
	record_init(&line[R_OUTCOME], RECORD_STOP);
	line[R_OUTCOME].time = HELP_NOW;
}

static void proved_without_test(void)
{
	line[R_TEST] = line[R_EXTRA];
}

static void proved_with_another_certificate(void)
{
	memset(scratch, 9, SHA256_SIZE);
	line[R_PROVED].certificate_sha256 = octets_of(scratch, SHA256_SIZE);
}

static void proved_without_certificate(void)
{
	line[R_PROVED].certificates = octets_text("none");
}

static const struct {
	void (*make)(void);
	int64_t idx;
	const char *says; /* NULL: all is good */
	unsigned open;
} stories[] = {
	{nothing, 0, NULL, 0},
	{late_after_unknown, 0, NULL, 0},
	{late_after_failed, 6, "is FAILED, which says that there is no signature", 0},
	{late_after_failed_broken, 6, "its signature does not verify", 0},
	{open_at_the_end, 0, NULL, 1},
	{signature_broken, 5, "its signature does not verify", 0},
	{signature_of_another_key, 5, "its signature does not verify", 0},
	{another_credential, 5, "other fields than were authorised", 0},
	{wrong_dc_sha256, 5, "dc_sha256 is not that of dc", 0},
	{no_credential, 5, "is no delegated credential", 0},
	{wrong_tbs, 4, "tbs_sha256 is not", 0},
	{wrong_tbs, 5, "is not the one that was authorised", 0},
	{wrong_role, 4, "tbs_sha256 is not", 0},
	{wrong_expiry, 4, "its times do not follow", 0},
	{wrong_granted, 4, "its times do not follow", 0},
	{wrong_not_before, 4, "its times do not follow", 0},
	{wrong_spki_sha256, 4, "spki_sha256 is not that of spki", 0},
	{unknown_generation, 4, "no CONFIG record announced its generation", 0},
	{unproved_key, 4, "no KEY-PROVED record shows its certificate", 0},
	{authorised_twice, 6, "its id and attempt were used before, in record 4", 0},
	{issued_twice, 6, "its attempt has an outcome already", 0},
	{failed_and_issued, 6, "its attempt has an outcome already", 0},
	{issued_after_unknown, 6, "its attempt has an outcome already", 0},
	{issued_from_nowhere, 5, "nothing was authorised under its id", 1},
	{open_before_start, 4, "it has no outcome, and the START record 5 follows", 0},
	{open_before_stop, 4, "it has no outcome, and the STOP record 5 follows", 0},
	{proved_without_test, 3, "nothing was authorised under its id", 0},
	{proved_with_another_certificate, 3, "does not have the SHA-256 that it names", 0},
	{proved_without_certificate, 3, "its certificates can't be read", 0},
};

START_TEST(records_must_make_sense)
{
	struct verify v;
	char expected[256];

	line_make();
	only = "sign1/main";
	stories[_i].make();
	raw_ledger(lines, R_COUNT);

	int problems = verify(&v);

	ck_assert_uint_eq(v.open, stories[_i].open);
	if (!stories[_i].says) {
		ck_assert_msg(problems == 0, "%s", said);
		return;
	}
	ck_assert_int_gt(problems, 0);
	snprintf(expected, sizeof(expected), "sign1/main %lld ", (long long)stories[_i].idx);

	char *at = strstr(said, expected);

	ck_assert_msg(at && strstr(at, stories[_i].says), "%s", said);
}
END_TEST

/* ---- the tool ---- */

static char output[65536];

static int tool(const char *arguments)
{
	const char *top = getenv("TOP_BUILDDIR");
	char command[1024];
	FILE *p;
	size_t len;

	snprintf(command, sizeof(command), "%s/src/ledger/dcsign-ledger %s 2>&1", top ? top : ".",
		arguments);
	p = popen(command, "r");
	len = fread(output, 1, sizeof(output) - 1, p);
	output[len] = '\0';

	int status = pclose(p);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static unsigned lines_of(const char *text)
{
	unsigned n = 0;

	while ((text = strchr(text, '\n'))) {
		n++;
		text++;
	}
	return n;
}

START_TEST(the_tool_verifies_lists_and_exports)
{
	char expected[256];

	ledger_make();
	setenv("DCSIGN_LEDGER", b.url, 1);
	ck_assert_msg(tool("verify") == 0, "%s", output);
	ck_assert_ptr_nonnull(strstr(output, "13 records in 1 chains, 3 credentials"));
	ck_assert_int_eq(tool("verify --json"), 0);
	ck_assert_str_eq(output,
		"{\"chains\":1,\"credentials\":3,\"heads\":0,\"open\":0,\"problems\":0,"
		"\"records\":13}\n");
	ck_assert_int_eq(tool("list"), 0);
	ck_assert_uint_eq(lines_of(output), 4);
	ck_assert_ptr_nonnull(strstr(output, "00000000000000000000000000000001 sign1/main:5"));
	ck_assert_int_eq(tool("list --json --key www --client edge --chain sign1/main"), 0);
	ck_assert_uint_eq(lines_of(output), 3);
	snprintf(expected, sizeof(expected), "\"expiry\":%d,", HELP_NOW + 3600);
	ck_assert_ptr_nonnull(strstr(output, expected));
	ck_assert_int_eq(tool("list --json --client other"), 0);
	ck_assert_str_eq(output, "");
	ck_assert_int_eq(tool("list --json --to 2027-01-15T08:00:00Z"), 0);
	ck_assert_str_eq(output, "");
	ck_assert_int_eq(tool("list --json --from 2027-01-15T08:00:00Z"), 0);
	ck_assert_uint_eq(lines_of(output), 3);
	ck_assert_int_eq(tool("export"), 0);
	ck_assert_uint_eq(lines_of(output), RECORDS);
	ck_assert_ptr_nonnull(strstr(output, "\"idx\":12,"));
	bench_open(&b);
	bench_stop(&b);
}
END_TEST

START_TEST(the_export_is_the_leaves)
{
	uint8_t leaf[SHA256_SIZE], root[SHA256_SIZE];
	struct merkle m;
	struct store_chain c;
	struct store *st;
	struct refusal why;
	char *line_at, *save = NULL;

	ledger_make();
	setenv("DCSIGN_LEDGER", b.path, 1);
	ck_assert_int_eq(tool("export"), 0);
	merkle_init(&m);
	for (line_at = strtok_r(output, "\n", &save); line_at;
		line_at = strtok_r(NULL, "\n", &save)) {
		merkle_leaf(line_at, strlen(line_at), leaf);
		merkle_append(&m, leaf);
	}
	merkle_root(&m, root);
	ck_assert_int_eq(store_sqlite.open_copy(&st, b.path, &why), ERR_OK);
	ck_assert_int_eq(store_sqlite.chain_get(st, "sign1/main", &c), ERR_OK);
	store_sqlite.abandon(st);
	ck_assert_uint_eq(m.size, c.tree.size);
	ck_assert_mem_eq(root, c.root, SHA256_SIZE);
}
END_TEST

START_TEST(the_tool_says_what_is_wrong)
{
	char arguments[512];

	ledger_make();
	unsetenv("DCSIGN_LEDGER");
	ck_assert_int_eq(tool("verify"), 2);
	ck_assert_ptr_nonnull(strstr(output, "--ledger"));
	ck_assert_int_eq(tool("destroy"), 2);
	ck_assert_int_eq(tool(""), 2);
	ck_assert_int_eq(tool("--help"), 0);
	setenv("DCSIGN_LEDGER", b.path, 1);
	ck_assert_int_eq(tool("verify --key www"), 2);
	ck_assert_int_eq(tool("verify rest"), 2);
	ck_assert_int_eq(tool("list --from yesterday"), 2);
	ck_assert_int_eq(tool("verify --chain sign1/none"), 4);
	ck_assert_ptr_nonnull(strstr(output, "there is no chain \"sign1/none\""));
	ck_assert_int_eq(tool("verify --ledger postgresql://h/d"), 4);
	snprintf(arguments, sizeof(arguments), "verify --ledger %s/none", b.folder);
	ck_assert_int_eq(tool(arguments), 4);
	bench_open(&b);
	ck_assert_int_eq(tool("verify"), 4);
	ck_assert_ptr_nonnull(strstr(output, "in use by a running dcsignd"));
	bench_stop(&b);
	bench_sql(&b, "UPDATE records SET leaf_hash = zeroblob(32) WHERE idx = 3");
	ck_assert_int_eq(tool("verify"), 1);
	ck_assert_ptr_nonnull(strstr(output, "sign1/main, record 3: the stored leaf hash"));
	snprintf(arguments, sizeof(arguments), "verify --ledger /dev/null");
	ck_assert_int_eq(tool(arguments), 1);
}
END_TEST

/* What a killed daemon leaves behind, copied or not, is read with its write-ahead log. */
START_TEST(a_ledger_that_was_not_stopped_is_read_whole)
{
	char command[512];
	struct record start;
	int64_t size;

	ledger_make();
	bench_open(&b);
	help_start(&start, &b.issuer);
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	s[2].authorised.attempt = 2;
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	size = bench_size(&b);
	ledger_abandon(&b.ledger); /* leaves the log as a kill does */
	snprintf(command, sizeof(command), "test -s %s-wal && mkdir %s/copy && cp %s* %s/copy",
		b.path, b.folder, b.path, b.folder);
	ck_assert_int_eq(system(command), 0);
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command), "verify --json --ledger %s%s/ledger.db",
			b.folder, i ? "/copy" : "");
		ck_assert_msg(tool(command) == 0, "%s", output);
		snprintf(command, sizeof(command), "\"open\":1,\"problems\":0,\"records\":%lld}",
			(long long)size);
		ck_assert_msg(strstr(output, command), "%s", output);
	}
	snprintf(command, sizeof(command), "test -s %s-wal", b.path);
	ck_assert_int_eq(system(command), 0); /* it is still there */
	bench_open(&b);
	bench_stop(&b);
	ck_assert_int_eq(verify(NULL), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("verify");
	TCase *c = tcase_create("verify");

	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, a_good_ledger_is_good);
	tcase_add_test(c, a_flipped_bit_is_found);
	tcase_add_loop_test(
		c, tampering_is_found, 0, (int)(sizeof(tampering) / sizeof(tampering[0])));
	tcase_add_loop_test(
		c, records_must_make_sense, 0, (int)(sizeof(stories) / sizeof(stories[0])));
	tcase_add_test(c, the_tool_verifies_lists_and_exports);
	tcase_add_test(c, the_export_is_the_leaves);
	tcase_add_test(c, the_tool_says_what_is_wrong);
	tcase_add_test(c, a_ledger_that_was_not_stopped_is_read_whole);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
