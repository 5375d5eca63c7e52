/* What service*.c share. */
#ifndef DCSIGN_SERVICE_PRIVATE_H
#define DCSIGN_SERVICE_PRIVATE_H

#include "keeper.h"
#include "queue.h"
#include "resources.h"
#include "service.h"

struct service {
	const struct service_start *start;
	struct append *ledger;
	struct keeper keeper;
	struct queue queue;
	struct line *api; /* NULL: none */
	int signals;
	int exit_code; /* -1: goes on */
	int64_t drain_until, breaker_look, look_again, self_look;
	int64_t look_next;  /* for deadlines */
	unsigned under_way; /* requests at the last look, and more when some came since */
	struct resources begin;
	unsigned hung;			/* self-tests that do not come back */
	int64_t look_pause;		/* without a token: until the next look */
	bool breaker;			/* it is set */
	bool leaving;			/* threads are stuck: it ends without them */
	bool heir_wanted;		/* the parent was asked for a successor ... */
	int64_t stuck_until;		/* half of the module's calls do not come back; 0: not so */
	int64_t heir_again, heir_pause; /* it is asked for again then, and so long after that */
	int64_t heir_until;   /* ... which should be there by then; 0: it may take its time */
	bool retiring;	      /* it is there: what this one has is answered, then it ends */
	struct msg_issue ask; /* scratch of the main thread */
	struct msg_state_answer state;
	uint8_t inbox[MSG_MAX];
};

/* The process ends with this code when what is under way is done. */
void service_end(struct service *s, int code, const char *reason);

/* Asks for a process that takes over while this one goes on; ends without it after `ms` (0: does
 * not). */
void service_want_heir(struct service *s, const char *reason, int64_t ms);

/* To the parent. */
enum err service_say_ready(const struct service *s);

/* service_messages.c: what there is on each channel, up to a limit. */
void read_control(struct service *s);
void read_api(struct service *s);
void read_ledger(struct service *s);

#endif
