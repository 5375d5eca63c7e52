#include "succeed_tool.h"

#include <string.h>
#include <time.h>

#include "commit.h"
#include "decide.h"

/* The newest kept head of the chain, whatever its origin begins with. */
static const struct checkpoint *known_of(const struct options *o)
{
	const struct checkpoint *best = NULL;

	for (const struct known *k = o->known; k; k = k->next) {
		if (witness_origin(k->head.origin, o->list.chain) &&
			(!best || k->head.size > best->size))
			best = &k->head;
	}
	return best;
}

enum err succeed_stopped(const struct options *o, struct store *s, int *status)
{
	struct refusal why = {0};
	char name[CHAIN_SIZE];
	enum err e = ledger_succeed(
		s, o->list.chain, known_of(o), o->reason, (int64_t)time(NULL), name, &why);

	if (why.err) {
		fprintf(stderr, "dcsign ledger: %s\n", why.detail);
		*status = EXIT_WRONG;
		return ERR_OK;
	}
	if (!e)
		printf("%s goes on for %s\n", name, o->list.chain);
	return e;
}

bool succeed_fits(const struct options *o)
{
	return o->list.chain && o->reason && !o->checkpoint &&
	       decide_words(o->reason, DECIDE_REASON_MAX) &&
	       decide_words(o->list.chain, CHAIN_SIZE - 1) && !strchr(o->list.chain, ' ');
}

int succeed_running(const struct options *o)
{
	struct msg_decide m = {.what = DECIDE_SUCCEED};

	strcpy(m.name, o->list.chain);
	strcpy(m.reason, o->reason);
	return decide_ask(o->state, &m);
}
