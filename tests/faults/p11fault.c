#include "p11fault.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEFAULT_MODULE "/usr/lib/softhsm/libsofthsm2.so"

CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;
static atomic_uint inside[FN_COUNT];

#define NAME_SPECIAL(name)	       [FN_##name] = #name,
#define NAME_PLAIN(name, kind, ps, as) [FN_##name] = #name,
static const char *const names[FN_COUNT] = {P11_SPECIAL(NAME_SPECIAL) P11_PLAIN(NAME_PLAIN)};

const char *fn_name(enum fn fn)
{
	return names[fn];
}

enum fn fn_by_name(const char *name, size_t len)
{
	unsigned fn = 0;

	if (len == 1 && *name == '*')
		return FN_ANY;
	while (fn < FN_COUNT && (strlen(names[fn]) != len || memcmp(names[fn], name, len) != 0))
		fn++;
	if (fn == FN_COUNT)
		fatal("the rules name a function that there is not: %.*s", (int)len, name);
	return (enum fn)fn;
}

unsigned fn_inside(enum fn fn)
{
	return inside[fn];
}

static _Thread_local int thread;
static int process;

static void forget_thread(void)
{
	thread = 0;
	process = 0;
}

int this_thread(void)
{
	if (thread == 0)
		thread = (int)syscall(SYS_gettid);
	return thread;
}

int this_process(void)
{
	if (process == 0)
		process = getpid();
	return process;
}

void fatal(const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	fprintf(stderr, "p11fault: %s\n", text);
	witness_note(text);
	abort();
}

static void note(struct call *c, const char *action)
{
	if (c->did_count < DID_MAX && !c->idle)
		c->did[c->did_count++] = action;
	c->idle = false;
}

/* Everything before the module is asked. False: it is not to be asked. */
static bool begin(struct call *c)
{
	struct applied todo[RULES_MAX];

	clock_gettime(CLOCK_MONOTONIC, &c->begun);
	if (c->kind == OF_SESSION)
		c->rival = session_enter(c->first, this_thread());
	unsigned n = rules_claim(c, false, todo);
	for (unsigned i = 0; i < n; i++)
		if (todo[i].action->announce)
			note(c, todo[i].action->name);
	if (c->did_count > 0 || c->fn == FN_C_Sign)
		witness_begin(c);
	for (unsigned i = 0; i < n; i++) {
		todo[i].action->before(c, &todo[i]);
		if (!todo[i].action->announce)
			note(c, todo[i].action->name);
	}
	inside[c->fn]++;
	return !c->skip;
}

static CK_RV end(struct call *c)
{
	struct applied todo[RULES_MAX];
	unsigned n = rules_claim(c, true, todo);

	inside[c->fn]--;
	for (unsigned i = 0; i < n; i++) {
		todo[i].action->after(c, &todo[i]);
		note(c, todo[i].action->name);
	}
	if (c->kind == OF_SESSION)
		session_leave(c->first, this_thread());
	witness_end(c);
	return c->rv;
}

#define FIRST_OF_MODULE	 0
#define FIRST_OF_SLOT	 first
#define FIRST_OF_SESSION first

#define WRAP(name, of, parameters, arguments)                                                      \
	static CK_RV our_##name parameters                                                         \
	{                                                                                          \
		struct call c = {.fn = FN_##name, .kind = of, .first = FIRST_##of};                \
                                                                                                   \
		if (begin(&c))                                                                     \
			c.rv = real->name arguments;                                               \
		return end(&c);                                                                    \
	}
P11_PLAIN(WRAP)

static CK_RV our_C_Initialize(void *args)
{
	struct call c = {.fn = FN_C_Initialize};

	if (begin(&c))
		c.rv = real->C_Initialize(args);
	return end(&c);
}

static CK_RV our_C_Finalize(void *reserved)
{
	struct call c = {.fn = FN_C_Finalize};

	if (begin(&c))
		c.rv = real->C_Finalize(reserved);
	if (!c.skip && c.rv == CKR_OK)
		sessions_closed(NULL);
	return end(&c);
}

static CK_RV our_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	struct call c = {.fn = FN_C_GetTokenInfo, .kind = OF_SLOT, .first = slot, .info = info};

	if (begin(&c))
		c.rv = real->C_GetTokenInfo(slot, info);
	return end(&c);
}

static CK_RV our_C_OpenSession(
	CK_SLOT_ID slot, CK_FLAGS flags, void *arg, CK_NOTIFY notify, CK_SESSION_HANDLE *session)
{
	struct call c = {.fn = FN_C_OpenSession, .kind = OF_SLOT, .first = slot};

	if (begin(&c)) {
		c.rv = real->C_OpenSession(slot, flags, arg, notify, session);
		if (c.rv == CKR_OK)
			session_opened(*session, slot);
	}
	return end(&c);
}

static CK_RV our_C_CloseSession(CK_SESSION_HANDLE session)
{
	struct call c = {.fn = FN_C_CloseSession, .kind = OF_SESSION, .first = session};

	if (begin(&c)) {
		c.rv = real->C_CloseSession(session);
		if (c.rv == CKR_OK)
			session_closed(session);
	}
	return end(&c);
}

static CK_RV our_C_CloseAllSessions(CK_SLOT_ID slot)
{
	struct call c = {.fn = FN_C_CloseAllSessions, .kind = OF_SLOT, .first = slot};

	if (begin(&c)) {
		c.rv = real->C_CloseAllSessions(slot);
		if (c.rv == CKR_OK)
			sessions_closed(&slot);
	}
	return end(&c);
}

static CK_RV our_C_Login(
	CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
	struct call c = {.fn = FN_C_Login, .kind = OF_SESSION, .first = session};

	if (begin(&c))
		c.rv = real->C_Login(session, user, pin, pin_len);
	return end(&c);
}

static CK_RV our_C_InitPIN(CK_SESSION_HANDLE session, CK_UTF8CHAR *pin, CK_ULONG pin_len)
{
	struct call c = {.fn = FN_C_InitPIN, .kind = OF_SESSION, .first = session};

	if (begin(&c)) {
		c.rv = real->C_InitPIN(session, pin, pin_len);
		if (c.rv == CKR_OK)
			wrong_pins_forget();
	}
	return end(&c);
}

static CK_RV our_C_SignInit(
	CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	struct call c = {.fn = FN_C_SignInit, .kind = OF_SESSION, .first = session};

	c.op.key = key;
	if (mechanism != NULL) {
		c.op.mechanism = mechanism->mechanism;
		if (mechanism->ulParameterLen == sizeof c.op.pss)
			memcpy(&c.op.pss, mechanism->pParameter, sizeof c.op.pss);
	}
	if (begin(&c)) {
		c.op.begun = c.begun;
		c.rv = real->C_SignInit(session, mechanism, key);
		if (c.rv == CKR_OK)
			session_begin(session, &c.op);
	}
	return end(&c);
}

/* An error of C_Sign ends the operation, so that of the module has to end, too. */
static void end_operation(CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len)
{
	CK_BYTE scratch[SIGNATURE_MAX];
	CK_ULONG scratch_len = sizeof scratch;

	real->C_Sign(session, data, len, scratch, &scratch_len);
}

static CK_RV sign_other_octets(
	CK_SESSION_HANDLE session, const CK_BYTE *data, CK_ULONG len, CK_BYTE *sig, CK_ULONG *room)
{
	CK_BYTE *other = malloc(len + 1);
	CK_RV rv;

	if (other == NULL)
		fatal("out of memory");
	memcpy(other, data, len);
	other[0] ^= 1;
	rv = real->C_Sign(session, other, len, sig, room);
	free(other);
	return rv;
}

static CK_RV our_C_Sign(
	CK_SESSION_HANDLE session, CK_BYTE *data, CK_ULONG len, CK_BYTE *sig, CK_ULONG *sig_len)
{
	struct call c = {.fn = FN_C_Sign,
		.kind = OF_SESSION,
		.first = session,
		.in = data,
		.in_len = len,
		.sig = sig,
		.sig_len = sig_len};

	session_operation(session, &c.op);
	if (begin(&c))
		c.rv = c.other_octets ? sign_other_octets(session, data, len, sig, sig_len)
				      : real->C_Sign(session, data, len, sig, sig_len);
	else if (!c.stuck && c.rv != CKR_BUFFER_TOO_SMALL)
		end_operation(session, data, len);
	if (damage_fits(&c)) {
		c.sig_made = *sig_len;
		damage_remember(&c);
	}
	return end(&c);
}

static CK_RV our_C_GenerateKeyPair(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
	CK_ATTRIBUTE *public, CK_ULONG public_count, CK_ATTRIBUTE *private, CK_ULONG private_count,
	CK_OBJECT_HANDLE *public_key, CK_OBJECT_HANDLE *private_key)
{
	struct call c = {.fn = FN_C_GenerateKeyPair,
		.kind = OF_SESSION,
		.first = session,
		.template = private,
		.template_count = private_count};

	if (begin(&c))
		c.rv = real->C_GenerateKeyPair(session, mechanism, public, public_count, private,
			private_count, public_key, private_key);
	return end(&c);
}

#define FILL_SPECIAL(name)			      ours.name = real->name == NULL ? NULL : our_##name;
#define FILL_PLAIN(name, kind, parameters, arguments) FILL_SPECIAL(name)

static CK_RV our_C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	struct call c = {.fn = FN_C_GetFunctionList};

	if (begin(&c))
		*list = &ours;
	return end(&c);
}

__attribute__((visibility("default"))) CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list);

static const char *setting(const char *name, const char *otherwise)
{
	const char *value = getenv(name);

	return value == NULL || *value == '\0' ? otherwise : value;
}

static bool load(void)
{
	const char *path = setting("P11FAULT_MODULE", DEFAULT_MODULE);
	CK_C_GetFunctionList get = NULL;
	void *module;

	if (!witness_open(setting("P11FAULT_LOG", NULL)) ||
		!rules_open(setting("P11FAULT_CONTROL", NULL), setting("P11FAULT_STATE", NULL)))
		return false;
	module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (module == NULL) {
		fprintf(stderr, "p11fault: %s\n", dlerror());
		return false;
	}
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	if (get == NULL || get(&real) != CKR_OK) {
		fprintf(stderr, "p11fault: %s has no function list\n", path);
		return false;
	}
	pthread_atfork(NULL, NULL, forget_thread);
	ours = *real;
	P11_SPECIAL(FILL_SPECIAL)
	P11_PLAIN(FILL_PLAIN)
	return true;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **list)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool loaded;

	if (list == NULL)
		return CKR_ARGUMENTS_BAD;
	pthread_mutex_lock(&lock);
	loaded = loaded || load();
	pthread_mutex_unlock(&lock);
	*list = NULL;
	return loaded ? our_C_GetFunctionList(list) : CKR_GENERAL_ERROR;
}
