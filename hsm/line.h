/* A channel that several threads send on: closed when the last one has let it go. */
#ifndef DCSIGN_LINE_H
#define DCSIGN_LINE_H

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct line {
	int fd;
	_Atomic unsigned users;
};

/* Takes fd over; NULL (and fd closed) without memory. */
static inline struct line *line_new(int fd)
{
	struct line *line = malloc(sizeof *line);

	if (line == NULL) {
		close(fd);
		return NULL;
	}
	line->fd = fd;
	line->users = 1;
	return line;
}

static inline struct line *line_ref(struct line *line)
{
	atomic_fetch_add(&line->users, 1);
	return line;
}

static inline void line_unref(struct line *line)
{
	if (line == NULL || atomic_fetch_sub(&line->users, 1) > 1)
		return;
	close(line->fd);
	free(line);
}

#endif
