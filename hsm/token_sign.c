#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "counters.h"
#include "token_private.h"

#define CAP_MS 10000 /* between two tries to open more sessions than the token had room for */

/* What an error says. Codes differ between modules, so an unknown one is SESSION, and a session
 * that fails while it is fresh makes the token lost. */
enum cause { CAUSE_SESSION, CAUSE_BUSY, CAUSE_KEY, CAUSE_LOST };
static const struct {
	CK_RV rv;
	enum cause cause;
} causes[] = {
	{CKR_SESSION_HANDLE_INVALID, CAUSE_SESSION},
	{CKR_SESSION_CLOSED, CAUSE_SESSION},
	{CKR_SESSION_COUNT, CAUSE_BUSY},
	{CKR_OPERATION_ACTIVE, CAUSE_BUSY},
	{CKR_FUNCTION_FAILED, CAUSE_BUSY},
	{CKR_DEVICE_MEMORY, CAUSE_BUSY},
	{CKR_FUNCTION_CANCELED, CAUSE_BUSY},
	{CKR_MECHANISM_INVALID, CAUSE_KEY},
	{CKR_MECHANISM_PARAM_INVALID, CAUSE_KEY},
	{CKR_ARGUMENTS_BAD, CAUSE_KEY},
	{CKR_KEY_TYPE_INCONSISTENT, CAUSE_KEY},
	{CKR_KEY_FUNCTION_NOT_PERMITTED, CAUSE_KEY},
	{CKR_KEY_SIZE_RANGE, CAUSE_KEY},
	{CKR_DATA_LEN_RANGE, CAUSE_KEY},
	{CKR_DATA_INVALID, CAUSE_KEY},
	{CKR_DEVICE_ERROR, CAUSE_LOST},
	{CKR_DEVICE_REMOVED, CAUSE_LOST},
	{CKR_TOKEN_NOT_PRESENT, CAUSE_LOST},
	{CKR_TOKEN_NOT_RECOGNIZED, CAUSE_LOST},
	{CKR_SLOT_ID_INVALID, CAUSE_LOST},
	{CKR_CRYPTOKI_NOT_INITIALIZED, CAUSE_LOST},
	{CKR_USER_NOT_LOGGED_IN, CAUSE_LOST},
	{CKR_OBJECT_HANDLE_INVALID, CAUSE_LOST},
	{CKR_KEY_HANDLE_INVALID, CAUSE_LOST},
};

static enum cause cause_of(CK_RV rv)
{
	for (size_t i = 0; i < sizeof causes / sizeof *causes; i++)
		if (causes[i].rv == rv)
			return causes[i].cause;
	return CAUSE_SESSION;
}

unsigned token_sessions_open(const struct token *t)
{
	struct token *inner = (struct token *)(uintptr_t)t;
	unsigned n = t->keeper != CK_INVALID_HANDLE;

	pthread_mutex_lock(&inner->lock);
	for (unsigned i = 0; i < t->limit; i++)
		n += t->session[i].handle != CK_INVALID_HANDLE;
	pthread_mutex_unlock(&inner->lock);
	return n;
}

static void session_close(struct token_session *s)
{
	CK_SESSION_HANDLE handle = s->handle;

	pthread_mutex_lock(&s->token->lock);
	s->handle = CK_INVALID_HANDLE;
	pthread_mutex_unlock(&s->token->lock);
	s->tried = s->failed = false;
	if (handle != CK_INVALID_HANDLE)
		s->token->p11->C_CloseSession(handle);
}

/* One that nobody uses, an open one first. With the lock held. */
static struct token_session *session_free(struct token *t)
{
	struct token_session *closed = NULL;
	unsigned open = 0;

	for (unsigned i = 0; i < t->limit; i++) {
		struct token_session *s = &t->session[i];

		if (!s->in_use && s->handle != CK_INVALID_HANDLE)
			return s;
		open += s->in_use || s->handle != CK_INVALID_HANDLE;
		if (!s->in_use)
			closed = s;
	}
	return open < t->cap || monotonic_ms() >= t->cap_until ? closed : NULL;
}

void sessions_drop(struct token *t)
{
	struct token_session *s;

	pthread_mutex_lock(&t->lock);
	while ((s = session_free(t)) != NULL && s->handle != CK_INVALID_HANDLE) {
		s->in_use = true;
		pthread_mutex_unlock(&t->lock);
		session_close(s);
		pthread_mutex_lock(&t->lock);
		s->in_use = false;
		pthread_cond_signal(&t->freed);
	}
	pthread_mutex_unlock(&t->lock);
}

static enum err session_open(struct token *t, struct token_session *s, struct refusal *why)
{
	CK_SESSION_HANDLE handle = CK_INVALID_HANDLE;
	CK_RV rv;

	s->since = monotonic_ms();
	rv = t->p11->C_OpenSession(t->slot_id, CKF_SERIAL_SESSION, NULL, NULL, &handle);
	s->since = 0;
	if (rv == CKR_OK) {
		pthread_mutex_lock(&t->lock);
		s->handle = handle;
		pthread_mutex_unlock(&t->lock);
		return ERR_OK;
	}
	if (cause_of(rv) != CAUSE_BUSY)
		token_set_lost(t);
	token_refuse(why, "C_OpenSession", rv);
	return rv == CKR_SESSION_COUNT ? ERR_OVERLOADED : ERR_TOKEN;
}

/* The token has no room for another session: those that are open have to do. False: there is none.
 */
static bool session_cap(struct token *t, struct token_session *s)
{
	unsigned open = 0;

	pthread_mutex_lock(&t->lock);
	for (unsigned i = 0; i < t->limit; i++)
		open += t->session[i].handle != CK_INVALID_HANDLE;
	t->cap = open;
	t->cap_until = monotonic_ms() + CAP_MS;
	s->in_use = false;
	pthread_mutex_unlock(&t->lock);
	return open > 0;
}

/* A free session, an open one if there is; waits. NULL and *why. */
static struct token_session *session_wait(struct token *t, int64_t until, struct refusal *why)
{
	struct timespec deadline = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
	struct token_session *s = NULL;
	bool late = false;

	pthread_mutex_lock(&t->lock);
	while (!t->lost && !late && (s = session_free(t)) == NULL)
		late = pthread_cond_timedwait(&t->freed, &t->lock, &deadline) != 0;
	if (s != NULL && !t->lost)
		s->in_use = true;
	else if (t->lost)
		s = (refuse(why, ERR_TOKEN, "token", "the token was lost"), NULL);
	else
		refuse(why, ERR_TIMEOUT, "", "no session of the token became free");
	pthread_mutex_unlock(&t->lock);
	return s;
}

enum err token_session_take(
	struct token *t, int64_t until, struct token_session **out, struct refusal *why)
{
	struct refusal none;
	struct token_session *s;
	enum err e;

	if (why == NULL)
		why = &none;
	do {
		s = session_wait(t, until, why);
		e = s == NULL ? why->err : ERR_OK;
		if (s != NULL && s->handle == CK_INVALID_HANDLE)
			e = session_open(t, s, why);
	} while (e == ERR_OVERLOADED && session_cap(t, s));
	if (e == ERR_OVERLOADED)
		e = why->err;
	else if (e != ERR_OK && s != NULL)
		token_session_give(s);
	else if (s != NULL)
		s->until = until;
	*out = e == ERR_OK ? s : NULL;
	return e;
}

void token_session_give(struct token_session *s)
{
	struct token *t = s->token;

	if (s->failed)
		session_close(s);
	pthread_mutex_lock(&t->lock);
	s->in_use = false;
	pthread_cond_signal(&t->freed);
	pthread_mutex_unlock(&t->lock);
}

void token_session_until(struct token_session *s, int64_t until)
{
	s->until = until;
}

void token_session_spoil(struct token_session *s)
{
	s->failed = true;
}

CK_MECHANISM_TYPE
mechanism_for(enum key_type type)
{
	return type == KEY_ED25519			? CKM_EDDSA
	       : type == KEY_RSA || type == KEY_RSA_PSS ? CKM_RSA_PKCS_PSS
							: CKM_ECDSA;
}

static const CK_RSA_PKCS_PSS_PARAMS *pss_params(enum digest d)
{
	static const CK_RSA_PKCS_PSS_PARAMS params[] = {
		[DIGEST_SHA256] = {CKM_SHA256, CKG_MGF1_SHA256, 32},
		[DIGEST_SHA384] = {CKM_SHA384, CKG_MGF1_SHA384, 48},
		[DIGEST_SHA512] = {CKM_SHA512, CKG_MGF1_SHA512, 64},
	};

	return &params[d];
}

static bool key_is_for(const struct token_key *key, const struct scheme *scheme)
{
	enum key_type wanted = scheme->key == KEY_RSA_PSS ? KEY_RSA : scheme->key;

	return key->type == wanted && (scheme->digest != DIGEST_NONE) == (wanted != KEY_ED25519);
}

static void failed(struct token_session *s, const char *call, CK_RV rv, enum token_outcome outcome,
	struct token_signature *out)
{
	enum cause cause = cause_of(rv);

	if (cause == CAUSE_LOST || (cause == CAUSE_SESSION && !s->tried)) {
		token_set_lost(s->token);
		cause = CAUSE_LOST;
	}
	s->failed = true;
	if (cause == CAUSE_SESSION)
		sessions_drop(s->token);
	out->outcome = outcome;
	out->again = cause == CAUSE_SESSION || cause == CAUSE_BUSY;
	token_refuse(&out->why, call, rv);
	counter_add(COUNTER_SIGN_ERRORS, 1);
}

/* `octets` is the digest of exactly the scheme's length, or the whole message for Ed25519. */
static void sign_octets(struct token_session *s, const struct token_key *key,
	CK_MECHANISM *mechanism, const uint8_t *octets, size_t len, struct token_signature *out)
{
	CK_ULONG signature_len = sizeof out->raw;
	CK_RV rv = s->token->p11->C_SignInit(s->handle, mechanism, key->handle);

	if (rv != CKR_OK) {
		failed(s, "C_SignInit", rv, SIGN_NOT_DONE, out);
		return;
	}
	rv = s->token->p11->C_Sign(
		s->handle, (uint8_t *)(uintptr_t)octets, len, out->raw, &signature_len);
	if (rv != CKR_OK) {
		failed(s, "C_Sign", rv, SIGN_MAYBE, out);
		return;
	}
	s->tried = true;
	out->len = signature_len;
	out->outcome = SIGN_DONE;
	if (out->len == key->signature_len)
		return;
	s->failed = true;
	out->outcome = SIGN_MAYBE;
	refuse(&out->why, ERR_TOKEN, "token", "C_Sign gave %zu octets where %zu are a signature",
		out->len, key->signature_len);
	counter_add(COUNTER_SIGN_ERRORS, 1);
}

void token_sign(struct token_session *s, const struct token_key *key, const struct scheme *scheme,
	const uint8_t *message, size_t len, struct token_signature *out)
{
	CK_MECHANISM mechanism = {mechanism_for(scheme->key), NULL, 0};
	uint8_t digest[DIGEST_MAX];
	struct timespec a, b;
	struct pass pass;

	out->outcome = SIGN_NOT_DONE;
	out->again = false;
	out->len = 0;
	out->why = (struct refusal){.err = ERR_OK};
	if (!key_is_for(key, scheme)) {
		refuse(&out->why, ERR_INTERNAL, "token", "the key can't sign %s", scheme->name);
		return;
	}
	if (mechanism.mechanism == CKM_RSA_PKCS_PSS) {
		mechanism.pParameter = (void *)(uintptr_t)pss_params(scheme->digest);
		mechanism.ulParameterLen = sizeof(CK_RSA_PKCS_PSS_PARAMS);
	}
	if (scheme->digest != DIGEST_NONE) {
		len = digest_compute(scheme->digest, message, len, digest);
		message = digest;
	}
	if (!gate_enter(&s->token->gate, &pass, s->until)) {
		refuse(&out->why, ERR_TIMEOUT, "", "%s", "");
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &a);
	s->since = monotonic_ms();
	sign_octets(s, key, &mechanism, message, len, out);
	s->since = 0;
	gate_leave(&s->token->gate, &pass);
	clock_gettime(CLOCK_MONOTONIC, &b);
	counter_add(COUNTER_SIGN_US,
		(uint64_t)((b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000));
	if (out->outcome == SIGN_DONE)
		counter_add(COUNTER_SIGNATURES, 1);
}
