#include "settings.h"

#include "syscalls_life.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "checkpoint.h"
#include "ledger/verify.h"
#include "ledgerd_rig.h"

#define WAIT_MS 30000

static struct sample sample[4];
/* what was answered with yes: ids of records, holds, a head */
static struct octets acknowledged[32];
static size_t acknowledgements;
static unsigned holds;
static struct checkpoint given;

static enum err hear(int fd, uint16_t type, struct reader *body)
{
	struct msg_head head;
	size_t len;
	enum err e = channel_receive(fd, rig.octets, sizeof(rig.octets), &len, NULL, NULL, WAIT_MS);

	if (!e)
		e = msg_open(&head, body, rig.octets, len);
	return !e && head.type != type ? ERR_FORMAT : e;
}

/* Sends and frees. */
static enum err tell(int fd, struct buf *out, const int *with)
{
	enum err e = channel_send(fd, out, with, with ? 1 : 0, WAIT_MS);

	buf_free(out);
	return e;
}

static enum err configure(void)
{
	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct msg_config_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	int fd = rig_bundle();
	struct reader body;

	msg_begin(&out, MSG_CONFIG, ++rig.serial);
	msg_config_write(&out, &m);

	enum err e = tell(rig.control, &out, &fd);

	close(fd);
	if (!e)
		e = hear(rig.control, MSG_ANSWER(MSG_CONFIG), &body);
	if (!e)
		e = msg_config_answer_read(&a, &body);
	memcpy(rig.issuer.generation, rig.generation, SHA256_SIZE);
	return e ? e : a.err;
}

static enum err introduce(uint8_t role, const char *name, int *end)
{
	struct msg_hello m = {.role = role};
	struct buf out = BUF_INIT(MSG_MAX);
	int ends[2];

	strcpy(m.name, name);
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	*end = ends[0];
	msg_begin(&out, MSG_HELLO, ++rig.serial);
	msg_hello_write(&out, &m);

	enum err e = tell(rig.control, &out, &ends[1]);

	close(ends[1]);
	return e;
}

static enum err hello(void)
{
	struct msg_hello m = {.role = ROLE_HSM, .name = "main"};
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader body;
	enum err e = introduce(ROLE_HSM, "main", &rig.hsm);

	if (!e)
		e = introduce(ROLE_API, "", &rig.api);
	if (e)
		return e;
	msg_begin(&out, MSG_HELLO, ++rig.serial);
	msg_hello_write(&out, &m);
	e = tell(rig.hsm, &out, NULL);
	if (!e)
		e = hear(rig.hsm, MSG_ANSWER(MSG_HELLO), &body);
	if (!e)
		e = msg_hello_answer_read(&rig.hello, &body);
	return e ? e : rig.hello.err;
}

/* Each of them is acknowledged, or this says why not. */
static enum err append(struct record *const *records, size_t count)
{
	static struct msg_append m;
	struct buf octets[4], out = BUF_INIT(MSG_MAX);
	struct reader body;

	m.count = (uint16_t)count;
	for (size_t i = 0; i < count; i++) {
		octets[i] = (struct buf)BUF_INIT(MSG_MAX);
		ck_assert_int_eq(record_encode(&octets[i], records[i]), ERR_OK);
		m.item[i] = (struct msg_append_item){
			.record = octets_of(octets[i].octets, octets[i].len)};
	}
	msg_begin(&out, MSG_APPEND, ++rig.serial);
	msg_append_write(&out, &m);

	enum err e = tell(rig.hsm, &out, NULL);

	for (size_t i = 0; i < count; i++)
		buf_free(&octets[i]);
	if (!e)
		e = hear(rig.hsm, MSG_ANSWER(MSG_APPEND), &body);
	if (!e)
		e = msg_append_answer_read(&rig.answers, &body);
	for (size_t i = 0; i < count && !e; i++) {
		e = rig.answers.item[i].refusal.err;
		if (!e && records[i]->id.len)
			acknowledged[acknowledgements++] = records[i]->id;
	}
	return e;
}

static enum err append_one(struct record *r)
{
	return append(&r, 1);
}

static enum err hold(uint16_t type)
{
	struct msg_hold m = {.by = "security",
		.by_serial = "0b",
		.peer = "unix",
		.key = "www",
		.reason = octets_text("drill")};
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_hold_answer a;
	struct reader body;

	memset(m.request, 'a', ID_SIZE - 1);
	msg_begin(&out, type, ++rig.serial);
	msg_hold_write(&out, &m);

	enum err e = tell(rig.api, &out, NULL);

	if (!e)
		e = hear(rig.api, MSG_ANSWER(type), &body);
	if (!e)
		e = msg_hold_answer_read(&a, &body);
	e = e ? e : a.refusal.err;
	holds += !e;
	return e;
}

static enum err checkpoint(void)
{
	struct msg_read m = {.kind = READ_CHECKPOINT, .chain = "sign1/main"};
	static struct msg_read_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader body;

	msg_begin(&out, MSG_READ, ++rig.serial);
	msg_read_write(&out, &m);

	enum err e = tell(rig.api, &out, NULL);

	if (!e)
		e = hear(rig.api, MSG_ANSWER(MSG_READ), &body);
	if (!e)
		e = msg_read_answer_read(&a, &body);
	if (!e)
		e = a.err;
	if (!e)
		e = checkpoint_read(&given, (const char *)a.text.at, a.text.len);
	return e;
}

enum err life_start(void)
{
	struct record begin, config;
	struct record *const both[] = {&begin, &config};
	struct reader body;
	enum err e = configure();

	if (!e)
		e = hear(rig.control, MSG_STATE, &body);
	if (!e)
		e = hello();
	help_start(&begin, &rig.issuer);
	help_config(&config, &rig.issuer);
	return e ? e : append(both, 2);
}

static enum err sighup(void)
{
	struct record config;
	enum err e;

	rig.config.require_clock_sync = !rig.config.require_clock_sync;
	e = configure();
	help_config(&config, &rig.issuer);
	return e ? e : append_one(&config);
}

enum err life_whole(void)
{
	struct record *const begun[] = {&sample[2].authorised, &sample[3].authorised};
	struct record *const ended[] = {&sample[2].issued, &sample[3].failed};
	struct record *const one[] = {
		&sample[0].self_test, &sample[0].proved, &sample[1].authorised, &sample[1].issued};
	enum err e = life_start();

	for (size_t i = 0; i < 4 && !e; i++)
		e = append_one(one[i]);
	if (!e)
		e = append(begun, 2);
	if (!e)
		e = append(ended, 2);
	if (!e)
		e = hold(MSG_HOLD);
	if (!e)
		e = hold(MSG_RELEASE);
	if (!e)
		e = checkpoint();
	return e ? e : sighup();
}

void life_end(bool in_order)
{
	int status;

	kill(rig.pid, in_order ? SIGTERM : SIGKILL);
	ck_assert_int_eq(waitpid(rig.pid, &status, 0), rig.pid);
	close(rig.control);
	if (rig.hsm >= 0)
		close(rig.hsm);
	if (rig.api >= 0)
		close(rig.api);
	rig.pid = 0;
	rig.control = rig.hsm = rig.api = -1;
}

void life_cut(void)
{
	struct record *const begun[] = {&sample[2].authorised, &sample[3].authorised};

	rig.program = NULL;
	rig_spawn(NULL);
	ck_assert_int_eq(life_start(), ERR_OK);
	ck_assert_int_eq(append_one(&sample[0].self_test), ERR_OK);
	ck_assert_int_eq(append_one(&sample[0].proved), ERR_OK);
	ck_assert_int_eq(append(begun, 2), ERR_OK);
	life_end(false);
}

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	printf("%s, record %lld: %s\n", chain, (long long)idx, what);
}

/* Each id as often as it was acknowledged; the holds; the record of the head. */
static void acknowledged_check(const char *what, const char *stored)
{
	char hex[2 * SHA256_SIZE + 1], id[ID_SIZE];

	for (size_t i = 0; i < acknowledgements; i++) {
		unsigned times = 0;

		memcpy(id, acknowledged[i].at, ID_SIZE - 1);
		id[ID_SIZE - 1] = '\0';
		for (size_t k = 0; k < acknowledgements; k++)
			times += acknowledged[k].at == acknowledged[i].at;
		ck_assert_msg(
			rig_occurrences(stored, id) >= times, "%s: %s was acknowledged", what, id);
	}
	ck_assert_msg(rig_occurrences(stored, "\"type\":\"HELD\"") +
				      rig_occurrences(stored, "\"type\":\"RELEASED\"") >=
			      holds,
		"%s: %u holds were acknowledged", what, holds);
	for (size_t i = 0; i < SHA256_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", given.root[i]);
	ck_assert_msg(given.size == 0 || strstr(stored, hex), "%s: a head was given away", what);
}

void life_check(const char *what)
{
	struct verify v = {.problem = problem};
	struct refusal why = {0};
	struct store *store;

	rig.program = NULL;
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_down(), 0);
	acknowledged_check(what, rig_stored());
	ck_assert_int_eq(store_sqlite.open_copy(&store, rig.path, &why), ERR_OK);
	ck_assert_int_eq(verify_store(&v, store, NULL), ERR_OK);
	store_sqlite.abandon(store);
	ck_assert_msg(v.problems == 0 && v.open == 0, "%s: %llu problems, %llu open", what,
		(unsigned long long)v.problems, (unsigned long long)v.open);
}

void life_make(void)
{
	static char asan[] = "ASAN_OPTIONS=detect_leaks=0", *environment[] = {asan, NULL};
	static struct config_client clients[] = {{.name = "edge", .may = RIGHT_ISSUE},
		{.name = "security", .may = RIGHT_HOLD | RIGHT_RELEASE}};
	static char key[] = "www", *keys[] = {key};
	static struct policy policy = {.name = "default"};
	static struct config_key www = {.name = "www", .token = "main", .policy = "default"};

	rig_set_up();
	policy_defaults(&policy);
	www.uri = rig.url;
	clients[0].keys = clients[1].keys = keys;
	clients[0].key_count = clients[1].key_count = 1;
	rig.config.client = clients;
	rig.config.key = &www;
	rig.config.policy = &policy;
	rig.config.client_count = 2;
	rig.config.key_count = rig.config.policy_count = 1;
	rig.config.checkpoint.every = 6;
	rig.environment = environment;
	close(rig_bundle());
	memcpy(rig.issuer.generation, rig.generation, SHA256_SIZE);
	for (unsigned i = 0; i < 4; i++)
		sample_make(&sample[i], &rig.issuer, i + 1);
	acknowledgements = holds = 0;
	given.size = 0;
}

void life_remove(void)
{
	for (unsigned i = 0; i < 4; i++)
		sample_free(&sample[i]);
	rig_tear_down();
}
