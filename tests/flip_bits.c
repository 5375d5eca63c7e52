/*
 * flip_bits LEDGER STEP PART PARTS [ARCHIVE SCRATCH]: each bit of what a ledger's chains are made
 * of, one at a time: records, leaf hashes, sizes, times, roots, edges, inner nodes and the signed
 * heads that the store hands out; or of the file that has its archived records. The whole verifier
 * reads the ledger with that bit turned over, and must name what it is of. Only every STEP-th bit,
 * and of these the PART-th of PARTS, for several processes. The engine is SQLite's with a bit
 * turned over in what it reads, so that no file is written for a bit.
 */
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/archive.h"
#include "ledger/verify.h"

#define CHAINS 4

static struct store_engine engine; /* SQLite's but for what the functions below do */
static struct store *store;

/* What there is, in the order in which it was met first. */
enum what { RECORD, LEAF, ROOT, EDGE, SIZE, TIME, NODE, NOTE };
static struct unit {
	enum what what;
	char chain[CHAIN_SIZE];
	int64_t idx; /* of a record; level << 32 | index of a node */
	size_t len;
} * units;
static size_t count, room;
static bool counting;

static struct {
	const struct unit *unit;
	size_t octet;
	uint8_t mask;
} flip;
static bool named; /* the verifier said what is to be said of flip.unit */

static void unit_add(enum what what, const char *chain, int64_t idx, size_t len)
{
	for (size_t i = 0; i < count; i++) { /* the store is asked for some of it twice */
		if (units[i].what == what && units[i].idx == idx &&
			strcmp(units[i].chain, chain) == 0)
			return;
	}
	if (count == room) {
		room = room ? 2 * room : 256;
		units = reallocarray(units, room, sizeof(*units));
		if (!units)
			abort();
	}
	units[count] = (struct unit){.what = what, .idx = idx, .len = len};
	strcpy(units[count++].chain, chain);
}

/* Notes that it is there, or turns the bit over if it is this one's. */
static void met(enum what what, const char *chain, int64_t idx, void *octets, size_t len)
{
	if (counting)
		unit_add(what, chain, idx, len);
	else if (flip.unit && flip.unit->what == what && flip.unit->idx == idx &&
		 strcmp(flip.unit->chain, chain) == 0)
		((uint8_t *)octets)[flip.octet] ^= flip.mask;
}

/* ---- the engine ---- */

static void chain_met(struct store_chain *c)
{
	met(ROOT, c->chain, 0, c->root, SHA256_SIZE);
	met(EDGE, c->chain, 0, c->tree.edge, (size_t)merkle_edges(c->tree.size) * SHA256_SIZE);
	met(SIZE, c->chain, 0, &c->tree.size, sizeof(c->tree.size));
	met(TIME, c->chain, 0, &c->last_time, sizeof(c->last_time));
}

static enum err chain_get(struct store *s, const char *chain, struct store_chain *out)
{
	enum err e = store_sqlite.chain_get(s, chain, out);

	if (!e)
		chain_met(out);
	return e;
}

static enum err chain_after(struct store *s, const char *chain, struct store_chain *out)
{
	enum err e = store_sqlite.chain_after(s, chain, out);

	if (!e)
		chain_met(out);
	return e;
}

static enum err record_get(struct store *s, const char *chain, int64_t idx, struct buf *json,
	uint8_t leaf[SHA256_SIZE])
{
	size_t before = json->len;
	enum err e = store_sqlite.record_get(s, chain, idx, json, leaf);

	if (e)
		return e;
	met(RECORD, chain, idx, json->octets + before, json->len - before);
	met(LEAF, chain, idx, leaf, SHA256_SIZE);
	return ERR_OK;
}

struct row {
	store_row *take;
	void *arg;
	const char *chain;
};

static enum err row_take(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	static char text[RECORD_MAX];
	const struct row *r = arg;
	uint8_t hash[SHA256_SIZE];

	memcpy(text, json, len);
	memcpy(hash, leaf, sizeof(hash));
	met(RECORD, r->chain, idx, text, len);
	met(LEAF, r->chain, idx, hash, sizeof(hash));
	return r->take(r->arg, idx, text, len, hash);
}

static enum err record_walk(
	struct store *s, const char *chain, int64_t from, store_row *row, void *arg)
{
	struct row r = {row, arg, chain};

	return store_sqlite.record_walk(s, chain, from, row_take, &r);
}

static enum err node_get(struct store *s, const char *chain, unsigned level, uint64_t index,
	uint8_t hash[SHA256_SIZE])
{
	enum err e = store_sqlite.node_get(s, chain, level, index, hash);

	if (!e)
		met(NODE, chain, (int64_t)level << 32 | (int64_t)index, hash, SHA256_SIZE);
	return e;
}

static enum err checkpoint_get(struct store *s, const char *chain, struct buf *note)
{
	size_t before = note->len;
	enum err e = store_sqlite.checkpoint_get(s, chain, note);

	if (!e)
		met(NOTE, chain, 0, note->octets + before, note->len - before);
	return e;
}

/* ---- a run ---- */

static const char *const says[] = {
	[RECORD] = "the stored leaf hash is not that of the record",
	[LEAF] = "the stored leaf hash is not that of the record",
	[ROOT] = "its root is not that of its records",
	[EDGE] = "the edge of its tree is not that of its records",
	[SIZE] = "it has ", /* so many records, its head says so many */
	[TIME] = "its last_time is not that of its writer's last record",
	[NODE] = "an inner node that is kept for proofs is not that of the records",
	[NOTE] = "the signed head that the store keeps is not the newest of the records",
};

/* Of a damaged line of an archive, where its damage leaves no record there. */
static const char not_there[] = "is archived, and no archive that was given has it";

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	const struct unit *u = flip.unit;

	(void)arg;
	if (!u) {
		fprintf(stderr, "%s, record %lld: %s\n", chain, (long long)idx, what);
		return;
	}
	if (strcmp(chain, u->chain) != 0 || (u->what <= LEAF && idx != u->idx))
		return;
	if (u->what == SIZE)
		named = named || strncmp(what, says[SIZE], strlen(says[SIZE])) == 0;
	else
		named = named || strcmp(what, says[u->what]) == 0 ||
			(store->archive && strcmp(what, not_there) == 0);
}

/* The number of problems; -1: it could not be read. */
static int64_t verify(void)
{
	struct verify v = {.problem = problem};

	named = false;
	return verify_store(&v, store, NULL) ? -1 : (int64_t)v.problems;
}

static unsigned long step, part, parts, n, done;

/* Every bit of the units, this process's part of them. */
static int units_flip(void)
{
	for (const struct unit *u = units; u < units + count; u++) {
		for (size_t bit = 0; bit < 8 * u->len; bit++, n++) {
			if (n % step || n / step % parts != part)
				continue;
			flip.unit = u;
			flip.octet = bit / 8;
			flip.mask = (uint8_t)(1u << bit % 8);
			if (verify() <= 0 || !named) {
				printf("not seen: %s %lld of %s, bit %zu\n", says[u->what],
					(long long)u->idx, u->chain, bit);
				return 1;
			}
			done++;
		}
	}
	return 0;
}

/* Verifies with this as the archive. */
static int64_t archive_verify(const char *scratch, const char *octets, size_t len)
{
	struct refusal why = {.err = ERR_OK};
	struct archive *archive = NULL;
	FILE *file = fopen(scratch, "we");
	int64_t problems = -1;

	if (!file || fwrite(octets, 1, len, file) != len || fclose(file) != 0)
		abort();
	if (!archive_open(&archive, scratch, &why)) {
		store->archive = archive;
		problems = verify();
		store->archive = NULL;
		archive_free(archive);
	}
	return problems;
}

/* Every bit of the archive: the record of its line must be named. */
static int archive_flip(const char *path, const char *scratch)
{
	static char octets[1 << 20];
	FILE *file = fopen(path, "re");
	size_t len = file ? fread(octets, 1, sizeof(octets), file) : 0;
	struct unit u = {.what = RECORD};

	if (file)
		fclose(file);
	if (!len || archive_verify(scratch, octets, len) != 0)
		return 2;
	flip.unit = &u;
	for (char *line = octets, *end; line < octets + len; line = end) {
		end = (char *)memchr(line, '\n', (size_t)(octets + len - line)) + 1;
		sscanf(strstr(line, "\"chain\":"), "\"chain\":\"%[^\"]", u.chain);
		u.idx = atoll(strstr(line, "\"idx\":") + 6);
		for (size_t bit = 0; bit < 8 * (size_t)(end - line); bit++, n++) {
			if (n % step || n / step % parts != part)
				continue;
			line[bit / 8] ^= (char)(1 << bit % 8);
			if (archive_verify(scratch, octets, len) <= 0 || !named) {
				printf("not seen: the archived record %lld of %s, bit %zu\n",
					(long long)u.idx, u.chain, bit);
				return 1;
			}
			line[bit / 8] ^= (char)(1 << bit % 8);
			done++;
		}
	}
	return archive_verify(scratch, octets, len) != 0 ? 2 : 0;
}

int main(int argc, char **argv)
{
	struct refusal why = {.err = ERR_OK};
	int status;

	if (argc != 5 && argc != 7)
		return 2;
	step = strtoul(argv[2], NULL, 10);
	part = strtoul(argv[3], NULL, 10);
	parts = strtoul(argv[4], NULL, 10);
	if (store_sqlite.open_copy(&store, argv[1], &why)) {
		fprintf(stderr, "%s\n", why.detail);
		return 2;
	}
	engine = store_sqlite;
	engine.chain_get = chain_get;
	engine.chain_after = chain_after;
	engine.record_get = record_get;
	engine.record_walk = record_walk;
	engine.node_get = node_get;
	engine.checkpoint_get = checkpoint_get;
	store->engine = &engine;
	if (argc == 7) {
		status = archive_flip(argv[5], argv[6]);
	} else {
		counting = true;
		if (verify() != 0)
			return 2;
		counting = false;
		status = units_flip();
		flip.unit = NULL;
		if (!status && verify() != 0)
			status = 2;
	}
	store_sqlite.abandon(store);
	free(units);
	if (!status)
		printf("%lu %lu\n", done, n);
	return status;
}
