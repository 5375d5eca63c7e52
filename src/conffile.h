/*
 * Reading dcsignd.conf (dcsignd.conf(5)) with libconfuse. Linked by dcsignd alone. Every error
 * names file, line, option and what was expected; all that can be found are reported, not only the
 * first.
 */
#ifndef DCSIGN_CONFFILE_H
#define DCSIGN_CONFFILE_H

#include "config.h"

#define CONFFILE_MAX	  (16u << 20) /* octets of the configuration's text */
#define CONFFILE_FILE_MAX (32u << 20) /* of a file that it names */
#define CONFFILE_LISTENS  8

/* Where files come from: the disk, or a test's memory. */
struct conffile_source {
	void *context;
	/* The octets of a file, malloc'ed; else why is filled. ERR_SYSTEM, ERR_NOMEM. */
	enum err (*load)(void *context, const char *path, uint8_t **octets, size_t *len, char *why,
		size_t size);
	/* Can this source (secret.h) be used as a secret? Else why is filled. */
	enum err (*secret)(void *context, const char *source, char *why, size_t size);
	/* Is there a regular file? Else why is filled. */
	enum err (*there)(void *context, const char *path, char *why, size_t size);
	/* One error, without a newline. */
	void (*complain)(void *context, const char *text);
};

/* path: for messages, and its folder is where relative paths start. ERR_FORMAT after at least one
 * complaint, ERR_NOMEM. Release *out with config_unref. Not thread-safe (libconfuse is not). */
enum err conffile_parse(struct config **out, const char *path, const char *text, size_t len,
	const struct conffile_source *source);
/* From the disk. credentials: $CREDENTIALS_DIRECTORY or NULL. */
enum err conffile_read(struct config **out, const char *path, const char *credentials,
	void (*complain)(void *context, const char *text), void *context);

#endif
