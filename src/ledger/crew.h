/* Threads that do jobs for one thread which gives them out and takes them back. */
#ifndef DCSIGN_CREW_H
#define DCSIGN_CREW_H

#include <stdbool.h>

struct job {
	void (*run)(struct job *j); /* in any thread; touches nothing that another job touches */
	bool done;
	struct job *next;
};

struct crew;

/* As many threads as processors, 8 at most; none when they can't be made: then crew_wait does the
 * jobs. NULL: no memory. */
struct crew *crew_make(void);
/* After every job was waited for. NULL: nothing. */
void crew_free(struct crew *c);
/* j is borrowed until crew_wait. */
void crew_put(struct crew *c, struct job *j);
/* Returns when it is done; does jobs meanwhile. */
void crew_wait(struct crew *c, struct job *j);

#endif
