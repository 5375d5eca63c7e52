#include "settings.h"

#include "ledgerd_rig.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"

#define WAIT_MS 60000

struct rig rig;

/* ---- the parent's part ---- */

int rig_bundle(void)
{
	struct buf b = BUF_INIT(CONFIG_BUNDLE_MAX);
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_eq(config_encode(&b, &rig.config), ERR_OK);
	ck_assert_int_eq(write(fd, b.octets, b.len), (ssize_t)b.len);
	ck_assert_int_eq(
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
		0);
	sha256(b.octets, b.len, rig.generation);
	buf_free(&b);
	return fd;
}

void rig_receive(int fd, uint16_t type, struct reader *body)
{
	struct msg_head head;
	size_t len;

	ck_assert_int_eq(
		channel_receive(fd, rig.octets, sizeof(rig.octets), &len, NULL, NULL, WAIT_MS),
		ERR_OK);
	ck_assert_int_eq(msg_open(&head, body, rig.octets, len), ERR_OK);
	ck_assert_int_eq(head.type, type);
}

enum err rig_config(char text[512])
{
	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct msg_config_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	int fd = rig_bundle();
	struct reader body;

	msg_begin(&out, MSG_CONFIG, ++rig.serial);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.control, &out, &fd, 1, WAIT_MS), ERR_OK);
	close(fd);
	buf_free(&out);
	rig_receive(rig.control, MSG_ANSWER(MSG_CONFIG), &body);
	ck_assert_int_eq(msg_config_answer_read(&a, &body), ERR_OK);
	if (text)
		memcpy(text, a.text, 512);
	return a.err;
}

int rig_channel(uint8_t role, const char *name)
{
	struct msg_hello m = {.role = role};
	struct buf out = BUF_INIT(MSG_MAX);
	int ends[2];

	strcpy(m.name, name);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	msg_begin(&out, MSG_HELLO, ++rig.serial);
	msg_hello_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.control, &out, &ends[1], 1, WAIT_MS), ERR_OK);
	close(ends[1]);
	buf_free(&out);
	return ends[0];
}

void rig_spawn(const char *argument)
{
	const char *top = getenv("TOP_BUILDDIR");
	char program[4096];
	char *none[] = {NULL};
	struct child_spec spec = {.program = program,
		.argument = argument,
		.environment = rig.environment ? rig.environment : none};

	snprintf(program, sizeof(program), "%s/src/ledger/dcsignd-ledger", top ? top : ".");
	if (rig.program)
		snprintf(program, sizeof(program), "%s", rig.program);
	ck_assert_int_eq(child_spawn(&spec, &rig.pid, &rig.control), ERR_OK);
}

/* ---- the hsm process's part ---- */

void rig_hello(void)
{
	struct msg_hello m = {.role = ROLE_HSM, .name = "main"};
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader body;

	msg_begin(&out, MSG_HELLO, ++rig.serial);
	msg_hello_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.hsm, &out, NULL, 0, WAIT_MS), ERR_OK);
	buf_free(&out);
	rig_receive(rig.hsm, MSG_ANSWER(MSG_HELLO), &body);
	ck_assert_int_eq(msg_hello_answer_read(&rig.hello, &body), ERR_OK);
	ck_assert_int_eq(rig.hello.err, ERR_OK);
	ck_assert_str_eq(rig.hello.chain, "sign1/main");
}

void rig_up(void)
{
	struct reader body;

	rig_spawn(NULL);
	ck_assert_int_eq(rig_config(NULL), ERR_OK);
	rig_receive(rig.control, MSG_STATE, &body);
	rig.hsm = rig_channel(ROLE_HSM, "main");
	rig.api = rig_channel(ROLE_API, "");
	rig_hello();
}

int rig_wait(void)
{
	int status;

	ck_assert_int_eq(waitpid(rig.pid, &status, 0), rig.pid);
	close(rig.control);
	close(rig.hsm);
	close(rig.api);
	rig.pid = 0;
	rig.control = rig.hsm = rig.api = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

int rig_down(void)
{
	ck_assert_int_eq(kill(rig.pid, SIGTERM), 0);
	return rig_wait();
}

void rig_append_send(struct record *const *records, size_t count, uint64_t max_live_key)
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
	msg_begin(&out, MSG_APPEND, ++rig.serial);
	msg_append_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.hsm, &out, NULL, 0, WAIT_MS), ERR_OK);
	for (size_t i = 0; i < count; i++)
		buf_free(&octets[i]);
	buf_free(&out);
}

enum err rig_answers(void)
{
	struct reader body;

	rig_receive(rig.hsm, MSG_ANSWER(MSG_APPEND), &body);
	ck_assert_int_eq(msg_append_answer_read(&rig.answers, &body), ERR_OK);
	return rig.answers.item[0].refusal.err;
}

enum err rig_append(struct record *r)
{
	rig_append_send(&r, 1, 0);
	return rig_answers();
}

void rig_start_and_config(void)
{
	struct record start, config, *both[] = {&start, &config};

	memcpy(rig.issuer.generation, rig.generation, SHA256_SIZE);
	help_start(&start, &rig.issuer);
	help_config(&config, &rig.issuer);
	rig_append_send(both, 2, 0);
	ck_assert_int_eq(rig_answers(), ERR_OK);
	ck_assert_int_eq(rig.answers.item[1].refusal.err, ERR_OK);
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
const char *rig_stored(void)
{
	struct store *s;
	struct refusal why;

	buf_free(&found);
	found = (struct buf)BUF_INIT(64u << 20);
	ck_assert_msg(store_sqlite.open_copy(&s, rig.path, &why) == ERR_OK, "%s", why.detail);
	ck_assert_int_eq(store_sqlite.record_walk(s, "sign1/main", 0, keep_row, NULL), ERR_OK);
	store_sqlite.abandon(s);
	return buf_cstr(&found);
}

unsigned rig_occurrences(const char *text, const char *what)
{
	unsigned n = 0;

	for (const char *p = text; (p = strstr(p, what)); p += strlen(what))
		n++;
	return n;
}

/* ---- around a test ---- */

void rig_set_up(void)
{
	static char nothing[] = "x", origin[] = "dcsign.test", user[] = "0";
	static struct config_token token = {.name = "main"};

	memset(&rig, 0, sizeof(rig));
	rig.control = rig.hsm = rig.api = -1;
	help_folder(rig.folder);
	snprintf(rig.path, sizeof(rig.path), "%s/lib/ledger.db", rig.folder);
	snprintf(rig.url, sizeof(rig.url), "sqlite:%s", rig.path);
	token.module = token.uri = token.pin = nothing;
	rig.config = (struct config){.node = "sign1",
		.origin = origin,
		.state = rig.folder,
		.ledger = rig.url,
		.token = &token,
		.token_count = 1};
	rig.config.users.api = rig.config.users.hsm = rig.config.users.ledger = user;
	rig.config.log.level = 2;
	issuer_make(&rig.issuer);
}

void rig_tear_down(void)
{
	if (rig.pid > 0) {
		kill(rig.pid, SIGKILL);
		rig_wait();
	}
	issuer_free(&rig.issuer);
	buf_free(&found);
	help_folder_remove(rig.folder);
}
