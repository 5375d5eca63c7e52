#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "agent_witness_internal.h"
#include "checkpoint.h"

#define LEDGER	     ".ledger"
#define LEDGER_NEXT  ".ledger.next"
#define REMIND_AFTER 300 /* seconds */

static json_t *read_memory(int folder)
{
	int fd = openat(folder, LEDGER, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	json_t *o = fd < 0 ? NULL : json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);

	if (fd >= 0)
		close(fd);
	else if (errno == ENOENT)
		o = json_object();
	if (json_is_object(o) && !json_object_get(o, "chains"))
		json_object_set_new(o, "chains", json_object());
	return o;
}

static uint64_t largest(json_t *chains)
{
	const char *chain;
	struct checkpoint head;
	uint64_t size = 0;
	json_t *o;

	json_object_foreach(chains, chain, o)
	{
		const char *note = witness_text(o, "note");
		if (checkpoint_read(&head, note, strlen(note)) == ERR_OK && head.size > size)
			size = head.size;
	}
	return size;
}

void witness_load(struct agent_witness *w, int folder)
{
	json_t *o = read_memory(folder), *alarm = json_object_get(o, "alarm");

	if (!json_is_object(o) || !json_is_object(json_object_get(o, "chains"))) {
		w->alarm_since = w->alarm_since ? w->alarm_since : time(NULL);
		snprintf(w->alarm, sizeof w->alarm,
			LEDGER " can't be read: what was signed before is not known any more");
	} else {
		w->alarm_since = json_integer_value(json_object_get(alarm, "since"));
		snprintf(w->alarm, sizeof w->alarm, "%s", witness_text(alarm, "what"));
		w->checked_at = json_integer_value(json_object_get(o, "checked_at"));
		w->size = largest(json_object_get(o, "chains"));
	}
	json_decref(o);
}

void witness_before(struct witness_before *b, int folder, int64_t expiry)
{
	json_t *set = NULL, *note = NULL, *place;
	int fd = openat(folder, ".current/credential.json", O_RDONLY | O_CLOEXEC);

	*b = (struct witness_before){.expiry = expiry};
	if (fd >= 0) {
		set = json_loadfd(fd, 0, NULL);
		close(fd);
	}
	fd = openat(folder, ".current/agent.json", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		note = json_loadfd(fd, 0, NULL);
		close(fd);
	}
	place = json_object_get(set, "ledger");
	snprintf(b->id, sizeof b->id, "%s", witness_text(set, "id"));
	snprintf(b->chain, sizeof b->chain, "%s", witness_text(place, "chain"));
	snprintf(b->url, sizeof b->url, "%s", witness_text(note, "url"));
	b->idx = (uint64_t)json_integer_value(json_object_get(place, "index"));
	b->known = *b->id && *b->chain &&
		   strlen(witness_text(place, "leaf_hash")) == 2 * SHA256_SIZE &&
		   hex_decode(b->leaf_hash, SHA256_SIZE, witness_text(place, "leaf_hash"));
	json_decref(set);
	json_decref(note);
}

/* An alarm is never forgotten, and the first one stands. */
static void keep(struct agent_witness *w, int folder, json_t *memory, const struct look *l)
{
	char *text;

	if (*l->alarm && !json_object_get(memory, "alarm"))
		json_object_set_new(memory, "alarm",
			json_pack("{s:I, s:s}", "since", (json_int_t)time(NULL), "what", l->alarm));
	if (!*l->alarm && l->proved)
		json_object_set_new(memory, "checked_at", json_integer((json_int_t)time(NULL)));
	text = json_dumps(memory, JSON_INDENT(2) | JSON_SORT_KEYS);
	if (!text || agent_file_write(folder, LEDGER, LEDGER_NEXT, text, strlen(text)) != ERR_OK)
		LOG(LOG_LEVEL_ERROR, "what the ledger has signed can't be kept",
			LS("credential", l->c->section.name), LS("detail", strerror(errno)));
	free(text);
	witness_load(w, folder);
	if (*l->alarm && !w->alarm_since) { /* it could not be kept */
		w->alarm_since = time(NULL);
		snprintf(w->alarm, sizeof w->alarm, "%s", l->alarm);
	}
}

static void look_at_all(
	struct look *l, const struct witness_before *before, const json_t *place, const char *url)
{
	const char *chain, *issued = witness_text(place, "chain");
	bool done = before->known && witness_ask_inclusion(l, before, time(NULL));
	json_t *o, *others = json_object();

	json_object_foreach(l->chains, chain,
		o) if (strcmp(witness_text(o, "service"), l->c->service->section.name) == 0)
		json_object_set_new(others, chain, json_string(witness_text(o, "url")));
	if (*issued && strlen(issued) < sizeof before->chain && !json_object_get(others, issued))
		json_object_set_new(others, issued, json_string(url));
	json_object_foreach(others, chain, o) if (!done || strcmp(chain, before->chain) != 0)
		witness_ask_head(l, chain, json_string_value(o));
	json_decref(others);
}

void witness_renewal(struct agent_witness *w, int folder, const struct agent_credential *c,
	const struct witness_before *before, const json_t *place, const char *url)
{
	json_t *memory = read_memory(folder);
	struct look l = {.c = c, .chains = json_object_get(memory, "chains")};

	if (!json_is_object(memory) || !json_is_object(l.chains)) {
		json_decref(memory); /* witness_load says so */
		witness_load(w, folder);
		return;
	}
	look_at_all(&l, before, place, url);
	keep(w, folder, memory, &l);
	json_decref(memory);
	if (*l.alarm)
		w->said_mono = 0;
	else if (*l.trouble)
		LOG(LOG_LEVEL_WARNING, "the ledger did not prove what it was asked for",
			LS("credential", c->section.name), LN("proved_last", w->checked_at),
			LS("detail", l.trouble));
}

void witness_remind(struct agent_witness *w, const struct agent_credential *c)
{
	if (!w->alarm_since || (w->said_mono && agent_mono() - w->said_mono < REMIND_AFTER))
		return;
	w->said_mono = agent_mono();
	LOG(LOG_LEVEL_ERROR,
		"ALARM: THE LEDGER IS NOT WHAT IT WAS. Somebody may issue credentials that nobody "
		"sees: tell the service's auditor; remove .ledger when it is cleared up",
		LS("credential", c->section.name), LS("service", c->service->section.name),
		LN("since", w->alarm_since), LS("detail", w->alarm));
}
