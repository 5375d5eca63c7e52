#include "settings.h"

#include "powercut_image.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

#define SECTOR 512

/* ---- the trace ---- */

static size_t octets_read(uint8_t **out, const char *file)
{
	struct stat st;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "no trace %s", file);
	*out = malloc((size_t)st.st_size + 1);
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = read(fd, *out + at, (size_t)(st.st_size - at));

		ck_assert_int_gt(n, 0);
		at += n;
	}
	close(fd);
	return (size_t)st.st_size;
}

/* A number of the file system is an object from its making to its end. */
static void objects_name(struct cut_trace *t)
{
	for (size_t i = 0; i < t->count; i++) {
		struct cut_event *e = &t->event[i];

		e->object = SIZE_MAX;
		if (e->type == POWERCUT_MAKE || e->type == POWERCUT_FOLDER)
			e->object = t->objects++;
		for (size_t k = i; e->file && e->object == SIZE_MAX && k-- > 0;) {
			if (t->event[k].file != e->file)
				continue;
			e->object = t->event[k].object;
			if (!*e->path)
				e->path = t->event[k].path;
		}
		if (e->file && e->object == SIZE_MAX) /* the folder that was there at the begin */
			e->object = t->objects++;
	}
}

void cut_load(struct cut_trace *t, const char *file)
{
	size_t len = octets_read(&t->octets, file), at = 0, room = 0;
	char *path;

	t->count = t->objects = t->first = 0;
	t->event = NULL;
	t->paths = path = calloc(2, len + 1);
	while (at < len) {
		struct powercut_head h;
		struct cut_event *e;

		ck_assert_uint_le(sizeof(h), len - at);
		memcpy(&h, t->octets + at, sizeof(h));
		at += sizeof(h);
		ck_assert_uint_le(h.path_len + h.len, len - at);
		if (t->count == room) {
			room = 2 * room + 64;
			t->event = realloc(t->event, room * sizeof(*t->event));
		}
		if (h.type == POWERCUT_BEGIN && t->first == 0)
			t->first = t->count;
		e = &t->event[t->count++];
		*e = (struct cut_event){.type = h.type, .file = h.file, .at = h.at, .path = path};
		memcpy(path, t->octets + at, h.path_len);
		e->to = path + strlen(path) + 1;
		path += h.path_len + 1;
		e->octets = t->octets + at + h.path_len;
		e->len = h.len;
		at += h.path_len + h.len;
	}
	objects_name(t);
}

void cut_free(struct cut_trace *t)
{
	free(t->event);
	free(t->octets);
	free(t->paths);
}

/* ---- what is durable ---- */

struct object {
	uint8_t *octets;
	size_t len, room; /* octets up to room, zeros from there to len */
	size_t synced;	  /* events before this one are durable */
};

struct name {
	const char *path;
	size_t object;
	bool folder;
};

struct model {
	const struct cut_trace *t;
	size_t events, last; /* last: the last write */
	enum cut_choice choice;
	unsigned random;
	struct object *object;
	struct name *name;
	size_t names;
};

static unsigned random_next(struct model *m, unsigned below)
{
	m->random = m->random * 1103515245u + 12345u;
	return (m->random >> 8) % below;
}

static void size_set(struct object *o, size_t len)
{
	if (len < o->room)
		memset(o->octets + len, 0, o->room - len);
	o->len = len;
}

static void room_make(struct object *o, size_t len)
{
	if (len <= o->room)
		return;
	o->octets = realloc(o->octets, 2 * len);
	memset(o->octets + o->room, 0, 2 * len - o->room);
	o->room = 2 * len;
}

static void write_apply(struct model *m, const struct cut_event *e, size_t i)
{
	struct object *o = &m->object[e->object];
	size_t len = e->len;
	bool zeros = false;

	if (i >= o->synced) {
		unsigned dice = m->choice == CUT_SOME ? random_next(m, 6) : 3;

		if (m->choice == CUT_NONE || dice == 0)
			return;
		if (dice == 1 || (m->choice == CUT_TORN && i == m->last))
			len = e->len <= SECTOR
				      ? e->len / 2
				      : SECTOR * random_next(m, (unsigned)(e->len / SECTOR));
		zeros = dice == 2 && e->at >= o->len;
	}
	if (len == 0)
		return;
	room_make(o, e->at + len);
	if (e->at + len > o->len)
		o->len = e->at + len;
	if (!zeros)
		memcpy(o->octets + e->at, e->octets, len);
}

static void size_apply(struct model *m, const struct cut_event *e, size_t i)
{
	struct object *o = &m->object[e->object];
	bool durable = i < o->synced;

	if (!durable && (m->choice == CUT_NONE || (m->choice == CUT_SOME && random_next(m, 2))))
		return;
	if (e->type == POWERCUT_SIZE || e->at > o->len)
		size_set(o, e->at);
}

/* ---- names ---- */

static struct name *name_find(struct model *m, const char *path)
{
	for (size_t i = 0; i < m->names; i++) {
		if (strcmp(m->name[i].path, path) == 0)
			return &m->name[i];
	}
	return NULL;
}

static void name_drop(struct model *m, const char *path)
{
	struct name *n = name_find(m, path);

	if (n)
		*n = m->name[--m->names];
}

static void name_put(struct model *m, const char *path, size_t object, bool folder)
{
	name_drop(m, path);
	m->name[m->names++] = (struct name){path, object, folder};
}

static bool names_change(const struct cut_event *e)
{
	return e->type == POWERCUT_MAKE || e->type == POWERCUT_FOLDER ||
	       e->type == POWERCUT_RENAME || e->type == POWERCUT_UNLINK;
}

static bool in_folder(const char *path, const char *folder)
{
	size_t len = strlen(folder);

	return strncmp(path, folder, len) == 0 && path[len] == '/' && !strchr(path + len + 1, '/');
}

/* Was the folder of this path synced after event i? */
static bool name_durable(const struct model *m, const char *path, size_t i)
{
	for (size_t k = i + 1; k < m->events; k++) {
		const struct cut_event *e = &m->t->event[k];

		if (e->type == POWERCUT_SYNC && !e->dropped && in_folder(path, e->path))
			return true;
	}
	return false;
}

static void name_apply(struct model *m, const struct cut_event *e)
{
	struct name *n;
	size_t object;

	if (e->type == POWERCUT_MAKE || e->type == POWERCUT_FOLDER) {
		name_put(m, e->path, e->object, e->type == POWERCUT_FOLDER);
		return;
	}
	n = name_find(m, e->path);
	object = n ? n->object : SIZE_MAX;
	name_drop(m, e->path);
	if (n && e->type == POWERCUT_RENAME)
		name_put(m, e->to, object, false);
}

/* Names in order; from the first one that is lost on, all that are not durable are. */
static void names_apply(struct model *m)
{
	bool lost = false;

	for (size_t i = 0; i < m->events; i++) {
		const struct cut_event *e = &m->t->event[i];

		if (!names_change(e) || e->dropped)
			continue;
		if (!name_durable(m, e->type == POWERCUT_RENAME ? e->to : e->path, i)) {
			lost = lost || m->choice == CUT_NONE ||
			       (m->choice == CUT_SOME && random_next(m, 4) == 0);
			if (lost)
				continue;
		}
		name_apply(m, e);
	}
}

/* ---- the image ---- */

static void model_make(struct model *m)
{
	for (size_t i = 0; i < m->events; i++) {
		const struct cut_event *e = &m->t->event[i];

		if (e->type == POWERCUT_SYNC && !e->dropped)
			m->object[e->object].synced = i;
		if (e->type == POWERCUT_WRITE)
			m->last = i;
	}
	for (size_t i = 0; i < m->events; i++) {
		const struct cut_event *e = &m->t->event[i];

		if (e->type == POWERCUT_WRITE)
			write_apply(m, e, i);
		else if (e->type == POWERCUT_SIZE || e->type == POWERCUT_ROOM)
			size_apply(m, e, i);
	}
	names_apply(m);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->path, ((const struct name *)b)->path);
}

static void file_make(const struct object *o, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	size_t len = o->len < o->room ? o->len : o->room;

	while (len > 0 && o->octets[len - 1] == 0)
		len--;
	ck_assert_msg(fd >= 0, "no file %s", path);
	ck_assert_int_eq(write(fd, o->octets, len), (ssize_t)len);
	ck_assert_int_eq(ftruncate(fd, (off_t)o->len), 0);
	close(fd);
}

/* A name is there when its folder is. */
static bool reachable(const struct model *m, const char *path, const char *from)
{
	for (size_t i = 0; i < m->names; i++) {
		if (m->name[i].folder && in_folder(path, m->name[i].path))
			return true;
	}
	return in_folder(path, from);
}

static void image_put(const struct model *m, const char *from, const char *to, struct buf *sum)
{
	for (size_t i = 0; i < m->names; i++) {
		const struct name *n = &m->name[i];
		const struct object *o = &m->object[n->object];
		uint8_t hash[SHA256_SIZE];
		char path[4096];

		if (!reachable(m, n->path, from))
			continue;
		sha256(o->octets, o->len < o->room ? o->len : o->room, hash);
		buf_text(sum, n->path + strlen(from));
		buf_printf(sum, " %zu", o->len);
		buf_put(sum, hash, sizeof(hash));
		if (!to)
			continue;
		snprintf(path, sizeof(path), "%s%s", to, n->path + strlen(from));
		if (n->folder)
			ck_assert_int_eq(mkdir(path, 0700), 0);
		else
			file_make(o, path);
	}
}

void cut_image(const struct cut_trace *t, size_t events, enum cut_choice choice, unsigned seed,
	const char *from, const char *to, uint8_t digest[SHA256_SIZE])
{
	struct model m = {.t = t, .events = events, .choice = choice, .random = seed};
	struct buf sum = BUF_INIT(1 << 20);

	m.object = calloc(t->objects + 1, sizeof(*m.object));
	m.name = calloc(t->count + 1, sizeof(*m.name));
	model_make(&m);
	qsort(m.name, m.names, sizeof(*m.name), by_path);
	if (to)
		ck_assert_int_eq(mkdir(to, 0700), 0);
	image_put(&m, from, to, &sum);
	ck_assert_int_eq(sum.err, ERR_OK);
	sha256(sum.octets, sum.len, digest);
	for (size_t i = 0; i < t->objects; i++)
		free(m.object[i].octets);
	free(m.object);
	free(m.name);
	buf_free(&sum);
}
