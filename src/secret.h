/* Where a secret lies, as the configuration names it: "file:PATH", "credential:NAME" (a file of
 * $CREDENTIALS_DIRECTORY, see systemd.exec(5)), "fd:N" (inherited; a regular file or memfd). The
 * parent opens it anew for each child and never reads it. */
#ifndef DCSIGN_SECRET_H
#define DCSIGN_SECRET_H

#include <stddef.h>

#include "err.h"

#define SECRET_MAX 65536 /* octets of such a file */

/* A fresh descriptor with its own offset at 0, close-on-exec, read-only. credentials: the folder,
 * or NULL. ERR_FORMAT for what is no such source, is not a regular file, is too large or can be
 * read or written by others than its owner (credential: the service manager sees to that);
 * ERR_SYSTEM when it can't be opened. why: for a person. */
enum err secret_open(int *fd, const char *source, const char *credentials, char *why, size_t size);

#endif
