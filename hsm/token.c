#include "token.h"

#include <dlfcn.h>
#include <libp11.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "counters.h"
#include "token_private.h"

int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum err token_refuse(struct refusal *why, const char *call, CK_RV rv)
{
	return refuse(why, ERR_TOKEN, "token", "%s: %s (0x%lx)", call, p11_kit_strerror(rv), rv);
}

void token_set_lost(struct token *t)
{
	pthread_mutex_lock(&t->lock);
	t->lost = true;
	pthread_cond_broadcast(&t->freed);
	pthread_mutex_unlock(&t->lock);
}

bool token_lost(const struct token *t)
{
	struct token *inner = (struct token *)(uintptr_t)t;
	bool lost;

	pthread_mutex_lock(&inner->lock);
	lost = t->lost;
	pthread_mutex_unlock(&inner->lock);
	return lost;
}

/* The members of CK_TOKEN_INFO are padded with blanks and have no NUL. */
static void fact(char *text, const CK_UTF8CHAR *padded, size_t len)
{
	while (len > 0 && (padded[len - 1] == ' ' || padded[len - 1] == 0))
		len--;
	for (size_t i = 0; i < len; i++)
		text[i] = (char)(padded[i] >= 0x20 && padded[i] < 0x7f ? padded[i] : '?');
	text[len] = '\0';
}

static void facts_take(struct token *t)
{
	fact(t->facts.label, t->info.label, sizeof t->info.label);
	fact(t->facts.serial, t->info.serialNumber, sizeof t->info.serialNumber);
	fact(t->facts.manufacturer, t->info.manufacturerID, sizeof t->info.manufacturerID);
	fact(t->facts.model, t->info.model, sizeof t->info.model);
	t->facts.pin_count_low = (t->info.flags & CKF_USER_PIN_COUNT_LOW) != 0;
	t->facts.pin_final_try = (t->info.flags & CKF_USER_PIN_FINAL_TRY) != 0;
	t->facts.pin_locked = (t->info.flags & CKF_USER_PIN_LOCKED) != 0;
}

const struct token_facts *token_facts(const struct token *t)
{
	return &t->facts;
}

static enum err module_load(struct token *t, const struct token_spec *spec, struct refusal *why)
{
	CK_C_INITIALIZE_ARGS args = {
		.flags = CKF_OS_LOCKING_OK, .pReserved = (void *)(uintptr_t)spec->module_args};
	CK_C_GetFunctionList list;
	CK_RV rv;

	t->module = dlopen(spec->module, RTLD_NOW | RTLD_LOCAL);
	if (t->module == NULL)
		return refuse(why, ERR_TOKEN, "module", "%s", dlerror());
	*(void **)&list = dlsym(t->module, "C_GetFunctionList");
	if (list == NULL)
		return refuse(why, ERR_TOKEN, "module", "%s is not a PKCS#11 module", spec->module);
	rv = list(&t->p11);
	if (rv != CKR_OK)
		return token_refuse(why, "C_GetFunctionList", rv);
	t->ctx = PKCS11_CTX_new();
	if (t->ctx == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	if (spec->module_args != NULL)
		PKCS11_CTX_init_args(t->ctx, spec->module_args);
	if (PKCS11_CTX_load(t->ctx, spec->module) != 0) {
		CK_RV said =
			(CK_RV)ERR_GET_REASON(ERR_peek_last_error()); /* vendor codes are cut */

		PKCS11_CTX_free(t->ctx);
		t->ctx = NULL;
		return refuse(why, ERR_TOKEN, "module", "%s can't be initialised: %s (0x%lx)",
			spec->module, p11_kit_strerror(said), said);
	}
	/* p11-kit's client gives each caller a function list, and a state, of its own. */
	rv = t->p11->C_Initialize(&args);
	t->own_state = rv == CKR_OK;
	if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
		return token_refuse(why, "C_Initialize", rv);
	if (PKCS11_enumerate_slots(t->ctx, &t->slots, &t->slot_count) != 0)
		return refuse(why, ERR_TOKEN, "module", "%s lists no slots", spec->module);
	return ERR_OK;
}

static enum err slot_find(struct token *t, const char *text, struct refusal *why)
{
	P11KitUri *uri;
	unsigned found = 0;
	enum err e = uri_parse(&uri, text, false, why);

	if (e != ERR_OK)
		return e;
	for (unsigned i = 0; i < t->slot_count; i++) {
		CK_SLOT_ID id = PKCS11_get_slotid_from_slot(&t->slots[i]);
		CK_TOKEN_INFO info;

		if (t->slots[i].token == NULL || t->p11->C_GetTokenInfo(id, &info) != CKR_OK ||
			!(info.flags & CKF_TOKEN_INITIALIZED) ||
			!p11_kit_uri_match_token_info(uri, &info))
			continue;
		found++;
		t->slot = &t->slots[i];
		t->slot_id = id;
		t->info = info;
	}
	p11_kit_uri_free(uri);
	if (found == 0)
		return refuse(why, ERR_TOKEN, "uri", "no token matches %s", text);
	if (found > 1)
		return refuse(
			why, ERR_TOKEN, "uri", "%u tokens match %s: add serial=", found, text);
	facts_take(t);
	return ERR_OK;
}

enum err token_open(struct token **out, const struct token_spec *spec, struct refusal *why)
{
	struct token *t = calloc(1, sizeof *t);
	pthread_condattr_t monotonic;
	enum err e;
	CK_RV rv;

	*out = NULL;
	if (t == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	pthread_mutex_init(&t->lock, NULL);
	pthread_mutex_init(&t->keeper_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&t->freed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	t->limit = t->cap = spec->sessions;
	gate_init(&t->gate, spec->sessions, spec->concurrency);
	t->session = calloc(t->limit, sizeof *t->session);
	for (unsigned i = 0; t->session != NULL && i < t->limit; i++)
		t->session[i].token = t;
	e = t->session == NULL ? refuse(why, ERR_NOMEM, "", "%s", "") : module_load(t, spec, why);
	if (e == ERR_OK)
		e = slot_find(t, spec->uri, why);
	if (e == ERR_OK) {
		/* Not libp11's session and login: libp11 0.4.12 waits for ever when no session can
		 * be opened, keeps the PIN, and cuts return codes. This one keeps the login alive.
		 */
		rv = t->p11->C_OpenSession(t->slot_id, CKF_SERIAL_SESSION, NULL, NULL, &t->keeper);
		if (rv != CKR_OK) {
			t->keeper = CK_INVALID_HANDLE;
			e = token_refuse(why, "C_OpenSession", rv);
			if (rv == CKR_SESSION_COUNT)
				e = ERR_OVERLOADED;
		}
	}
	if (e == ERR_OK)
		*out = t;
	else
		token_close(t);
	return e;
}

enum err token_login_allowed(const struct token *t, enum login_risk risk, struct refusal *why)
{
	if (t->facts.pin_locked)
		return refuse(why, ERR_PIN, "pin",
			"the token says that its PIN is locked: no login is tried");
	if (t->facts.pin_final_try && risk < RISK_FINAL_TRY)
		return refuse(why, ERR_PIN, "pin",
			"the token says that its PIN is at its last try: no login is tried; who is "
			"sure of the PIN says dcsign keys list --final-try");
	if (t->facts.pin_count_low && risk < RISK_COUNT_LOW)
		return refuse(why, ERR_PIN, "pin",
			"the token says that a wrong PIN was tried: no login is tried; log in once "
			"with the right PIN, for example by dcsign keys list");
	return ERR_OK;
}

/* What a failed C_Login says about the PIN; any other code leaves it open. */
static const struct {
	CK_RV rv;
	enum login_result result;
} login_results[] = {
	{CKR_PIN_INCORRECT, LOGIN_REFUSED},
	{CKR_PIN_INVALID, LOGIN_REFUSED},
	{CKR_PIN_LEN_RANGE, LOGIN_REFUSED},
	{CKR_PIN_EXPIRED, LOGIN_REFUSED},
	{CKR_PIN_LOCKED, LOGIN_REFUSED},
	{CKR_USER_PIN_NOT_INITIALIZED, LOGIN_REFUSED},
	{CKR_TOKEN_NOT_PRESENT, LOGIN_NOT_TRIED},
	{CKR_DEVICE_REMOVED, LOGIN_NOT_TRIED},
	{CKR_SESSION_HANDLE_INVALID, LOGIN_NOT_TRIED},
	{CKR_SESSION_CLOSED, LOGIN_NOT_TRIED},
	{CKR_SESSION_COUNT, LOGIN_NOT_TRIED},
	{CKR_CRYPTOKI_NOT_INITIALIZED, LOGIN_NOT_TRIED},
	{CKR_DEVICE_ERROR, LOGIN_NOT_TRIED},
	{CKR_DEVICE_MEMORY, LOGIN_NOT_TRIED},
	{CKR_HOST_MEMORY, LOGIN_NOT_TRIED},
	{CKR_OPERATION_ACTIVE, LOGIN_NOT_TRIED},
	{CKR_OBJECT_HANDLE_INVALID, LOGIN_NOT_TRIED},
	{CKR_USER_NOT_LOGGED_IN, LOGIN_NOT_TRIED},
};

enum login_result token_login(struct token *t, const char *pin, struct refusal *why)
{
	CK_RV rv = t->p11->C_Login(
		t->keeper, CKU_USER, (CK_UTF8CHAR *)(uintptr_t)pin, (CK_ULONG)strlen(pin));

	if (rv == CKR_OK)
		return LOGIN_DONE;
	for (size_t i = 0; i < sizeof login_results / sizeof *login_results; i++)
		if (login_results[i].rv == rv) {
			token_refuse(why, "C_Login", rv);
			if (why != NULL && login_results[i].result == LOGIN_REFUSED)
				why->err = ERR_PIN;
			return login_results[i].result;
		}
	token_refuse(why, "C_Login", rv);
	return LOGIN_UNSURE;
}

void token_close(struct token *t)
{
	if (t == NULL)
		return;
	if (t->session != NULL)
		sessions_drop(t);
	free(t->session);
	if (t->keeper != CK_INVALID_HANDLE)
		t->p11->C_CloseSession(t->keeper);
	if (t->own_state)
		t->p11->C_Finalize(NULL);
	if (t->slots != NULL)
		PKCS11_release_all_slots(t->ctx, t->slots, t->slot_count);
	if (t->ctx != NULL) {
		PKCS11_CTX_unload(t->ctx);
		PKCS11_CTX_free(t->ctx);
	}
	if (t->module != NULL)
		dlclose(t->module);
	pthread_cond_destroy(&t->freed);
	pthread_mutex_destroy(&t->keeper_lock);
	pthread_mutex_destroy(&t->lock);
	gate_destroy(&t->gate);
	free(t);
}

void keeper_lock(struct token *t)
{
	pthread_mutex_lock(&t->keeper_lock);
	t->keeper_since = monotonic_ms();
}

void keeper_touch(struct token *t)
{
	t->keeper_since = monotonic_ms();
}

void keeper_unlock(struct token *t)
{
	t->keeper_since = 0;
	pthread_mutex_unlock(&t->keeper_lock);
}

bool token_stuck(const struct token *t, int64_t limit_ms)
{
	int64_t before = monotonic_ms() - limit_ms, since = t->keeper_since;
	unsigned stuck = 0;

	if (since != 0 && since < before - limit_ms)
		return true;
	for (unsigned i = 0; i < t->limit; i++) {
		since = t->session[i].since;
		stuck += since != 0 && since < before;
	}
	return stuck > 0 && stuck >= (t->limit + 1) / 2;
}

void token_give_up(struct token *t)
{
	token_set_lost(t);
}

unsigned token_width(const struct token *t)
{
	return gate_width(&t->gate);
}

unsigned token_turn(const struct token *t)
{
	return gate_turn(&t->gate);
}

void token_crowd(struct token *t, bool crowd)
{
	gate_crowd(&t->gate, crowd);
}

/* Is any private key to be found? A token that went away has none. The one that was found is asked
 * for the next time: to find one again takes long where there are thousands. */
static bool keys_there(struct token *t)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = {CKA_CLASS, &class, sizeof class};
	CK_ULONG count;
	size_t len;

	if (t->any_key != CK_INVALID_HANDLE &&
		attribute_read(t, t->any_key, CKA_CLASS, &class, sizeof class, &len) == CKR_OK)
		return true;
	class = CKO_PRIVATE_KEY;
	t->any_key = CK_INVALID_HANDLE;
	return objects_find(t, &template, 1, &t->any_key, 1, &count, NULL) == ERR_OK && count > 0;
}

enum err token_probe(struct token *t, struct refusal *why)
{
	CK_TOKEN_INFO info;
	CK_SESSION_INFO session;
	const char *call = "C_GetTokenInfo";
	CK_RV rv;

	keeper_lock(t);
	/* C_GetSessionInfo alone says nothing about a token that went away. SoftHSM can't tell
	 * about a token that it may only read any more once it is logged in, but can use it. */
	rv = t->p11->C_GetTokenInfo(t->slot_id, &info);
	if (rv == CKR_GENERAL_ERROR && keys_there(t)) {
		info = t->info;
		rv = CKR_OK;
	}
	if (rv == CKR_OK) {
		call = "C_GetSessionInfo";
		rv = t->p11->C_GetSessionInfo(t->keeper, &session);
		if (rv == CKR_OK && session.state != CKS_RO_USER_FUNCTIONS &&
			session.state != CKS_RW_USER_FUNCTIONS)
			rv = CKR_USER_NOT_LOGGED_IN;
	}
	keeper_unlock(t);
	if (rv == CKR_OK &&
		memcmp(info.serialNumber, t->info.serialNumber, sizeof info.serialNumber) != 0)
		rv = CKR_TOKEN_NOT_PRESENT;
	if (rv == CKR_OK)
		return ERR_OK;
	token_set_lost(t);
	return token_refuse(why, call, rv);
}
