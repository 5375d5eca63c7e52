/* The octets of the table `pending` of a ledger that somebody handed over: what is taken is written
 * the same, and is there again after a rollback. */
#include "fuzz_files.h"

#include "ledger/sqlite-pending.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

/* Each change, as far as they can be read. */
static void written_the_same(const uint8_t *octets, size_t len)
{
	struct buf log = BUF_INIT(1 << 20);
	struct pending_done d;
	struct reader in;

	reader_init(&in, octets, len);
	while (in.left > 0 && pending_log_read(&in, &d) == ERR_OK)
		insist(pending_log_write(&log, &d) == ERR_OK);
	insist(log.len <= len && (log.len == 0 || memcmp(log.octets, octets, log.len) == 0));
	buf_free(&log);
}

static void all_found(const struct pending *p)
{
	for (size_t i = 0; i < p->attempts; i++) {
		const struct store_attempt *a = &p->attempt[i].a;
		const struct pending_attempt *found = pending_attempt_find(p, a->id, a->attempt);

		insist(p->attempt[i].dropped || found != NULL);
		insist(found == NULL || strcmp(found->a.id, a->id) == 0);
	}
	for (size_t i = 0; i < p->idempotencies; i++)
		insist(pending_idempotency_find(p, &p->idempotency[i].i) == &p->idempotency[i].i);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	static struct pending p;
	const struct pending_done more = {.what = PENDING_NODE, .node = {.chain = "a/b"}};
	size_t attempts, idempotencies, credentials, nodes;
	enum err e;

	if (len == 0 || len > 65536)
		return 0;
	written_the_same(octets, len);
	pending_init(&p);
	e = pending_read(&p, octets, len);
	insist(e == ERR_OK || e == ERR_FORMAT);
	if (e == ERR_OK) {
		all_found(&p);
		attempts = p.attempts, idempotencies = p.idempotencies;
		credentials = p.credentials, nodes = p.nodes;
		insist(pending_do(&p, &more) == ERR_OK && p.nodes == nodes + 1);
		insist(pending_undo(&p) == ERR_OK);
		insist(p.attempts == attempts && p.idempotencies == idempotencies &&
			p.credentials == credentials && p.nodes == nodes);
		all_found(&p);
	}
	pending_free(&p);
	return 0;
}
