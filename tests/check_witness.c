/* What kept heads, the verifier key and holds show about ledgers that are sound in themselves; and
 * the tool's live and prove. */
#include "settings.h"

#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ledger/heads.h"
#include "ledger/holds.h"
#include "ledger_bench.h"

#define CREDENTIALS 20

static struct bench b;
static struct sample s[CREDENTIALS];
static char key[160], known[160], kept[160], vkey[800], origin[] = "log.test", output[65536];

__attribute__((format(printf, 1, 2))) static int tool(const char *fmt, ...)
{
	va_list ap;
	const char *top = getenv("TOP_BUILDDIR");
	char arguments[1024], command[2048];
	FILE *p;
	size_t len;

	va_start(ap, fmt);
	vsnprintf(arguments, sizeof(arguments), fmt, ap);
	va_end(ap);
	snprintf(command, sizeof(command), "%s/src/ledger/dcsign-ledger %s 2>&1", top ? top : ".",
		arguments);
	p = popen(command, "r");
	len = fread(output, 1, sizeof(output) - 1, p);
	output[len] = '\0';

	int status = pclose(p);

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool says(const char *what)
{
	return strstr(output, what) != NULL;
}

/* START, CONFIG, the key's proof and `count` credentials from number `first` on. */
static void ledger_write(unsigned first, unsigned count)
{
	static struct sample test;
	struct record start, config;

	sample_make(&test, &b.issuer, 900 + first);
	help_start(&start, &b.issuer);
	help_config(&config, &b.issuer);

	const struct record *head[] = {&start, &config, &test.self_test, &test.proved};

	ck_assert_int_eq(bench_group(&b, head, 4, 0, 0), ERR_OK);
	for (unsigned i = first; i < first + count; i++) {
		ck_assert_int_eq(bench_put(&b, &s[i].authorised), ERR_OK);
		ck_assert_int_eq(bench_put(&b, &s[i].issued), ERR_OK);
	}
	sample_free(&test);
}

__attribute__((format(printf, 1, 2))) static void run(const char *fmt, ...)
{
	va_list ap;
	char command[512];

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	ck_assert_int_eq(system(command), 0);
}

/* A ledger that was stopped, its heads kept elsewhere, its key handed over. */
static void set_up(void)
{
	struct buf text = BUF_INIT(CHECKPOINT_MAX);

	bench_make(&b);
	for (unsigned i = 0; i < CREDENTIALS; i++)
		sample_make(&s[i], &b.issuer, i + 1);
	snprintf(key, sizeof(key), "%s/ledger/checkpoint.key", b.folder);
	snprintf(known, sizeof(known), "%s/known", b.folder);
	snprintf(kept, sizeof(kept), "%s/kept", b.folder);
	b.sign = true;
	b.origin = origin;
	b.file = known;
	setenv("DCSIGN_LEDGER", b.url, 1);
	bench_open(&b);
	ledger_write(0, 3);
	bench_stop(&b);
	snprintf(output, sizeof(output), "%s.old", b.path);
	run("cp %s %s", b.path, output);
	bench_open(&b);
	ledger_write(3, 3);
	checkpoint_vkey_write(&text, "log.test/sign1/main", b.ledger.signer.public_key);
	snprintf(vkey, sizeof(vkey), "%s", buf_cstr(&text));
	buf_free(&text);
	bench_stop(&b);
	run("cp %s %s", known, kept);
}

static void tear_down(void)
{
	for (unsigned i = 0; i < CREDENTIALS; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

/* Another ledger of the same name in its place; with its key or a new one. */
static void rewrite(unsigned count, bool same_key)
{
	run("rm %s %s-reserve %s", b.path, b.path, known);
	if (!same_key)
		run("rm %s", key);
	bench_open(&b);
	ledger_write(10, count);
	bench_stop(&b);
}

START_TEST(a_true_ledger_fits_its_heads)
{
	ck_assert_msg(
		tool("verify --checkpoint %s --verifier-key %s", kept, vkey) == 0, "%s", output);
	ck_assert(says("2 signed heads: all as they must be"));
	ck_assert(says(vkey));
	ck_assert(!says("put back"));
	ck_assert_int_eq(tool("verify"), 0);
	ck_assert(says("put back") && says("handed over"));
	ck_assert_int_eq(tool("verify --json"), 0);
	ck_assert(says("\"heads\":2,") && says("\"verifier_key\":\"log.test/sign1/main+"));
}
END_TEST

START_TEST(a_cut_at_a_record_is_seen_by_a_kept_head)
{
	snprintf(output, sizeof(output), "%s.old", b.path);
	run("mv %s %s", output, b.path);
	ck_assert_int_eq(tool("verify --verifier-key %s", vkey), 0);
	ck_assert_int_eq(tool("verify --checkpoint %s", kept), 1);
	ck_assert(says("records are missing at its end"));
	ck_assert_int_eq(tool("verify --chain sign1/main --checkpoint %s", kept), 1);
	ck_assert(says("records are missing at its end"));
}
END_TEST

START_TEST(a_rewritten_chain_is_seen_by_a_kept_head)
{
	rewrite(9, true);
	ck_assert_int_eq(tool("verify --verifier-key %s", vkey), 0);
	ck_assert_int_eq(tool("verify --checkpoint %s", kept), 1);
	ck_assert(says("the records were rewritten"));
}
END_TEST

START_TEST(another_key_is_seen_by_the_verifier_key)
{
	rewrite(2, false);
	ck_assert_int_eq(tool("verify"), 0);
	ck_assert_int_eq(tool("verify --verifier-key %s", vkey), 1);
	ck_assert(says("was signed with another key than the one given"));
}
END_TEST

/* Each node has a key of its own. */
START_TEST(a_verifier_key_is_for_its_node)
{
	struct buf other = BUF_INIT(CHECKPOINT_MAX), swapped = BUF_INIT(CHECKPOINT_MAX);
	uint8_t own[CHECKPOINT_KEY], foreign[CHECKPOINT_KEY], seed[CHECKPOINT_KEY] = {7};
	const char *sign1, *sign2;

	ck_assert_int_eq(checkpoint_key_public(seed, foreign), ERR_OK);
	ck_assert_int_eq(checkpoint_vkey_read(vkey, strlen(vkey), NULL, own), ERR_OK);
	checkpoint_vkey_write(&other, "log.test/sign2/main", foreign);
	sign2 = buf_cstr(&other);
	/* in any order; of one alone the name does not count */
	ck_assert_int_eq(tool("verify --verifier-key %s --verifier-key %s --checkpoint %s", sign2,
				 vkey, kept),
		0);
	ck_assert_int_eq(tool("verify --verifier-key %s --verifier-key %s --checkpoint %s", vkey,
				 sign2, kept),
		0);
	ck_assert_int_eq(tool("verify --verifier-key %s --checkpoint %s", sign2, kept), 1);
	ck_assert(says("a kept checkpoint of this size is not signed with the key given"));
	/* the right key, as that of another node */
	checkpoint_vkey_write(&swapped, "log.test/sign1/main", foreign);
	sign1 = buf_cstr(&swapped);
	buf_reset(&other);
	checkpoint_vkey_write(&other, "log.test/sign2/main", own);
	sign2 = buf_cstr(&other);
	ck_assert_int_eq(tool("verify --verifier-key %s", sign2), 0);
	ck_assert_int_eq(tool("verify --verifier-key %s --verifier-key %s --checkpoint %s", sign1,
				 sign2, kept),
		1);
	ck_assert(says("was signed with another key than the one given"));
	ck_assert(says("a kept checkpoint of this size is not signed with the key given"));
	buf_free(&other);
	buf_free(&swapped);
}
END_TEST

START_TEST(an_authorisation_against_a_hold_is_seen)
{
	struct msg_hold m = {.by = "security", .by_serial = "0b", .peer = "unix", .key = "www"};
	struct msg_hold_answer a;

	memset(m.request, 'a', ID_SIZE - 1);
	m.reason = octets_text("ticket 7");
	bench_open(&b);
	ledger_write(6, 1);
	ck_assert_int_eq(hold_take(&b.ledger, RECORD_HELD, &m, b.now, b.ms, &a), ERR_OK);
	/* a ledger that forgets its holds */
	ck_assert_int_eq(b.ledger.store->engine->hold_drop(b.ledger.store, "www", ""), ERR_OK);

	int64_t idx = bench_size(&b);

	ck_assert_int_eq(bench_put(&b, &s[7].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[7].issued), ERR_OK);
	bench_stop(&b);
	ck_assert_int_eq(tool("verify"), 1);

	char expected[128];

	snprintf(expected, sizeof(expected),
		"record %lld: was authorised against the hold of record %lld\n", (long long)idx,
		(long long)idx - 1);
	ck_assert_msg(says(expected), "%s", output);
	ck_assert(says("2 problems") && says("the table of holds lacks one"));
}
END_TEST

START_TEST(records_without_a_head_are_seen)
{
	bench_sql(&b, "INSERT INTO records SELECT 'sign1/stray', idx, record, leaf_hash FROM "
		      "records WHERE idx < 2");
	ck_assert_int_eq(tool("verify"), 1);
	ck_assert(says("sign1/stray: there are records of it, but no head"));
}
END_TEST

/* ---- live, list ---- */

START_TEST(live_says_what_must_be_waited_out)
{
	char hex[2 * SHA256_SIZE + 1];

	ck_assert_int_eq(tool("live --at 2027-01-15T08:30:00Z"), 0);
	ck_assert_msg(says("6 unexpired credentials, the last one until 2027-01-15T09:00:00Z"),
		"%s", output);
	ck_assert_int_eq(tool("live --at 2027-01-15T09:00:00Z"), 0);
	ck_assert(says("no unexpired credential"));
	ck_assert_int_eq(tool("live --at 2027-01-15T07:59:59Z"), 0);
	ck_assert(says("no unexpired credential"));
	ck_assert_int_eq(tool("live --at 2027-01-15T08:30:00Z --client %s", "other"), 0);
	ck_assert(says("no unexpired credential"));
	hex_encode(hex, s[2].spki_sha256, SHA256_SIZE);
	ck_assert_int_eq(tool("live --at 2027-01-15T08:30:00Z --spki-sha256 %s", hex), 0);
	ck_assert(says("1 unexpired credentials") && says(s[2].id));
	hex_encode(hex, b.issuer.certificate_sha256, SHA256_SIZE);
	ck_assert_int_eq(
		tool("live --at 2027-01-15T08:30:00Z --csv --certificate-sha256 %s", hex), 0);
	ck_assert(says("issued,expires,key,client,role,algorithm,id,chain,record,"));
	ck_assert(says("\n2027-01-15T08:00:00Z,2027-01-15T09:00:00Z,www,edge,server,"));
	ck_assert_int_eq(tool("live --certificate-sha256 %s", "00"), 2);
	ck_assert_int_eq(tool("verify --at %s", "2027-01-15T08:00:00Z"), 2);
}
END_TEST

/* ---- prove ---- */

static void text_of(char *out, size_t size, const char *name)
{
	const char *at = strstr(output, name);

	ck_assert_ptr_nonnull(at);
	snprintf(out, size, "%.*s", (int)strcspn(at + strlen(name), "\""), at + strlen(name));
}

START_TEST(a_proof_holds_under_the_kept_head)
{
	struct merkle_proof p = {.count = 0};
	struct checkpoint head;
	uint8_t leaf[SHA256_SIZE];
	char hex[80], *note;
	size_t len;
	FILE *f = fopen(kept, "r");

	note = calloc(1, CHECKPOINT_MAX);
	len = fread(note, 1, CHECKPOINT_MAX, f);
	fclose(f);
	ck_assert_int_eq(checkpoint_read(&head, note, len), ERR_OK);
	free(note);
	ck_assert_int_eq(tool("prove --id %s --checkpoint %s", s[4].id, kept), 0);
	text_of(hex, sizeof(hex), "\"leaf_hash\":\"");
	ck_assert(hex_decode(leaf, sizeof(leaf), hex));
	for (char *at = strstr(output, "\"proof\":[\"") + 9; *at == '"' || *at == ',';
		at += 66 + (*at == ',')) {
		snprintf(hex, sizeof(hex), "%.64s", at + 1 + (*at == ','));
		ck_assert(hex_decode(p.hash[p.count++], SHA256_SIZE, hex));
	}
	ck_assert_uint_ge(p.count, 4);
	ck_assert(says(s[4].id) && says("\"type\":\"ISSUED\"}}\n"));

	int64_t idx = atoll(strstr(output, "\"idx\":") + 6);

	ck_assert(merkle_included(&p, (uint64_t)idx, head.size, leaf, head.root));
	/* the ledger's own newest head does as well */
	ck_assert_int_eq(tool("prove --id %s", s[4].id), 0);
}
END_TEST

START_TEST(what_cannot_be_proved_is_said)
{
	ck_assert_int_eq(tool("prove"), 2);
	ck_assert_int_eq(tool("prove --id %s", s[9].id), 1);
	ck_assert(says("no credential of the id"));
	rewrite(9, true);
	ck_assert_int_eq(tool("prove --id %s --checkpoint %s", s[10].id, kept), 1);
	ck_assert_msg(says("not those that its head was signed over"), "%s", output);
	ck_assert_int_eq(tool("prove --id %s --checkpoint %s", s[18].id, kept), 1);
	ck_assert_int_eq(tool("prove --id %s --checkpoint %s", s[10].id, b.path), 4);
	ck_assert(says("is not a file of signed notes"));
}
END_TEST

START_TEST(a_wrong_command_line_is_named)
{
	static const struct {
		const char *arguments, *says;
	} wrong[] = {
		{"list --from yesterday", "--from: \"yesterday\" is no time"},
		{"list --from", "--from needs a value"},
		{"verify --verifier-key abc", "--verifier-key: \"abc\" is no verifier key"},
		{"verify --witness-key abc", "--witness-key: \"abc\" is no verifier key of a"},
		{"live --public-key /nowhere", "--public-key: \"/nowhere\" is no file with a"},
		{"live --certificate /dev/null", "--certificate: \"/dev/null\" is no file with a"},
		{"live --spki-sha256 12", "--spki-sha256: \"12\" is no SHA-256"},
		{"export --type ISSUE", "--type: \"ISSUE\" is no type of record"},
		{"list --type ISSUED", "this command does not take --type"},
		{"list --bogus", "there is no option --bogus"},
		{"list -x", "there is no option -x"},
		{"list --json --csv", "--json or --csv, not both"},
		{"list more", "what is this: more"},
		{"look", "give a command"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ck_assert_int_eq(tool("%s", wrong[i].arguments), 2);
		ck_assert_msg(says(wrong[i].says), "%s: %s", wrong[i].arguments, output);
	}
	ck_assert_int_eq(tool("verify --resume /nowhere/at/all"), 4);
	ck_assert(says("/nowhere/at/all can't be written: No such file or directory"));
	ck_assert_int_eq(tool("export --ledger /nowhere"), 4);
	ck_assert(says("/nowhere: No such file or directory"));
}
END_TEST

/* A list without it looks whole. */
START_TEST(a_list_without_a_damaged_record_says_so)
{
	ck_assert_int_eq(tool("live --at 2027-01-15T08:00:01Z"), 0);
	bench_sql(&b, "UPDATE records SET record = replace(record, 'ISSUED', 'ISSUET') WHERE idx = "
		      "(SELECT max(issued) FROM credentials)");
	ck_assert_int_eq(tool("live --at 2027-01-15T08:00:01Z"), 1);
	ck_assert(says("1 records can't be read"));
	ck_assert_int_eq(tool("list"), 1);
	ck_assert_int_eq(tool("export"), 1);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_wrong_command_line_is_named,
		a_list_without_a_damaged_record_says_so, a_true_ledger_fits_its_heads,
		a_cut_at_a_record_is_seen_by_a_kept_head, a_rewritten_chain_is_seen_by_a_kept_head,
		another_key_is_seen_by_the_verifier_key, a_verifier_key_is_for_its_node,
		an_authorisation_against_a_hold_is_seen, records_without_a_head_are_seen,
		live_says_what_must_be_waited_out, a_proof_holds_under_the_kept_head,
		what_cannot_be_proved_is_said};
	Suite *suite = suite_create("witness");
	TCase *tc = tcase_create("witness");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_set_timeout(tc, 240);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
