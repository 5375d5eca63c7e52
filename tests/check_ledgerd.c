/* The real dcsignd-ledger over its channels, as dcsignd, an hsm process and the api see it. */
#include "settings.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "ledger/commit.h"
#include "ledger_help.h"

#define WAIT_MS 20000

static struct {
	char folder[64], url[160], path[128];
	struct config config;
	pid_t pid;
	int control, hsm, api;
	uint64_t serial;
	struct msg_hello_answer hello;
	struct msg_append_answer answers;
	uint8_t octets[MSG_MAX];
	struct issuer issuer;
	uint8_t generation[SHA256_SIZE];
} t;

/* ---- the parent's part ---- */

static int bundle_make(void)
{
	struct buf b = BUF_INIT(CONFIG_BUNDLE_MAX);
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_eq(config_encode(&b, &t.config), ERR_OK);
	ck_assert_int_eq(write(fd, b.octets, b.len), (ssize_t)b.len);
	ck_assert_int_eq(
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		0);
	sha256(b.octets, b.len, t.generation);
	buf_free(&b);
	return fd;
}

static void receive(int fd, uint16_t type, struct reader *body)
{
	struct msg_head head;
	size_t len;

	ck_assert_int_eq(
		channel_receive(fd, t.octets, sizeof(t.octets), &len, NULL, NULL, WAIT_MS), ERR_OK);
	ck_assert_int_eq(msg_open(&head, body, t.octets, len), ERR_OK);
	ck_assert_int_eq(head.type, type);
}

static enum err config_send(char text[512])
{
	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct msg_config_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	int fd = bundle_make();
	struct reader body;

	msg_begin(&out, MSG_CONFIG, ++t.serial);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(t.control, &out, &fd, 1, WAIT_MS), ERR_OK);
	close(fd);
	buf_free(&out);
	receive(t.control, MSG_ANSWER(MSG_CONFIG), &body);
	ck_assert_int_eq(msg_config_answer_read(&a, &body), ERR_OK);
	if (text)
		memcpy(text, a.text, 512);
	return a.err;
}

static int channel_give(uint8_t role, const char *name)
{
	struct msg_hello m = {.role = role};
	struct buf out = BUF_INIT(MSG_MAX);
	int ends[2];

	strcpy(m.name, name);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	msg_begin(&out, MSG_HELLO, ++t.serial);
	msg_hello_write(&out, &m);
	ck_assert_int_eq(channel_send(t.control, &out, &ends[1], 1, WAIT_MS), ERR_OK);
	close(ends[1]);
	buf_free(&out);
	return ends[0];
}

static void spawn(const char *argument)
{
	const char *top = getenv("TOP_BUILDDIR");
	char program[4096];
	char *environment[] = {NULL};
	struct child_spec spec = {
		.program = program, .argument = argument, .environment = environment};

	snprintf(program, sizeof(program), "%s/src/ledger/dcsignd-ledger", top ? top : ".");
	ck_assert_int_eq(child_spawn(&spec, &t.pid, &t.control), ERR_OK);
}

/* ---- the hsm process's part ---- */

static void hsm_hello(void)
{
	struct msg_hello m = {.role = ROLE_HSM, .name = "main"};
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader body;

	msg_begin(&out, MSG_HELLO, ++t.serial);
	msg_hello_write(&out, &m);
	ck_assert_int_eq(channel_send(t.hsm, &out, NULL, 0, WAIT_MS), ERR_OK);
	buf_free(&out);
	receive(t.hsm, MSG_ANSWER(MSG_HELLO), &body);
	ck_assert_int_eq(msg_hello_answer_read(&t.hello, &body), ERR_OK);
	ck_assert_int_eq(t.hello.err, ERR_OK);
	ck_assert_str_eq(t.hello.chain, "sign1/main");
}

static void up(void)
{
	struct reader body;

	spawn(NULL);
	ck_assert_int_eq(config_send(NULL), ERR_OK);
	receive(t.control, MSG_STATE, &body);
	t.hsm = channel_give(ROLE_HSM, "main");
	t.api = channel_give(ROLE_API, "");
	hsm_hello();
}

static int wait_end(void)
{
	int status;

	ck_assert_int_eq(waitpid(t.pid, &status, 0), t.pid);
	close(t.control);
	close(t.hsm);
	close(t.api);
	t.pid = 0;
	t.control = t.hsm = t.api = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int down(void)
{
	ck_assert_int_eq(kill(t.pid, SIGTERM), 0);
	return wait_end();
}

static void append_send(struct record *const *records, size_t count, uint64_t max_live_key)
{
	static struct msg_append m;
	struct buf octets[16], out = BUF_INIT(MSG_MAX);

	m.count = (uint16_t)count;
	for (size_t i = 0; i < count; i++) {
		octets[i] = (struct buf)BUF_INIT(MSG_MAX);
		ck_assert_int_eq(record_encode(&octets[i], records[i]), ERR_OK);
		m.item[i] = (struct msg_append_item){
			.record = octets_of(octets[i].octets, octets[i].len),
			.max_live_key = max_live_key};
	}
	msg_begin(&out, MSG_APPEND, ++t.serial);
	msg_append_write(&out, &m);
	ck_assert_int_eq(channel_send(t.hsm, &out, NULL, 0, WAIT_MS), ERR_OK);
	for (size_t i = 0; i < count; i++)
		buf_free(&octets[i]);
	buf_free(&out);
}

static enum err answers_take(void)
{
	struct reader body;

	receive(t.hsm, MSG_ANSWER(MSG_APPEND), &body);
	ck_assert_int_eq(msg_append_answer_read(&t.answers, &body), ERR_OK);
	return t.answers.item[0].refusal.err;
}

static enum err append(struct record *r)
{
	append_send(&r, 1, 0);
	return answers_take();
}

static void start_and_config(void)
{
	struct record start, config, *both[] = {&start, &config};

	memcpy(t.issuer.generation, t.generation, SHA256_SIZE);
	help_start(&start, &t.issuer);
	help_config(&config, &t.issuer);
	append_send(both, 2, 0);
	ck_assert_int_eq(answers_take(), ERR_OK);
	ck_assert_int_eq(t.answers.item[1].refusal.err, ERR_OK);
}

/* ---- what is in the store, once it is at rest ---- */

static struct buf found;

static enum err keep_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	(void)arg;
	(void)idx;
	(void)leaf;
	buf_put(&found, json, len);
	buf_u8(&found, '\n');
	return ERR_OK;
}

/* All records, a line each. */
static const char *stored(void)
{
	struct store *s;
	struct refusal why;

	buf_free(&found);
	found = (struct buf)BUF_INIT(64u << 20);
	ck_assert_msg(store_sqlite.open_copy(&s, t.path, &why) == ERR_OK, "%s", why.detail);
	ck_assert_int_eq(store_sqlite.record_walk(s, "sign1/main", 0, keep_row, NULL), ERR_OK);
	store_sqlite.abandon(s);
	return buf_cstr(&found);
}

static unsigned occurrences(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

static bool is_there(const char *suffix)
{
	char path[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", t.path, suffix);
	return stat(path, &st) == 0;
}

static void set_up(void)
{
	static char nothing[] = "x", origin[] = "dcsign.test", user[] = "0";
	static struct config_token token = {.name = "main"};

	memset(&t, 0, sizeof(t));
	t.control = t.hsm = t.api = -1;
	help_folder(t.folder);
	snprintf(t.path, sizeof(t.path), "%s/lib/ledger.db", t.folder);
	snprintf(t.url, sizeof(t.url), "sqlite:%s", t.path);
	token.module = token.uri = token.pin = nothing;
	t.config = (struct config){.node = "sign1",
		.origin = origin,
		.state = t.folder,
		.ledger = t.url,
		.token = &token,
		.token_count = 1};
	t.config.users.api = t.config.users.hsm = t.config.users.ledger = user;
	t.config.log.level = 2;
	issuer_make(&t.issuer);
}

static void tear_down(void)
{
	if (t.pid > 0) {
		kill(t.pid, SIGKILL);
		wait_end();
	}
	issuer_free(&t.issuer);
	buf_free(&found);
	help_folder_remove(t.folder);
}

/* ---- tests ---- */

START_TEST(a_life_from_birth_to_stop)
{
	struct sample a;
	struct stat st;

	sample_make(&a, &t.issuer, 1);
	up();
	ck_assert_uint_eq(t.hello.size, 0);
	ck_assert_int_eq(t.hello.last_time, 0);
	start_and_config();
	ck_assert_int_eq(append(&a.authorised), ERR_OK);
	ck_assert_uint_eq(t.answers.item[0].idx, 2);
	ck_assert_int_eq(append(&a.issued), ERR_OK);
	ck_assert_uint_eq(t.answers.item[0].idx, 3);
	ck_assert_int_eq(down(), 0);
	ck_assert(!is_there("-wal") && !is_there("-shm") && !is_there("-journal"));
	ck_assert_int_eq(stat(t.path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);

	const char *text = stored();

	ck_assert_uint_eq(occurrences(text, "\n"), 6);
	ck_assert_ptr_nonnull(strstr(text, "\"config\":{"));
	ck_assert_ptr_nonnull(strstr(text, "\"idx\":4,"));
	ck_assert_ptr_nonnull(strstr(text, "\"type\":\"STOP\"}\n"));
	ck_assert_uint_eq(occurrences(text, "\"type\":\"CHECKPOINT\"}\n"), 1);
	up();
	ck_assert_uint_eq(t.hello.size, 6);
	ck_assert_int_eq(t.hello.last_time, HELP_NOW);
	ck_assert_int_eq(down(), 0);
	sample_free(&a);
}
END_TEST

START_TEST(what_a_dead_writer_left_open_is_unknown)
{
	struct sample a, b;

	sample_make(&a, &t.issuer, 1);
	sample_make(&b, &t.issuer, 2);
	up();
	start_and_config();
	ck_assert_int_eq(append(&a.authorised), ERR_OK);
	ck_assert_int_eq(append(&b.self_test), ERR_OK);
	close(t.hsm);
	t.hsm = channel_give(ROLE_HSM, "main");
	hsm_hello();
	ck_assert_uint_eq(t.hello.size, 6);
	ck_assert_int_eq(append(&a.issued), ERR_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(t.answers.item[0].replay_issued.len, 0);
	ck_assert_int_eq(append(&b.proved), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(down(), 0);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"UNKNOWN\""), 2);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"LATE\""), 1);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"KEY-PROVED\""), 0);
	sample_free(&a);
	sample_free(&b);
}
END_TEST

/* The old writer may still be alive when the parent has a new one. */
START_TEST(a_new_writer_ends_the_old_one)
{
	struct sample a;
	int old;
	size_t len;

	sample_make(&a, &t.issuer, 1);
	up();
	start_and_config();
	old = t.hsm;
	t.hsm = channel_give(ROLE_HSM, "main");
	hsm_hello();
	ck_assert_int_eq(
		channel_receive(old, t.octets, sizeof(t.octets), &len, NULL, NULL, WAIT_MS),
		ERR_CLOSED);
	close(old);
	start_and_config();
	ck_assert_int_eq(append(&a.authorised), ERR_OK);
	ck_assert_int_eq(down(), 0);
	sample_free(&a);
}
END_TEST

START_TEST(the_api_reads_counts_and_heads)
{
	struct msg_read m = {.kind = READ_LIVE, .key = "www"};
	struct msg_read_answer a;
	struct sample s;
	struct reader body;
	struct buf out = BUF_INIT(MSG_MAX);

	sample_make(&s, &t.issuer, 1);
	s.authorised.expiry = 4000000000; /* the ledger's own clock counts */
	up();
	start_and_config();
	ck_assert_int_eq(append(&s.authorised), ERR_OK);
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			ck_assert_int_eq(append(&s.issued), ERR_OK);
		m.kind = i == 2 ? READ_HEADS : READ_LIVE;
		buf_reset(&out);
		msg_begin(&out, MSG_READ, ++t.serial);
		msg_read_write(&out, &m);
		ck_assert_int_eq(channel_send(t.api, &out, NULL, 0, WAIT_MS), ERR_OK);
		receive(t.api, MSG_ANSWER(MSG_READ), &body);
		ck_assert_int_eq(msg_read_answer_read(&a, &body), ERR_OK);
		ck_assert_int_eq(a.err, ERR_OK);
		ck_assert_uint_eq(a.live, i == 1);
		ck_assert_int_eq(a.latest_expiry, i == 1 ? 4000000000 : 0);
	}
	ck_assert_uint_eq(a.count, 1);
	ck_assert_str_eq(a.head[0].chain, "sign1/main");
	ck_assert_uint_eq(a.head[0].size, 4);
	ck_assert_int_eq(a.head[0].last_time, HELP_NOW);
	ck_assert_uint_gt(a.octets, 4096);
	ck_assert_int_eq(down(), 0);
	buf_free(&out);
	sample_free(&s);
}
END_TEST

/* A hold is answered when it is in force, and outlives the process. */
START_TEST(a_hold_is_in_force_when_it_is_answered)
{
	static struct config_client security = {
		.name = "security", .may = RIGHT_HOLD | RIGHT_RELEASE};
	struct config_key www = {.name = "www", .token = "main", .uri = t.url, .policy = "default"};
	static struct policy policy = {.name = "default"};
	struct msg_hold m = {.by = "security", .by_serial = "0b", .peer = "unix", .key = "www"};
	struct msg_hold_answer a;
	struct sample s;
	struct reader body;
	struct buf out = BUF_INIT(MSG_MAX);

	policy_defaults(&policy);
	t.config.client = &security;
	t.config.key = &www;
	t.config.policy = &policy;
	t.config.policy_count = t.config.client_count = t.config.key_count = 1;
	sample_make(&s, &t.issuer, 1);
	memset(m.request, 'a', ID_SIZE - 1);
	m.reason = octets_text("ticket 7");
	up();
	start_and_config();
	for (int i = 0; i < 2; i++) {
		buf_reset(&out);
		msg_begin(&out, i ? MSG_RELEASE : MSG_HOLD, ++t.serial);
		msg_hold_write(&out, &m);
		ck_assert_int_eq(channel_send(t.api, &out, NULL, 0, WAIT_MS), ERR_OK);
		receive(t.api, MSG_ANSWER(i ? MSG_RELEASE : MSG_HOLD), &body);
		ck_assert_int_eq(msg_hold_answer_read(&a, &body), ERR_OK);
		ck_assert_int_eq(a.refusal.err, ERR_OK);
		if (i == 0) {
			kill(t.pid, SIGKILL);
			wait_end();
			up();
			start_and_config();
		}
		ck_assert_int_eq(append(&s.authorised), i ? ERR_OK : ERR_HELD);
	}
	ck_assert_int_eq(down(), 0);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"HELD\""), 1);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"RELEASED\""), 1);
	buf_free(&out);
	sample_free(&s);
}
END_TEST

/* What this channel does not carry ends the process: what, and how. */
static const struct {
	enum record_type type;
	bool placed;
} foreign[] = {
	{RECORD_STOP, false}, {RECORD_HELD, false}, {RECORD_RELEASED, false}, {RECORD_CLOCK, true}};

START_TEST(a_record_that_is_not_the_writers_ends_it)
{
	struct record r;
	struct record *one = &r;

	record_init(&r, foreign[_i].type);
	r.time = HELP_NOW;
	if (r.type == RECORD_CLOCK)
		r.drift_ms = 1;
	else if (r.type != RECORD_STOP)
		r.reason = octets_text("x");
	if (foreign[_i].placed)
		r.idx = 7;
	up();
	append_send(&one, 1, 0);
	ck_assert_int_eq(wait_end(), 70);
}
END_TEST

START_TEST(noise_ends_it)
{
	struct buf out = BUF_INIT(MSG_MAX);

	up();
	buf_text(&out, "GET / HTTP/1.1\r\n\r\n");
	ck_assert_int_eq(channel_send(_i ? t.hsm : t.api, &out, NULL, 0, WAIT_MS), ERR_OK);
	ck_assert_int_eq(wait_end(), 70);
	buf_free(&out);
}
END_TEST

START_TEST(a_check_touches_nothing)
{
	char text[512];

	spawn("-n");
	ck_assert_int_eq(config_send(NULL), ERR_OK);
	ck_assert_int_eq(wait_end(), 0);
	ck_assert(!is_there(""));
	strcpy(t.url, "oracle:/x");
	spawn("-n");
	ck_assert_int_ne(config_send(text), ERR_OK);
	ck_assert_ptr_nonnull(strstr(text, "oracle:/x"));
	ck_assert_int_eq(wait_end(), 78);
}
END_TEST

START_TEST(a_damaged_tail_is_refused)
{
	char text[512];
	struct sample a;
	FILE *f;
	int c;

	sample_make(&a, &t.issuer, 1);
	up();
	start_and_config();
	ck_assert_int_eq(append(&a.authorised), ERR_OK);
	ck_assert_int_eq(down(), 0);
	f = fopen(t.path, "r+");
	/* the peer's address in the record */
	for (int at = 0; (c = getc(f)) != EOF;) {
		at = c == "192.0.2.7"[at] ? at + 1 : c == '1';
		if (at == 9)
			break;
	}
	ck_assert_int_ne(c, EOF);
	fseek(f, -1, SEEK_CUR);
	putc('8', f);
	fclose(f);
	spawn(NULL);
	ck_assert_int_eq(config_send(text), ERR_FORMAT);
	ck_assert_msg(strstr(text, "sign1/main") && strstr(text, "leaf hash"), "%s", text);
	ck_assert_int_eq(wait_end(), 78);
	sample_free(&a);
}
END_TEST

START_TEST(two_daemons_never_share_a_ledger)
{
	pid_t first;
	int control;
	struct store *s;
	struct refusal why;

	up();
	first = t.pid;
	control = t.control;
	ck_assert_int_eq(store_sqlite.open_copy(&s, t.path, &why), ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(why.detail, "running dcsignd"));
	spawn(NULL);

	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct buf out = BUF_INIT(MSG_MAX);
	int fd = bundle_make(), status;

	msg_begin(&out, MSG_CONFIG, ++t.serial);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(t.control, &out, &fd, 1, WAIT_MS), ERR_OK);
	close(fd);
	buf_free(&out);
	ck_assert_int_eq(waitpid(t.pid, &status, 0), t.pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 75);
	close(t.control);
	t.control = control;
	t.pid = first;
	start_and_config();
	ck_assert_int_eq(down(), 0);
}
END_TEST

START_TEST(a_new_configuration_is_taken_and_known)
{
	up();
	start_and_config();
	t.config.require_clock_sync = !t.config.require_clock_sync;
	ck_assert_int_eq(config_send(NULL), ERR_OK);
	start_and_config();
	t.config.node[0] = 't';
	ck_assert_int_ne(config_send(NULL), ERR_OK);
	t.config.node[0] = 's';
	memset(t.issuer.generation, 1, SHA256_SIZE);

	struct record r;

	help_config(&r, &t.issuer);
	ck_assert_int_eq(append(&r), ERR_LEDGER_UNAVAILABLE);
	ck_assert_int_eq(down(), 0);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"CONFIG\""), 2);
}
END_TEST

/* Killed at any moment, everything that was answered is there. */
START_TEST(nothing_that_was_answered_is_lost)
{
	enum { ROUNDS = 25, IN_FLIGHT = 16 };
	static char answered[ROUNDS * 512][ID_SIZE];
	size_t count = 0;
	unsigned n = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct sample s[IN_FLIGHT];
		uint64_t before;

		up();
		before = t.hello.size;
		start_and_config();
		ck_assert_uint_eq(t.answers.item[0].idx, before);
		for (int i = 0; i < IN_FLIGHT; i++) {
			struct record *r = &s[i].authorised;

			sample_make(&s[i], &t.issuer, ++n);
			append_send(&r, 1, 0);
		}
		for (int i = 0; i < round % IN_FLIGHT; i++) {
			struct record *r = &s[i].issued;

			ck_assert_int_eq(answers_take(), ERR_OK);
			strcpy(answered[count++], s[i].id);
			append_send(&r, 1, 0);
		}
		kill(t.pid, SIGKILL);
		ck_assert_int_eq(wait_end(), -SIGKILL);
		for (int i = 0; i < IN_FLIGHT; i++)
			sample_free(&s[i]);
	}
	up();
	ck_assert_int_eq(down(), 0);

	const char *text = stored();
	unsigned authorised = occurrences(text, "\"type\":\"AUTHORISED\"");

	ck_assert_uint_ge(authorised, count);
	ck_assert_uint_eq(authorised, occurrences(text, "\"type\":\"ISSUED\"") +
					      occurrences(text, "\"type\":\"UNKNOWN\""));
	for (size_t i = 0; i < count; i++) {
		char member[64];

		snprintf(member, sizeof(member), "\"id\":\"%.32s\"", answered[i]);
		ck_assert_uint_eq(occurrences(text, member), 2);
	}
}
END_TEST

/* A file at its size limit is a full disk: nothing is written, nothing ends. */
START_TEST(a_full_disk_refuses_and_recovers_nothing_half)
{
	struct rlimit old, tight = {.rlim_cur = 9u << 20, .rlim_max = RLIM_INFINITY};
	struct sample s;
	enum err e = ERR_OK;
	unsigned n = 0;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight.rlim_max = old.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
	up();
	start_and_config();
	/* Padded so that the files grow fast. */
	char *pad = malloc(60001);

	memset(pad, 'x', 60000);
	pad[60000] = '\0';
	while (e == ERR_OK && n < 1000) {
		sample_make(&s, &t.issuer, ++n);
		s.authorised.detail = octets_text(pad);
		e = append(&s.authorised);
		sample_free(&s);
	}
	ck_assert_int_eq(e, ERR_LEDGER_UNAVAILABLE);
	ck_assert_uint_gt(n, 50);
	kill(t.pid, SIGKILL);
	wait_end();
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	up();
	ck_assert_uint_eq(t.hello.size, 2 + 2 * (n - 1));
	ck_assert_int_eq(down(), 0);
	ck_assert_uint_eq(occurrences(stored(), "\"type\":\"AUTHORISED\""), n - 1);
	free(pad);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ledgerd");
	TCase *c = tcase_create("ledgerd");

	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, a_life_from_birth_to_stop);
	tcase_add_test(c, what_a_dead_writer_left_open_is_unknown);
	tcase_add_test(c, a_new_writer_ends_the_old_one);
	tcase_add_test(c, the_api_reads_counts_and_heads);
	tcase_add_test(c, a_hold_is_in_force_when_it_is_answered);
	tcase_add_loop_test(c, a_record_that_is_not_the_writers_ends_it, 0,
		(int)(sizeof(foreign) / sizeof(foreign[0])));
	tcase_add_loop_test(c, noise_ends_it, 0, 2);
	tcase_add_test(c, a_check_touches_nothing);
	tcase_add_test(c, a_damaged_tail_is_refused);
	tcase_add_test(c, two_daemons_never_share_a_ledger);
	tcase_add_test(c, a_new_configuration_is_taken_and_known);
	tcase_add_test(c, nothing_that_was_answered_is_lost);
	tcase_add_test(c, a_full_disk_refuses_and_recovers_nothing_half);
	suite_add_tcase(s, c);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
