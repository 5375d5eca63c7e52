/*
 * A set of files that belong together (a delegated credential, its key, its chain), switched as
 * one. In the folder each file is a symbolic link through `.current`, itself a symbolic link to a
 * folder with the set; a new set is written whole, flushed to the disk, and one rename of
 * `.current` puts it in place. So a reader never finds half of a set, and a failure before the
 * rename leaves the old one as it was. A program that reads several of the files while a set is
 * being switched gets one set if it opens `.current` once and the files below it, and
 * if the set that it began with is still there (keep_previous).
 */
#ifndef DCSIGN_CLIENT_INSTALL_H
#define DCSIGN_CLIENT_INSTALL_H

#include <stdbool.h>
#include <sys/types.h>

#include "err.h"

struct install {
	int folder;	    /* locked against other sets until install_close */
	int fd;		    /* of the new set's folder */
	char set[32];	    /* its name; "" once it is in place */
	uid_t uid;	    /* owner and group of the files; -1: this process's; may be set after */
	gid_t gid;	    /* install_open */
	bool keep_previous; /* the replaced set goes with the next one, not with this */
};

#define INSTALL_INIT                                                                               \
	(struct install)                                                                           \
	{                                                                                          \
		.folder = -1, .fd = -1, .uid = (uid_t)-1, .gid = (gid_t)-1                         \
	}

struct install_file {
	const char *name; /* one of install_names */
	const void *octets;
	size_t len;
	mode_t mode;
};

/* All names that a set can have, ended with NULL. */
extern const char *const install_names[];

/*
 * Makes the folder if need be (not its parents), locks it and makes room for a new set: whatever
 * can fail for reasons of permission or space in the folder fails here, before a credential is
 * asked for. Refuses a folder in which a file of ours is not one that install made: it could be
 * somebody's key. ERR_SYSTEM, ERR_FORMAT with *why.
 */
enum err install_open(struct install *in, const char *path, struct refusal *why);
/* Writes the set and switches to it; names that it does not have go away. ERR_SYSTEM with *why:
 * the old set stands. */
enum err install_set(
	struct install *in, const struct install_file *files, size_t count, struct refusal *why);
/* The links to the files of the set in place, which a run that was killed right after the switch
 * has not made. ERR_SYSTEM with errno. Does nothing where all is well. */
enum err install_links(int folder);
/* Removes what is left of a set that was not put in place. Harmless after a failed install_open. */
void install_close(struct install *in);

#endif
