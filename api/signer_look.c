/* What the processes behind the channels have last said about themselves. */
#include <stdio.h>
#include <string.h>

#include "limits.h"
#include "signer_private.h"

void signer_key(struct signer *s, const char *token, const char *key, struct signer_key *out)
{
	static const uint8_t none[SHA256_SIZE];
	const struct msg_state_key *state;
	const struct link *l;

	memset(out, 0, sizeof(*out));
	out->err = ERR_KEY_UNAVAILABLE;
	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, token);
	state = l != NULL && link_fresh(l, monotonic_ms()) ? link_key(l, key) : NULL;
	if (state != NULL) {
		out->err = state->err;
		memcpy(out->detail, state->detail, sizeof(out->detail));
		memcpy(out->weak, state->weak, sizeof(out->weak));
		out->has_certificate = memcmp(state->certificate_sha256, none, SHA256_SIZE) != 0;
		memcpy(out->certificate_sha256, state->certificate_sha256, SHA256_SIZE);
		out->certificate_not_after = state->certificate_not_after;
		out->algorithm = state->algorithm;
	} else {
		snprintf(out->detail, sizeof(out->detail), "%s",
			l == NULL  ? "the token's process is being started"
			: l->known ? "the token's process does not answer"
				   : "the token's process has not told its state yet");
	}
	pthread_mutex_unlock(&s->lock);
}

void signer_token(struct signer *s, const char *token, struct signer_token *out)
{
	const struct link *l;

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, token);
	if (l == NULL) {
		snprintf(out->detail, sizeof(out->detail), "its process is being started");
	} else if (!link_fresh(l, monotonic_ms())) {
		snprintf(out->detail, sizeof(out->detail), "its process does not answer");
	} else {
		out->ready = l->token_ok;
		memcpy(out->detail, l->token_detail, sizeof(out->detail));
	}
	if (l != NULL) {
		out->waiting = l->waiting;
		memcpy(out->counter, l->counter, sizeof(out->counter));
		memcpy(out->span, l->span, sizeof(out->span));
		memcpy(out->generation, l->generation, sizeof(out->generation));
	}
	pthread_mutex_unlock(&s->lock);
}

bool signer_ledger(struct signer *s, struct msg_read_answer *heads)
{
	const struct link *l;
	bool ready = false;

	memset(heads, 0, sizeof(*heads));
	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, NULL);
	if (l != NULL && link_fresh(l, monotonic_ms())) {
		*heads = l->heads;
		ready = heads->err == ERR_OK;
	}
	pthread_mutex_unlock(&s->lock);
	return ready;
}

void signer_live_now(struct signer *s, uint32_t *holds, uint64_t *live)
{
	const struct link *l;

	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, NULL);
	*holds = l != NULL ? l->held_count : 0;
	*live = l != NULL ? l->live : 0;
	pthread_mutex_unlock(&s->lock);
}

bool signer_note(struct signer *s, const char *chain, char note[CHECKPOINT_MAX + 1])
{
	const struct link *l;
	const char *known;

	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, NULL);
	known = l != NULL ? link_note(l, chain) : NULL;
	if (known != NULL)
		snprintf(note, CHECKPOINT_MAX + 1, "%s", known);
	pthread_mutex_unlock(&s->lock);
	return known != NULL;
}

bool signer_held(struct signer *s, bool key, const char *name, char reason[HOLD_REASON_MAX + 1])
{
	const struct link *l;
	bool found = false;

	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, NULL);
	for (uint32_t i = 0; l != NULL && !found && i < l->held_count; i++) {
		const struct msg_held *h = &l->held[i];

		found = strcmp(key ? h->key : h->client, name) == 0;
		if (found)
			memcpy(reason, h->reason, sizeof(h->reason));
	}
	pthread_mutex_unlock(&s->lock);
	return found;
}
