#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "p11fault.h"

#define HANG_STEP 2000000 /* ns */

static void answer(struct call *c, CK_RV rv)
{
	if (!c->skip)
		c->rv = rv;
	c->skip = true;
}

static void act_rv(struct call *c, const struct applied *a)
{
	answer(c, a->value);
}

static void act_stuck(struct call *c, const struct applied *a)
{
	answer(c, a->value);
	c->stuck = true;
}

static void act_late(struct call *c, const struct applied *a)
{
	c->rv = a->value;
}

static bool was_done(const struct call *c)
{
	return !c->skip && c->rv == CKR_OK;
}

static bool is_busy(const struct call *c)
{
	return fn_inside(c->fn) > 0;
}

static void act_delay(struct call *c, const struct applied *a)
{
	struct timespec left = {
		.tv_sec = (time_t)(a->value / 1000), .tv_nsec = (long)(a->value % 1000) * 1000000};

	(void)c;
	while (nanosleep(&left, &left) != 0)
		;
}

static void act_hang(struct call *c, const struct applied *a)
{
	struct timespec step = {.tv_nsec = HANG_STEP};

	(void)c;
	while (rule_stands(a->line))
		nanosleep(&step, NULL);
}

static void act_crash(struct call *c, const struct applied *a)
{
	(void)c;
	(void)a;
	raise(SIGSEGV);
}

static void act_abort(struct call *c, const struct applied *a)
{
	(void)c;
	(void)a;
	abort();
}

static void act_exit(struct call *c, const struct applied *a)
{
	(void)c;
	exit(a->value == NO_VALUE ? 1 : (int)a->value);
}

static void act_stdout(struct call *c, const struct applied *a)
{
	static const char text[] = "p11fault: a module should not write here\n";

	(void)c;
	(void)a;
	for (int fd = 1; fd <= 2; fd++)
		if (write(fd, text, sizeof text - 1) < 0)
			continue;
}

static void ignore(int number)
{
	(void)number;
}

static void act_signals(struct call *c, const struct applied *a)
{
	(void)c;
	(void)a;
	signal(SIGTERM, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGCHLD, SIG_IGN);
	signal(SIGPIPE, SIG_DFL);
	signal(SIGALRM, ignore);
	signal(SIGUSR1, ignore);
}

static void act_surroundings(struct call *c, const struct applied *a)
{
	(void)c;
	(void)a;
	if (chdir("/") != 0)
		fatal("chdir");
	umask(0);
	setlocale(LC_ALL, "C.UTF-8");
}

/* Not from the heap: what is lost on purpose is no find for a leak checker. */
static void act_leak(struct call *c, const struct applied *a)
{
	size_t len = a->value * 1024;
	void *lost = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)c;
	if (lost != MAP_FAILED)
		memset(lost, 1, len);
}

static void act_leakfd(struct call *c, const struct applied *a)
{
	(void)c;
	(void)a;
	if (open("/dev/null", O_RDONLY) < 0)
		return; /* the limit is reached: that is what was wanted */
}

static void act_closeall(struct call *c, const struct applied *a)
{
	CK_SESSION_HANDLE any;
	CK_SLOT_ID slot = c->first;

	(void)a;
	if (c->kind == OF_MODULE || (c->kind == OF_SESSION && !session_slot(c->first, &slot)))
		if (!session_any(&any, &slot))
			return;
	if (real->C_CloseAllSessions(slot) == CKR_OK)
		sessions_closed(&slot);
}

static void act_logout(struct call *c, const struct applied *a)
{
	CK_SESSION_HANDLE session = c->first;
	CK_SLOT_ID slot;

	(void)a;
	if (c->kind != OF_SESSION && !session_any(&session, &slot))
		return;
	real->C_Logout(session);
}

/* ---- what a token may do with PINs, sessions and threads ---- */

static void act_locked(struct call *c, const struct applied *a)
{
	(void)a;
	c->idle = c->fn != FN_C_Login || wrong_pins() < WRONG_PINS;
	if (!c->idle)
		answer(c, CKR_PIN_LOCKED);
}

static void after_locked(struct call *c, const struct applied *a)
{
	static const CK_FLAGS flags[] = {0, CKF_USER_PIN_COUNT_LOW,
		CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED};
	uint64_t wrong = wrong_pins();

	(void)a;
	c->idle = true;
	if (c->fn == FN_C_Login && c->rv == CKR_PIN_INCORRECT)
		wrong_pin();
	if (c->fn == FN_C_Login && c->rv == CKR_OK)
		wrong_pins_forget();
	if (c->fn != FN_C_GetTokenInfo || c->rv != CKR_OK || c->info == NULL)
		return;
	c->info->flags &= ~(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
	c->info->flags |= flags[wrong < WRONG_PINS ? wrong : WRONG_PINS];
}

static bool has_info(const struct call *c)
{
	return c->rv == CKR_OK && c->info != NULL;
}

static void act_flags(struct call *c, const struct applied *a)
{
	c->info->flags |= a->value;
}

static void act_sessions(struct call *c, const struct applied *a)
{
	c->idle = sessions_count() < a->value;
	if (!c->idle)
		answer(c, CKR_SESSION_COUNT);
}

static void act_no_attribute(struct call *c, const struct applied *a)
{
	c->idle = true;
	for (CK_ULONG i = 0; i < c->template_count; i++)
		c->idle = c->idle && c->template[i].type != a->value;
	if (!c->idle)
		answer(c, CKR_ATTRIBUTE_TYPE_INVALID);
}

static bool has_rival(const struct call *c)
{
	return c->rival != 0;
}

static void act_one_thread(struct call *c, const struct applied *a)
{
	(void)a;
	fatal("%s: session %lu is used by thread %d at the same time", fn_name(c->fn), c->first,
		c->rival);
}

static void act_one_process(struct call *c, const struct applied *a)
{
	static pid_t owner;

	(void)a;
	c->idle = true;
	if (c->fn == FN_C_Initialize || owner == 0)
		owner = this_process();
	if (owner != this_process())
		fatal("%s: called in a fork of process %d", fn_name(c->fn), (int)owner);
}

static bool signs(const struct call *c)
{
	return c->sig != NULL && c->in_len > 0;
}

static void act_takes(struct call *c, const struct applied *a)
{
	struct timespec until = signs(c) ? c->op.begun : c->begun;

	until.tv_sec += (time_t)(a->value / 1000);
	until.tv_nsec += (long)(a->value % 1000) * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
		;
}

static void act_other(struct call *c, const struct applied *a)
{
	(void)a;
	c->other_octets = true;
}

#define ANY  FN_ANY, FN_ANY
#define SIGN FN_C_Sign, FN_C_Sign

/* clang-format off */
static const struct action actions[] = {
	/* The module is not asked and the value is returned. A C_Sign ends the operation all the same
	 * (PKCS#11 2.40, C_Sign); with `stuck` it does not. */
	{"rv", VALUE_MUST, ANY, false, NULL, act_rv, NULL},
	{"stuck", VALUE_MUST, SIGN, false, NULL, act_stuck, NULL},
	/* Done, then reported as failed. */
	{"late", VALUE_MUST, ANY, false, was_done, NULL, act_late},
	/* While another thread is inside the same function: this code. */
	{"busy", VALUE_MUST, ANY, false, is_busy, act_rv, NULL},
	/* Milliseconds that the call takes, with what the module itself needs; C_Sign with its
	 * C_SignInit. */
	{"takes", VALUE_MUST, ANY, false, NULL, NULL, act_takes},
	/* Milliseconds before the call; until the rule has gone from the file. */
	{"delay", VALUE_MUST, ANY, true, NULL, act_delay, NULL},
	{"hang", VALUE_NONE, ANY, true, NULL, act_hang, NULL},
	/* The process. exit: with this status. surroundings: folder, umask, locale. */
	{"crash", VALUE_NONE, ANY, true, NULL, act_crash, NULL},
	{"abort", VALUE_NONE, ANY, true, NULL, act_abort, NULL},
	{"exit", VALUE_MAY, ANY, true, NULL, act_exit, NULL},
	{"stdout", VALUE_NONE, ANY, false, NULL, act_stdout, NULL},
	{"signals", VALUE_NONE, ANY, false, NULL, act_signals, NULL},
	{"surroundings", VALUE_NONE, ANY, false, NULL, act_surroundings, NULL},
	{"leak", VALUE_MUST, ANY, false, NULL, act_leak, NULL}, /* KB */
	{"leakfd", VALUE_NONE, ANY, false, NULL, act_leakfd, NULL},
	/* Behind the caller's back, before the call. */
	{"closeall", VALUE_NONE, ANY, true, NULL, act_closeall, NULL},
	{"logout", VALUE_NONE, ANY, true, NULL, act_logout, NULL},
	/* PIN locked after three wrong ones, with the flags that announce it; over all
	 * processes; C_InitPIN and a good login clear it. */
	{"locked", VALUE_NONE, FN_C_Login, FN_C_GetTokenInfo, false, NULL, act_locked, after_locked},
	{"flags", VALUE_MUST, FN_C_GetTokenInfo, FN_C_GetTokenInfo, false, has_info, NULL, act_flags},
	/* No more than so many sessions at a time, in this process. */
	{"sessions", VALUE_MUST, FN_C_OpenSession, FN_C_OpenSession, false, NULL, act_sessions, NULL},
	/* This attribute of private keys is not known. */
	{"no-attribute", VALUE_MUST, FN_C_GenerateKeyPair, FN_C_GenerateKeyPair, false, NULL, act_no_attribute, NULL},
	/* Ends the process when two threads use one session at a time, or after a fork. */
	{"one-thread", VALUE_NONE, ANY, false, has_rival, act_one_thread, NULL},
	{"one-process", VALUE_NONE, ANY, false, NULL, act_one_process, NULL},
	/* The signature. flip: this bit (modulo its length), without a value the next one each time.
	 * length: what the caller is told. replay: the key's signature before this one. foreign: a good
	 * one of another key. other-octets: a good one of this key over other octets. */
	{"flip", VALUE_MAY, SIGN, false, damage_fits, NULL, damage_flip},
	{"length", VALUE_MUST, SIGN, false, damage_fits, NULL, damage_length},
	{"replay", VALUE_NONE, SIGN, false, damage_replay_fits, NULL, damage_replay},
	{"foreign", VALUE_NONE, SIGN, false, damage_fits, NULL, damage_foreign},
	{"other-octets", VALUE_NONE, SIGN, false, signs, act_other, NULL},
	{"zero-r", VALUE_NONE, SIGN, false, damage_fits, NULL, damage_zero_r},
	{"zero-s", VALUE_NONE, SIGN, false, damage_fits, NULL, damage_zero_s},
	{"big-r", VALUE_NONE, SIGN, false, damage_fits, NULL, damage_big_r},
	{"big-s", VALUE_NONE, SIGN, false, damage_fits, NULL, damage_big_s},
};
/* clang-format on */

const struct action *action_by_name(const char *name, size_t len)
{
	for (unsigned i = 0; i < sizeof actions / sizeof *actions; i++)
		if (strlen(actions[i].name) == len && memcmp(actions[i].name, name, len) == 0)
			return &actions[i];
	return NULL;
}
