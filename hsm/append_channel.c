#include "append_private.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"

#define SEND_MS	       2000
#define EXIT_MALFORMED 70

struct append *append_new(void)
{
	struct append *a = calloc(1, sizeof *a);

	if (a != NULL)
		pthread_mutex_init(&a->lock, NULL);
	return a;
}

/* With the lock held. */
static void link_drop(struct link *link)
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

	if (fd >= 0 && link == NULL)
		close(fd);
	pthread_mutex_lock(&a->lock);
	link_drop(a->link);
	a->link = link;
	if (link != NULL)
		*link = (struct link){.fd = fd, .users = 1, .number = ++a->number};
	for (struct waiter *w = a->waiters; w != NULL; w = w->next) {
		w->done = true;
		pthread_cond_signal(&w->woken);
	}
	a->waiters = NULL;
	pthread_mutex_unlock(&a->lock);
}

int append_fd(const struct append *a)
{
	return a->link == NULL ? -1 : a->link->fd;
}

static struct waiter *waiter_remove(struct append *a, uint64_t serial)
{
	for (struct waiter **at = &a->waiters; *at != NULL; at = &(*at)->next)
		if ((*at)->serial == serial) {
			struct waiter *w = *at;

			*at = w->next;
			return w;
		}
	return NULL;
}

static enum err deliver(struct append *a, size_t len)
{
	struct msg_head head;
	struct reader body;
	struct waiter *w;
	enum err e = msg_open(&head, &body, a->inbox, len);

	if (e != ERR_OK)
		return e;
	if (head.type != MSG_ANSWER(MSG_APPEND) && head.type != MSG_ANSWER(MSG_HELLO))
		return ERR_FORMAT;
	pthread_mutex_lock(&a->lock);
	w = waiter_remove(a, head.serial); /* none: the record was posted */
	if (w != NULL) {
		w->octets = head.type == w->type ? malloc(len) : NULL;
		e = w->octets != NULL ? ERR_OK : ERR_FORMAT;
		if (w->octets != NULL)
			memcpy(w->octets, a->inbox, len);
		w->len = len;
		w->done = true;
		pthread_cond_signal(&w->woken);
	}
	pthread_mutex_unlock(&a->lock);
	return e;
}

enum err append_receive(struct append *a)
{
	size_t len, count = 0;
	enum err e =
		channel_receive(append_fd(a), a->inbox, sizeof a->inbox, &len, NULL, &count, 0);

	if (e == ERR_OK)
		return deliver(a, len);
	if (e == ERR_TIMEOUT)
		return ERR_OK;
	if (e == ERR_FORMAT)
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

struct link *link_take(struct append *a, enum stage stage, struct waiter *w)
{
	struct link *link;

	pthread_mutex_lock(&a->lock);
	link = a->link;
	if (link != NULL && link->stage == stage) {
		link->users++;
		w->number = link->number;
		if (w->serial == 0) {
			w->serial = ++a->serial;
			w->next = a->waiters;
			a->waiters = w;
		}
	} else {
		link = NULL;
	}
	pthread_mutex_unlock(&a->lock);
	return link;
}

void link_advance(struct append *a, const struct waiter *w, enum stage stage)
{
	pthread_mutex_lock(&a->lock);
	if (a->link != NULL && a->link->number == w->number)
		a->link->stage = stage;
	pthread_mutex_unlock(&a->lock);
}

bool link_send(struct append *a, struct link *link, struct waiter *w, const struct buf *message)
{
	bool sent = message->err == ERR_OK &&
		    channel_send(link->fd, message, NULL, 0, SEND_MS) == ERR_OK;

	pthread_mutex_lock(&a->lock);
	if (!sent)
		waiter_remove(a, w->serial);
	link_drop(link);
	pthread_mutex_unlock(&a->lock);
	return sent;
}

void waiter_wait(struct append *a, struct waiter *w)
{
	pthread_mutex_lock(&a->lock);
	while (!w->done)
		pthread_cond_wait(&w->woken, &a->lock);
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
	struct waiter w = {.type = MSG_ANSWER(MSG_HELLO), .woken = PTHREAD_COND_INITIALIZER};
	struct msg_hello hello = {.role = ROLE_HSM};
	struct buf message = BUF_INIT(MSG_MAX);
	struct link *link = link_take(a, FRESH, &w);
	struct msg_head head;
	struct reader body;
	enum err e;

	if (link == NULL && greeted(a, answer))
		return ERR_OK;
	if (link == NULL)
		return append_unavailable(why);
	strncpy(hello.name, token, sizeof hello.name - 1);
	msg_begin(&message, MSG_HELLO, w.serial);
	msg_hello_write(&message, &hello);
	if (link_send(a, link, &w, &message))
		waiter_wait(a, &w);
	buf_free(&message);
	if (w.octets == NULL)
		return append_unavailable(why);
	e = msg_open(&head, &body, w.octets, w.len);
	if (e == ERR_OK)
		e = msg_hello_answer_read(answer, &body);
	free(w.octets);
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
