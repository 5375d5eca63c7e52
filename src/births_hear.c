/* What children say. */
#include "settings.h"

#include <stdio.h>
#include <unistd.h>

#include "log.h"
#include "notify.h"
#include "parent.h"

static bool all_in(const struct parent *p, enum phase phase)
{
	for (size_t i = 0; i < p->birth_count; i++)
		if (births_wanted(p, &p->birth[i]) && p->birth[i].phase < phase)
			return false;
	return true;
}

static void taken(struct parent *p, struct birth *b)
{
	b->stale = false;
	if (b->phase == ASKED) {
		b->phase = TAKEN;
		births_introduce(p, b);
	}
	p->started = p->started || all_in(p, TAKEN);
}

static void serves(struct parent *p, struct birth *b, uint64_t unable)
{
	b->unanswered = 0;
	if (b->phase == SERVING)
		return;
	b->phase = SERVING;
	b->unable = unable;
	b->served_at = b->asked_last = parent_now();
	births_log(LOG_LEVEL_INFO, b, unable == 0 ? "serves" : "serves without a token");
	if (b->spare) {
		heir_serves(p, b);
		return;
	}
	if (p->announced || !all_in(p, SERVING))
		return;
	p->announced = true;
	LOG(LOG_LEVEL_INFO, "ready");
	notify_ready("serving");
}

static void refused(struct parent *p, struct birth *b, const char *text)
{
	LOG(LOG_LEVEL_ERROR, "configuration refused", LS("child", program_name(b->role)),
		LS("token", b->token), LS("reason", text));
	if (!p->started) {
		parent_say("%s: %s: %s", p->path, program_name(b->role), text);
		p->exit_code = EXIT_CONFIGURATION;
		return;
	}
	births_slay(b); /* it must not go on with an older one */
}

static bool understand(struct parent *p, struct birth *b, const uint8_t *octets, size_t len)
{
	struct msg_config_answer answer;
	struct msg_decide_answer decided;
	struct msg_hello hello;
	struct msg_head head;
	struct reader body;

	if (msg_open(&head, &body, octets, len) != ERR_OK)
		return false;
	if (head.type == MSG_STATE && reader_done(&body) && b->phase >= TAKEN) {
		serves(p, b, head.serial);
		return true;
	}
	if (head.type == MSG_HELLO && b->role == ROLE_HSM && b->phase == SERVING) {
		b->heir_wanted = true;
		return msg_hello_read(&hello, &body) == ERR_OK && hello.role == ROLE_HSM;
	}
	if (head.type == MSG_ANSWER(MSG_DECIDE) && b->role != ROLE_API) {
		if (msg_decide_answer_read(&decided, &body) != ERR_OK)
			return false;
		decide_answered(p, head.serial, &decided);
		return true;
	}
	if (head.type != MSG_ANSWER(MSG_CONFIG) || b->serial == 0 || head.serial != b->serial ||
		msg_config_answer_read(&answer, &body) != ERR_OK)
		return false;
	b->serial = 0;
	if (answer.err == ERR_OK)
		taken(p, b);
	else
		refused(p, b, answer.text);
	return true;
}

bool births_hear(struct parent *p, struct birth *b)
{
	static uint8_t octets[MSG_MAX];
	size_t len;
	enum err e = b->control < 0 ? ERR_TIMEOUT
				    : channel_receive(b->control, octets, sizeof octets, &len, NULL,
					      NULL, 0);

	if (e == ERR_TIMEOUT)
		return false;
	if (e == ERR_OK && understand(p, b, octets, len))
		return true;
	if (e != ERR_CLOSED)
		LOG(LOG_LEVEL_ERROR, "a message that is none: killed",
			LS("child", program_name(b->role)), LS("token", b->token));
	births_slay(b); /* without a control channel it is no child of ours any more */
	close(b->control);
	b->control = -1;
	return false;
}
