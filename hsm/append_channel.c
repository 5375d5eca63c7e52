#include "append_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"

#define EXIT_MALFORMED 70

struct append *append_new(void)
{
	struct append *a = calloc(1, sizeof *a);

	if (a != NULL)
		pthread_mutex_init(&a->lock, NULL);
	return a;
}

void link_drop(struct link *link)
{
	if (link == NULL || --link->users > 0)
		return;
	close(link->fd);
	free(link);
}

void append_free(struct append *a)
{
	if (a == NULL)
		return;
	link_drop(a->link);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

void append_attach(struct append *a, int fd)
{
	struct link *link = fd < 0 ? NULL : calloc(1, sizeof *link);
	struct waiter *sent, *waiting;

	if (fd >= 0 && link == NULL)
		close(fd);
	pthread_mutex_lock(&a->lock);
	link_drop(a->link);
	a->link = link;
	if (link != NULL)
		*link = (struct link){.fd = fd, .users = 1, .number = ++a->number};
	sent = a->sent;
	waiting = a->waiting;
	a->sent = a->waiting = NULL;
	pthread_mutex_unlock(&a->lock);
	waiters_give_up(sent);
	waiters_give_up(waiting);
}

int append_fd(const struct append *a)
{
	return a->link == NULL ? -1 : a->link->fd;
}

/* --- answers --- */

void message_unref(struct append_message *m)
{
	if (m == NULL || --m->users > 0)
		return;
	free(m->body);
	free(m->octets);
	free(m);
}

/* Answers to so many records; ERR_FORMAT, ERR_NOMEM. */
static enum err message_read(struct append_message *m, size_t expected)
{
	struct msg_head head;
	struct reader body, count;
	enum err e = msg_open(&head, &body, m->octets, m->len);
	size_t size = offsetof(struct msg_append_answer, item) + expected * sizeof *m->body->item;

	count = body;
	if (e != ERR_OK || reader_u16(&count) != expected)
		return ERR_FORMAT;
	m->body = malloc(size); /* its reader fills no more items than it counts */
	if (m->body == NULL)
		return ERR_NOMEM;
	memset(m->body, 0, size);
	return msg_append_answer_read(m->body, &body);
}

static enum err message_new(struct append_message **out, const uint8_t *octets, size_t len,
	uint16_t type, const struct waiter *group)
{
	struct append_message *m = calloc(1, sizeof *m);
	size_t expected = 0;
	enum err e = ERR_NOMEM;

	*out = m;
	if (m == NULL || (m->octets = malloc(len)) == NULL)
		return ERR_NOMEM;
	memcpy(m->octets, octets, len);
	m->len = len;
	m->users = 1;
	if ((type == MSG_ANSWER(MSG_HELLO)) != (group->items == NULL))
		return ERR_FORMAT;
	for (const struct waiter *w = group; w != NULL; w = w->next)
		expected += w->count;
	if (type == MSG_ANSWER(MSG_APPEND))
		e = message_read(m, expected);
	else
		e = ERR_OK;
	return e;
}

static void hand_out(struct append_message *m, struct waiter *group)
{
	size_t first = 0;

	for (struct waiter *w = group, *next; w != NULL; w = next) {
		next = w->next;
		w->first = first;
		first += w->count;
		m->users++;
		w->answer = m;
		waiter_wake(w);
	}
}

static enum err deliver(struct append *a, size_t len)
{
	struct append_message *m = NULL;
	struct msg_head head;
	struct reader body;
	struct waiter *group;
	enum err e = msg_open(&head, &body, a->inbox, len);

	if (e != ERR_OK)
		return e;
	if (head.type != MSG_ANSWER(MSG_APPEND) && head.type != MSG_ANSWER(MSG_HELLO))
		return ERR_FORMAT;
	pthread_mutex_lock(&a->lock);
	group = waiters_sent(a, head.serial); /* none: the record was posted */
	if (group != NULL && a->link != NULL)
		a->link->under_way--;
	pthread_mutex_unlock(&a->lock);
	if (group == NULL)
		return ERR_OK;
	e = message_new(&m, a->inbox, len, head.type, group);
	if (e == ERR_OK)
		hand_out(m, group);
	else
		waiters_give_up(group);
	message_unref(m);
	return e == ERR_NOMEM ? ERR_OK : e;
}

enum err append_receive(struct append *a)
{
	size_t len, count = 0;
	enum err e =
		channel_receive(append_fd(a), a->inbox, sizeof a->inbox, &len, NULL, &count, 0);

	if (e == ERR_OK)
		return deliver(a, len);
	if (e == ERR_TIMEOUT || e == ERR_FORMAT)
		return e;
	append_attach(a, -1);
	return ERR_CLOSED;
}

_Noreturn void append_malformed(const char *what)
{
	LOG(LOG_LEVEL_ERROR, "malformed answer of the ledger", LS("message", what));
	_exit(EXIT_MALFORMED);
}

enum err append_unavailable(struct refusal *why)
{
	refuse(why, ERR_LEDGER_UNAVAILABLE, "", "%s", "");
	if (why != NULL)
		why->retry_after = 1;
	return ERR_LEDGER_UNAVAILABLE;
}

void link_advance(struct append *a, const struct waiter *w, enum stage stage)
{
	pthread_mutex_lock(&a->lock);
	if (a->link != NULL && a->link->number == w->number)
		a->link->stage = stage;
	pthread_mutex_unlock(&a->lock);
}

void link_post(struct append *a, enum stage stage, const struct buf *message)
{
	struct link *link;

	pthread_mutex_lock(&a->lock);
	link = a->link != NULL && a->link->stage == stage ? a->link : NULL;
	if (link != NULL)
		link->users++;
	pthread_mutex_unlock(&a->lock);
	if (link == NULL)
		return;
	(void)channel_send(link->fd, message, NULL, 0, SEND_MS);
	pthread_mutex_lock(&a->lock);
	link_drop(link);
	pthread_mutex_unlock(&a->lock);
}

/* HELLO was answered on this channel, but START and CONFIG were not taken. */
static bool greeted(struct append *a, struct msg_hello_answer *answer)
{
	bool yes;

	pthread_mutex_lock(&a->lock);
	yes = a->link != NULL && a->link->stage == GREETED;
	*answer = a->hello;
	pthread_mutex_unlock(&a->lock);
	return yes;
}

enum err append_open(
	struct append *a, const char *token, struct msg_hello_answer *answer, struct refusal *why)
{
	struct waiter w = {.items = NULL};
	struct msg_head head;
	struct reader body;
	enum err e;

	strncpy(w.name, token, sizeof w.name - 1);
	sem_init(&w.woken, 0, 0);
	if (!waiter_ask(a, FRESH, &w))
		return greeted(a, answer) ? ERR_OK : append_unavailable(why);
	waiters_flush(a);
	while (sem_wait(&w.woken) != 0)
		;
	sem_destroy(&w.woken);
	if (w.answer == NULL)
		return append_unavailable(why);
	e = msg_open(&head, &body, w.answer->octets, w.answer->len);
	if (e == ERR_OK)
		e = msg_hello_answer_read(answer, &body);
	message_unref(w.answer);
	if (e != ERR_OK)
		append_malformed("HELLO");
	if (answer->err != ERR_OK)
		return refuse(why, answer->err, "", "the ledger does not open the chain");
	pthread_mutex_lock(&a->lock);
	a->hello = *answer;
	pthread_mutex_unlock(&a->lock);
	link_advance(a, &w, GREETED);
	return ERR_OK;
}

uint64_t append_generation(struct append *a)
{
	uint64_t n;

	pthread_mutex_lock(&a->lock);
	n = a->link != NULL && a->link->stage == OPEN ? a->link->number : 0;
	pthread_mutex_unlock(&a->lock);
	return n;
}

void append_chain(struct append *a, char chain[2 * NAME_SIZE + 8])
{
	pthread_mutex_lock(&a->lock);
	memcpy(chain, a->hello.chain, sizeof a->hello.chain);
	pthread_mutex_unlock(&a->lock);
}
