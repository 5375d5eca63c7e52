#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "record.h"
#include "state.h"

struct line {
	char chain[CHAIN_SIZE];
	int64_t idx;
	const char *json;
	size_t len;
};

struct archive {
	void *octets;
	size_t size;
	struct line *line; /* sorted by chain and idx */
	size_t count, room;
	struct archive *next;
};

static int compare(const void *a, const void *b)
{
	const struct line *x = a, *y = b;
	int by_chain = strcmp(x->chain, y->chain);

	return by_chain ? by_chain : (x->idx > y->idx) - (x->idx < y->idx);
}

static enum err line_add(struct archive *a, const char *json, size_t len, struct buf *text)
{
	struct record r;

	buf_reset(text);
	if (record_parse(&r, text, json, len))
		return ERR_OK;
	if (a->count == a->room) {
		size_t room = a->room ? 2 * a->room : 1024;
		struct line *more = reallocarray(a->line, room, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		a->line = more;
		a->room = room;
	}

	struct line *l = &a->line[a->count];

	*l = (struct line){.idx = r.idx, .json = json, .len = len};
	a->count += state_text(l->chain, sizeof(l->chain), &r.chain);
	return ERR_OK;
}

static enum err lines_read(struct archive *a)
{
	const char *at = a->octets, *end = at + a->size;
	struct buf text = BUF_INIT(RECORD_MAX);
	enum err e = ERR_OK;

	while (!e && at < end) {
		const char *stop = memchr(at, '\n', (size_t)(end - at));

		stop = stop ? stop : end;
		e = line_add(a, at, (size_t)(stop - at), &text);
		at = stop + 1;
	}
	buf_free(&text);
	if (a->count)
		qsort(a->line, a->count, sizeof(*a->line), compare);
	return e;
}

enum err archive_open(struct archive **list, const char *path, struct refusal *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct archive *a = calloc(1, sizeof(*a));
	struct stat st;
	enum err e = a ? ERR_OK : ERR_NOMEM;

	if (!e && (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)))
		e = refuse(why, ERR_NOT_FOUND, "archive", "%s: %s", path,
			fd < 0 ? strerror(errno) : "is not a file");
	if (!e && st.st_size > 0) {
		a->size = (size_t)st.st_size;
		a->octets = mmap(NULL, a->size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (a->octets == MAP_FAILED) {
			a->octets = NULL;
			e = ERR_NOMEM;
		}
	}
	if (fd >= 0)
		close(fd);
	if (!e && a->octets)
		e = lines_read(a);
	if (e) {
		archive_free(a);
		return e;
	}
	a->next = *list;
	*list = a;
	return ERR_OK;
}

void archive_free(struct archive *a)
{
	struct archive *next;

	for (; a; a = next) {
		next = a->next;
		if (a->octets)
			munmap(a->octets, a->size);
		free(a->line);
		free(a);
	}
}

bool archive_get(
	const struct archive *a, const char *chain, int64_t idx, const char **json, size_t *len)
{
	struct line want = {.idx = idx};

	strncpy(want.chain, chain, sizeof(want.chain) - 1);
	for (; a; a = a->next) {
		const struct line *l =
			a->count ? bsearch(&want, a->line, a->count, sizeof(want), compare) : NULL;

		if (!l)
			continue;
		*json = l->json;
		*len = l->len;
		return true;
	}
	return false;
}
