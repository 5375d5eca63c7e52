#include "append.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"

#define SEND_MS	       2000
#define EXIT_MALFORMED 70
/* The answer to an APPEND can carry two records for each of its own (a replay), and must fit too.
 */
#define APPEND_OCTETS (MSG_MAX / 3)

struct link { /* one channel; its descriptor is closed when nobody sends on it any more */
	int fd;
	unsigned users;
	uint64_t number;
	enum stage { FRESH, GREETED, OPEN } stage; /* OPEN: for everybody */
};

struct waiter {
	struct waiter *next;
	uint64_t serial;
	uint64_t number; /* of the link */
	uint16_t type;	 /* of the answer */
	pthread_cond_t woken;
	bool done;
	uint8_t *octets; /* the answer, owned; NULL: the channel was lost */
	size_t len;
};

struct append {
	pthread_mutex_t lock;
	struct link *link; /* NULL: none */
	struct waiter *waiters;
	uint64_t serial, number;
	struct msg_hello_answer hello; /* of the last append_open */
	uint8_t inbox[MSG_MAX];	       /* main thread's */
};

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

/* The ledger process is broken or hostile: nothing more is done on its word. */
static _Noreturn void malformed(const char *what)
{
	LOG(LOG_LEVEL_ERROR, "malformed answer of the ledger", LS("message", what));
	_exit(EXIT_MALFORMED);
}

static enum err unavailable(struct refusal *why)
{
	refuse(why, ERR_LEDGER_UNAVAILABLE, "", "%s", "");
	if (why != NULL)
		why->retry_after = 1;
	return ERR_LEDGER_UNAVAILABLE;
}

/* Takes the link if there is one at this stage, and puts the waiter on the list before anything can
 * answer it. */
static struct link *link_take(struct append *a, enum stage stage, struct waiter *w)
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

/* The link that this waiter was served on goes on to the next stage. */
static void link_advance(struct append *a, const struct waiter *w, enum stage stage)
{
	pthread_mutex_lock(&a->lock);
	if (a->link != NULL && a->link->number == w->number)
		a->link->stage = stage;
	pthread_mutex_unlock(&a->lock);
}

/* Sends; a waiter that could not be sent is off the list. */
static bool link_send(
	struct append *a, struct link *link, struct waiter *w, const struct buf *message)
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

static void waiter_wait(struct append *a, struct waiter *w)
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
		return unavailable(why);
	strncpy(hello.name, token, sizeof hello.name - 1);
	msg_begin(&message, MSG_HELLO, w.serial);
	msg_hello_write(&message, &hello);
	if (link_send(a, link, &w, &message))
		waiter_wait(a, &w);
	buf_free(&message);
	if (w.octets == NULL)
		return unavailable(why);
	e = msg_open(&head, &body, w.octets, w.len);
	if (e == ERR_OK)
		e = msg_hello_answer_read(answer, &body);
	free(w.octets);
	if (e != ERR_OK)
		malformed("HELLO");
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

/* How many of the items go into one message. */
static uint16_t chunk(const struct append_item *items, size_t count)
{
	size_t octets = items[0].record.len, n = 1;

	while (n < count && octets + items[n].record.len <= APPEND_OCTETS)
		octets += items[n++].record.len;
	return (uint16_t)n;
}

static void message_of(
	struct buf *out, uint64_t serial, const struct append_item *items, uint16_t n)
{
	struct msg_append *m = calloc(1, sizeof *m);

	if (m == NULL) {
		out->err = ERR_NOMEM;
		return;
	}
	m->count = n;
	for (uint16_t i = 0; i < n; i++)
		m->item[i] = (struct msg_append_item){.record = items[i].record,
			.max_live_key = items[i].max_live_key,
			.max_live_client = items[i].max_live_client,
			.judge_only = items[i].judge_only};
	msg_begin(out, MSG_APPEND, serial);
	msg_append_write(out, m);
	free(m);
}

/* Sends one chunk; *w waits for its answer. */
static bool chunk_send(struct append *a, enum stage stage, const struct append_item *items,
	uint16_t n, struct waiter *w)
{
	struct buf message = BUF_INIT(MSG_MAX);
	struct link *link;
	bool sent = false;

	w->type = MSG_ANSWER(MSG_APPEND);
	pthread_cond_init(&w->woken, NULL);
	link = link_take(a, stage, w);
	if (link != NULL) {
		message_of(&message, w->serial, items, n);
		sent = link_send(a, link, w, &message);
	}
	buf_free(&message);
	return sent;
}

static enum err answer_take(struct append_answers *out, struct waiter *w, uint16_t expected)
{
	struct msg_append_answer *m = calloc(1, sizeof *m);
	struct msg_head head;
	struct reader body;

	out->octets[out->messages++] = w->octets;
	if (m == NULL)
		return ERR_NOMEM;
	if (msg_open(&head, &body, w->octets, w->len) != ERR_OK ||
		msg_append_answer_read(m, &body) != ERR_OK || m->count != expected)
		malformed("APPEND");
	memcpy(&out->item[out->count], m->item, expected * sizeof *m->item);
	out->count += expected;
	free(m);
	return ERR_OK;
}

static enum err append_all(struct append *a, enum stage stage, const struct append_item *items,
	size_t count, struct append_answers *out, struct refusal *why)
{
	struct waiter *waiters = calloc(count, sizeof *waiters);
	uint16_t *sizes = calloc(count, sizeof *sizes);
	const struct refusal *refused = NULL;
	size_t sent = 0, done = 0;
	enum err e = waiters == NULL || sizes == NULL ? ERR_NOMEM : ERR_OK;

	out->count = out->messages = 0;
	for (; e == ERR_OK && done < count; done += sizes[sent++]) {
		sizes[sent] = chunk(items + done, count - done);
		if (!chunk_send(a, stage, items + done, sizes[sent], &waiters[sent]))
			break;
	}
	if (done < count)
		e = e == ERR_OK ? ERR_LEDGER_UNAVAILABLE : e;
	for (size_t i = 0; i < sent; i++) {
		waiter_wait(a, &waiters[i]);
		if (waiters[i].octets == NULL)
			e = ERR_LEDGER_UNAVAILABLE;
		else if (e == ERR_OK)
			e = answer_take(out, &waiters[i], sizes[i]);
		else
			free(waiters[i].octets);
	}
	for (size_t i = 0; stage == GREETED && e == ERR_OK && i < out->count; i++)
		if (out->item[i].refusal.err != ERR_OK)
			refused = &out->item[i].refusal;
	if (e == ERR_OK && stage == GREETED && refused == NULL)
		link_advance(a, &waiters[0], OPEN);
	free(waiters);
	free(sizes);
	if (refused != NULL)
		return refuse(why, refused->err, "", "%s", refused->detail);
	return e == ERR_OK ? ERR_OK : unavailable(why);
}

enum err append_records(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	return append_all(a, OPEN, items, count, out, why);
}

enum err append_first(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	return append_all(a, GREETED, items, count, out, why);
}

void append_answers_free(struct append_answers *out)
{
	for (size_t i = 0; i < out->messages; i++)
		free(out->octets[i]);
	out->count = out->messages = 0;
}

void append_post(struct append *a, const struct append_item *items, size_t count)
{
	while (count > 0) {
		uint16_t n = chunk(items, count);
		struct buf message = BUF_INIT(MSG_MAX);
		struct waiter w = {.serial = UINT64_MAX}; /* nobody waits */
		struct link *link = link_take(a, OPEN, &w);

		if (link == NULL)
			return;
		message_of(&message, w.serial, items, n);
		link_send(a, link, &w, &message);
		buf_free(&message);
		items += n;
		count -= n;
	}
}
