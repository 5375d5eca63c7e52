#include <string.h>
#include <time.h>

#include "agent.h"
#include "tool.h"

/* Would another node of the service perhaps do what this one does not? A refusal is never taken
 * from one node to the next. */
static bool another_may_answer(int code, const struct service_answer *a)
{
	return code != TOOL_OK && (code != TOOL_REFUSED || a->status == 429);
}

int agent_call_at(struct agent_service *s, const char *url, const struct service_call *call,
	struct service_answer *answer, struct refusal *why)
{
	const struct service service = {url, s->ca, s->certificate, s->private_key};
	struct service_problem problem;
	int64_t before = time(NULL);
	int code;

	if (service_call(&service, call, answer, why) != ERR_OK)
		return TOOL_UNREACHABLE;
	agent_clock(s, answer->date, before, time(NULL));
	if (answer->status >= 200 && answer->status < 400)
		return TOOL_OK;
	code = service_problem(answer, &problem);
	refuse(why, err_by_name(problem.code), problem.field, "%s refused (%ld %s%s%s): %s", url,
		answer->status, problem.code, *problem.field ? ", " : "", problem.field,
		problem.detail);
	why->retry_after = answer->retry_after > 0 && answer->retry_after < 86400
				   ? (uint32_t)answer->retry_after
				   : 0;
	return code;
}

int agent_call(struct agent_service *s, const struct service_call *call,
	struct service_answer *answer, const char **url, struct refusal *why)
{
	size_t i, first = s->current;
	int code = TOOL_UNREACHABLE;

	for (i = 0; i < s->url_count; i++) {
		size_t at = (first + i) % s->url_count;
		if (i)
			buf_free(&answer->body);
		memset(why, 0, sizeof *why);
		*url = s->urls[at];
		code = agent_call_at(s, *url, call, answer, why);
		if (!another_may_answer(code, answer)) {
			s->current = at;
			break;
		}
		if (s->url_count > 1)
			LOG(LOG_LEVEL_INFO, "no answer of use", LS("service", s->section.name),
				LS("url", *url), LS("detail", why->detail));
	}
	return code;
}
