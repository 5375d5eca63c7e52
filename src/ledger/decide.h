/* What a person says to a running dcsignd, over the socket in its state folder. */
#ifndef DCSIGN_DECIDE_H
#define DCSIGN_DECIDE_H

#include "message.h"

/* Says it, waits for what comes of it and prints that. Gives the exit code. */
int decide_ask(const char *state, const struct msg_decide *m);
/* At most DECIDE_REASON_MAX (or `most`) printable ASCII characters, one at least. */
bool decide_words(const char *s, size_t most);

#endif
