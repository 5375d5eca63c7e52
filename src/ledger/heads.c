#include "settings.h"

#include "heads.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "courier.h"
#include "log.h"
#include "tree.h"

#define KEPT_MAX (1 << 20) /* octets of the file of known heads */

static const struct config *newest(const struct ledger *l)
{
	return l->generation[0];
}

/* ---- giving away ---- */

static void file_write(const struct ledger *l)
{
	const char *path = newest(l)->checkpoint.file;
	struct buf all = BUF_INIT(KEPT_MAX);

	for (const struct chain *c = l->chains; c; c = c->next) {
		if (ledger_own(l, c))
			buf_put(&all, c->note.octets, c->note.len);
	}
	if (all.err || file_replace(path, all.octets, all.len))
		LOG(LOG_LEVEL_ERROR, "the checkpoints can't be written", LS("file", path),
			LS("detail", strerror(errno)));
	buf_free(&all);
}

static void publish(struct ledger *l, const struct commit_item *items, size_t count)
{
	if (newest(l)->checkpoint.file)
		file_write(l);
	for (size_t i = 0; i < count && l->courier >= 0; i++) {
		const struct buf *note = &items[i].chain->note;

		if (!items[i].answer.refusal.err &&
			courier_send(l->courier, note->octets, note->len))
			LOG(LOG_LEVEL_ERROR, "a checkpoint was not given to the command",
				LS("chain", items[i].chain->stored.chain));
	}
}

/* ---- signing ---- */

static bool unsigned_records(const struct ledger *l, const struct chain *c)
{
	return l->signer.ready && ledger_own(l, c) && c->stored.tree.size > c->signed_size;
}

static bool due(const struct ledger *l, const struct chain *c, int64_t ms)
{
	const struct config *conf = newest(l);
	uint64_t count = c->stored.tree.size - c->signed_size;

	return unsigned_records(l, c) &&
	       ((conf->checkpoint.every && count >= conf->checkpoint.every) ||
		       (conf->checkpoint.interval &&
			       ms - c->signed_ms >= conf->checkpoint.interval * 1000));
}

int64_t heads_wait(const struct ledger *l, int64_t ms)
{
	const struct config *conf = newest(l);
	int64_t least = -1;

	for (const struct chain *c = l->chains; c; c = c->next) {
		int64_t left = c->signed_ms + conf->checkpoint.interval * 1000 - ms;

		if (due(l, c, ms))
			return 0;
		if (conf->checkpoint.interval && unsigned_records(l, c) &&
			(least < 0 || left < least))
			least = left;
	}
	return least;
}

static void item_of(struct commit_item *it, struct chain *c, int64_t now)
{
	it->own = true;
	it->chain = c;
	record_init(&it->record, RECORD_CHECKPOINT);
	it->record.time = now;
}

static enum err sign_all(
	struct ledger *l, struct commit_item *items, size_t count, int64_t now, int64_t ms)
{
	enum err e = commit_group(l, items, count, now, ms);

	for (size_t i = 0; i < count && !e; i++) {
		struct chain *c = items[i].chain;

		c->signed_ms = ms;
		if (items[i].answer.refusal.err)
			continue;
		c->signed_size = items[i].answer.idx + 1;
		buf_reset(&c->note);
		c->note.max = CHECKPOINT_MAX;
		buf_put(&c->note, items[i].replay.octets, items[i].replay.len);
		e = c->note.err;
	}
	if (!e)
		publish(l, items, count);
	for (size_t i = 0; i < count; i++)
		buf_free(&items[i].replay);
	return e;
}

enum err heads_take(struct ledger *l, bool all, int64_t now, int64_t ms)
{
	struct commit_item *items;
	size_t count = 0, n = 0;

	for (const struct chain *c = l->chains; c; c = c->next)
		count += all ? unsigned_records(l, c) : due(l, c, ms);
	if (count == 0)
		return ERR_OK;
	items = calloc(count, sizeof(*items));
	if (!items)
		return ERR_NOMEM;
	for (struct chain *c = l->chains; c; c = c->next) {
		if (all ? unsigned_records(l, c) : due(l, c, ms))
			item_of(&items[n++], c, now);
	}

	enum err e = sign_all(l, items, count, now, ms);

	free(items);
	return e;
}

enum err heads_fresh(struct ledger *l, struct chain *c, int64_t now, int64_t ms)
{
	struct commit_item it = {.own = true};

	if (!unsigned_records(l, c))
		return ERR_OK;
	item_of(&it, c, now);
	return sign_all(l, &it, 1, now, ms);
}

/* ---- the start ---- */

static enum err put_back(
	struct refusal *why, const char *from, const struct checkpoint *known, const char *what)
{
	return refuse(why, ERR_FORMAT, "ledger",
		"%s has a signed head of %s with %llu records, and the ledger %s: it was put back "
		"to an older or another state",
		from, known->origin, (unsigned long long)known->size, what);
}

/* Does the chain contain what the head says? */
static enum err contains(
	struct ledger *l, const struct chain *c, const struct checkpoint *known, bool *same)
{
	struct tree t = {.store = l->store, .chain = c->stored.chain};
	uint8_t root[SHA256_SIZE];
	enum err e = known->size ? merkle_root_at(known->size, tree_subtree, &t, root) : ERR_OK;

	if (known->size == 0)
		sha256("", 0, root);
	*same = !e && memcmp(root, known->root, SHA256_SIZE) == 0;
	return e == ERR_FORMAT ? ERR_OK : e;
}

static struct chain *chain_of_origin(struct ledger *l, const char *origin)
{
	char name[CHECKPOINT_ORIGIN_SIZE];

	for (struct chain *c = l->chains; c; c = c->next) {
		signer_origin(&l->signer, c->stored.chain, name);
		if (strcmp(name, origin) == 0)
			return c;
	}
	return NULL;
}

/* Does a chain go on for the one of this head, and know of it? A person has said so with `dcsign
 * ledger succeed`, and the first record shows it for ever. */
static bool given_up(const struct ledger *l, const struct checkpoint *known)
{
	char name[CHECKPOINT_ORIGIN_SIZE];

	for (const struct chain *c = l->chains; c; c = c->next) {
		signer_origin(&l->signer, c->previous, name);
		if (*c->previous && strcmp(name, known->origin) == 0)
			return c->previous_size > known->size ||
			       (c->previous_size == known->size &&
				       memcmp(c->previous_root, known->root, SHA256_SIZE) == 0);
	}
	return false;
}

/* from: what the note was found in, for people. */
static enum err known_check(struct ledger *l, const char *from, const char *note, size_t len,
	struct refusal *why, struct checkpoint *known, struct chain **chain)
{
	bool same = false;
	enum err e = checkpoint_verify(known, note, len, l->signer.public_key);

	if (e)
		return refuse(why, ERR_FORMAT, "checkpoint",
			"%s has a note that this ledger's key did not sign: put the key back, or "
			"move the file away when an audit has shown why",
			from);
	*chain = chain_of_origin(l, known->origin);
	if (given_up(l, known))
		return ERR_OK;
	if (!*chain)
		return put_back(why, from, known, "has no such chain");
	if (known->size > (*chain)->stored.tree.size)
		return put_back(why, from, known, "has fewer");
	e = contains(l, *chain, known, &same);
	if (!e && !same)
		return put_back(why, from, known, "has others");
	return e;
}

/* The newest note of each chain that the store itself keeps. One of a lost key is no evidence. */
static enum err kept_load(struct ledger *l, int64_t ms, struct refusal *why)
{
	enum err e = ERR_OK;

	for (struct chain *c = l->chains; c && !e; c = c->next) {
		struct checkpoint known;
		struct chain *same;

		c->signed_ms = ms;
		c->note = (struct buf)BUF_INIT(CHECKPOINT_MAX);
		e = l->store->engine->checkpoint_get(l->store, c->stored.chain, &c->note);
		if (e == ERR_NOT_FOUND) {
			e = ERR_OK;
			continue;
		}
		if (!e && checkpoint_verify(&known, (const char *)c->note.octets, c->note.len,
				  l->signer.public_key)) {
			LOG(LOG_LEVEL_ERROR,
				"the key that signed the heads of this ledger is "
				"gone: a new one signs from now on",
				LS("chain", c->stored.chain));
			buf_reset(&c->note);
			continue;
		}
		if (!e)
			e = known_check(l, "the ledger", (const char *)c->note.octets, c->note.len,
				why, &known, &same);
		if (!e)
			c->signed_size = known.size + 1;
	}
	return e;
}

static enum err file_read(struct buf *out, const char *path)
{
	FILE *file = fopen(path, "re");
	uint8_t octets[4096];
	size_t n;

	if (!file)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
	while ((n = fread(octets, 1, sizeof(octets), file)) > 0)
		buf_put(out, octets, n);

	bool failed = ferror(file) != 0;

	fclose(file);
	return failed ? ERR_SYSTEM : out->err;
}

static enum err file_check(struct ledger *l, const char *path, struct refusal *why)
{
	struct buf all = BUF_INIT(KEPT_MAX);
	enum err e = file_read(&all, path);
	const char *at = (const char *)all.octets;
	size_t left = all.len;

	if (e == ERR_NOT_FOUND) {
		LOG(LOG_LEVEL_WARNING, "there is no file of known checkpoints yet",
			LS("file", path));
		return ERR_OK;
	}
	if (e)
		refuse(why, ERR_FORMAT, "checkpoint", "%s can't be read: %s", path,
			strerror(errno));
	while (!e && left > 0) {
		struct checkpoint known;
		struct chain *chain;
		size_t len = checkpoint_length(at, left);

		if (len == 0)
			e = refuse(why, ERR_FORMAT, "checkpoint",
				"%s is not a file of signed notes", path);
		else
			e = known_check(l, path, at, len, why, &known, &chain);
		at += len;
		left -= len;
	}
	buf_free(&all);
	return e;
}

static enum err key_open(struct ledger *l, const struct config *config, struct refusal *why)
{
	char *path = NULL;
	enum err e = ERR_OK;

	if (config->checkpoint.key)
		path = strdup(config->checkpoint.key);
	else if (asprintf(&path, "%s/ledger/checkpoint.key", config->state) < 0)
		path = NULL;
	if (!path)
		return ERR_NOMEM;
	e = signer_open(&l->signer, path, config->origin, &l->key_made, why);
	if (!e && l->key_made)
		LOG(LOG_LEVEL_INFO, "made the key that signs the ledger's heads", LS("file", path));
	free(path);
	return e;
}

/* Shows that notes can be made: the longest chain's name, and an origin that a note carries. */
static enum err note_try(struct ledger *l, const struct config *config, struct refusal *why)
{
	struct checkpoint c = {.size = 0}, back;
	struct buf note = BUF_INIT(CHECKPOINT_MAX);
	enum err e = ERR_FORMAT;

	if (strlen(config->origin) + CHAIN_SIZE < CHECKPOINT_ORIGIN_SIZE) {
		signer_origin(&l->signer, "node/token", c.origin);
		e = checkpoint_sign(&note, &c, l->signer.seed);
	}
	if (!e)
		e = checkpoint_verify(
			&back, (const char *)note.octets, note.len, l->signer.public_key);
	buf_free(&note);
	return e ? refuse(why, ERR_FORMAT, "origin",
			   "origin must be 1 to %d octets without spaces and \"+\": a signed note "
			   "begins with it",
			   CHECKPOINT_ORIGIN_SIZE - CHAIN_SIZE - 1)
		 : ERR_OK;
}

enum err heads_open(struct ledger *l, const struct config *config, int64_t ms, struct refusal *why)
{
	enum err e = key_open(l, config, why);

	if (!e)
		e = note_try(l, config, why);

	if (!e)
		e = kept_load(l, ms, why);
	if (!e && config->checkpoint.file)
		e = file_check(l, config->checkpoint.file, why);
	if (!e && config->checkpoint.command &&
		(l->courier = courier_start(config->checkpoint.command)) < 0)
		e = refuse(why, ERR_SYSTEM, "checkpoint", "no process for the command: %s",
			strerror(errno));
	if (!e && !config->checkpoint.file && !config->checkpoint.command)
		LOG(LOG_LEVEL_WARNING,
			"no checkpoint is kept elsewhere: nobody will see it when this "
			"ledger is put back to an older state");
	return e;
}
