#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/timex.h>
#include <time.h>

#include "agent.h"
#include "tool.h"

#define CLOCK_TOLERANCE 30 /* seconds */
#define STEP_TOLERANCE	2

static enum err leaf_digest(const struct buf *pem, uint8_t digest[SHA256_SIZE])
{
	struct certificate chain[CERT_CHAIN_MAX];
	size_t i, count = 0;
	enum err e = certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem->octets, pem->len);

	if (!e)
		memcpy(digest, chain[0].sha256, SHA256_SIZE);
	for (i = 0; i < count; i++)
		certificate_free(&chain[i]);
	return e;
}

int agent_check(struct agent_item *item, struct refusal *why)
{
	struct service_answer answer = {.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	uint8_t digest[SHA256_SIZE];
	char path[128];
	const struct service_call call = {path, NULL, NULL, item->etag};
	const char *url = "";
	enum err e = ERR_OK;
	int code;

	snprintf(path, sizeof path, "/v1/keys/%s/certificate", item->c->key);
	code = agent_call(item->c->service, &call, &answer, &url, why);
	if (code == TOOL_OK && answer.status == 200) {
		e = leaf_digest(&answer.body, digest);
		if (e)
			refuse(why, e, "", "%s: the certificate chain can't be read: %s", url,
				err_text(e));
		else {
			item->certificate_changed =
				memcmp(digest, item->in.certificate_sha256, sizeof digest) != 0;
			memcpy(item->etag, answer.etag, sizeof item->etag);
		}
	}
	/* after 304 what was found before holds */
	buf_free(&answer.body);
	return e ? TOOL_UNEXPECTED : code;
}

static const char *own_clock(void)
{
	struct timex t = {.modes = 0};
	int state = adjtimex(&t);

	if (state < 0)
		return "whether this machine's clock is synchronised can't be told";
	return state == TIME_ERROR || t.status & STA_UNSYNC
		       ? "this machine's clock is not synchronised: look at it first"
		       : "this machine's clock is synchronised: look at the service's first";
}

void agent_clock(struct agent_service *s, int64_t date, int64_t before, int64_t after)
{
	if (!date)
		return;
	s->clock_offset = date < before ? date - before : date > after ? date - after : 0;
	if (llabs(s->clock_offset) < CLOCK_TOLERANCE) {
		if (s->clock_said)
			LOG(LOG_LEVEL_WARNING, "the clocks agree again",
				LS("service", s->section.name));
		s->clock_said = 0;
	} else if (llabs(s->clock_offset - s->clock_said) >= CLOCK_TOLERANCE) {
		LOG(LOG_LEVEL_ERROR, "a clock is wrong", LS("service", s->section.name),
			LN("service_ahead_s", s->clock_offset), LS("detail", own_clock()));
		s->clock_said = s->clock_offset;
	}
}

int64_t agent_mono(void)
{
	struct timespec t;
	clock_gettime(CLOCK_BOOTTIME, &t);
	return t.tv_sec;
}

void agent_clock_steps(void)
{
	static int64_t reference;
	int64_t now = time(NULL) - agent_mono();

	if (reference && llabs(now - reference) >= STEP_TOLERANCE)
		LOG(LOG_LEVEL_WARNING, "this machine's clock was stepped",
			LN("seconds", now - reference), LS("detail", own_clock()));
	if (!reference || llabs(now - reference) >= STEP_TOLERANCE)
		reference = now;
}

int64_t agent_random(int64_t most)
{
	uint64_t r = 0;
	if (most <= 0 || getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r)
		return 0;
	return (int64_t)(r % ((uint64_t)most + 1));
}
