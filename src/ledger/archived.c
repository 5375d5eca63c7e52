#include "archived.h"

#include <stdio.h>
#include <time.h>

#define SAID_MAX (1 << 20)

bool archived_open(const struct options *o, struct archive **list, struct refusal *why)
{
	for (size_t i = 0; i < o->archives; i++) {
		enum err e = archive_open(list, o->archive[i], why);

		if (!e)
			continue;
		if (!why->err)
			refuse(why, e, "archive", "%s: out of memory", o->archive[i]);
		archive_free(*list);
		*list = NULL;
		return false;
	}
	return true;
}

void archived_say(const struct list *l)
{
	if (l->archived)
		fprintf(stderr, "dcsign ledger: %llu records are archived: --archive reads them\n",
			(unsigned long long)l->archived);
}

static void moved_say(void *arg, const struct archive_moved *m)
{
	static const char *const stays[STAYS] = {
		"starts, keys, configurations and holds, which later ones lean on",
		"of credentials that have not expired, or attempts without an outcome",
		"of Idempotency-Keys that can still be answered",
		"of attempts that go on in later records"};

	if (m->taken == 0) {
		buf_printf(arg,
			"%s: nothing to archive: no signed head covers older records that "
			"may leave\n",
			m->chain);
		return;
	}
	buf_printf(arg, "%s: records %lld to %lld are archived, %llu of them left the ledger\n",
		m->chain, (long long)m->from, (long long)m->to - 1, (unsigned long long)m->taken);
	for (int i = 0; i < STAYS; i++) {
		if (m->stay[i])
			buf_printf(arg, "%s: %llu stay: %s\n", m->chain,
				(unsigned long long)m->stay[i], stays[i]);
	}
}

enum err archived_move(const struct options *o, struct store *s, int *status)
{
	struct buf said = BUF_INIT(SAID_MAX);
	struct refusal why = {0};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);

	enum err e = archive_move(s, o->to, o->before, now.tv_sec, moved_say, &said, &why);

	if (!e)
		fputs(buf_cstr(&said), stdout);
	buf_free(&said);
	if (!why.err)
		return e;
	fprintf(stderr, "dcsign ledger: %s\n", why.detail);
	*status = why.err == ERR_FORMAT ? EXIT_WRONG : EXIT_UNEXPECTED;
	return ERR_OK;
}
