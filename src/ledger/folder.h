/* Folders of the ledger's files: a name is as durable as what it names. */
#ifndef DCSIGN_FOLDER_H
#define DCSIGN_FOLDER_H

#include "err.h"

/* Syncs the folder that a path lies in. ERR_SYSTEM with errno. */
enum err folder_sync(const char *path);
/* Makes the folder that a path lies in where it is not there, durably; its own folder is there.
 * ERR_SYSTEM with errno, ERR_NOMEM. */
enum err folder_make(const char *path);

#endif
