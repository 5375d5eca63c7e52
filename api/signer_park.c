/* Calls for a token whose process is being replaced: they wait for the next one, for a moment. */
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "signer_private.h"

struct away {
	char token[NAME_SIZE];
	int64_t until;
	struct away *next;
};

static struct away *find(const struct signer *s, const char *token)
{
	for (struct away *a = s->away; a != NULL; a = a->next)
		if (strcmp(a->token, token) == 0)
			return a;
	return NULL;
}

void signer_away(struct signer *s, const char *token)
{
	struct away *a = find(s, token);

	if (a == NULL) {
		a = calloc(1, sizeof(*a));
		if (a == NULL)
			return; /* nothing waits for it then */
		memcpy(a->token, token, NAME_SIZE);
		a->next = s->away;
		s->away = a;
	}
	if (a->until == 0)
		a->until = monotonic_ms() + SIGNER_AWAY_MS;
}

void signer_forget_away(struct signer *s)
{
	struct away *next;

	for (struct away *a = s->away; a != NULL; a = next) {
		next = a->next;
		free(a);
	}
	s->away = NULL;
}

bool signer_park(struct signer *s, struct signer_call *call)
{
	const struct away *a = find(s, call->token);

	if (a == NULL || a->until <= monotonic_ms() || s->parked_count >= s->queue)
		return false;
	call->link = NULL;
	call->next = s->parked;
	s->parked = call;
	s->parked_count++;
	s->waiting++;
	return true;
}

struct signer_call *signer_unpark(struct signer *s, const char *token, int64_t now)
{
	struct signer_call *out = NULL, *call, **at = &s->parked;
	const struct away *a;

	while ((call = *at) != NULL) {
		a = find(s, call->token);
		if (token != NULL ? strcmp(call->token, token) != 0
				  : call->deadline > now && a != NULL && a->until > now) {
			at = &call->next;
			continue;
		}
		*at = call->next;
		s->parked_count--;
		s->waiting--;
		call->next = out;
		out = call;
	}
	return out;
}

struct signer_call *signer_back(struct signer *s, const char *token)
{
	struct signer_call *waited = signer_unpark(s, token, 0), *refused = NULL, *call;
	struct away *a = find(s, token);

	if (a != NULL)
		a->until = 0;
	while ((call = waited) != NULL) {
		waited = call->next;
		if (signer_send(s, call, &call->refusal) == ERR_OK)
			continue;
		call->next = refused;
		refused = call;
	}
	return refused;
}
