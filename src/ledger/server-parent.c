/* What dcsignd, the parent, sends: configurations and channels to neighbours. */
#include "server.h"

#include <stdio.h>
#include <string.h>

#include "log.h"

static bool differ(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

enum err parent_config_fits(
	const struct config *now, const struct config *next, struct refusal *why)
{
	const struct store_engine *engine;
	const char *where;
	enum err e = store_engine_of(next->ledger, &engine, &where, why);

	if (!e && now &&
		(strcmp(now->ledger, next->ledger) || strcmp(now->node, next->node) ||
			strcmp(now->origin, next->origin) ||
			differ(now->checkpoint.key, next->checkpoint.key) ||
			differ(now->checkpoint.command, next->checkpoint.command)))
		e = refuse(why, ERR_FORMAT, "ledger",
			"ledger, node, origin and the checkpoint's key and command can't be "
			"changed "
			"while dcsignd runs: restart it");
	return e;
}

static void config_take(struct server *s, uint64_t serial, struct reader *body, int *fds, size_t n)
{
	struct child_secrets secrets = {0};
	struct refusal why = {0};
	struct config *next = NULL;
	enum err e = child_take_config(&next, &secrets, body, fds, n, sha256);

	if (e)
		server_broken("dcsignd: CONFIG");
	e = parent_config_fits(s->config, next, &why);
	if (!e) {
		ledger_generation(&s->ledger, next);
		config_unref(s->config);
		s->config = config_ref(next);
	}
	config_unref(next);
	child_secrets_close(&secrets);
	if (child_answer_config(serial, &why))
		s->stopping = true;
}

static void control_hello(struct server *s, struct reader *body, const int *fds, size_t n)
{
	struct msg_hello hello;

	if (msg_hello_read(&hello, body) || n != 1)
		server_broken("dcsignd: HELLO");
	if (hello.role != ROLE_API && hello.role != ROLE_HSM)
		server_broken("dcsignd: HELLO for a neighbour that the ledger does not have");
	peers_take(s, &hello, fds[0]);
}

static void decision_take(struct server *s, uint64_t serial, struct reader *body)
{
	struct refusal why = {.err = ERR_OK};
	char name[CHAIN_SIZE], text[2 * CHAIN_SIZE + 16];
	struct msg_decide m;

	if (msg_decide_read(&m, body) || m.what != DECIDE_SUCCEED)
		server_broken("dcsignd: DECIDE");
	if (!ledger_succeed_behind(&s->ledger, m.name, m.reason, server_wall(), name, &why)) {
		s->succeeded = true;
		snprintf(text, sizeof(text), "%s goes on for %s", name, m.name);
		LOG(LOG_LEVEL_WARNING, "a chain was closed: another one goes on for it",
			LS("chain", m.name), LS("next", name), LN("uid", m.uid),
			LS("reason", m.reason));
	}
	child_answer_decision(serial, &why, text);
}

void parent_read(struct server *s)
{
	int fds[MSG_FDS];
	size_t len, n;
	struct msg_head head;
	struct reader body;
	enum err e = channel_receive(CHILD_CONTROL, s->octets, sizeof(s->octets), &len, fds, &n, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e == ERR_CLOSED) {
		s->stopping = true;
		return;
	}
	if (e || msg_open(&head, &body, s->octets, len))
		server_broken("dcsignd");
	if (head.type == MSG_CONFIG)
		config_take(s, head.serial, &body, fds, n);
	else if (head.type == MSG_HELLO)
		control_hello(s, &body, fds, n);
	else if (head.type == MSG_DECIDE && n == 0)
		decision_take(s, head.serial, &body);
	else
		server_broken("dcsignd: a message of another channel");
}
