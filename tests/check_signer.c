#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "limits.h"
#include "run_suite.h"
#include "signer.h"

static struct signer *signer;
static int hsm = -1; /* our end of its channel */
static uint8_t in[MSG_MAX];

struct outcome {
	struct signer_call call;
	unsigned done;
	enum err err;
	char id[ID_SIZE];
};

static void on_done(struct signer_call *call)
{
	struct outcome *o = (struct outcome *)(void *)call;

	o->done++;
	o->err = call->refusal.err;
	if (call->grant != NULL && o->err == ERR_OK)
		memcpy(o->id, call->grant->id, ID_SIZE);
}

static int connect_as(uint8_t role)
{
	int ends[2];

	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	ck_assert_int_eq(signer_connect(signer, role, "main", ends[1]), ERR_OK);
	return ends[0];
}

static void begin(void)
{
	signer = signer_new();
	ck_assert_ptr_nonnull(signer);
	signer_queue(signer, 100);
	hsm = connect_as(ROLE_HSM);
}

static void end(void)
{
	if (hsm >= 0)
		close(hsm);
	signer_free(signer);
}

static enum err ask(struct outcome *o, const char *request, int64_t in_ms, bool dry_run)
{
	static const struct peer peer = {.address = "192.0.2.1:1"};
	static const struct msg_issue_item item = {.key = "www", .spki = {(const uint8_t *)"k", 1}};
	struct signer_issue issue = {.request = request,
		.count = 1,
		.client = "edge",
		.peer = &peer,
		.dry_run = dry_run,
		.item = &item};
	struct refusal why;

	memset(o, 0, sizeof *o);
	o->call.done = on_done;
	o->call.deadline = monotonic_ms() + in_ms;
	return signer_issue(signer, "main", &issue, &o->call, &why);
}

/* The next ISSUE that came; questions for states are passed over. */
static uint64_t take_issue(struct msg_issue *m)
{
	struct msg_head head;
	struct reader body;
	size_t len;

	do {
		ck_assert_int_eq(
			channel_receive(hsm, in, sizeof in, &len, NULL, NULL, 60000), ERR_OK);
		ck_assert_int_eq(msg_open(&head, &body, in, len), ERR_OK);
	} while (head.type == MSG_STATE);
	ck_assert_uint_eq(head.type, MSG_ISSUE);
	ck_assert_int_eq(msg_issue_read(m, &body), ERR_OK);
	return head.serial;
}

static void answer(int fd, uint64_t serial, const char *request)
{
	static struct msg_issue_answer a;
	struct buf out = BUF_INIT(MSG_MAX);

	memset(&a, 0, sizeof a);
	strcpy(a.request, request);
	a.count = 1;
	memset(a.grant[0].id, 'a', ID_SIZE - 1);
	a.grant[0].dc.at = (const uint8_t *)"dc";
	a.grant[0].dc.len = 2;
	strcpy(a.grant[0].chain, "n/main");
	msg_begin(&out, MSG_ISSUE + 1, serial);
	msg_issue_answer_write(&out, &a);
	ck_assert_int_eq(channel_send(fd, &out, NULL, 0, 1000), ERR_OK);
	buf_free(&out);
}

static void refuse_stopping(int fd, uint64_t serial, const char *request)
{
	static struct msg_issue_answer a;
	struct buf out = BUF_INIT(MSG_MAX);

	memset(&a, 0, sizeof a);
	strcpy(a.request, request);
	a.count = 1;
	(void)refuse(&a.grant[0].refusal, ERR_STOPPING, "", "%s", "");
	msg_begin(&out, MSG_ISSUE + 1, serial);
	msg_issue_answer_write(&out, &a);
	ck_assert_int_eq(channel_send(fd, &out, NULL, 0, 1000), ERR_OK);
	buf_free(&out);
}

static void turns(unsigned n)
{
	while (n-- > 0)
		ck_assert_int_eq(signer_turn(signer, NULL, 0, 10), ERR_OK);
}

#define REQUEST "00112233445566778899aabbccddeeff"

START_TEST(answered)
{
	static struct msg_issue m;
	struct outcome o;
	uint64_t serial;

	begin();
	ck_assert_int_eq(ask(&o, REQUEST, 1000, false), ERR_OK);
	ck_assert_uint_eq(signer_waiting(signer), 1);
	serial = take_issue(&m);
	ck_assert_str_eq(m.request, REQUEST);
	ck_assert_str_eq(m.client, "edge");
	ck_assert_str_eq(m.peer, "192.0.2.1:1");
	ck_assert_str_eq(m.item[0].key, "www");
	ck_assert_uint_eq(m.count, 1);
	ck_assert(m.deadline_ms > 500 && m.deadline_ms <= 1000);
	answer(hsm, serial, REQUEST);
	turns(2);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(o.err, ERR_OK);
	ck_assert_uint_eq(strspn(o.id, "a"), 32);
	ck_assert_uint_eq(signer_waiting(signer), 0);
	answer(hsm, serial, REQUEST); /* once more: nobody waits for it */
	turns(2);
	ck_assert_uint_eq(o.done, 1);
	end();
}
END_TEST

START_TEST(deadline)
{
	static struct msg_issue m;
	struct outcome o, dry;
	uint64_t serial;

	begin();
	ck_assert_int_eq(ask(&o, REQUEST, 60000, false), ERR_OK);
	serial = take_issue(&m);
	turns(1);
	ck_assert_uint_eq(o.done, 0);
	ck_assert_int_eq(ask(&dry, REQUEST, 60000, true), ERR_OK);
	o.call.deadline = dry.call.deadline = monotonic_ms(); /* it has passed */
	turns(1);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(o.err, ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(dry.err, ERR_TIMEOUT);
	answer(hsm, serial, REQUEST); /* too late */
	turns(2);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(ask(&o, REQUEST, 0, false), ERR_TIMEOUT);
	ck_assert_uint_eq(o.done, 0);
	end();
}
END_TEST

START_TEST(lost)
{
	struct outcome o, dry;

	begin();
	ck_assert_int_eq(ask(&o, REQUEST, 60000, false), ERR_OK);
	ck_assert_int_eq(ask(&dry, REQUEST, 60000, true), ERR_OK);
	close(hsm);
	hsm = -1;
	turns(2);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(o.err, ERR_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(dry.done, 1);
	ck_assert_int_eq(dry.err, ERR_KEY_UNAVAILABLE); /* nothing can have been signed */
	/* the next process is expected for a moment, and then no more */
	ck_assert_int_eq(ask(&o, REQUEST, 60000, false), ERR_OK);
	ck_assert_int_eq(ask(&dry, REQUEST, 50, true), ERR_OK);
	ck_assert_uint_eq(signer_waiting(signer), 2);
	usleep(60000);
	turns(1);
	ck_assert_uint_eq(dry.done, 1);
	ck_assert_int_eq(dry.err, ERR_KEY_UNAVAILABLE);
	ck_assert_uint_eq(o.done, 0);
	usleep(SIGNER_AWAY_MS * 1000);
	turns(1);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(o.err, ERR_KEY_UNAVAILABLE);
	ck_assert_int_eq(ask(&o, REQUEST, 60000, false), ERR_KEY_UNAVAILABLE);
	ck_assert_uint_eq(o.done, 0);
	ck_assert_uint_eq(signer_waiting(signer), 0);
	end();
}
END_TEST

/* A process that ends takes nothing more: what it refuses for that, and what comes until the next
 * one is there, is asked of that one, each once. */
START_TEST(leaving)
{
	static struct msg_issue m;
	static const char second[] = "ffeeddccbbaa99887766554433221100";
	struct outcome o[3];
	uint64_t serial;
	int old;

	begin();
	ck_assert_int_eq(ask(&o[0], REQUEST, 60000, false), ERR_OK);
	serial = take_issue(&m);
	refuse_stopping(hsm, serial, REQUEST);
	turns(2);
	ck_assert_uint_eq(o[0].done, 0);
	ck_assert_int_eq(ask(&o[1], second, 60000, false), ERR_OK);
	turns(1);
	ck_assert_uint_eq(o[1].done, 0);
	ck_assert_uint_eq(signer_waiting(signer), 2);
	signer_queue(signer, 2); /* as many may wait as for a process that is there */
	ck_assert_int_eq(ask(&o[2], second, 60000, false), ERR_KEY_UNAVAILABLE);
	signer_queue(signer, 100);
	old = hsm;
	hsm = connect_as(ROLE_HSM);
	for (int i = 0; i < 2; i++) {
		serial = take_issue(&m);
		ck_assert_str_eq(m.client, "edge");
		ck_assert_uint_eq(m.count, 1);
		ck_assert(m.deadline_ms <= 60000);
		answer(hsm, serial, m.request);
	}
	turns(2);
	ck_assert_uint_eq(o[0].done, 1);
	ck_assert_int_eq(o[0].err, ERR_OK);
	ck_assert_uint_eq(o[1].done, 1);
	ck_assert_int_eq(o[1].err, ERR_OK);
	ck_assert_uint_eq(signer_waiting(signer), 0);
	close(old);
	turns(2);

	/* a channel whose other end has gone, before poll(2) has told: nothing was sent */
	close(hsm);
	ck_assert_int_eq(ask(&o[0], REQUEST, 60000, false), ERR_OK);
	turns(2);
	ck_assert_uint_eq(o[0].done, 0);
	hsm = connect_as(ROLE_HSM);
	answer(hsm, take_issue(&m), REQUEST);
	turns(2);
	ck_assert_uint_eq(o[0].done, 1);
	ck_assert_int_eq(o[0].err, ERR_OK);
	end();
}
END_TEST

/* A newer channel gets what is new; what the older one was sent, it may still answer. */
START_TEST(replaced)
{
	static struct msg_issue m;
	struct outcome first, second;
	int old;
	uint64_t serial;

	begin();
	ck_assert_int_eq(ask(&first, REQUEST, 60000, false), ERR_OK);
	serial = take_issue(&m);
	old = hsm;
	hsm = connect_as(ROLE_HSM);
	ck_assert_int_eq(ask(&second, REQUEST, 60000, false), ERR_OK);
	turns(1);
	answer(old, serial, REQUEST);
	turns(2);
	ck_assert_int_eq(first.done, 1);
	ck_assert_int_eq(first.err, ERR_OK);
	ck_assert_int_eq(second.done, 0);
	answer(hsm, take_issue(&m), REQUEST);
	turns(2);
	ck_assert_int_eq(second.done, 1);
	{
		size_t len; /* the old one is closed now that nothing waits for it */

		while (channel_receive(old, in, sizeof in, &len, NULL, NULL, 100) == ERR_OK)
			;
		ck_assert_int_eq(
			channel_receive(old, in, sizeof in, &len, NULL, NULL, 100), ERR_CLOSED);
	}
	close(old);
	end();
}
END_TEST

START_TEST(bounded)
{
	struct outcome o[4];

	begin();
	signer_queue(signer, 3);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(ask(&o[i], REQUEST, 50, false), ERR_OK);
	ck_assert_int_eq(ask(&o[3], REQUEST, 50, false), ERR_OVERLOADED);
	usleep(60000);
	turns(1);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(o[i].done, 1);
	ck_assert_int_eq(ask(&o[3], REQUEST, 50, false), ERR_OK);
	usleep(60000);
	turns(1);
	end();
}
END_TEST

/* A channel that nobody reads fills up: refused at once, and nothing is left waiting. */
START_TEST(full_channel)
{
	static struct outcome o[4096];
	unsigned n = 0;
	enum err err;

	begin();
	signer_queue(signer, 100000);
	while (n < 4096 && (err = ask(&o[n], REQUEST, 100, false)) == ERR_OK)
		n++;
	ck_assert_uint_lt(n, 4096);
	ck_assert_int_eq(err, ERR_OVERLOADED);
	ck_assert_uint_eq(signer_waiting(signer), n);
	usleep(120000);
	turns(1);
	for (unsigned i = 0; i < n; i++)
		ck_assert_uint_eq(o[i].done, 1);
	end();
}
END_TEST

START_TEST(malformed)
{
	struct outcome o;
	struct buf out = BUF_INIT(MSG_MAX);
	static struct msg_issue m;
	uint64_t serial;

	begin();
	ck_assert_int_eq(ask(&o, REQUEST, 60000, false), ERR_OK);
	serial = take_issue(&m);
	answer(hsm, serial, "ffffffffffffffffffffffffffffffff"); /* another's */
	ck_assert_int_eq(signer_turn(signer, NULL, 0, 100), ERR_FORMAT);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(o.err, ERR_OUTCOME_UNKNOWN);
	end();

	begin();
	msg_begin(&out, MSG_READ + 1, 1); /* not from an hsm process */
	ck_assert_int_eq(channel_send(hsm, &out, NULL, 0, 0), ERR_OK);
	ck_assert_int_eq(signer_turn(signer, NULL, 0, 100), ERR_FORMAT);
	end();

	begin();
	buf_reset(&out);
	msg_begin(&out, MSG_ISSUE + 1, 1);
	buf_u8(&out, 1);
	ck_assert_int_eq(channel_send(hsm, &out, NULL, 0, 0), ERR_OK);
	ck_assert_int_eq(signer_turn(signer, NULL, 0, 100), ERR_FORMAT);
	end();
	buf_free(&out);
}
END_TEST

/* The state of more keys than a page holds. */
static void answer_states(uint32_t total)
{
	static struct msg_state_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_state question;
	struct msg_head head;
	struct reader body;
	size_t len;

	while (channel_receive(hsm, in, sizeof in, &len, NULL, NULL, 0) == ERR_OK) {
		ck_assert_int_eq(msg_open(&head, &body, in, len), ERR_OK);
		ck_assert_uint_eq(head.type, MSG_STATE);
		ck_assert_int_eq(msg_state_read(&question, &body), ERR_OK);
		memset(&a, 0, sizeof a);
		a.token_ok = 1;
		a.span_count = SPAN_COUNT;
		a.total = total;
		a.from = question.from;
		a.count = (uint16_t)(total - a.from < STATE_KEYS ? total - a.from : STATE_KEYS);
		for (unsigned i = 0; i < a.count; i++) {
			snprintf(a.key[i].name, NAME_SIZE, "k%04u", a.from + i);
			a.key[i].err = (a.from + i) % 2 == 0 ? ERR_OK : ERR_KEY_WEAK;
		}
		buf_reset(&out);
		msg_begin(&out, MSG_STATE + 1, head.serial);
		msg_state_answer_write(&out, &a);
		ck_assert_int_eq(channel_send(hsm, &out, NULL, 0, 0), ERR_OK);
	}
	buf_free(&out);
}

START_TEST(states)
{
	struct signer_key key;
	struct signer_token token;

	begin();
	signer_key(signer, "main", "k0000", &key);
	ck_assert_int_eq(key.err, ERR_KEY_UNAVAILABLE);
	for (int i = 0; i < 6; i++) {
		turns(1);
		answer_states(2 * STATE_KEYS + 5);
	}
	signer_key(signer, "main", "k0000", &key);
	ck_assert_int_eq(key.err, ERR_OK);
	signer_key(signer, "main", "k0260", &key);
	ck_assert_int_eq(key.err, ERR_OK);
	signer_key(signer, "main", "k0259", &key);
	ck_assert_int_eq(key.err, ERR_KEY_WEAK);
	signer_key(signer, "main", "k0261", &key);
	ck_assert_int_eq(key.err, ERR_KEY_UNAVAILABLE);
	signer_key(signer, "other", "k0000", &key);
	ck_assert_int_eq(key.err, ERR_KEY_UNAVAILABLE);
	signer_token(signer, "main", &token);
	ck_assert(token.ready);

	usleep(SIGNER_POLL_MS * 1000); /* asked again, and not answered */
	turns(1);
	usleep((SIGNER_STALE_MS + 100) * 1000);
	turns(1);
	signer_key(signer, "main", "k0000", &key);
	ck_assert_int_eq(key.err, ERR_KEY_UNAVAILABLE);
	signer_token(signer, "main", &token);
	ck_assert(!token.ready);
	end();
}
END_TEST

START_TEST(ledger)
{
	struct outcome o = {.call.done = on_done};
	struct msg_read_answer heads;
	struct refusal why;
	int fd;

	begin();
	o.call.deadline = monotonic_ms() + 60000;
	ck_assert_int_eq(signer_live(signer, "www", "edge", &o.call, &why), ERR_LEDGER_UNAVAILABLE);
	fd = connect_as(ROLE_LEDGER);
	ck_assert_int_eq(signer_live(signer, "www", "edge", &o.call, &why), ERR_OK);
	ck_assert(!signer_ledger(signer, &heads));
	close(fd);
	turns(2);
	ck_assert_uint_eq(o.done, 1);
	ck_assert_int_eq(o.err, ERR_LEDGER_UNAVAILABLE);
	end();
}
END_TEST

RUN_SUITE("signer", answered, deadline, lost, leaving, replaced, bounded, full_channel, malformed,
	states, ledger)
