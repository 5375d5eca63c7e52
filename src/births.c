#include "settings.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"
#include "parent.h"

#define DELAY_FIRST_MS	100
#define DELAY_SERVED_MS 200 /* with a birth, all is served within 1 s after a death */
#define DELAY_TOKEN_MS	500 /* keys are, too, after the module's fault */
#define DELAY_CRASH_MS	5000
#define HEALTHY_MS	1000 /* who served so long is born again at once */
#define ANSWER_MS	60000
#define HELLO_MS	2000
#define ASK_MS		1000 /* an hsm process that serves is asked so often ... */
#define ASK_MOST	10   /* ... and killed when it has not answered so many times */

/* The table. */
static struct birth *find(struct parent *p, enum msg_role role, const char *token, bool spare)
{
	for (size_t i = 0; i < p->birth_count; i++)
		if (p->birth[i].role == role && strcmp(p->birth[i].token, token) == 0 &&
			p->birth[i].spare == spare)
			return &p->birth[i];
	return NULL;
}

struct birth *heir_other(struct parent *p, const struct birth *b)
{
	return b->role != ROLE_HSM ? NULL : find(p, b->role, b->token, !b->spare);
}

static void place(struct parent *p, struct birth *table, size_t *n, enum msg_role role,
	const char *token, bool spare)
{
	const struct birth *old = find(p, role, token, spare);
	struct birth *b = &table[(*n)++];

	if (old != NULL) {
		*b = *old;
		return;
	}
	*b = (struct birth){.role = role, .control = -1, .spare = spare};
	snprintf(b->token, sizeof b->token, "%s", token);
}

bool births_plan(struct parent *p)
{
	const struct config *c = p->config;
	struct birth *table = calloc(p->birth_count + 2 * c->token_count + 2, sizeof *table);
	size_t n = 0;

	if (table == NULL)
		return false;
	place(p, table, &n, ROLE_LEDGER, "", false);
	for (size_t i = 0; i < c->token_count; i++) {
		place(p, table, &n, ROLE_HSM, c->token[i].name, false);
		place(p, table, &n, ROLE_HSM, c->token[i].name, true);
	}
	/* Tokens that are no longer configured end in order. */
	for (size_t i = 0; i < p->birth_count; i++) {
		const struct birth *b = &p->birth[i];

		if (b->role == ROLE_HSM && config_token(c, b->token) == NULL && b->pid > 0) {
			kill(b->pid, SIGTERM);
			table[n++] = *b;
		}
	}
	place(p, table, &n, ROLE_API, "", false);
	free(p->birth);
	p->birth = table;
	p->birth_count = n;
	return true;
}

bool births_wanted(const struct parent *p, const struct birth *b)
{
	return b->role != ROLE_HSM || (!b->spare && config_token(p->config, b->token) != NULL);
}

void births_signal(const struct parent *p, enum msg_role role, int signal)
{
	for (size_t i = 0; i < p->birth_count; i++)
		if (p->birth[i].pid > 0 && (role == ROLE_PARENT || p->birth[i].role == role))
			kill(p->birth[i].pid, signal);
}

size_t births_alive(const struct parent *p, enum msg_role role)
{
	size_t n = 0;

	for (size_t i = 0; i < p->birth_count; i++)
		n += p->birth[i].pid > 0 && (role == ROLE_PARENT || p->birth[i].role == role);
	return n;
}

/* Not after it was reaped: the number may be somebody else's by then. */
void births_slay(const struct birth *b)
{
	if (b->pid > 0)
		kill(b->pid, SIGKILL);
}

void births_log(int level, const struct birth *b, const char *event)
{
	LOG((enum log_level)level, event, LS("child", program_name(b->role)), LS("token", b->token),
		LN("pid", b->pid));
}

/* Births. */
static void put_off(struct birth *b, int64_t most)
{
	b->next_birth = parent_now() + b->delay;
	b->delay = b->delay == 0 ? DELAY_FIRST_MS : 2 * b->delay;
	if (b->delay > most)
		b->delay = most;
}

static void bear(struct parent *p, struct birth *b)
{
	char why[1024] = "";

	if (spawn(p, b, p->config, p->bundle, false, why, sizeof why) == ERR_OK) {
		b->phase = ASKED;
		b->stale = false;
		births_log(LOG_LEVEL_INFO, b, "born");
		return;
	}
	LOG(LOG_LEVEL_ERROR, "can't be born", LS("child", program_name(b->role)),
		LS("token", b->token), LS("reason", why));
	if (!p->started) {
		parent_say("%s", why);
		p->exit_code = EXIT_BROKEN;
	}
	put_off(b, DELAY_CRASH_MS);
}

/* Is the hsm process that serves still there? An answer is another empty STATE. */
static void ask(struct birth *b, int64_t now)
{
	struct buf out = BUF_INIT(64);

	if (b->role != ROLE_HSM || b->phase < SERVING || b->control < 0 ||
		now < b->asked_last + ASK_MS)
		return;
	b->asked_last = now;
	if (++b->unanswered > ASK_MOST) {
		births_log(LOG_LEVEL_ERROR, b, "does not answer: killed");
		births_slay(b);
		return;
	}
	msg_begin(&out, MSG_STATE, 0);
	(void)channel_send(b->control, &out, NULL, 0, 0);
	buf_free(&out);
}

static void look_after(struct birth *b, int64_t now)
{
	if ((b->serial != 0 && b->asked_at + ANSWER_MS <= now) ||
		(b->kill_at != 0 && b->kill_at <= now)) {
		births_log(LOG_LEVEL_ERROR, b,
			b->serial != 0 ? "does not answer: killed" : "does not end: killed");
		births_slay(b);
		b->kill_at = 0;
		b->asked_at = now;
	}
	if (b->serial == 0)
		ask(b, now);
}

void births_due(struct parent *p)
{
	int64_t now = parent_now();

	for (size_t i = 0; i < p->birth_count && p->exit_code < 0 && p->stopping == 0; i++) {
		struct birth *b = &p->birth[i];

		if (b->pid == 0 && b->next_birth <= now && births_wanted(p, b))
			bear(p, b);
		else if (b->pid > 0)
			look_after(b, now);
		if (b->heir_wanted && b->pid > 0 && !b->spare)
			heir_due(p, b);
	}
}

int64_t births_wait(const struct parent *p)
{
	int64_t least = INT64_MAX;

	for (size_t i = 0; i < p->birth_count && p->stopping == 0; i++) {
		const struct birth *b = &p->birth[i];
		int64_t due = INT64_MAX;

		if (b->pid == 0 && births_wanted(p, b))
			due = b->next_birth;
		else if (b->serial != 0)
			due = b->asked_at + ANSWER_MS;
		else if (b->role == ROLE_HSM && b->phase == SERVING)
			due = b->asked_last + ASK_MS;
		if (b->kill_at != 0 && b->kill_at < due)
			due = b->kill_at;
		if (due < least)
			least = due;
	}
	return least;
}

/* Neighbours. */
static void say_hello(struct birth *to, const struct birth *about, int fd)
{
	struct msg_hello m = {.role = (uint8_t)about->role};
	struct buf out = BUF_INIT(MSG_MAX);

	memcpy(m.name, about->token, sizeof m.name);
	msg_begin(&out, MSG_HELLO, 0);
	msg_hello_write(&out, &m);
	if (channel_send(to->control, &out, &fd, 1, HELLO_MS) != ERR_OK)
		births_slay(to);
	buf_free(&out);
}

void births_introduce_two(struct birth *a, struct birth *b)
{
	int ends[2];

	if (channel_pair(ends) != ERR_OK) {
		LOG(LOG_LEVEL_ERROR, "no channel", LS("reason", strerror(errno)));
		births_slay(a);
		return;
	}
	say_hello(a, b, ends[0]);
	say_hello(b, a, ends[1]);
	close(ends[0]);
	close(ends[1]);
	if (a->role == ROLE_LEDGER || b->role == ROLE_LEDGER)
		a->no_ledger = b->no_ledger = false;
}

void births_introduce(struct parent *p, struct birth *b)
{
	for (size_t i = 0; i < p->birth_count; i++) {
		struct birth *other = &p->birth[i];

		if (other->role != b->role && other->phase >= TAKEN && !other->spare && !b->spare)
			births_introduce_two(b, other);
	}
}

/* Deaths. */
static int64_t delay_after(const struct birth *b)
{
	if (b->served_at == 0)
		return b->delay;
	if (parent_now() - b->served_at >= HEALTHY_MS)
		return 0;
	return b->delay < DELAY_SERVED_MS ? b->delay : DELAY_SERVED_MS;
}

static void bury(struct parent *p, struct birth *b, pid_t pid, int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	bool answered = b->phase >= TAKEN;
	char token[NAME_SIZE];
	int64_t lived = parent_now() - b->born_at;
	int64_t delay = delay_after(b);

	LOG(p->stopping != 0 && code == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "ended",
		LS("child", program_name(b->role)), LS("token", b->token), LN("pid", pid),
		LN("exit", code), LN("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0),
		LN("lived_ms", lived));
	if (b->control >= 0)
		close(b->control);
	memcpy(token, b->token, sizeof token);
	*b = (struct birth){.role = b->role,
		.spare = b->spare,
		.retiring = b->retiring,
		.heir_wanted = b->heir_wanted,
		.control = -1,
		.delay = delay,
		.next_birth = b->next_birth};
	memcpy(b->token, token, sizeof b->token);
	if (heir_buried(p, b))
		return;
	put_off(b, b->role == ROLE_HSM ? DELAY_TOKEN_MS : DELAY_CRASH_MS);
	if (!p->started && !answered && code != EXIT_TEMPORARY && p->exit_code < 0 &&
		p->stopping == 0) {
		parent_say("%s ended before it took its configuration (exit %d, signal %d)",
			program_name(b->role), code, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
		p->exit_code = EXIT_BROKEN;
	}
}

void births_reap(struct parent *p)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < p->birth_count; i++) {
			struct birth *b = &p->birth[i];

			if (b->pid != pid)
				continue;
			b->pid = 0;
			while (births_hear(p, b)) /* its last words */
				;
			bury(p, b, pid, status);
		}
}

void births_update(struct parent *p)
{
	char why[1024] = "";

	for (size_t i = 0; i < p->birth_count && p->reloading; i++) {
		struct birth *b = &p->birth[i];

		if (!b->stale || b->retiring) {
			b->stale = false;
			continue;
		}
		if (b->serial != 0) /* one after the other */
			return;
		if (send_config(p, b, p->config, p->bundle, false, why, sizeof why) == ERR_OK)
			return;
		LOG(LOG_LEVEL_ERROR, "configuration not handed over: killed",
			LS("child", program_name(b->role)), LS("reason", why));
		births_slay(b);
		b->stale = false;
	}
	if (!p->reloading)
		return;
	p->reloading = false;
	LOG(LOG_LEVEL_INFO, "configuration taken");
	notify_ready("serving");
}
