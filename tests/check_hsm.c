/* dcsignd-hsm as a process: parent, api and ledger are played by the test, the token is SoftHSM. */
#include "settings.h" /* memfd_create */

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "certificate.h"
#include "child.h"
#include "fakes/fake_ledger.h"
#include "hsm_fixture.h"
#include "pubkey.h"

struct process {
	pid_t pid;
	int control, api;
	struct fake_ledger ledger;
};

static struct msg_issue ask;
static struct msg_issue_answer answer;
static struct msg_state_answer state;
static uint8_t inbox[MSG_MAX];

static size_t receive(int fd, struct msg_head *head, struct reader *body)
{
	size_t len = 0, count = 0;
	enum err e = channel_receive(fd, inbox, sizeof inbox, &len, NULL, &count, 60000);

	if (e != ERR_OK)
		return 0;
	ck_assert_int_eq(msg_open(head, body, inbox, len), ERR_OK);
	return len;
}

static void send_hello_named(int control, uint8_t role, const char *name, int fd)
{
	struct msg_hello hello = {.role = role};
	struct buf out = BUF_INIT(MSG_MAX);

	snprintf(hello.name, sizeof hello.name, "%s", name);

	msg_begin(&out, MSG_HELLO, 1);
	msg_hello_write(&out, &hello);
	ck_assert_int_eq(channel_send(control, &out, &fd, 1, 1000), ERR_OK);
	close(fd);
	buf_free(&out);
}

static void send_hello(int control, uint8_t role, int fd)
{
	send_hello_named(control, role, "", fd);
}

static int sealed(const struct buf *bundle)
{
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_eq(write(fd, bundle->octets, bundle->len), (ssize_t)bundle->len);
	ck_assert_int_eq(
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		0);
	return fd;
}

static enum err send_config(int control, const struct buf *bundle, const char *pin_path)
{
	struct msg_config m = {.count = 2, .label = {"bundle", "pin"}};
	struct msg_config_answer taken;
	int fds[2] = {sealed(bundle), open(pin_path, O_RDONLY | O_CLOEXEC)};
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_head head;
	struct reader body;

	ck_assert_int_ge(fds[1], 0);
	msg_begin(&out, MSG_CONFIG, 7);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(control, &out, fds, 2, 1000), ERR_OK);
	buf_free(&out);
	close(fds[0]);
	close(fds[1]);
	ck_assert_uint_gt(receive(control, &head, &body), 0);
	ck_assert_uint_eq(head.type, MSG_ANSWER(MSG_CONFIG));
	ck_assert_uint_eq(head.serial, 7);
	ck_assert_int_eq(msg_config_answer_read(&taken, &body), ERR_OK);
	return taken.err;
}

/* pkcs11-spy, and SoftHSM with Ed25519 keys, leak by themselves: then leaks are not looked for. */
static bool leaky;

static void spawn_program(struct process *p, const char *name, const char *argument)
{
	char program[512], conf[256], spy[256] = "PKCS11SPY=" FIXTURE_MODULE, out[256];
	char leaks[] = "ASAN_OPTIONS=detect_leaks=0";
	char *environment[] = {conf, spy, out, leaky ? leaks : NULL, NULL};
	struct child_spec spec = {
		.program = program, .argument = argument, .environment = environment};

	snprintf(program, sizeof program, "%s/%s", getenv("TOP_BUILDDIR"), name);
	snprintf(conf, sizeof conf, "SOFTHSM2_CONF=%s", getenv("SOFTHSM2_CONF"));
	snprintf(out, sizeof out, "PKCS11SPY_OUTPUT=%.*s/spy",
		(int)(strrchr(getenv("SOFTHSM2_CONF"), '/') - getenv("SOFTHSM2_CONF")),
		getenv("SOFTHSM2_CONF"));
	memset(p, 0, sizeof *p);
	ck_assert_int_eq(child_spawn(&spec, &p->pid, &p->control), ERR_OK);
}

static void spawn(struct process *p, const char *argument)
{
	spawn_program(p, "hsm/dcsignd-hsm", argument);
}

/* The births that PROCESSES.md tells, up to the process's own "I serve". */
static void start_with(struct process *p, const struct fixture_token *t, const struct buf *bundle,
	bool with_ledger)
{
	char pin[256];
	int ends[2];
	struct msg_head head;
	struct reader body;

	snprintf(pin, sizeof pin, "%s/pin", t->folder);
	spawn(p, "main");
	ck_assert_int_eq(send_config(p->control, bundle, pin), ERR_OK);
	if (with_ledger)
		send_hello(p->control, ROLE_LEDGER, fake_ledger_start(&p->ledger));
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	p->api = ends[0];
	send_hello(p->control, ROLE_API, ends[1]);
	ck_assert_uint_gt(receive(p->control, &head, &body), 0);
	ck_assert_uint_eq(head.type, MSG_STATE);
}

static void start(struct process *p, const struct fixture_token *t, const struct buf *bundle)
{
	start_with(p, t, bundle, true);
}

/* "You have a successor." */
static void send_followed(const struct process *p)
{
	struct msg_hello hello = {.role = ROLE_HSM};
	struct buf out = BUF_INIT(MSG_MAX);

	msg_begin(&out, MSG_HELLO, 0);
	msg_hello_write(&out, &hello);
	ck_assert_int_eq(channel_send(p->control, &out, NULL, 0, 1000), ERR_OK);
	buf_free(&out);
}

static int wait_exit(struct process *p)
{
	int status = -1;

	for (int i = 0; i < 6000; i++) {
		if (waitpid(p->pid, &status, WNOHANG) == p->pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
		usleep(10000);
	}
	kill(p->pid, SIGKILL);
	waitpid(p->pid, &status, 0);
	return -1;
}

static int stop(struct process *p)
{
	int code;

	kill(p->pid, SIGTERM);
	code = wait_exit(p);
	fake_ledger_stop(&p->ledger);
	close(p->api);
	close(p->control);
	return code;
}

static void get_state(struct process *p)
{
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_state m = {.from = 0};
	struct msg_head head;
	struct reader body;

	msg_begin(&out, MSG_STATE, 5);
	msg_state_write(&out, &m);
	ck_assert_int_eq(channel_send(p->api, &out, NULL, 0, 1000), ERR_OK);
	buf_free(&out);
	ck_assert_uint_gt(receive(p->api, &head, &body), 0);
	ck_assert_uint_eq(head.type, MSG_ANSWER(MSG_STATE));
	ck_assert_int_eq(msg_state_answer_read(&state, &body), ERR_OK);
}

static enum err state_of(struct process *p, const char *key, enum err wanted)
{
	enum err e = ERR_COUNT;

	for (int i = 0; i < 6000 && e != wanted; i++) {
		get_state(p);
		for (uint16_t k = 0; k < state.count; k++)
			if (strcmp(state.key[k].name, key) == 0)
				e = state.key[k].err;
		if (e != wanted)
			usleep(10000);
	}
	return e;
}

static void send_issue(struct process *p, uint64_t serial)
{
	struct buf out = BUF_INIT(MSG_MAX);

	msg_begin(&out, MSG_ISSUE, serial);
	msg_issue_write(&out, &ask);
	ck_assert_int_eq(channel_send(p->api, &out, NULL, 0, 1000), ERR_OK);
	buf_free(&out);
}

static void take_answer(struct process *p, uint64_t serial)
{
	struct msg_head head;
	struct reader body;

	ck_assert_uint_gt(receive(p->api, &head, &body), 0);
	ck_assert_uint_eq(head.type, MSG_ANSWER(MSG_ISSUE));
	ck_assert_uint_eq(head.serial, serial);
	ck_assert_int_eq(msg_issue_answer_read(&answer, &body), ERR_OK);
}

/* The DC verifies, as a relying party does it, under the delegation certificate. */
static void verify_grant(const struct msg_grant *g, const struct buf *pem, enum dc_role role)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	size_t count;
	struct dc dc;

	ck_assert_int_eq(g->refusal.err, ERR_OK);
	ck_assert_int_eq(
		certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem->octets, pem->len), ERR_OK);
	ck_assert_int_eq(dc_parse(&dc, g->dc.at, g->dc.len), ERR_OK);
	ck_assert_int_eq(dc_build_tbs(&tbs, role, chain[0].der, chain[0].len, &dc), ERR_OK);
	ck_assert_int_eq(pubkey_verify(chain[0].key, scheme_by_code(dc.algorithm), tbs.octets,
				 tbs.len, dc.signature, dc.signature_len),
		ERR_OK);
	ck_assert_int_eq(dc_expiry(&dc, chain[0].not_before), g->not_after);
	ck_assert_mem_eq(g->certificate_sha256, chain[0].sha256, SHA256_SIZE);
	buf_free(&tbs);
	while (count > 0)
		certificate_free(&chain[--count]);
}

static struct fixture_token token;
static struct buf pem[6], bundle, spki;
static const char *const labels[] = {"www", "p384", "p521", "ed", "rsa", "weak"};
#define ED25519 3
static const char *const key_types[] = {"P-256", "P-384", "P-521", "Ed25519", "RSA-2048"};

/* A token with a key of each type and one that pkcs11-tool made, which may do too much. */
static bool prepare(const char *module, bool with_ed25519)
{
	size_t count = 0;
	int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate what = {
		.not_before = now - 1000, .not_after = now + 30 * 86400};
	struct fixture_key keys[6];
	char state_folder[256];
	struct config *c;

	if (!fixture_token(&token))
		return false;
	bundle = (struct buf)BUF_INIT(CONFIG_BUNDLE_MAX);
	spki = (struct buf)BUF_INIT(SPKI_MAX);
	leaky = with_ed25519 || strcmp(module, FIXTURE_SPY) == 0;
	for (size_t i = 0; i < 6; i++) {
		static char uri[6][64];

		pem[i] = (struct buf)BUF_INIT(65536);
		if (i == ED25519 && !with_ed25519)
			continue;
		if (i < 5)
			fixture_token_key(&token, labels[i], key_types[i], &what, &pem[i]);
		else
			buf_put(&pem[i], pem[0].octets, pem[0].len);
		snprintf(uri[i], sizeof uri[i], "pkcs11:object=%s", labels[i]);
		keys[count++] =
			(struct fixture_key){.name = labels[i], .uri = uri[i], .pem = {&pem[i]}};
	}
	fixture_run("pkcs11-tool --module " FIXTURE_MODULE " --login --pin " FIXTURE_PIN
		    " --keypairgen --key-type EC:prime256v1"
		    " --usage-sign --sensitive --label weak --id 77 >/dev/null 2>&1");
	fixture_token_read_only(&token);
	snprintf(state_folder, sizeof state_folder, "%s/state", token.folder);
	c = fixture_config(keys, count, state_folder, module, "pkcs11:token=test", &bundle);
	config_unref(c);
	return true;
}

static void finish(void)
{
	for (size_t i = 0; i < 6; i++)
		buf_free(&pem[i]);
	buf_free(&bundle);
	buf_free(&spki);
	fixture_token_end(&token);
}

START_TEST(issues_end_to_end)
{
	static const enum record_type order[] = {RECORD_START, RECORD_CONFIG};
	struct process p;

	if (!prepare(FIXTURE_MODULE, true))
		return;
	start(&p, &token, &bundle);
	for (size_t i = 0; i < 5; i++)
		ck_assert_int_eq(state_of(&p, labels[i], ERR_OK), ERR_OK);
	ck_assert_int_eq(state_of(&p, "weak", ERR_KEY_WEAK), ERR_KEY_WEAK);
	ck_assert_int_eq(state.token_ok, 1);
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(fake_ledger_type(&p.ledger, i), order[i]);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_SELF_TEST), 5);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_KEY_PROVED), 5);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_KEY_REFUSED), 1);
	for (size_t i = 0; i < 5; i++) {
		spki.len = 0;
		fixture_issue(&ask, labels[i], &spki, 1);
		ask.item[0].role = i % 2 == 0 ? DC_SERVER : DC_CLIENT;
		send_issue(&p, 100 + i);
		take_answer(&p, 100 + i);
		verify_grant(&answer.grant[0], &pem[i], i % 2 == 0 ? DC_SERVER : DC_CLIENT);
	}
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_AUTHORISED), 5);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_ISSUED), 5);
	spki.len = 0;
	fixture_issue(&ask, "weak", &spki, 1);
	send_issue(&p, 9);
	take_answer(&p, 9);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_KEY_UNAVAILABLE);
	ck_assert(fake_ledger_wait(&p.ledger, RECORD_REFUSED, 1));
	get_state(&p);
	ck_assert_uint_eq(state.counter[COUNTER_SIGNATURES], 10);
	ck_assert_int_eq(stop(&p), 0);
	finish();
}
END_TEST

START_TEST(batch_of_256)
{
	struct buf csr = BUF_INIT(8192);
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	fixture_csr(&csr);
	fixture_issue(&ask, "www", &spki, MSG_ITEMS);
	for (size_t i = 0; i < MSG_ITEMS; i++) {
		ask.item[i].proof = PROOF_CSR;
		ask.item[i].spki = octets_of(csr.octets, csr.len);
	}
	ask.item[3].term_value = 10 * 86400;
	send_issue(&p, 1);
	take_answer(&p, 1);
	ck_assert_uint_eq(answer.count, MSG_ITEMS);
	for (uint16_t i = 0; i < MSG_ITEMS; i++)
		if (i == 3)
			ck_assert_int_eq(answer.grant[i].refusal.err, ERR_LIFETIME_LONG);
		else
			verify_grant(&answer.grant[i], &pem[0], DC_SERVER);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_ISSUED), MSG_ITEMS - 1);
	ck_assert_int_eq(stop(&p), 0);
	buf_free(&csr);
	finish();
}
END_TEST

/* A lost ledger stops issuing; the fresh channel begins with HELLO, START, CONFIG and new proofs.
 */
START_TEST(ledger_comes_back)
{
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	p.ledger.close_at = RECORD_ISSUED;
	fixture_issue(&ask, "www", &spki, 1);
	send_issue(&p, 1);
	take_answer(&p, 1);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OUTCOME_UNKNOWN);
	send_issue(&p, 2);
	take_answer(&p, 2);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_LEDGER_UNAVAILABLE);
	fake_ledger_stop(&p.ledger);
	memset(&p.ledger, 0, sizeof p.ledger);
	send_hello(p.control, ROLE_LEDGER, fake_ledger_start(&p.ledger));
	ck_assert(fake_ledger_wait(&p.ledger, RECORD_KEY_PROVED, 4));
	ck_assert_int_eq(fake_ledger_type(&p.ledger, 0), RECORD_START);
	ck_assert_int_eq(fake_ledger_type(&p.ledger, 1), RECORD_CONFIG);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	send_issue(&p, 3);
	take_answer(&p, 3);
	verify_grant(&answer.grant[0], &pem[0], DC_SERVER);
	ck_assert_int_eq(stop(&p), 0);
	finish();
}
END_TEST

START_TEST(deadline_is_answered)
{
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	p.ledger.delay_ms = 700;
	fixture_issue(&ask, "www", &spki, 1);
	ask.deadline_ms = 300;
	send_issue(&p, 1);
	take_answer(&p, 1);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OUTCOME_UNKNOWN);
	ck_assert(fake_ledger_wait(&p.ledger, RECORD_FAILED, 1));
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_ISSUED), 0);
	p.ledger.delay_ms = 300;
	ask.deadline_ms = 2000;
	for (uint64_t i = 0; i < 20; i++) /* 4 workers, a queue of 8 */
		send_issue(&p, 10 + i);
	unsigned overloaded = 0, granted = 0;
	for (uint64_t i = 0; i < 20; i++) {
		struct msg_head head;
		struct reader body;

		ck_assert_uint_gt(receive(p.api, &head, &body), 0);
		ck_assert_int_eq(msg_issue_answer_read(&answer, &body), ERR_OK);
		overloaded += answer.grant[0].refusal.err == ERR_OVERLOADED;
		granted += answer.grant[0].refusal.err == ERR_OK;
		if (answer.grant[0].refusal.err == ERR_OVERLOADED)
			ck_assert_uint_gt(answer.grant[0].refusal.retry_after, 0);
	}
	ck_assert_uint_ge(overloaded, 6);
	ck_assert_uint_gt(granted, 0);
	ck_assert_int_eq(stop(&p), 0);
	finish();
}
END_TEST

/* One C_Login for a wrong PIN, however often the process is born; then a reset heals it. */
START_TEST(wrong_pin_once)
{
	struct process p;
	struct buf log = BUF_INIT(1 << 24);
	char path[256];
	unsigned logins = 0;

	if (access(FIXTURE_SPY, R_OK) != 0) {
		printf("skipped: %s is missing (package opensc)\n", FIXTURE_SPY);
		return;
	}
	if (!prepare(FIXTURE_SPY, false))
		return;
	fixture_run("echo 00000000 >%s/pin", token.folder);
	for (int i = 0; i < 3; i++) {
		start(&p, &token, &bundle);
		ck_assert_int_eq(state_of(&p, "www", ERR_PIN), ERR_PIN);
		ck_assert_int_eq(state.token_ok, 0);
		fixture_issue(&ask, "www", &spki, 1);
		send_issue(&p, 1);
		take_answer(&p, 1);
		ck_assert_int_eq(answer.grant[0].refusal.err, ERR_PIN);
		if (i < 2)
			ck_assert_int_eq(stop(&p), 0);
		spki.len = 0;
	}
	snprintf(path, sizeof path, "%s/spy", token.folder);
	ck_assert(fixture_file(path, &log));
	for (const char *at = buf_cstr(&log); (at = strstr(at, ": C_Login\n")) != NULL; at++)
		logins++;
	ck_assert_uint_eq(logins, 1);
	/* the token remembers the failure, too: a login by a person clears its flag */
	fixture_run("echo " FIXTURE_PIN " >%s/pin; \"$TOP_BUILDDIR\"/hsm/dcsign-keys list "
		    "--module " FIXTURE_MODULE " --token test --pin file:%s/pin --while-running "
		    ">/dev/null && "
		    "\"$TOP_BUILDDIR\"/hsm/dcsign-keys reset-pin-breaker --state %s/state "
		    ">/dev/null",
		token.folder, token.folder, token.folder);
	ck_assert_int_eq(wait_exit(&p), 75);
	fake_ledger_stop(&p.ledger);
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	ck_assert_int_eq(stop(&p), 0);
	buf_free(&log);
	finish();
}
END_TEST

/* pkcs11-spy: what is done with the keys is C_SignInit and C_Sign, once per AUTHORISED and
 * SELF-TEST, and nothing else. */
START_TEST(nothing_but_signatures)
{
	static const char *const forbidden[] = {": C_Decrypt", ": C_Unwrap", ": C_Wrap",
		": C_Derive", ": C_SignRecover", ": C_CopyObject", ": C_SetAttributeValue",
		": C_CreateObject", ": C_DestroyObject", ": C_Generate", ": C_SignUpdate",
		": C_Encrypt"};
	struct process p;
	struct buf log = BUF_INIT(1 << 24);
	char path[256];
	unsigned signs = 0;

	if (access(FIXTURE_SPY, R_OK) != 0 || !prepare(FIXTURE_SPY, false))
		return;
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	fixture_issue(&ask, "www", &spki, 5);
	send_issue(&p, 1);
	take_answer(&p, 1);
	verify_grant(&answer.grant[4], &pem[0], DC_SERVER);
	size_t wanted = fake_ledger_count(&p.ledger, RECORD_AUTHORISED) +
			fake_ledger_count(&p.ledger, RECORD_SELF_TEST);
	ck_assert_int_eq(stop(&p), 0);
	snprintf(path, sizeof path, "%s/spy", token.folder);
	ck_assert(fixture_file(path, &log));
	for (const char *at = buf_cstr(&log); (at = strstr(at, ": C_Sign\n")) != NULL; at++)
		signs++;
	ck_assert_uint_eq(signs, wanted);
	for (size_t i = 0; i < sizeof forbidden / sizeof *forbidden; i++)
		ck_assert_msg(strstr(buf_cstr(&log), forbidden[i]) == NULL, "%s", forbidden[i]);
	buf_free(&log);
	finish();
}
END_TEST

/* A new configuration is taken in the same process; one with another token asks for a new one. */
START_TEST(configuration_changes)
{
	struct fixture_key key = {.name = "www", .uri = "pkcs11:object=www", .pem = {&pem[0]}};
	struct buf next = BUF_INIT(CONFIG_BUNDLE_MAX);
	uint8_t generation[SHA256_SIZE];
	char pin[256], folder[256];
	struct msg_head head;
	struct reader body;
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	snprintf(pin, sizeof pin, "%s/pin", token.folder);
	snprintf(folder, sizeof folder, "%s/state", token.folder);
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	ck_assert_uint_eq(state.total, 5);
	memcpy(generation, state.generation, sizeof generation);
	const size_t proved = 4; /* the fifth is weak */
	ck_assert(fake_ledger_wait(&p.ledger, RECORD_KEY_PROVED, proved));
	config_unref(fixture_config(&key, 1, folder, FIXTURE_MODULE, "pkcs11:token=test", &next));
	ck_assert_int_eq(send_config(p.control, &next, pin), ERR_OK);
	ck_assert(fake_ledger_wait(&p.ledger, RECORD_CONFIG, 2));
	for (int i = 0; i < 200 && state.total != 1; i++)
		get_state(&p);
	ck_assert_uint_eq(state.total, 1);
	ck_assert_mem_ne(generation, state.generation, sizeof generation);
	fixture_issue(&ask, "www", &spki, 1);
	send_issue(&p, 1);
	take_answer(&p, 1);
	verify_grant(&answer.grant[0], &pem[0], DC_SERVER);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_KEY_PROVED), proved); /* it holds */
	/* a file that is no certificate changes nothing */
	pem[0].octets[40] = '!';
	buf_reset(&next);
	config_unref(fixture_config(&key, 1, folder, FIXTURE_MODULE, "pkcs11:token=test", &next));
	ck_assert_int_eq(send_config(p.control, &next, pin), ERR_CERT_MALFORMED);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	buf_reset(&next);
	config_unref(fixture_config(&key, 0, folder, FIXTURE_MODULE, "pkcs11:token=tset", &next));
	ck_assert_int_eq(send_config(p.control, &next, pin), ERR_OK);
	/* another token: it asks for a successor, and goes on until that is there */
	ck_assert_uint_gt(receive(p.control, &head, &body), 0);
	ck_assert_uint_eq(head.type, MSG_HELLO);
	send_issue(&p, 2);
	take_answer(&p, 2);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	send_followed(&p);
	close(p.api);
	ck_assert_int_eq(wait_exit(&p), 0);
	fake_ledger_stop(&p.ledger);
	buf_free(&next);
	finish();
}
END_TEST

/* A successor gets the api's requests first and the ledger when the one before has ended: requests
 * wait for that. Followed itself, it answers everything that comes until the api's channel ends. */
START_TEST(follows_and_is_followed)
{
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	start_with(&p, &token, &bundle, false);
	fixture_issue(&ask, "www", &spki, 1);
	send_issue(&p, 1);
	get_state(&p); /* its answer is not behind the other */
	usleep(300000);
	ck_assert_int_eq(channel_receive(p.api, inbox, sizeof inbox, &(size_t){0}, NULL, NULL, 0),
		ERR_TIMEOUT);
	send_hello(p.control, ROLE_LEDGER, fake_ledger_start(&p.ledger));
	take_answer(&p, 1);
	verify_grant(&answer.grant[0], &pem[0], DC_SERVER);
	send_followed(&p);
	for (uint64_t i = 2; i < 5; i++) {
		send_issue(&p, i);
		take_answer(&p, i);
		ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	}
	ck_assert_int_eq(waitpid(p.pid, NULL, WNOHANG), 0);
	close(p.api);
	ck_assert_int_eq(wait_exit(&p), 0);
	/* all that it had begun is written down */
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_AUTHORISED), 4);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_ISSUED), 4);
	fake_ledger_stop(&p.ledger);
	finish();
}
END_TEST

/* The token goes away under a running process: the request is answered, then a new process is
 * wanted. */
START_TEST(token_lost_while_serving)
{
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	fixture_run("mv %s/tokens %s/away", token.folder, token.folder);
	fixture_issue(&ask, "www", &spki, 1);
	send_issue(&p, 1);
	take_answer(&p, 1);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TOKEN);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_AUTHORISED), 1);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_FAILED), 1);
	ck_assert_int_eq(wait_exit(&p), 75);
	fake_ledger_stop(&p.ledger);
	finish();
}
END_TEST

/* dcsignd-ledger itself, with the bundle as its configuration; it serves. */
static void spawn_ledger(struct process *l)
{
	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_head head;
	struct reader body;
	int fd;

	spawn_program(l, "src/ledger/dcsignd-ledger", NULL);
	fd = sealed(&bundle);
	msg_begin(&out, MSG_CONFIG, 1);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(l->control, &out, &fd, 1, 1000), ERR_OK);
	close(fd);
	buf_free(&out);
	for (int i = 0; i < 2; i++) /* the answer, and that it serves */
		ck_assert_uint_gt(receive(l->control, &head, &body), 0);
	ck_assert_uint_eq(head.type, MSG_STATE);
}

/* One credential for one Idempotency-Key, however often it is asked for. */
static void replays(struct process *p)
{
	char id[ID_SIZE];
	uint64_t idx;

	ask.count = 1;
	snprintf(ask.item[0].idempotency, IDEMPOTENCY_SIZE, "deploy-1");
	send_issue(p, 2);
	take_answer(p, 2);
	verify_grant(&answer.grant[0], &pem[0], DC_SERVER);
	ck_assert_uint_eq(answer.grant[0].flags, 0);
	memcpy(id, answer.grant[0].id, ID_SIZE);
	idx = answer.grant[0].idx;
	send_issue(p, 3);
	take_answer(p, 3);
	verify_grant(&answer.grant[0], &pem[0], DC_SERVER);
	ck_assert_uint_eq(answer.grant[0].flags, GRANT_REPLAYED);
	ck_assert_str_eq(answer.grant[0].id, id);
	ck_assert_uint_eq(answer.grant[0].idx, idx);
	ck_assert_str_eq(answer.grant[0].chain, "node1/main");
	ask.item[0].term_value = 1800;
	send_issue(p, 4);
	take_answer(p, 4);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_IDEMPOTENCY_MISMATCH);
}

/* With dcsignd-ledger itself, which judges every record; then its verifier reads them. */
START_TEST(with_the_real_ledger)
{
	struct process p, l;
	struct msg_head head;
	struct reader body;
	char pin[256];
	int ends[2];

	if (!prepare(FIXTURE_MODULE, false))
		return;
	spawn_ledger(&l);
	snprintf(pin, sizeof pin, "%s/pin", token.folder);
	spawn(&p, "main");
	ck_assert_int_eq(send_config(p.control, &bundle, pin), ERR_OK);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	send_hello(p.control, ROLE_LEDGER, ends[0]);
	send_hello_named(l.control, ROLE_HSM, "main", ends[1]);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	p.api = ends[0];
	send_hello(p.control, ROLE_API, ends[1]);
	ck_assert_uint_gt(receive(p.control, &head, &body), 0);
	ck_assert_int_eq(state_of(&p, "www", ERR_OK), ERR_OK);
	ck_assert_int_eq(state_of(&p, "weak", ERR_KEY_WEAK), ERR_KEY_WEAK);

	fixture_issue(&ask, "www", &spki, 100);
	ask.item[7].term_value = 10 * 86400;
	send_issue(&p, 1);
	take_answer(&p, 1);
	for (uint16_t i = 0; i < 100; i++)
		if (i == 7)
			ck_assert_int_eq(answer.grant[i].refusal.err, ERR_LIFETIME_LONG);
		else
			verify_grant(&answer.grant[i], &pem[0], DC_SERVER);
	replays(&p);

	kill(p.pid, SIGTERM);
	ck_assert_int_eq(wait_exit(&p), 0);
	kill(l.pid, SIGTERM);
	ck_assert_int_eq(wait_exit(&l), 0);
	fixture_run("\"$TOP_BUILDDIR\"/src/ledger/dcsign-ledger verify --ledger "
		    "sqlite:%s/state/ledger.db",
		token.folder);
	finish();
}
END_TEST

START_TEST(ends_as_told)
{
	struct process p;
	struct buf junk = BUF_INIT(64);
	char pin[256];

	if (!prepare(FIXTURE_MODULE, false))
		return;
	snprintf(pin, sizeof pin, "%s/pin", token.folder);
	spawn(&p, "-n"); /* checks a bundle and goes */
	ck_assert_int_eq(send_config(p.control, &bundle, pin), ERR_OK);
	ck_assert_int_eq(wait_exit(&p), 0);
	close(p.control);
	spawn(&p, "nobody"); /* a token that the configuration does not have */
	ck_assert_int_ne(send_config(p.control, &bundle, pin), ERR_OK);
	ck_assert_int_eq(wait_exit(&p), 78);
	close(p.control);
	start(&p, &token, &bundle); /* a malformed message ends it */
	buf_u32(&junk, 0xffffffff);
	ck_assert_int_eq(channel_send(p.api, &junk, NULL, 0, 1000), ERR_OK);
	ck_assert_int_eq(wait_exit(&p), 70);
	fake_ledger_stop(&p.ledger);
	fixture_run(
		"mv %s/tokens %s/away; mkdir %s/tokens", token.folder, token.folder, token.folder);
	buf_free(&junk);
	finish();
}
END_TEST

/* It tells why, and asks for others that look again. */
START_TEST(without_its_token)
{
	struct msg_head head;
	struct reader body;
	struct process p;

	if (!prepare(FIXTURE_MODULE, false))
		return;
	fixture_run(
		"mv %s/tokens %s/away; mkdir %s/tokens", token.folder, token.folder, token.folder);
	start(&p, &token, &bundle);
	ck_assert_int_eq(state_of(&p, "www", ERR_TOKEN), ERR_TOKEN);
	ck_assert_uint_eq(state.token_ok, 0);
	ck_assert_ptr_nonnull(strstr(state.token_detail, "no token matches"));
	ck_assert(fake_ledger_wait(&p.ledger, RECORD_KEY_REFUSED, 5));
	for (int i = 0; i < 2; i++) { /* asked twice, for it has come to nothing before */
		ck_assert_uint_gt(receive(p.control, &head, &body), 0);
		ck_assert_uint_eq(head.type, MSG_HELLO);
	}
	fixture_issue(&ask, "www", &spki, 1);
	send_issue(&p, 1);
	take_answer(&p, 1);
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TOKEN);
	ck_assert_uint_eq(fake_ledger_count(&p.ledger, RECORD_KEY_REFUSED), 5);
	send_followed(&p);
	close(p.api);
	ck_assert_int_eq(wait_exit(&p), 0);
	fake_ledger_stop(&p.ledger);
	finish();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("hsm");
	TCase *c = tcase_create("process");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, issues_end_to_end);
	tcase_add_test(c, batch_of_256);
	tcase_add_test(c, ledger_comes_back);
	tcase_add_test(c, deadline_is_answered);
	tcase_add_test(c, wrong_pin_once);
	tcase_add_test(c, nothing_but_signatures);
	tcase_add_test(c, configuration_changes);
	tcase_add_test(c, follows_and_is_followed);
	tcase_add_test(c, token_lost_while_serving);
	tcase_add_test(c, with_the_real_ledger);
	tcase_add_test(c, ends_as_told);
	tcase_add_test(c, without_its_token);
	suite_add_tcase(s, c);
	signal(SIGPIPE, SIG_IGN);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
