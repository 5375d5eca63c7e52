/* A ledger at the other end of a channel, in a thread: takes every record, remembers its type. */
#ifndef DCSIGN_FAKE_LEDGER_H
#define DCSIGN_FAKE_LEDGER_H

#include <pthread.h>

#include "record.h"

struct fake_ledger {
	int fd; /* its end */
	pthread_t thread;
	pthread_mutex_t lock;
	enum record_type type[4096];
	char reason[4096][64];
	size_t count;
	_Atomic unsigned hellos, appends;
	_Atomic int delay_ms;		    /* before each answer */
	_Atomic unsigned keeps;		    /* so many APPENDs more get no answer */
	_Atomic enum err refuse_authorised; /* ERR_OK: taken */
	_Atomic enum record_type
		close_at; /* closes the channel instead of answering this type; 0: never */
};

/* Returns the end for the other side. */
int fake_ledger_start(struct fake_ledger *l);
/* Closes and waits for the thread. */
void fake_ledger_stop(struct fake_ledger *l);
/* How many records of this type have come. */
size_t fake_ledger_count(struct fake_ledger *l, enum record_type type);
/* The type of the n-th record. */
enum record_type fake_ledger_type(struct fake_ledger *l, size_t n);
/* Waits up to 5 s for n records of this type. */
bool fake_ledger_wait(struct fake_ledger *l, enum record_type type, size_t n);

#endif
