#include <string.h>

#include "limits.h"
#include "log.h"
#include "signer_private.h"

/* Takes the call at *at out of the table. */
static struct signer_call *unlink_call(struct signer *s, struct signer_call **at)
{
	struct signer_call *call = *at;

	*at = call->next;
	call->next = NULL;
	call->link->waiting--;
	s->waiting--;
	return call;
}

static struct signer_call *take_call(struct signer *s, const struct link *l, uint64_t serial)
{
	struct signer_call **at = &s->calls[serial % BUCKETS];

	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->serial == serial && (*at)->link == l)
			return unlink_call(s, at);
	return NULL;
}

static void end_call(struct signer_call *call)
{
	call->done(call);
}

/* No answer came, and none is waited for any more. */
static void give_up(struct signer_call *call, bool lost)
{
	if (call->signs)
		(void)refuse(&call->refusal, ERR_OUTCOME_UNKNOWN, "",
			lost ? "the signing process was lost: ask the ledger, or repeat the "
			       "request "
			       "with the same Idempotency-Key"
			     : "not answered within the request's deadline: ask the ledger, or "
			       "repeat "
			       "the request with the same Idempotency-Key");
	else if (call->holds)
		(void)refuse(&call->refusal, ERR_OUTCOME_UNKNOWN, "",
			"the ledger did not answer: it may be in force, repeat the request");
	else if (lost)
		(void)refuse(&call->refusal,
			call->link->role == ROLE_LEDGER ? ERR_LEDGER_UNAVAILABLE
							: ERR_KEY_UNAVAILABLE,
			"", "its process was lost; nothing was signed");
	else
		(void)refuse(&call->refusal, ERR_TIMEOUT, "",
			"not answered within the request's deadline; nothing was signed");
}

/* Takes out the calls of a lost link, or (l NULL) those over their deadline, as one list. */
static struct signer_call *take_ended(struct signer *s, const struct link *l, int64_t now)
{
	struct signer_call *ended = NULL, *call, **at;

	for (size_t i = 0; i < BUCKETS && s->waiting != 0; i++)
		for (at = &s->calls[i]; *at != NULL;) {
			if (l != NULL ? (*at)->link != l : (*at)->deadline > now) {
				at = &(*at)->next;
				continue;
			}
			call = unlink_call(s, at);
			give_up(call, l != NULL);
			call->next = ended;
			ended = call;
		}
	return ended;
}

void signer_end_all(struct signer_call *ended)
{
	struct signer_call *next;

	for (; ended != NULL; ended = next) {
		next = ended->next;
		end_call(ended);
	}
}

static void remove_link(struct signer *s, struct link *l)
{
	struct signer_call *ended;
	struct link **at;

	pthread_mutex_lock(&s->lock);
	for (at = &s->links; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	s->link_count--;
	if (l->role == ROLE_HSM && !l->retired)
		signer_away(s, l->token);
	ended = take_ended(s, l, 0);
	pthread_mutex_unlock(&s->lock);
	LOG(l->retired ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "channel closed",
		LS("neighbour", l->role == ROLE_HSM ? "hsm" : "ledger"), LS("token", l->token));
	signer_end_all(ended);
	link_free(l);
}

/* Was all of it refused because the process ends? Then nothing of it was begun. */
static bool is_leaving(const struct msg_issue_answer *a)
{
	for (uint16_t i = 0; i < a->count; i++)
		if (a->grant[i].refusal.err != ERR_STOPPING)
			return false;
	return a->count > 0;
}

/* Takes the call that this answers. NULL: nobody waits for it,
 * another process is asked now, or it is not the answer to *broken. */
static struct signer_call *answered(
	struct signer *s, struct link *l, uint64_t serial, struct signer_call **broken)
{
	const struct msg_issue_answer *a = s->answer;
	struct signer_call *call = take_call(s, l, serial);
	struct refusal why;

	*broken = NULL;
	if (call == NULL)
		return NULL;
	if (a->count != call->issue.count || strcmp(a->request, call->issue.request) != 0) {
		*broken = call;
		return NULL;
	}
	if (!is_leaving(a))
		return call;
	l->leaving = true;
	if (!l->retired)
		signer_away(s, l->token);
	return signer_send(s, call, &why) == ERR_OK ? NULL : call;
}

static enum err take_issue_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	struct msg_issue_answer *a = s->answer;
	struct signer_call *call, *broken;

	if (msg_issue_answer_read(a, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	call = answered(s, l, serial, &broken);
	pthread_mutex_unlock(&s->lock);
	if (broken != NULL) {
		give_up(broken, true);
		end_call(broken);
		return ERR_FORMAT;
	}
	if (call == NULL)
		return ERR_OK; /* it came after the deadline, or another process is asked */
	memset(&call->refusal, 0, sizeof(call->refusal));
	call->grant = &a->grant[0];
	end_call(call);
	return ERR_OK;
}

static enum err take_state_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	enum err err = ERR_FORMAT;

	if (msg_state_answer_read(s->state, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	if (serial == l->poll_serial)
		err = link_state(l, s->state, &s->serial, &s->out);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static enum err take_read_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	struct signer_call *call = NULL;
	bool heads;

	if (msg_read_answer_read(s->read, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	heads = serial == l->poll_serial;
	if (heads)
		link_read(l, s->read, &s->serial, &s->out);
	else
		call = take_call(s, l, serial);
	pthread_mutex_unlock(&s->lock);
	if (call == NULL)
		return ERR_OK;
	memset(&call->refusal, 0, sizeof(call->refusal));
	if (s->read->err != ERR_OK)
		(void)refuse(&call->refusal, s->read->err, "", "%s", err_text(s->read->err));
	call->read = s->read;
	end_call(call);
	return ERR_OK;
}

static enum err take_hold_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	struct msg_hold_answer answer;
	struct signer_call *call;

	if (msg_hold_answer_read(&answer, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	call = take_call(s, l, serial);
	pthread_mutex_unlock(&s->lock);
	if (call == NULL)
		return ERR_OK;
	call->refusal = answer.refusal;
	call->held = &answer;
	end_call(call);
	return ERR_OK;
}

static const struct {
	uint16_t type;
	uint8_t role; /* who may send it */
	enum err (*take)(struct signer *s, struct link *l, uint64_t serial, struct reader *body);
} answers[] = {
	{MSG_ISSUE + 1, ROLE_HSM, take_issue_answer},
	{MSG_STATE + 1, ROLE_HSM, take_state_answer},
	{MSG_READ + 1, ROLE_LEDGER, take_read_answer},
	{MSG_HOLD + 1, ROLE_LEDGER, take_hold_answer},
	{MSG_RELEASE + 1, ROLE_LEDGER, take_hold_answer},
};

static enum err take_message(struct signer *s, struct link *l, size_t len)
{
	struct msg_head head;
	struct reader body;

	if (msg_open(&head, &body, s->in, len) != ERR_OK)
		return ERR_FORMAT;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].type == head.type && answers[i].role == l->role)
			return answers[i].take(s, l, head.serial, &body);
	return ERR_FORMAT;
}

static enum err read_link(struct signer *s, struct link *l)
{
	size_t len;
	enum err err = ERR_OK;

	for (unsigned i = 0; i < MESSAGES_A_TURN && err == ERR_OK; i++) {
		err = channel_receive(l->fd, s->in, MSG_MAX, &len, NULL, NULL, 0);
		if (err == ERR_OK)
			err = take_message(s, l, len);
	}
	if (err == ERR_FORMAT) {
		LOG(LOG_LEVEL_ERROR, "malformed message",
			LS("neighbour", l->role == ROLE_HSM ? "hsm" : "ledger"),
			LS("token", l->token));
		return err;
	}
	if (err == ERR_CLOSED || err == ERR_SYSTEM)
		remove_link(s, l);
	return ERR_OK;
}

static struct signer_call *take_parked(struct signer *s, int64_t now)
{
	struct signer_call *ended = signer_unpark(s, NULL, now);

	for (struct signer_call *call = ended; call != NULL; call = call->next)
		(void)refuse(&call->refusal, ERR_KEY_UNAVAILABLE, "",
			"the process of this key's token is being started; nothing was signed");
	return ended;
}

/* The end of a turn: deadlines, retired channels, questions for states. */
static void tidy(struct signer *s)
{
	int64_t now = monotonic_ms();
	struct signer_call *ended = NULL, *parked = NULL;
	struct link *spent = NULL;

	pthread_mutex_lock(&s->lock);
	if (now - s->looked >= LOOK_MS) {
		s->looked = now;
		ended = take_ended(s, NULL, now);
		parked = take_parked(s, now);
	}
	for (struct link *l = s->links; l != NULL; l = l->next) {
		if (l->retired && l->waiting == 0)
			spent = l;
		link_poll(l, now, &s->serial, &s->out);
	}
	pthread_mutex_unlock(&s->lock);
	signer_end_all(ended);
	signer_end_all(parked);
	if (spent != NULL)
		remove_link(s, spent);
}

enum err signer_turn(struct signer *s, struct pollfd *own, size_t own_count, int timeout_ms)
{
	size_t n = 0;
	int ready;
	enum err err = ERR_OK;

	if (own_count > 16)
		return ERR_INTERNAL;
	if (own_count > 0)
		memcpy(s->polled, own, own_count * sizeof(*own));
	for (struct link *l = s->links; l != NULL; l = l->next) {
		s->polled[own_count + n] = (struct pollfd){.fd = l->fd, .events = POLLIN};
		s->polled_link[n++] = l;
	}
	ready = poll(s->polled, own_count + n, timeout_ms);
	for (size_t i = 0; i < own_count; i++)
		own[i].revents = (short)(ready > 0 ? s->polled[i].revents : 0);
	for (size_t i = 0; ready > 0 && i < n && err == ERR_OK; i++)
		if (s->polled[own_count + i].revents != 0)
			err = read_link(s, s->polled_link[i]);
	tidy(s);
	return err;
}
