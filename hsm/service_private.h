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
	struct resources begin;
	bool breaker;	      /* it is set */
	bool leaving;	      /* threads are stuck: it ends without them */
	struct msg_issue ask; /* scratch of the main thread */
	struct msg_state_answer state;
	uint8_t inbox[MSG_MAX];
};

/* The process ends with this code when what is under way is done. */
void service_end(struct service *s, int code, const char *reason);

/* service_messages.c: one message of each channel, when there is one. */
void read_control(struct service *s);
void read_api(struct service *s);
void read_ledger(struct service *s);

#endif
