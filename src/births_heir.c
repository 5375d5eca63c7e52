#include "settings.h"

#include <signal.h>

#include "log.h"
#include "parent.h"

#define RETIRE_MS 15000 /* to answer what it has: longer than any request may take */

static void swap(struct birth *a, struct birth *b)
{
	struct birth was = *a;

	*a = *b;
	*b = was;
	a->spare = !a->spare;
	b->spare = !b->spare;
}

/* Two at the same time can't be had: the token has no room. */
static void drain_first(struct birth *first)
{
	births_log(LOG_LEVEL_WARNING, first,
		"no second process beside this one: it is drained before the next is born");
	first->kill_at = parent_now() + RETIRE_MS;
	kill(first->pid, SIGTERM);
}

/* The successor is of no use. The first one asks again, or ends when it can't go on. */
static void first_goes_on(struct birth *first, const char *why)
{
	first->heir_wanted = false;
	births_log(first->unable == 0 ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, first, why);
}

void heir_due(struct parent *p, struct birth *first)
{
	struct birth *heir = heir_other(p, first);
	char why[1024] = "";

	if (heir == NULL || heir->pid > 0)
		return;
	if (spawn(p, heir, p->config, p->bundle, false, why, sizeof why) == ERR_OK) {
		heir->phase = ASKED;
		heir->stale = false;
		births_log(LOG_LEVEL_INFO, heir, "born");
		return;
	}
	LOG(LOG_LEVEL_ERROR, "can't be born", LS("token", first->token), LS("reason", why));
	first_goes_on(first, "no successor can be born: this one goes on");
}

/* "You have a successor": HELLO without a descriptor. */
static void tell_of_heir(struct birth *old)
{
	struct msg_hello m = {.role = ROLE_HSM};
	struct buf out = BUF_INIT(MSG_MAX);

	msg_begin(&out, MSG_HELLO, 0);
	msg_hello_write(&out, &m);
	if (channel_send(old->control, &out, NULL, 0, 0) != ERR_OK)
		births_slay(old);
	buf_free(&out);
}

void heir_serves(struct parent *p, struct birth *heir)
{
	struct birth *first = heir_other(p, heir);

	if (first == NULL) /* its token is no longer configured */
		return;
	if (heir->unable != 0 && (first->unable == 0 || first->unable == heir->unable)) {
		first_goes_on(first, "its successor has no token: this one goes on");
		if (first->unable == 0 && (heir->unable & CHILD_NO_ROOM) != 0)
			drain_first(first);
		births_slay(heir);
		return;
	}
	swap(first, heir);
	births_log(LOG_LEVEL_INFO, first, "takes over");
	first->no_ledger = true;
	for (size_t i = 0; i < p->birth_count; i++)
		if (p->birth[i].role == ROLE_API && p->birth[i].phase >= TAKEN)
			births_introduce_two(first, &p->birth[i]);
	heir->retiring = true;
	heir->heir_wanted = false;
	heir->kill_at = parent_now() + RETIRE_MS;
	tell_of_heir(heir);
}

static void ledger_follows(struct parent *p, struct birth *first)
{
	for (size_t i = 0; i < p->birth_count && first->no_ledger; i++)
		if (p->birth[i].role == ROLE_LEDGER && p->birth[i].phase >= TAKEN)
			births_introduce_two(first, &p->birth[i]);
}

bool heir_buried(struct parent *p, struct birth *b)
{
	struct birth *other = heir_other(p, b);

	if (b->role != ROLE_HSM)
		return false;
	if (b->spare && b->retiring) {
		b->retiring = b->heir_wanted = false;
		if (other != NULL && other->pid > 0)
			ledger_follows(p, other);
	} else if (b->spare) {
		if (other != NULL && other->pid > 0 && other->heir_wanted)
			first_goes_on(other, "its successor ended: this one goes on");
	} else {
		b->heir_wanted = false;
		if (other == NULL || other->pid == 0 || other->retiring)
			return false;
		swap(b, other); /* the heir is there already */
		if (b->phase >= TAKEN)
			births_introduce(p, b);
	}
	return true;
}
