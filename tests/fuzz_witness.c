/*
 * What a ledger answers an agent that looks after it. The input is a list: an octet that chooses
 * the question, then the answers that it leads to, each with its length (16 bit). Whatever they
 * say: a head that is kept goes on from the one before it, never to a smaller tree and never to
 * another root of the same size.
 */
#include "fuzz_files.h"

#include "checkpoint.h"
#include "client/agent.h"
#include "client/agent_witness_internal.h"
#include "client/tool.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static const uint8_t *at;
static size_t left;

/* In the place of agent_call.c: the next answer. */
int agent_call_at(struct agent_service *s, const char *url, const struct service_call *call,
	struct service_answer *answer, struct refusal *why)
{
	size_t n = left >= 2 ? (size_t)at[0] << 8 | at[1] : 0;

	(void)s;
	insist(url != NULL && call->path[0] == '/');
	if (left < 2 || n > left - 2) {
		left = 0;
		refuse(why, ERR_CLOSED, "", "no answer");
		return TOOL_UNREACHABLE;
	}
	answer->status = n > 0 && at[2] == '!' ? 404 : 200;
	if (answer->status == 200)
		buf_put(&answer->body, at + 2, n);
	at += 2 + n;
	left -= 2 + n;
	return answer->status == 200 ? TOOL_OK : TOOL_REFUSED;
}

int agent_call(struct agent_service *s, const struct service_call *call,
	struct service_answer *answer, const char **url, struct refusal *why)
{
	*url = s->urls[0];
	return agent_call_at(s, *url, call, answer, why);
}

static bool head_of(struct checkpoint *head, const json_t *chains)
{
	const char *note = witness_text(json_object_get(chains, "n/main"), "note");

	return checkpoint_read(head, note, strlen(note)) == ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	char url[] = "https://a", *urls[] = {url};
	struct agent_service service = {.section = {.name = "s"}, .urls = urls, .url_count = 1};
	struct agent_credential c = {.service = &service};
	struct look l = {.c = &c, .chains = json_object()};
	struct witness_before before = {.known = true,
		.id = "00000000000000000000000000000001",
		.chain = "n/main",
		.url = "https://a",
		.expiry = 2};
	struct checkpoint old, now;
	bool had;

	at = octets;
	left = len;
	while (left >= 2) {
		uint8_t question = at[0];

		at++;
		left--;
		had = head_of(&old, l.chains);
		if (question & 1)
			witness_ask_head(&l, "n/main", url);
		else
			witness_ask_inclusion(&l, &before, 1);
		if (head_of(&now, l.chains)) {
			insist(!had || now.size >= old.size);
			insist(!had || strcmp(now.origin, old.origin) == 0);
			insist(!had || now.size > old.size ||
				memcmp(now.root, old.root, sizeof now.root) == 0);
		} else {
			insist(!had);
		}
	}
	insist(l.alarm[0] == '\0' || strlen(l.alarm) < sizeof l.alarm);
	json_decref(l.chains);
	return 0;
}
