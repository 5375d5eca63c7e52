/* What a process gives up for good. Every function ends with the property shown to hold, or an
 * error. */
#ifndef DCSIGN_SANDBOX_H
#define DCSIGN_SANDBOX_H

#include <sys/types.h>

#include "err.h"

struct sandbox_user {
	uid_t uid;
	gid_t gid;
};

/* A user name, or decimal digits for uid = gid. ERR_NOT_FOUND. */
enum err sandbox_user_find(struct sandbox_user *user, const char *name);
/* No supplementary groups, gid, uid, real, effective and saved; then shows that there is no way
 * back. */
enum err sandbox_become(const struct sandbox_user *user);
/* Keep only CAP_SETUID, CAP_SETGID, CAP_KILL (permitted, effective, bounding): for the parent, as
 * root. */
enum err sandbox_parent_capabilities(void);
/* no_new_privs, no core file, not dumpable (not in sanitizer builds: the leak checker attaches to
 * us), umask 077. For children, first thing in main. */
enum err sandbox_common(void);
/* RLIMIT_NOFILE, RLIMIT_FSIZE (octets; 0 = leave), RLIMIT_NPROC 0 where forbid_fork: that forbids
 * threads too, so call it when all stand (root is not bound by it, nor are sanitizer builds). Never
 * raises a hard limit. */
enum err sandbox_limits(unsigned nofile, uint64_t fsize, int forbid_fork);

enum sandbox_role { SANDBOX_API, SANDBOX_HSM, SANDBOX_LEDGER, SANDBOX_LEDGER_REMOTE };

/*
 * By Landlock, as far as the kernel has it and a container lets it be used, for this thread and
 * those that it starts: call it before there are threads. Nothing is executed. SANDBOX_API: no file
 * is opened. SANDBOX_LEDGER*: files are written in these folders alone (ended by NULL; those that
 * are missing are left out).
 * ERR_SYSTEM with errno.
 */
enum err sandbox_files(enum sandbox_role role, const char *const *folders);

/*
 * By seccomp(2), for all threads, which all run already, and everything is open.
 *   SANDBOX_API     an allow-list; anything else ends the process (SIGSYS). No file can be opened
 *                   (EACCES), no socket made, nothing executed, no memory made executable.
 *   SANDBOX_LEDGER  an allow-list with files. No socket, nothing executed.
 *   SANDBOX_LEDGER_REMOTE  the same with sockets, for a database server.
 *   SANDBOX_HSM     what a vendor's module needs can't be known: listening, accepting, executing
 * and looking into other processes fail with EPERM. ERR_SYSTEM with errno.
 */
enum err sandbox_calls(enum sandbox_role role);

#endif
