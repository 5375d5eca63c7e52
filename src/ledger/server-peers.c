/* What the neighbours send: the hsm processes and the api. */
#include "server.h"

#include <string.h>
#include <unistd.h>

#include "answers.h"
#include "holds.h"
#include "stranger.h"

static void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->chain = NULL;
}

void peers_take(struct server *s, const struct msg_hello *hello, int fd)
{
	struct peer *p = NULL;

	for (size_t i = 0; i < s->peers && !p; i++) {
		if (s->peer[i].role == hello->role && !strcmp(s->peer[i].name, hello->name))
			p = &s->peer[i];
	}
	if (!p && s->peers == PEERS)
		server_die(EXIT_BROKEN, "too many neighbours", hello->name);
	if (!p) {
		p = &s->peer[s->peers++];
		p->fd = -1;
	}
	peer_close(p);
	p->fd = fd;
	p->role = hello->role;
	strcpy(p->name, hello->name);
}

static void peer_answer(struct peer *p, const struct buf *out)
{
	if (channel_send(p->fd, out, NULL, 0, SEND_MS))
		peer_close(p);
}

static void hsm_hello(
	struct server *s, struct peer *p, const struct msg_head *head, struct reader *body)
{
	struct msg_hello hello;
	struct msg_hello_answer a = {.err = ERR_OK};
	struct buf out = BUF_INIT(MSG_MAX);

	if (msg_hello_read(&hello, body) || hello.role != ROLE_HSM || p->chain ||
		strcmp(hello.name, p->name) != 0)
		server_broken(p->name);

	enum err e = ledger_serve(&s->ledger, p->name, server_wall(), &p->chain);

	if (e == ERR_NO_ROOM || e == ERR_CLOSED) {
		p->chain = NULL;
		a.err = ERR_LEDGER_UNAVAILABLE;
	} else if (e || !p->chain) {
		server_store_failed(s, e ? e : ERR_INTERNAL);
	} else {
		const struct store_chain *c = &p->chain->stored;

		strcpy(a.chain, c->chain);
		a.size = c->tree.size;
		a.last_time = c->last_time;
		memcpy(a.root, c->root, SHA256_SIZE);
	}
	msg_begin(&out, MSG_ANSWER(MSG_HELLO), head->serial);
	msg_hello_answer_write(&out, &a);
	peer_answer(p, &out);
	buf_free(&out);
}

static enum err api_read(struct server *s, struct reader *body, struct buf *out)
{
	static struct msg_read_answer a;
	struct msg_read m;

	if (msg_read_read(&m, body))
		server_broken("api: READ");

	struct buf text = BUF_INIT(0);
	enum err e = answer_read(&s->ledger, &m, server_wall(), server_ms(), &text, &a);

	msg_read_answer_write(out, &a);
	buf_free(&text);
	return e;
}

static enum err api_hold(
	struct server *s, enum record_type type, struct reader *body, struct buf *out)
{
	struct msg_hold_answer a;
	struct msg_hold m;

	if (msg_hold_read(&m, body))
		server_broken("api: HOLD or RELEASE");

	enum err e = hold_take(&s->ledger, type, &m, server_wall(), server_ms(), &a);

	msg_hold_answer_write(out, &a);
	return e;
}

static void api_stranger(struct server *s, struct reader *body)
{
	struct msg_stranger m;

	if (msg_stranger_read(&m, body))
		server_broken("api: STRANGER");

	enum err e = stranger_take(&s->ledger, &m, server_wall(), server_ms());

	if (e)
		server_store_failed(s, e);
}

static void api_message(
	struct server *s, struct peer *p, const struct msg_head *head, struct reader *body)
{
	struct buf out = BUF_INIT(MSG_MAX);
	enum err e = ERR_OK;

	if (head->type == MSG_STRANGER) {
		api_stranger(s, body);
		return;
	}
	msg_begin(&out, MSG_ANSWER(head->type), head->serial);
	if (head->type == MSG_READ)
		e = api_read(s, body, &out);
	else if (head->type == MSG_HOLD)
		e = api_hold(s, RECORD_HELD, body, &out);
	else if (head->type == MSG_RELEASE)
		e = api_hold(s, RECORD_RELEASED, body, &out);
	else
		server_broken("api: a message of another channel");
	if (e)
		server_store_failed(s, e);
	peer_answer(p, &out);
	buf_free(&out);
}

/* One message, if there is one. False: nothing more from this neighbour now. */
static bool peer_read(struct server *s, struct peer *p)
{
	struct msg_head head;
	struct reader body;
	size_t len;

	if (p->fd < 0)
		return false;

	enum err e = channel_receive(p->fd, s->octets, sizeof(s->octets), &len, NULL, NULL, 0);

	if (e == ERR_TIMEOUT)
		return false;
	if (e == ERR_CLOSED) {
		peer_close(p);
		return false;
	}
	if (e || msg_open(&head, &body, s->octets, len))
		server_broken(p->name);
	if (p->role == ROLE_API) {
		api_message(s, p, &head, &body);
	} else if (head.type == MSG_HELLO) {
		hsm_hello(s, p, &head, &body);
	} else {
		e = p->chain ? gather_add(&s->gather, p->fd, p->chain, s->octets, len) : ERR_FORMAT;
		if (e == ERR_NOMEM)
			server_die(EXIT_ABSENT, "out of memory", "");
		if (e)
			server_broken(p->name);
	}
	return p->fd >= 0;
}

void peers_read(struct server *s)
{
	bool more = true;

	while (more && !gather_full(&s->gather)) {
		more = false;
		for (size_t i = 0; i < s->peers && !gather_full(&s->gather); i++)
			more |= peer_read(s, &s->peer[i]);
	}
}

void peers_lost(struct server *s, const int *lost, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < s->peers; k++) {
			if (s->peer[k].fd == lost[i])
				peer_close(&s->peer[k]);
		}
	}
}

void peers_close(struct server *s)
{
	for (size_t i = 0; i < s->peers; i++)
		peer_close(&s->peer[i]);
}
