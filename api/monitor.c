#include "monitor.h"

#include <jansson.h>
#include <string.h>
#include <time.h>

#include "alarms.h"

static json_t *state(const char *name, const char *value, bool ready, const char *detail)
{
	json_t *o = json_object();

	if (name != NULL)
		json_object_set_new(o, name, json_string(value));
	json_object_set_new(o, "ready", json_boolean(ready));
	if (detail[0] != '\0')
		json_object_set_new(o, "detail", json_string(detail));
	return o;
}

static json_t *listeners(const struct snapshot *s, bool *ready)
{
	json_t *list = json_array();
	int64_t now = time(NULL);

	*ready = false;
	for (size_t i = 0; i < s->config->listen_count; i++) {
		bool in = s->tls[i] == NULL || tls_crl_next_update(s->tls[i]) > now;

		json_array_append_new(
			list, state("listen", s->config->listen[i].address, in,
				      in ? "" : "a revocation list is past its nextUpdate"));
		*ready = *ready || in;
	}
	return list;
}

static json_t *ledger(struct signer *signer, bool *ready)
{
	struct msg_read_answer heads;

	*ready = signer_ledger(signer, &heads);
	return state(NULL, NULL, *ready, *ready ? "" : "it does not answer");
}

static json_t *tokens(const struct config *config, struct signer *signer)
{
	json_t *list = json_array(), *o;
	struct signer_token token;
	char generation[2 * SHA256_SIZE + 1];

	for (size_t i = 0; i < config->token_count; i++) {
		signer_token(signer, config->token[i].name, &token);
		o = state("token", config->token[i].name, token.ready, token.detail);
		hex_encode(generation, token.generation, SHA256_SIZE);
		json_object_set_new(o, "generation", json_string(generation));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *key_state(const struct config_key *key, struct signer *signer, bool *served)
{
	struct signer_key k;
	char expiry[21];
	json_t *o;

	signer_key(signer, key->token, key->name, &k);
	*served = k.err == ERR_OK;
	o = state("key", key->name, *served, k.detail);
	json_object_set_new(o, "token", json_string(key->token));
	if (!*served)
		json_object_set_new(o, "code", json_string(err_name(k.err)));
	if (k.weak[0] != '\0')
		json_object_set_new(o, "weak", json_string(k.weak));
	if (k.has_certificate) {
		time_text(expiry, k.certificate_not_after);
		json_object_set_new(o, "certificate_not_after", json_string(expiry));
	}
	return o;
}

static void add_alarm(void *list, const struct alarm *alarm)
{
	char until[21];

	time_text(until, alarm->not_after);
	json_array_append_new(
		list, json_pack("{s:s,s:s,s:s,s:i}", "certificate", alarm->kind, "of", alarm->name,
			      "not_after", until, "within_days", (int)alarm->days));
}

bool monitor_ready(struct reply *r, const struct snapshot *snapshot, struct signer *signer,
	bool stopping, const char *key)
{
	const struct config *config = snapshot->config;
	json_t *o = json_object(), *keys = json_array(), *reaches, *chain, *alarms;
	bool some_key = false, found = false, served, heard, written, ready;
	char generation[2 * SHA256_SIZE + 1];

	for (size_t i = 0; i < config->key_count; i++) {
		if (key != NULL && strcmp(config->key[i].name, key) != 0)
			continue;
		found = true;
		json_array_append_new(keys, key_state(&config->key[i], signer, &served));
		some_key = some_key || served;
	}
	reaches = listeners(snapshot, &heard);
	chain = ledger(signer, &written);
	ready = some_key && heard && written && !stopping;
	hex_encode(generation, config->generation, SHA256_SIZE);
	json_object_set_new(o, "ready", json_boolean(ready));
	json_object_set_new(o, "stopping", json_boolean(stopping));
	json_object_set_new(o, "node", json_string(config->node));
	json_object_set_new(o, "generation", json_string(generation));
	json_object_set_new(o, "single_user", json_boolean(config->single_user));
	json_object_set_new(o, "listeners", reaches);
	json_object_set_new(o, "ledger", chain);
	json_object_set_new(o, "tokens", tokens(config, signer));
	json_object_set_new(o, "keys", keys);
	alarms = json_array();
	alarms_each(snapshot, time(NULL), add_alarm, alarms);
	json_object_set_new(o, "alarms", alarms);
	reply_json(r, ready ? 200 : 503, o);
	return key == NULL || found;
}
