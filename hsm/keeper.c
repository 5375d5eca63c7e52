#include "settings.h" /* PACKAGE_VERSION */

#include "keeper.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "log.h"

#define LOOK_MS	      5000 /* between two looks at token and keys */
#define AGAIN_MS      100  /* when something could not be done: doubled each time ... */
#define AGAIN_MOST_MS 400  /* ... so far, that keys are served within 1 s after a fault ... */
#define AGAIN_LONG_MS 3200 /* ... or, when each look takes long, so far */
#define LOOK_LONG_MS  100
#define PROVERS	      4

static enum err encode_start(struct buf *out, const struct keeper *k, const struct config *c)
{
	struct clock_reading at = clock_sample();
	char boot[40];
	struct record r;

	record_init(&r, RECORD_START);
	r.time = clock_estimate();
	r.node = octets_text(c->node);
	r.token = octets_text(k->token_name);
	r.version = octets_text(PACKAGE_VERSION);
	(void)clock_boot_id(boot);
	r.boot_id = octets_text(boot);
	r.boottime = at.boot_ms;
	r.single_user = c->single_user ? 1 : RECORD_NONE;
	r.generation = octets_of(c->generation, SHA256_SIZE);
	return record_encode(out, &r);
}

static enum err encode_config(struct buf *out, const struct config *c)
{
	struct record r;

	record_init(&r, RECORD_CONFIG);
	r.time = clock_estimate();
	r.generation = octets_of(c->generation, SHA256_SIZE);
	return record_encode(out, &r);
}

/* HELLO, then START and CONFIG in one message: from then on everybody may write. */
static enum err ledger_open(struct keeper *k)
{
	const struct config *c = keyring_config(k->keys);
	struct buf start = BUF_INIT(RECORD_MAX), config = BUF_INIT(RECORD_MAX);
	struct append_answers *answers = calloc(1, sizeof *answers);
	struct msg_hello_answer hello;
	struct refusal why = {.err = ERR_OK};
	enum err e =
		answers == NULL ? ERR_NOMEM : append_open(k->ledger, k->token_name, &hello, &why);

	if (e == ERR_OK) {
		clock_floor(hello.last_time);
		if (k->token != NULL)
			keyring_forget(k->keys);
		e = encode_start(&start, k, c);
	}
	if (e == ERR_OK)
		e = encode_config(&config, c);
	if (e == ERR_OK) {
		const struct append_item items[] = {
			{.record = octets_of(start.octets, start.len)},
			{.record = octets_of(config.octets, config.len)},
		};

		e = append_first(k->ledger, items, 2, answers, &why);
		append_answers_free(answers);
	}
	if (e == ERR_OK)
		LOG(LOG_LEVEL_INFO, "ledger open", LS("chain", hello.chain),
			LN("records", hello.size));
	else if (e != ERR_LEDGER_UNAVAILABLE)
		LOG(LOG_LEVEL_ERROR, "the ledger does not open", LS("reason", err_name(e)),
			LS("detail", why.detail));
	buf_free(&start);
	buf_free(&config);
	free(answers);
	return e;
}

/* The CONFIG record comes before the first AUTHORISED that names the new generation. Without a
 * ledger it comes when that opens. */
static void config_record(struct keeper *k, const struct config *c)
{
	struct buf octets = BUF_INIT(RECORD_MAX);
	struct append_answers *answers = calloc(1, sizeof *answers);

	if (answers != NULL && encode_config(&octets, c) == ERR_OK) {
		struct append_item item = {.record = octets_of(octets.octets, octets.len)};

		append_records(k->ledger, &item, 1, answers, NULL);
		append_answers_free(answers);
	}
	buf_free(&octets);
	free(answers);
}

static void take_pending(struct keeper *k)
{
	struct keyring *next, *old;

	pthread_mutex_lock(&k->lock);
	next = k->pending;
	k->pending = NULL;
	pthread_mutex_unlock(&k->lock);
	if (next == NULL)
		return;
	keyring_adopt(next, k->keys);
	config_record(k, keyring_config(next));
	pthread_mutex_lock(&k->lock);
	old = k->keys;
	k->keys = next;
	pthread_mutex_unlock(&k->lock);
	keyring_unref(old);
	LOG(LOG_LEVEL_INFO, "configuration taken");
}

/* Until the next look. What did not come back (ERR_TIMEOUT) took no work. */
static int64_t pause_after(struct keeper *k, enum err e, int64_t took)
{
	int64_t most = took > LOOK_LONG_MS && e != ERR_TIMEOUT ? AGAIN_LONG_MS : AGAIN_MOST_MS;

	if (e == ERR_OK) {
		k->again = AGAIN_MS;
		return LOOK_MS;
	}
	k->again = 2 * k->again < most ? 2 * k->again : most;
	return k->again;
}

/* One look at everything. Returns when the next one is due. */
static int64_t look(struct keeper *k)
{
	struct refusal why = {.err = ERR_OK};
	int64_t begun = monotonic_ms();
	enum err e = ERR_OK;

	take_pending(k);
	if (k->token != NULL && k->looked && token_probe(k->token, &why) != ERR_OK) {
		LOG(LOG_LEVEL_ERROR, "the token is lost", LS("detail", why.detail));
		return LOOK_MS;
	}
	if (append_generation(k->ledger) == 0)
		e = ledger_open(k);
	k->looked = k->looked || e == ERR_OK; /* before it was opened just now */
	if (e == ERR_OK && k->token == NULL)
		e = keyring_tell(k->keys, k->ledger);
	else if (e == ERR_OK)
		e = keyring_prove(k->keys, k->token, k->ledger, k->provers,
			config_token(keyring_config(k->keys), k->token_name)->sign_timeout_ms);
	return pause_after(k, e, monotonic_ms() - begun);
}

static void wait_until(struct keeper *k, int64_t until)
{
	struct timespec at = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

	pthread_mutex_lock(&k->lock);
	while (!k->wake && !k->stopping && pthread_cond_timedwait(&k->woken, &k->lock, &at) == 0)
		;
	if (k->wake)
		k->again = AGAIN_MS;
	k->wake = false;
	pthread_mutex_unlock(&k->lock);
}

static void *keep(void *arg)
{
	struct keeper *k = arg;
	bool stopping = false;

	while (!stopping) {
		int64_t next = look(k);

		malloc_trim(0); /* what a burst of batches took */
		wait_until(k, monotonic_ms() + next);
		pthread_mutex_lock(&k->lock);
		stopping = k->stopping;
		pthread_mutex_unlock(&k->lock);
	}
	return NULL;
}

enum err keeper_start(struct keeper *k, const char *token_name, struct token *token,
	struct append *ledger, struct keyring *keys)
{
	pthread_condattr_t monotonic;

	*k = (struct keeper){
		.token_name = token_name, .token = token, .ledger = ledger, .keys = keys};
	k->again = AGAIN_MS;
	k->provers = config_token(keyring_config(keys), token_name)->sessions;
	if (k->provers > PROVERS)
		k->provers = PROVERS;
	pthread_mutex_init(&k->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&k->woken, &monotonic);
	pthread_condattr_destroy(&monotonic);
	k->running = pthread_create(&k->thread, NULL, keep, k) == 0;
	return k->running ? ERR_OK : ERR_SYSTEM;
}

struct keyring *keeper_keys(struct keeper *k)
{
	struct keyring *keys;

	pthread_mutex_lock(&k->lock);
	keys = keyring_ref(k->keys);
	pthread_mutex_unlock(&k->lock);
	return keys;
}

void keeper_configure(struct keeper *k, struct keyring *keys)
{
	struct keyring *unused;

	pthread_mutex_lock(&k->lock);
	unused = k->pending;
	k->pending = keys;
	pthread_mutex_unlock(&k->lock);
	keyring_unref(unused);
	keeper_wake(k);
}

void keeper_wake(struct keeper *k)
{
	pthread_mutex_lock(&k->lock);
	k->wake = true;
	pthread_cond_signal(&k->woken);
	pthread_mutex_unlock(&k->lock);
}

void keeper_stop(struct keeper *k)
{
	pthread_mutex_lock(&k->lock);
	k->stopping = true;
	pthread_cond_signal(&k->woken);
	pthread_mutex_unlock(&k->lock);
	if (k->running)
		pthread_join(k->thread, NULL);
	keyring_unref(k->pending);
	keyring_unref(k->keys);
	pthread_cond_destroy(&k->woken);
	pthread_mutex_destroy(&k->lock);
}
