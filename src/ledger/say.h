/* What verify finds, on standard output: words for people, or JSON lines. */
#ifndef DCSIGN_SAY_H
#define DCSIGN_SAY_H

#include "verify.h"

/* Sets problem, note and head. */
void say_to(struct verify *v, bool json);
/* How far it is, now and then, on standard error. */
void say_progress(struct verify *v);
/* What was found in all. */
void say_summary(const struct verify *v, bool json);

#endif
