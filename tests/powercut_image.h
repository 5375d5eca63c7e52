/* What can be left of a folder when the power fails: images made of a trace of powercut.so. */
#ifndef POWERCUT_IMAGE_H
#define POWERCUT_IMAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "digest.h"
#include "faults/powercut.h"

struct cut_event {
	uint32_t type;
	uint64_t file, at;
	const char *path; /* "" = none; of a rename the first one; of what has a file: its own */
	const char *to;	  /* of a rename */
	const uint8_t *octets;
	size_t len;
	size_t object; /* of an event of a file or folder: which one it is in its life */
	bool dropped;  /* as if the program had not done it */
};

struct cut_trace {
	struct cut_event *event;
	size_t count;
	size_t first; /* the process's own: those before made the folder as it found it */
	size_t objects;
	uint8_t *octets;
	char *paths;
};

/* Reads a trace whose folder was empty at its begin, or that trace_begin began. Ends the test when
 * it can't. */
void cut_load(struct cut_trace *t, const char *file);
void cut_free(struct cut_trace *t);

/* What is left of what no sync made durable. The order of names is kept: of those of a folder the
 * first ones are there. */
enum cut_choice {
	CUT_ALL,  /* the process dies, the machine goes on */
	CUT_NONE, /* nothing */
	CUT_TORN, /* all, but of the last write a part */
	CUT_SOME  /* any of it, in parts of sectors, or zeros in its place; by the seed */
};

/*
 * Makes folder `to` (which is not there) the image of folder `from` after the first `events`
 * events. With to NULL only the digest of what it would hold is made.
 */
void cut_image(const struct cut_trace *t, size_t events, enum cut_choice choice, unsigned seed,
	const char *from, const char *to, uint8_t digest[SHA256_SIZE]);

#endif
