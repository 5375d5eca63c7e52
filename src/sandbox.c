#include "settings.h"

#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static enum err decimal_user(struct sandbox_user *user, const char *digits)
{
	unsigned long id;

	errno = 0;
	id = strtoul(digits, NULL, 10);
	if (errno != 0 || id >= UINT32_MAX) /* (uid_t)-1 means "no change" to the kernel */
		return ERR_NOT_FOUND;
	user->uid = (uid_t)id;
	user->gid = (gid_t)id;
	return ERR_OK;
}

enum err sandbox_user_find(struct sandbox_user *user, const char *name)
{
	const struct passwd *pw;

	if (name[0] != '\0' && strspn(name, "0123456789") == strlen(name))
		return decimal_user(user, name);
	if ((pw = getpwnam(name)) == NULL)
		return ERR_NOT_FOUND;
	user->uid = pw->pw_uid;
	user->gid = pw->pw_gid;
	return ERR_OK;
}

static int is_user(const struct sandbox_user *user)
{
	uid_t r, e, s;
	gid_t rg, eg, sg;

	return getresuid(&r, &e, &s) == 0 && getresgid(&rg, &eg, &sg) == 0 && r == user->uid &&
	       e == user->uid && s == user->uid && rg == user->gid && eg == user->gid &&
	       sg == user->gid && getgroups(0, NULL) == 0;
}

enum err sandbox_become(const struct sandbox_user *user)
{
	if (setgroups(0, NULL) != 0 || setresgid(user->gid, user->gid, user->gid) != 0 ||
		setresuid(user->uid, user->uid, user->uid) != 0)
		return ERR_SYSTEM;
	if (!is_user(user))
		return ERR_INTERNAL;
	if (user->uid != 0 && (setuid(0) == 0 || setgid(0) == 0 || !is_user(user)))
		return ERR_INTERNAL;
	return ERR_OK;
}

enum err sandbox_parent_capabilities(void)
{
	static const int keep[] = {CAP_SETUID, CAP_SETGID, CAP_KILL};
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}}, now[2] = {{0}};

	for (size_t i = 0; i < sizeof keep / sizeof keep[0]; i++)
		data[0].permitted |= 1u << keep[i];
	data[0].effective = data[0].permitted;
	for (int cap = 0, there; (there = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
		if (there && (cap > 31 || !(data[0].permitted & 1u << cap)) &&
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return ERR_SYSTEM;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, data) != 0 || syscall(SYS_capget, &head, now) != 0)
		return ERR_SYSTEM;
	return memcmp(data, now, sizeof data) == 0 ? ERR_OK : ERR_INTERNAL;
}

enum err sandbox_common(void)
{
	const struct rlimit none = {0, 0};

	umask(077);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || setrlimit(RLIMIT_CORE, &none) != 0)
		return ERR_SYSTEM;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return ERR_INTERNAL;
#ifndef DCSIGN_SANITIZED
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
		return ERR_SYSTEM;
#endif
	return ERR_OK;
}

static enum err limit(__rlimit_resource_t what, rlim_t value)
{
	struct rlimit now;

	if (getrlimit(what, &now) != 0)
		return ERR_SYSTEM;
	if (value > now.rlim_max) /* ours is the tighter one or nothing changes */
		value = now.rlim_max;
	now = (struct rlimit){value, value};
	if (setrlimit(what, &now) != 0 || getrlimit(what, &now) != 0)
		return ERR_SYSTEM;
	return now.rlim_cur == value && now.rlim_max == value ? ERR_OK : ERR_INTERNAL;
}

enum err sandbox_limits(unsigned nofile, uint64_t fsize, int forbid_fork)
{
	enum err e = limit(RLIMIT_NOFILE, nofile);

	if (e == ERR_OK && fsize > 0)
		e = limit(RLIMIT_FSIZE, fsize);
#ifdef DCSIGN_SANITIZED
	forbid_fork = 0; /* the leak checker forks */
#endif
	if (e == ERR_OK && forbid_fork)
		e = limit(RLIMIT_NPROC, 0);
	return e;
}
