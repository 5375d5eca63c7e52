/* The lives of a dcsignd-ledger whose writes are recorded, and what must hold of their remains. */
#ifndef POWERCUT_LIVES_H
#define POWERCUT_LIVES_H

#include "ledgerd_rig.h"
#include "powercut_image.h"

/* powercut_lives.c: rig.h is set up for a folder, lives_folder, whose traces these files get. */
extern char trace_file[160], fold_file[160], lives_folder[64];
extern struct sample last; /* that no trace has */

void lives_set_up(void);
void lives_tear_down(void);
/* A folder where a sync costs nothing, if there is one. */
const char *scratch(void);
/* The rig's configuration is that of a ledger in this folder from now on. */
void move_to(const char *folder);
/* Start, requests, batches, hold, checkpoint, SIGHUP, kill -9, start, shutdown, start, shutdown. */
void lives_record(void);
/* Starts on what is in this folder, takes a writer, dies; recorded in this file. */
void recovery_record(const char *folder, const char *file);
/* So much that the write-ahead log is folded into the file while the process serves. */
void fold_record(void);

/* powercut_facts.c: what the process said in a trace, in order. */
extern size_t facts;
void facts_find(const struct cut_trace *t);
/* Those that were said before this event hold from now on, in every trace; until SIZE_MAX. */
void facts_keep(size_t events);
/* How many were said before this event. */
size_t acknowledged(size_t events);
/* Starts the ledger of this folder in this process, and asks whether it holds what was said before
 * this event and verifies. `said` gets what is wrong, a line each. on: stops it in order, too. */
extern char said[4096];
void image_check(const char *folder, size_t events, bool on);

#endif
