#include "service_private.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#include "child.h"
#include "clock.h"
#include "log.h"
#include "pin.h"
#include "sandbox.h"
#include "watchdog.h"

#define TICK_MS	       20 /* granularity of deadlines */
#define IDLE_MS	       200
#define END_MS	       2000 /* for the module's own end */
#define DRAIN_MS       4000
#define LEAVE_MS       200   /* for those whose calls do come back, when others' don't */
#define AGAIN_MS       30000 /* between two looks at a token that can't be logged in to ... */
#define ABSENT_MS      100   /* ... or is not there, doubled each time ... */
#define ABSENT_MOST_MS 400
#define LAST_MESSAGES  65536
#define HEIR_MS	       10000 /* for a successor, when this process must not go on for long */
#define HEIR_AGAIN_MS  5000  /* until it is asked for again, doubled each time ... */
#define HEIR_MOST_MS   60000
#define SELF_MS	       1000 /* between two looks at what this process has taken */
#define BREAKER_MS     2000 /* between two looks whether the PIN breaker was cleared */

void service_end(struct service *s, int code, const char *reason)
{
	if (s->exit_code >= 0)
		return;
	LOG(code == EXIT_DRAINED ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "ending", LS("reason", reason),
		LN("exit", code));
	s->exit_code = code;
	s->drain_until = monotonic_ms() + DRAIN_MS;
}

void service_want_heir(struct service *s, const char *reason, int64_t ms)
{
	if (s->heir_wanted || s->retiring || s->exit_code >= 0)
		return;
	LOG(LOG_LEVEL_WARNING, "a new process is to take over", LS("reason", reason));
	s->heir_wanted = true;
	s->heir_until = ms == 0 ? 0 : monotonic_ms() + ms;
	s->heir_pause = HEIR_AGAIN_MS;
	s->heir_again = monotonic_ms() + s->heir_pause;
	if (child_wants_heir() != ERR_OK)
		service_end(s, EXIT_ABSENT, reason);
}

enum err service_say_ready(const struct service *s)
{
	const struct refusal *why = &s->start->token_why;
	uint8_t digest[SHA256_SIZE];

	if (s->start->token != NULL)
		return child_ready();
	sha256(why->detail, strlen(why->detail), digest);
	return child_ready_without((s->start->absent ? CHILD_ABSENT : 0) |
				   (s->start->no_room ? CHILD_NO_ROOM : 0) |
				   (uint32_t)why->err << 16 | (uint32_t)digest[0] << 8 | digest[1]);
}

/* A request whose keys are still to be proved waits for them, and for nothing else. */
static bool context_pending(void *arg, const struct msg_issue *ask)
{
	struct service *s = arg;
	struct keyring *keys = keeper_keys(&s->keeper);
	int64_t now = clock_estimate();
	bool pending = false;

	for (uint16_t i = 0; i < ask->count; i++)
		pending = keyring_pending(keys, ask->item[i].key, now) || pending;
	keyring_unref(keys);
	return pending;
}

static void context_acquire(void *arg, struct issuer *out)
{
	struct service *s = arg;

	*out = (struct issuer){
		.keys = keeper_keys(&s->keeper), .token = s->start->token, .ledger = s->ledger};
}

static void context_release(void *arg, struct issuer *context)
{
	(void)arg;
	keyring_unref(context->keys);
}

/* Without a token: this process tells why, and one after the other its successors look at it. */
static void look_at_token(struct service *s)
{
	int64_t now = monotonic_ms();

	if (s->exit_code >= 0 || s->breaker || now < s->look_again)
		return;
	if (s->start->absent && s->look_pause < ABSENT_MOST_MS)
		s->look_pause *= 2;
	s->look_again = now + s->look_pause;
	if (child_wants_heir() != ERR_OK)
		service_end(s, EXIT_ABSENT, "looking at the token again");
}

/* A cleared breaker asks for a new process. */
static void look_at_breaker(struct service *s)
{
	int64_t now = monotonic_ms();

	if (!s->breaker || now < s->breaker_look)
		return;
	s->breaker_look = now + BREAKER_MS;
	if (!breaker_present(s->start->breaker_folder, s->start->serial))
		service_end(s, EXIT_ABSENT, "the PIN breaker was cleared");
}

/* A module that leaks gets a new process before the old one fails. */
static void look_at_self(struct service *s)
{
	int64_t now = monotonic_ms();
	struct resources have;

	if (now < s->self_look)
		return;
	have = resources_now();
	if (s->self_look == 0)
		s->begin = have;
	s->self_look = now + SELF_MS;
	if (resources_leak(&s->begin, &have))
		service_want_heir(s, "memory or descriptors have leaked away", HEIR_MS);
}

/* No other process took over: those whose calls do come back may write down what they have. */
static void leave(struct service *s, struct token *token)
{
	struct refusal why = {.err = ERR_OK};

	token_give_up(token);
	service_end(s, EXIT_ABSENT, "calls of the module do not come back");
	s->leaving = true;
	s->drain_until = monotonic_ms() + LEAVE_MS;
	refuse(&why, ERR_STOPPING, "", "%s", "");
	why.retry_after = 1;
	queue_refuse(&s->queue, &why);
}

/* Self-tests that did not come back have: what they were to prove can be proved now. */
static void look_at_tests(struct service *s)
{
	unsigned hung = keyring_hung();

	if (hung < s->hung)
		keeper_wake(&s->keeper);
	s->hung = hung;
}

/* Half of them do not come back: another process is to take over, within the same time once more.
 */
static void look_at_calls(struct service *s, struct token *token, int64_t limit)
{
	struct refusal why = {.err = ERR_OK};

	if (!token_stuck(token, limit)) {
		s->stuck_until = 0;
		return;
	}
	if (s->stuck_until == 0) {
		s->stuck_until = monotonic_ms() + limit;
		service_want_heir(s, "calls of the module do not come back", 0);
	}
	if (s->retiring) { /* those that no worker has taken have not begun: another may sign them
			    */
		refuse(&why, ERR_STOPPING, "", "%s", "");
		why.retry_after = 1;
		queue_refuse(&s->queue, &why);
	} else if (s->exit_code >= 0 || monotonic_ms() > s->stuck_until) {
		leave(s, token);
	}
}

/* Followed by another process: everything has its answer, or has had its time. */
static void look_at_retirement(struct service *s)
{
	if (!s->retiring || s->exit_code >= 0 ||
		(monotonic_ms() <= s->drain_until &&
			(s->api != NULL || queue_unanswered(&s->queue) > 0)))
		return;
	service_end(s, EXIT_DRAINED, "everything is answered");
	s->drain_until = monotonic_ms() + LEAVE_MS;
}

/* None that is of use came: perhaps the token is there for the next. */
static void look_at_heir(struct service *s)
{
	int64_t now = monotonic_ms();

	if (!s->heir_wanted || s->retiring || s->exit_code >= 0 || now < s->heir_again)
		return;
	s->heir_pause = 2 * s->heir_pause < HEIR_MOST_MS ? 2 * s->heir_pause : HEIR_MOST_MS;
	s->heir_again = now + s->heir_pause;
	if (child_wants_heir() != ERR_OK)
		service_end(s, EXIT_ABSENT, "no new process can be asked for");
}

/* Reasons to end that no message tells. */
static void look_around(struct service *s)
{
	struct token *token = s->start->token;
	const struct config_token *c;
	struct keyring *keys;

	if (token == NULL) {
		look_at_breaker(s);
		if (!s->retiring)
			look_at_token(s);
		look_at_retirement(s);
		return;
	}
	look_at_self(s);
	look_at_tests(s);
	if (token_lost(token))
		service_end(s, EXIT_ABSENT, "the token is lost");
	keys = keeper_keys(&s->keeper);
	c = config_token(keyring_config(keys), s->start->token_name);
	if (!s->leaving)
		look_at_calls(s, token, c->sign_timeout_ms);
	keyring_unref(keys);
	if (s->heir_until != 0 && monotonic_ms() > s->heir_until && !s->retiring)
		service_end(s, EXIT_ABSENT, "no new process took over");
	look_at_heir(s);
	look_at_retirement(s);
}

/* Nothing more can be sent to us; what the api has sent before is answered, so that it knows that
 * nothing of it was begun. */
static void close_door(struct service *s)
{
	if (s->api == NULL)
		return;
	(void)shutdown(s->api->fd, SHUT_RD);
	for (unsigned i = 0; s->api != NULL && i < LAST_MESSAGES; i++)
		read_api(s);
}

/* Deadlines and what no message tells, every TICK_MS or when something has changed. 0: nothing is
 * under way. */
static unsigned look(struct service *s)
{
	int64_t now = monotonic_ms();

	if (now >= s->look_next || s->exit_code >= 0) {
		s->look_next = now + TICK_MS;
		s->under_way = queue_expire(&s->queue);
		look_around(s);
	}
	return s->under_way;
}

/* One round: true while there is something to wait for. */
static bool serve(struct service *s)
{
	struct pollfd p[] = {{.fd = CHILD_CONTROL, .events = POLLIN},
		{.fd = s->api == NULL ? -1 : s->api->fd, .events = POLLIN},
		{.fd = append_fd(s->ledger), .events = POLLIN},
		{.fd = s->signals, .events = POLLIN}};
	unsigned under_way = look(s);
	struct signalfd_siginfo info;

	if (s->exit_code >= 0 && (under_way == 0 || monotonic_ms() > s->drain_until)) {
		close_door(s);
		return false;
	}
	if (poll(p, 4,
		    under_way > 0 || s->exit_code >= 0 || s->start->absent ? TICK_MS : IDLE_MS) <=
		0)
		return true;
	if (p[2].revents != 0)
		read_ledger(s);
	if (p[1].revents != 0) {
		s->under_way++;
		read_api(s);
	}
	if (p[0].revents != 0)
		read_control(s);
	if (p[0].revents != 0 || p[3].revents != 0 || s->api == NULL)
		s->look_next = 0;
	if (p[3].revents != 0 && read(s->signals, &info, sizeof info) == sizeof info)
		service_end(s, EXIT_DRAINED, "asked to");
	return true;
}

static void answer_decision(void *arg, uint64_t serial, const struct refusal *why)
{
	(void)arg;
	child_answer_decision(serial, why, "the clock is accepted, and a CLOCK record says so");
}

static enum err record_clock(void *arg, const struct clock_event *event)
{
	struct service *s = arg;
	struct buf octets = BUF_INIT(RECORD_MAX);
	struct append_answers *answers = calloc(1, sizeof *answers);
	struct record r;
	char boot[40];
	enum err e;

	record_init(&r, RECORD_CLOCK);
	r.time = event->resumed ? event->at.wall_ms / 1000 : clock_estimate();
	r.drift_ms = event->drift_ms;
	(void)clock_boot_id(boot);
	r.boot_id = octets_text(boot);
	r.boottime = event->at.boot_ms;
	r.detail = octets_text(event->detail);
	if (event->resumed && event->accepted)
		r.reason = octets_text("accepted");
	e = answers == NULL ? ERR_NOMEM : record_encode(&octets, &r);
	if (e == ERR_OK) {
		struct append_item item = {.record = octets_of(octets.octets, octets.len)};

		if (event->resumed)
			e = append_records(s->ledger, &item, 1, answers, NULL);
		else
			append_post(s->ledger, &item, 1);
		append_answers_free(answers);
	}
	buf_free(&octets);
	free(answers);
	return e;
}

static enum err service_start(struct service *s)
{
	const struct service_start *start = s->start;
	const struct config_token *c = config_token(start->config, start->token_name);
	sigset_t signals;
	enum err e;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	s->exit_code = -1;
	s->look_pause = start->absent ? ABSENT_MS : AGAIN_MS;
	s->look_again = monotonic_ms() + s->look_pause;
	s->breaker = start->token == NULL && !start->absent &&
		     breaker_present(start->breaker_folder, start->serial);
	s->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	s->ledger = append_new();
	if (s->signals < 0 || s->ledger == NULL)
		return ERR_SYSTEM;
	if (start->token == NULL)
		keyring_refuse_all(start->keys, &start->token_why);
	e = clock_begin(&(const struct clock_options){.folder = start->breaker_folder,
		.token = start->token_name,
		.need_sync = start->config->require_clock_sync,
		.record = record_clock,
		.decided = answer_decision,
		.arg = s});
	if (e == ERR_OK)
		e = keeper_start(
			&s->keeper, start->token_name, start->token, s->ledger, start->keys);
	s->queue.acquire = context_acquire;
	s->queue.release = context_release;
	s->queue.pending = context_pending;
	s->queue.arg = s;
	s->queue.ledger = s->ledger;
	if (e == ERR_OK)
		e = queue_start(&s->queue, c->workers);
	if (e == ERR_OK)
		e = sandbox_calls(SANDBOX_HSM);
	return e == ERR_OK ? service_say_ready(s) : e;
}

int service_run(const struct service_start *start)
{
	struct service *s = calloc(1, sizeof *s);
	int code;

	if (s == NULL)
		return EXIT_ABSENT;
	s->start = start;
	if (service_start(s) != ERR_OK) {
		LOG(LOG_LEVEL_ERROR, "the process can't start its threads");
		_exit(EXIT_ABSENT);
	}
	while (serve(s))
		;
	code = s->exit_code;
	if (queue_expire(&s->queue) > 0 || s->leaving || keyring_hung() > 0)
		_exit(code); /* somebody is stuck; the ledger closes what is open */
	watchdog_begin(END_MS, code);
	queue_stop(&s->queue);
	queue_join(&s->queue);
	append_attach(s->ledger, -1);
	clock_end();
	keeper_stop(&s->keeper);
	append_free(s->ledger);
	line_unref(s->api);
	close(s->signals);
	free(s);
	return code;
}
