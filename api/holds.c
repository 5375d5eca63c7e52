/* POST /v1/keys/{key}/hold and release, /v1/clients/{client}/hold and release. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "pages.h"

static void done(struct signer_call *call, bool held)
{
	struct exchange *x =
		(struct exchange *)(void *)((char *)call - offsetof(struct exchange, call));
	const char *key = x->key != NULL ? x->key->name : NULL;
	const char *client = x->named != NULL ? x->named->name : NULL;

	if (call->refusal.err != ERR_OK) {
		reply_problem(&x->reply, &call->refusal, x->id);
	} else {
		LOG(LOG_LEVEL_WARNING, held ? "held" : "released", LS("by", x->client->name),
			LS("key", key != NULL ? key : ""),
			LS("client", client != NULL ? client : ""), LS("reason", x->reason),
			LN("live", call->held->live), LS("request", x->id));
		reply_hold(&x->reply, held, key, client, x->reason, call->held);
	}
	x->resume(x);
}

static void hold_done(struct signer_call *call)
{
	done(call, true);
}

static void release_done(struct signer_call *call)
{
	done(call, false);
}

static bool ask(struct exchange *x, bool release)
{
	struct msg_hold m;
	const struct x509 *from = &x->peer->x509;
	struct refusal why;

	if (reason_parse(x->reason, x->body.octets, x->body.len, &why) != ERR_OK) {
		reply_problem(&x->reply, &why, x->id);
		return true;
	}
	memset(&m, 0, sizeof(m));
	memcpy(m.request, x->id, sizeof(m.request));
	memcpy(m.by, x->client->name, sizeof(m.by));
	memcpy(m.by_sha256, from->sha256, SHA256_SIZE);
	memcpy(m.by_serial, from->serial, sizeof(m.by_serial));
	memcpy(m.peer, x->peer->address, sizeof(m.peer));
	if (x->key != NULL)
		memcpy(m.key, x->key->name, sizeof(m.key));
	if (x->named != NULL)
		memcpy(m.client, x->named->name, sizeof(m.client));
	m.reason = (struct octets){(const uint8_t *)x->reason, strlen(x->reason)};
	x->call.done = release ? release_done : hold_done;
	x->call.deadline = x->deadline;
	x->hold(x);
	if (signer_hold(x->service->signer, release, &m, &x->call, &why) != ERR_OK) {
		reply_problem(&x->reply, &why, x->id);
		x->resume(x);
	}
	return false;
}

bool page_hold(struct exchange *x)
{
	return ask(x, false);
}

bool page_release(struct exchange *x)
{
	return ask(x, true);
}
