#include "fake_ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "channel.h"

static bool take(
	struct fake_ledger *l, const struct msg_append_item *item, struct msg_appended *out)
{
	struct record r;
	bool goes_on = true;

	if (record_decode(&r, item->record.at, item->record.len) != ERR_OK)
		abort(); /* a record that the real ledger would not take either */
	pthread_mutex_lock(&l->lock);
	l->type[l->count] = r.type;
	snprintf(l->reason[l->count], sizeof l->reason[0], "%.*s", (int)r.reason.len,
		r.reason.len > 0 ? (const char *)r.reason.at : "");
	out->idx = l->count++;
	memset(out->leaf_hash, (int)out->idx, SHA256_SIZE);
	if (r.type == RECORD_AUTHORISED && l->refuse_authorised != ERR_OK)
		refuse(&out->refusal, l->refuse_authorised, "", "fake");
	if (l->close_at != 0 && r.type == l->close_at)
		goes_on = false;
	pthread_mutex_unlock(&l->lock);
	return goes_on;
}

static bool answer(struct fake_ledger *l, const struct msg_head *head, struct reader *body)
{
	static __thread struct msg_append ask;
	static __thread struct msg_append_answer answers;
	struct buf out = BUF_INIT(MSG_MAX);
	bool goes_on = true;

	if (l->delay_ms > 0)
		usleep((useconds_t)l->delay_ms * 1000);
	msg_begin(&out, (uint16_t)(head->type + 1), head->serial);
	if (head->type == MSG_HELLO) {
		struct msg_hello_answer hello = {.size = l->count};

		snprintf(hello.chain, sizeof hello.chain, "node1/main");
		msg_hello_answer_write(&out, &hello);
		l->hellos++;
	} else {
		memset(&answers, 0, sizeof answers);
		if (msg_append_read(&ask, body) != ERR_OK)
			abort();
		l->appends++;
		answers.count = ask.count;
		for (uint16_t i = 0; i < ask.count; i++)
			goes_on = take(l, &ask.item[i], &answers.item[i]) && goes_on;
		msg_append_answer_write(&out, &answers);
	}
	if (head->type == MSG_APPEND && l->keeps > 0)
		l->keeps--;
	else
		goes_on = goes_on && channel_send(l->fd, &out, NULL, 0, 1000) == ERR_OK;
	buf_free(&out);
	return goes_on;
}

static void *run(void *arg)
{
	struct fake_ledger *l = arg;
	uint8_t *octets = malloc(MSG_MAX);
	struct msg_head head;
	struct reader body;
	size_t len, fds = 0;

	while (channel_receive(l->fd, octets, MSG_MAX, &len, NULL, &fds, -1) == ERR_OK &&
		msg_open(&head, &body, octets, len) == ERR_OK && answer(l, &head, &body))
		;
	shutdown(l->fd, SHUT_RDWR);
	free(octets);
	return NULL;
}

int fake_ledger_start(struct fake_ledger *l)
{
	int ends[2];

	if (channel_pair(ends) != ERR_OK)
		abort();
	l->fd = ends[0];
	pthread_mutex_init(&l->lock, NULL);
	pthread_create(&l->thread, NULL, run, l);
	return ends[1];
}

void fake_ledger_stop(struct fake_ledger *l)
{
	shutdown(l->fd, SHUT_RDWR);
	pthread_join(l->thread, NULL);
	close(l->fd);
}

size_t fake_ledger_count(struct fake_ledger *l, enum record_type type)
{
	size_t n = 0;

	pthread_mutex_lock(&l->lock);
	for (size_t i = 0; i < l->count; i++)
		n += l->type[i] == type;
	pthread_mutex_unlock(&l->lock);
	return n;
}

enum record_type fake_ledger_type(struct fake_ledger *l, size_t n)
{
	enum record_type type;

	pthread_mutex_lock(&l->lock);
	type = l->type[n];
	pthread_mutex_unlock(&l->lock);
	return type;
}

bool fake_ledger_wait(struct fake_ledger *l, enum record_type type, size_t n)
{
	for (int i = 0; i < 500 && fake_ledger_count(l, type) < n; i++)
		usleep(10000);
	return fake_ledger_count(l, type) >= n;
}
