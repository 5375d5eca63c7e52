/*
 * Every system call of a life of dcsignd-hsm (start, request, batch, SIGHUP, stop) fails once, with
 * EIO, ENOSPC or EINTR, or the process is killed there (strace injects it; of several threads the
 * n-th call of each). Nothing is signed that the ledger was not told before, nothing is released
 * whose outcome it does not have, and the next process serves without help. A sample of the calls;
 * all of them with DCSIGN_TESTS=long, in several processes with a token each.
 */
#include "settings.h" /* memfd_create */

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "certificate.h"
#include "channel.h"
#include "child.h"
#include "fakes/fake_ledger.h"
#include "hsm_fixture.h"
#include "pubkey.h"

#define NAMES	200
#define SAMPLE	14    /* lives in make check */
#define PARTS	11    /* processes with DCSIGN_TESTS=long: a life is often waiting */
#define WAIT_MS 60000 /* for an answer; a busy machine is slow, a hung process is killed */
#define MISSING 1200  /* times 10 ms and more: a key that is missing is looked for twice more */
#define BATCH	6

static const char *const faults[] = {"error=EIO", "error=ENOSPC", "error=EINTR", "signal=SIGKILL"};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

static struct call {
	char name[32];
	unsigned count; /* the most that one thread makes */
} call[NAMES];
static size_t calls;

static struct fixture_token token;
static struct buf pem[2], bundle[2]; /* before and after SIGHUP: www, then p384 too */
static char wrap[256], trace[256], witness[256];
static const char *program; /* NULL: dcsignd-hsm itself */

static struct process {
	pid_t pid;
	int control, api;
	struct fake_ledger ledger;
} p;
static unsigned released;
static bool is_long;
static unsigned part, parts = 1;
static struct msg_issue ask;
static struct msg_issue_answer answer;
static struct msg_state_answer state;
static uint8_t inbox[MSG_MAX];

/* ---- a life that may end anywhere: everything gives ERR_OK or why it ended ---- */

static enum err hear(int fd, uint16_t type, struct reader *body)
{
	struct msg_head head;
	size_t len, fds = 0;
	enum err e = channel_receive(fd, inbox, sizeof(inbox), &len, NULL, &fds, WAIT_MS);

	if (!e)
		e = msg_open(&head, body, inbox, len);
	return !e && head.type != type ? ERR_FORMAT : e;
}

static enum err tell(int fd, struct buf *out, const int *fds, size_t count)
{
	enum err e = channel_send(fd, out, fds, count, WAIT_MS);

	buf_free(out);
	return e;
}

static enum err configure(const struct buf *with)
{
	struct msg_config m = {.count = 2, .label = {"bundle", "pin"}};
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_config_answer a;
	struct reader body;
	char pin[256];
	int fds[2] = {memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING)};

	snprintf(pin, sizeof(pin), "%s/pin", token.folder);
	fds[1] = open(pin, O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(write(fds[0], with->octets, with->len), (ssize_t)with->len);
	ck_assert_int_eq(fcntl(fds[0], F_ADD_SEALS,
				 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		0);
	msg_begin(&out, MSG_CONFIG, 7);
	msg_config_write(&out, &m);

	enum err e = tell(p.control, &out, fds, 2);

	close(fds[0]);
	close(fds[1]);
	if (!e)
		e = hear(p.control, MSG_ANSWER(MSG_CONFIG), &body);
	if (!e)
		e = msg_config_answer_read(&a, &body);
	return e ? e : a.err;
}

static enum err introduce(uint8_t role, int fd)
{
	struct msg_hello hello = {.role = role};
	struct buf out = BUF_INIT(MSG_MAX);

	msg_begin(&out, MSG_HELLO, 1);
	msg_hello_write(&out, &hello);

	enum err e = tell(p.control, &out, &fd, 1);

	close(fd);
	return e;
}

static void spawn(void)
{
	char path[512], conf[256], log[300], leaks[] = "ASAN_OPTIONS=detect_leaks=0";
	char *environment[] = {conf, log, leaks, NULL};
	struct child_spec spec = {.program = path, .argument = "main", .environment = environment};
	int ends[2];

	snprintf(path, sizeof(path), "%s/hsm/dcsignd-hsm", getenv("TOP_BUILDDIR"));
	if (program)
		snprintf(path, sizeof(path), "%s", program);
	snprintf(conf, sizeof(conf), "SOFTHSM2_CONF=%s", getenv("SOFTHSM2_CONF"));
	snprintf(log, sizeof(log), "P11FAULT_LOG=%s", witness);
	memset(&p, 0, sizeof(p));
	unlink(witness);
	released = 0;
	ck_assert_int_eq(child_spawn(&spec, &p.pid, &p.control), ERR_OK);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	p.api = ends[0];
	close(ends[1]);
}

static enum err key_served(const char *key)
{
	unsigned missing = 0;
	struct reader body;
	enum err e = ERR_COUNT;

	for (int i = 0; i < 3000 && e == ERR_COUNT; i++) {
		struct buf out = BUF_INIT(MSG_MAX);
		struct msg_state m = {.from = 0};

		msg_begin(&out, MSG_STATE, 5);
		msg_state_write(&out, &m);
		if (tell(p.api, &out, NULL, 0) || hear(p.api, MSG_ANSWER(MSG_STATE), &body) ||
			msg_state_answer_read(&state, &body))
			return ERR_CLOSED;
		if (!state.token_ok) /* it stays and tells why; a parent would bear another */
			return ERR_TOKEN;
		for (uint16_t k = 0; k < state.count; k++) {
			if (strcmp(state.key[k].name, key) != 0)
				continue;
			if (state.key[k].err == ERR_OK)
				e = ERR_OK;
			else if (state.key[k].err == ERR_KEY_MISSING && ++missing == MISSING)
				e = ERR_KEY_MISSING;
		}
		if (e)
			usleep(10000);
	}
	return e == ERR_COUNT ? ERR_TIMEOUT : e;
}

/* A grant is good: it verifies under the certificate. */
static void granted(const struct msg_grant *g)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	size_t count;
	struct dc dc;

	released++;
	ck_assert_int_eq(
		certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem[0].octets, pem[0].len),
		ERR_OK);
	ck_assert_int_eq(dc_parse(&dc, g->dc.at, g->dc.len), ERR_OK);
	ck_assert_int_eq(dc_build_tbs(&tbs, DC_SERVER, chain[0].der, chain[0].len, &dc), ERR_OK);
	ck_assert_int_eq(pubkey_verify(chain[0].key, scheme_by_code(dc.algorithm), tbs.octets,
				 tbs.len, dc.signature, dc.signature_len),
		ERR_OK);
	buf_free(&tbs);
	while (count > 0)
		certificate_free(&chain[--count]);
}

static enum err issue(uint16_t count)
{
	struct buf out = BUF_INIT(MSG_MAX), spki = BUF_INIT(SPKI_MAX);
	struct reader body;

	fixture_issue(&ask, "www", &spki, count);
	ask.item[0].role = DC_SERVER;
	msg_begin(&out, MSG_ISSUE, 20 + count);
	msg_issue_write(&out, &ask);

	enum err e = tell(p.api, &out, NULL, 0);

	if (!e)
		e = hear(p.api, MSG_ANSWER(MSG_ISSUE), &body);
	if (!e)
		e = msg_issue_answer_read(&answer, &body);
	for (uint16_t i = 0; i < answer.count && !e; i++) {
		e = answer.grant[i].refusal.err;
		if (!e)
			granted(&answer.grant[i]);
	}
	buf_free(&spki);
	return e;
}

static enum err whole(void)
{
	struct reader body;
	int ends[2];
	enum err e = configure(&bundle[0]);

	if (!e)
		e = introduce(ROLE_LEDGER, fake_ledger_start(&p.ledger));
	else
		return e;
	close(p.api);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	p.api = ends[0];
	if (e)
		close(ends[1]);
	else
		e = introduce(ROLE_API, ends[1]);
	if (!e)
		e = hear(p.control, MSG_STATE, &body);
	if (!e)
		e = key_served("www");
	if (!e)
		e = issue(1);
	if (!e)
		e = issue(BATCH);
	if (!e)
		e = configure(&bundle[1]);
	if (!e)
		e = key_served("p384");
	return e ? e : issue(1);
}

static unsigned signatures(void)
{
	struct buf b = BUF_INIT(1 << 22);
	unsigned n = 0;

	if (!fixture_file(witness, &b))
		return 0;
	for (const char *at = buf_cstr(&b); at && (at = strstr(at, " fn=C_Sign ")); at++) {
		const char *line_end = strchrnul(at, '\n'), *in = strstr(at, " in="),
			   *begin = strstr(at, " ev=begin");

		n += in && begin && in < line_end && begin < line_end;
	}
	buf_free(&b);
	return n;
}

/* Ends it, at once when it did not go well; then what was signed and released is accounted for. */
static int end(const char *what, bool in_order)
{
	int status = 0;

	kill(p.pid, in_order ? SIGTERM : SIGKILL);
	for (int i = 0; waitpid(p.pid, &status, WNOHANG) != p.pid; i++) {
		usleep(10000);
		if (i == WAIT_MS / 10)
			kill(p.pid, SIGKILL);
	}
	close(p.control);
	close(p.api);
	if (p.ledger.fd == 0)
		return status;
	fake_ledger_stop(&p.ledger);

	size_t told = fake_ledger_count(&p.ledger, RECORD_AUTHORISED) +
		      fake_ledger_count(&p.ledger, RECORD_SELF_TEST);

	ck_assert_msg(
		signatures() <= told, "%s: %u signatures, %zu were told", what, signatures(), told);
	ck_assert_msg(released <= fake_ledger_count(&p.ledger, RECORD_ISSUED),
		"%s: %u released, %zu ISSUED", what, released,
		fake_ledger_count(&p.ledger, RECORD_ISSUED));
	return status;
}

/* ---- strace ---- */

static void wrapper_write(const char *options)
{
	FILE *f = fopen(wrap, "w");

	fprintf(f, "#!/bin/sh\nexec /usr/bin/strace -D -f -qq -o %s %s %s/hsm/dcsignd-hsm \"$@\"\n",
		trace, options, getenv("TOP_BUILDDIR"));
	fclose(f);
	ck_assert_int_eq(chmod(wrap, 0700), 0);
}

/* SoftHSM writes into a token where it can, and root always can: what a kill leaves of that is not
 * this program's. */
static void token_restore(void)
{
	fixture_run(
		"cd %s && chmod -R u+w tokens && rm -r tokens && cp -a good tokens", token.folder);
}

/* Gives how the one with these options went. */
static enum err life(const char *options)
{
	enum err e, traced;

	wrapper_write(options);
	program = wrap;
	spawn();
	traced = whole();
	end(options, traced == ERR_OK);
	token_restore();
	program = NULL;
	spawn();
	e = whole();
	ck_assert_msg(!e, "%s: the next process: %s", options, err_text(e));
	ck_assert_msg(end(options, true) == 0, "%s: the next process does not end well", options);
	ck_assert_uint_eq(released, 2 + BATCH);
	return traced;
}

/* Did the call fail that was to? */
static bool made(void)
{
	FILE *f = fopen(trace, "r");
	char line[4096];
	bool found = false;

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, "(INJECTED)") != NULL;
	fclose(f);
	return found;
}

/* The same part takes the same faults of a call, whatever place it has in call[] there. */
static bool is_ours(const char *name, unsigned k)
{
	unsigned sum = k;

	for (; *name; name++)
		sum += (unsigned char)*name;
	return sum % parts == part;
}

static bool left_out(const char *name)
{
	static const char *const names[] = {"execve", "exit_group", "exit", "brk", "mmap", "munmap",
		"mprotect", "mremap", "madvise", "arch_prctl", "set_tid_address", "set_robust_list",
		"rseq", "rt_sigreturn", "sigaltstack", "clone", "clone3", "getpid", "gettid",
		"futex"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static void calls_count(void)
{
	static struct {
		long thread;
		size_t call;
		unsigned count;
	} seen[NAMES * 16];
	size_t pairs = 0, i, k;
	FILE *f = fopen(trace, "r");
	char line[4096];

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		char *name;
		long thread = strtol(line, &name, 10);
		size_t len;

		name += strspn(name, " ");
		len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
		if (len == 0 || len >= sizeof(call[0].name) || name[len] != '(')
			continue;
		name[len] = '\0';
		if (left_out(name))
			continue;
		for (i = 0; i < calls && strcmp(call[i].name, name) != 0; i++)
			;
		ck_assert_uint_lt(i, NAMES);
		if (i == calls)
			strcpy(call[calls++].name, name);
		for (k = 0; k < pairs && (seen[k].thread != thread || seen[k].call != i); k++)
			;
		ck_assert_uint_lt(k, sizeof(seen) / sizeof(seen[0]));
		if (k == pairs) {
			seen[pairs].thread = thread;
			seen[pairs++].call = i;
		}
		if (++seen[k].count > call[i].count)
			call[i].count = seen[k].count;
	}
	fclose(f);
}

static bool prepare(void)
{
	const struct fixture_certificate what = {
		.not_before = time(NULL) - 1000, .not_after = time(NULL) + 30 * 86400};
	static const char *const labels[] = {"www", "p384"}, *const types[] = {"P-256", "P-384"};
	static char uri[2][64];
	char folder[256], module[512];
	struct fixture_key keys[2];

	if (!fixture_token(&token))
		return false;
	snprintf(wrap, sizeof(wrap), "%s/wrap", token.folder);
	snprintf(trace, sizeof(trace), "%s/strace", token.folder);
	snprintf(witness, sizeof(witness), "%s/witness", token.folder);
	snprintf(folder, sizeof(folder), "%s/state", token.folder);
	snprintf(module, sizeof(module), "%s/tests/faults/p11fault.so", getenv("TOP_BUILDDIR"));
	for (size_t i = 0; i < 2; i++) {
		pem[i] = (struct buf)BUF_INIT(65536);
		bundle[i] = (struct buf)BUF_INIT(CONFIG_BUNDLE_MAX);
		fixture_token_key(&token, labels[i], types[i], &what, &pem[i]);
		snprintf(uri[i], sizeof(uri[i]), "pkcs11:object=%s", labels[i]);
		keys[i] = (struct fixture_key){.name = labels[i], .uri = uri[i], .pem = {&pem[i]}};
	}
	fixture_token_read_only(&token);
	fixture_run("cd %s && cp -a tokens good", token.folder);
	for (size_t i = 0; i < 2; i++)
		config_unref(fixture_config(
			keys, i + 1, folder, module, "pkcs11:token=test", &bundle[i]));
	return true;
}

static void finish(void)
{
	for (size_t i = 0; i < 2; i++) {
		buf_free(&pem[i]);
		buf_free(&bundle[i]);
	}
	fixture_token_end(&token);
}

START_TEST(nothing_is_signed_or_released_unaccounted)
{
	unsigned all = 0, step, n = 0, done = 0, errors = 0, failed = 0;
	char options[128];
	int tries = 0;

	if (!prepare())
		return;
	while (life("") != ERR_OK) /* the calls of a whole one are wanted; traced, it may be late */
		ck_assert_int_lt(++tries, 5);
	calls_count();
	ck_assert_uint_gt(calls, 15);
	for (size_t i = 0; i < calls; i++)
		all += call[i].count * (unsigned)FAULTS;
	step = is_long ? 1 : all / SAMPLE + 1;
	step += !is_long && step % FAULTS == 0; /* or it would always be the same fault */
	for (size_t i = 0; i < calls; i++) {
		for (unsigned k = 0; k < call[i].count * FAULTS; k++, n++) {
			/* not by n: how often a call is made differs a little between lives */
			if (n % step || !is_ours(call[i].name, k))
				continue;
			snprintf(options, sizeof(options), "-e inject=%.31s:%s:when=%u",
				call[i].name, faults[k % FAULTS], k / (unsigned)FAULTS + 1);
			life(options);
			done++;
			if (faults[k % FAULTS][0] == 'e') {
				errors++;
				failed += made();
			}
		}
	}
	printf("hsm syscalls: %zu kinds, %u faults possible, %u made (part %u of %u); %u of %u "
	       "errors came\n",
		calls, all, done, part + 1, parts, failed, errors);
	ck_assert_uint_ge(done, SAMPLE / 2);
	ck_assert_uint_gt(failed, 0);
	finish();
}
END_TEST

static int run(void)
{
	Suite *suite = suite_create("hsm_syscalls");
	TCase *c = tcase_create("hsm_syscalls");

	tcase_set_timeout(c, 14400);
	tcase_add_test(c, nothing_is_signed_or_released_unaccounted);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(void)
{
	const char *tests = getenv("DCSIGN_TESTS");
	int status, failed = EXIT_SUCCESS;

	if (access("/usr/bin/strace", X_OK) != 0) {
		puts("skipped: strace is missing");
		return 77;
	}
	is_long = tests && strcmp(tests, "long") == 0;
	if (!is_long)
		return run();
	for (parts = PARTS; part < parts; part++) {
		pid_t pid = fork();

		if (pid == 0)
			exit(run());
		if (pid < 0)
			failed = EXIT_FAILURE;
	}
	while (wait(&status) > 0) {
		if (status != 0)
			failed = EXIT_FAILURE;
	}
	return failed;
}
