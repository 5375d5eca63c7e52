/*
 * p11fault.so: a PKCS#11 module that wraps another one, makes the faults that a rule file asks for,
 * and writes down every call. Environment, read when C_GetFunctionList is first called:
 *
 *   P11FAULT_MODULE   the module that is wrapped (default: SoftHSM)
 *   P11FAULT_CONTROL  the rule file; read again whenever it changes. Replace it by rename(2).
 *   P11FAULT_LOG      the witness: one line per call, one write(2) per line
 *   P11FAULT_STATE    what the processes that share the rule file count together (default: the rule
 *                     file's name and ".state")
 *
 * A rule is a line `FUNCTION|* ACTION[=VALUE] [skip=N] [count=N] [pct=N] [octets=N]`; `#` begins a
 * comment; a line without its newline does not count yet. octets: of C_Sign those that get so many.
 * skip: not the first N calls that fit. count: N times at most, over all processes that share the
 * rule file, until it changes. pct: for N of 100 calls, by a fixed pseudo-random order. All rules
 * that fit a call apply, in the order of the file. The actions are the table in p11actions.c. A
 * rule that can't be understood ends the process.
 *
 * A line of the witness is `t=SECONDS pid= tid= fn=NAME [s=SESSION] [slot=] [rv=0x..] [...]`. A
 * call that signs, and one that a rule may keep from ending, has a line with `ev=begin` (without
 * rv) before it starts as well. C_SignInit and C_Sign: mech=0x.. key=HANDLE, of C_Sign also in=HEX
 * (the octets to be signed), len= and sig= (length and SHA-256 of what the caller got), and query=1
 * when only the length was asked for. did=: the actions that applied. Never a PIN.
 */
#ifndef DCSIGN_P11FAULT_H
#define DCSIGN_P11FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "p11functions.h"

#define RULES_MAX     64
#define DID_MAX	      8
#define SIGNATURE_MAX 1024
#define WRONG_PINS    3
#define NO_VALUE      (~0UL)

/* What C_SignInit began on a session. */
struct operation {
	CK_MECHANISM_TYPE mechanism;
	CK_OBJECT_HANDLE key;
	CK_RSA_PKCS_PSS_PARAMS pss; /* zero where there were none */
	struct timespec begun;	    /* CLOCK_MONOTONIC, before C_SignInit */
};

struct call {
	enum fn fn;
	enum kind kind;
	unsigned long first; /* session or slot */
	CK_RV rv;
	bool skip;	   /* a rule answers: the module is not asked */
	bool stuck;	   /* C_Sign failed and the operation stays open */
	bool other_octets; /* C_Sign signs other octets than it is given */
	bool idle;	   /* set by an action that had nothing to do this time */
	const char *did[DID_MAX];
	unsigned did_count;
	struct timespec begun; /* CLOCK_MONOTONIC */
	int rival;	       /* another thread that is using this session; 0: none */

	struct operation op; /* C_SignInit, C_Sign */
	const CK_BYTE *in;
	CK_ULONG in_len;
	CK_BYTE *sig; /* C_Sign: NULL asks for the length alone */
	CK_ULONG *sig_len;
	CK_ULONG sig_made;	      /* octets that the module put there */
	CK_TOKEN_INFO *info;	      /* C_GetTokenInfo */
	const CK_ATTRIBUTE *template; /* C_GenerateKeyPair: that of the private key */
	CK_ULONG template_count;
};

struct rule;
struct applied;

/* An action of the rules. */
struct action {
	const char *name;
	enum { VALUE_NONE, VALUE_MAY, VALUE_MUST } value;
	enum fn fn, fn2; /* the only functions that it makes sense for; FN_ANY: every one */
	bool announce;	 /* the call may not end: it gets a line before it */
	bool (*fits)(const struct call *c); /* NULL: always; asked under the lock of the rules */
	void (*before)(struct call *c, const struct applied *a); /* one of the two may be NULL */
	void (*after)(struct call *c, const struct applied *a);
};
const struct action *action_by_name(const char *name, size_t len);

/* A rule that was found to apply to a call. */
struct applied {
	const struct action *action;
	unsigned long value; /* NO_VALUE: none was given */
	uint64_t nth;	     /* how often the rule had applied before */
	uint64_t line;	     /* names the rule's text */
};

/* p11fault.c */
extern CK_FUNCTION_LIST *real;
const char *fn_name(enum fn fn);
enum fn fn_by_name(const char *name, size_t len); /* FN_COUNT: none; "*" is FN_ANY */
unsigned fn_inside(enum fn fn);			  /* threads inside this function */
int this_thread(void);
int this_process(void);
/* A line for stderr and the witness, then abort(): the test that did this is wrong, or the caller
 * did what a rule forbids. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* p11rules.c */
bool rules_open(const char *control, const char *state);
/* The rules for this call, before it or after it, each counted. Returns how many (RULES_MAX). */
unsigned rules_claim(const struct call *c, bool after, struct applied out[RULES_MAX]);
bool rule_stands(uint64_t line); /* is this rule still in the file? */
/* Wrong PINs so far, over all processes; change: +1, or 0 to forget them. */
uint64_t wrong_pins(void);
void wrong_pin(void);
void wrong_pins_forget(void);

/* p11sessions.c: what is known of the sessions that the caller has open. */
void session_opened(CK_SESSION_HANDLE s, CK_SLOT_ID slot);
void session_closed(CK_SESSION_HANDLE s);
void sessions_closed(const CK_SLOT_ID *slot); /* NULL: of every slot */
unsigned sessions_count(void);
bool session_any(CK_SESSION_HANDLE *s, CK_SLOT_ID *slot);
bool session_slot(CK_SESSION_HANDLE s, CK_SLOT_ID *slot);
int session_enter(CK_SESSION_HANDLE s, int thread); /* the thread that is inside, or 0 */
void session_leave(CK_SESSION_HANDLE s, int thread);
void session_begin(CK_SESSION_HANDLE s, const struct operation *op);
void session_operation(CK_SESSION_HANDLE s, struct operation *op);

/* p11witness.c */
bool witness_open(const char *path);
void witness_begin(const struct call *c);
void witness_end(const struct call *c);
void witness_note(const char *text);

/* p11damage.c: actions on a signature that the module gave. */
bool damage_fits(const struct call *c);
bool damage_replay_fits(const struct call *c);
void damage_flip(struct call *c, const struct applied *a);
void damage_length(struct call *c, const struct applied *a);
void damage_replay(struct call *c, const struct applied *a);
void damage_zero_r(struct call *c, const struct applied *a);
void damage_zero_s(struct call *c, const struct applied *a);
void damage_big_r(struct call *c, const struct applied *a);
void damage_big_s(struct call *c, const struct applied *a);
/* Keeps the module's own signature for `replay`. */
void damage_remember(const struct call *c);

/* p11foreign.c: a good signature by another key, made here. */
void damage_foreign(struct call *c, const struct applied *a);

#endif
