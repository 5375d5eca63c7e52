#include "settings.h"

#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIST_END   (-1)
#define CALL(name) SCMP_SYS(name)

/* What every process that serves needs: descriptors that are open, memory, time, its threads. */
static const int serves[] = {CALL(read), CALL(readv), CALL(write), CALL(writev), CALL(pread64),
	CALL(close), CALL(lseek), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(fcntl),
	CALL(dup), CALL(dup2), CALL(dup3), CALL(poll), CALL(ppoll), CALL(epoll_wait),
	CALL(epoll_pwait), CALL(epoll_ctl), CALL(select), CALL(pselect6), CALL(recvmsg),
	CALL(sendmsg), CALL(recvfrom), CALL(sendto), CALL(getsockopt), CALL(setsockopt),
	CALL(getsockname), CALL(getpeername), CALL(shutdown), CALL(futex), CALL(brk), CALL(munmap),
	CALL(mremap), CALL(madvise), CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday),
	CALL(time), CALL(nanosleep), CALL(clock_nanosleep), CALL(getrandom), CALL(getpid),
	CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid), CALL(getegid), CALL(tgkill),
	CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(rt_sigaction), CALL(sigaltstack),
	CALL(sched_yield), CALL(sched_getaffinity), CALL(set_robust_list), CALL(rseq),
	CALL(membarrier), CALL(getrlimit), CALL(prlimit64), CALL(uname), CALL(sysinfo),
	CALL(restart_syscall), CALL(exit), CALL(exit_group), LIST_END};
static const int api[] = {CALL(accept4), CALL(accept), LIST_END};
/* Files of the ledger, and the end of the process that carries signed heads elsewhere. */
static const int ledger[] = {CALL(open), CALL(openat), CALL(stat), CALL(lstat), CALL(access),
	CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat), CALL(getdents64),
	CALL(getcwd), CALL(pwrite64), CALL(pwritev), CALL(preadv), CALL(ftruncate), CALL(fallocate),
	CALL(fsync), CALL(fdatasync), CALL(flock), CALL(statfs), CALL(fstatfs), CALL(unlink),
	CALL(unlinkat), CALL(rename), CALL(renameat), CALL(renameat2), CALL(mkdir), CALL(mkdirat),
	CALL(chmod), CALL(fchmod), CALL(fchmodat), CALL(fchown), CALL(umask), CALL(memfd_create),
	CALL(wait4), LIST_END};
static const int sockets[] = {CALL(socket), CALL(connect), CALL(bind), CALL(ioctl), CALL(sendmmsg),
	CALL(recvmmsg), CALL(eventfd2), LIST_END};
/* Of the hsm process. By io_uring it could listen and accept without these calls. */
static const int forbidden[] = {CALL(listen), CALL(accept), CALL(accept4), CALL(io_uring_setup),
	CALL(io_uring_enter), CALL(io_uring_register), CALL(execve), CALL(execveat),
	CALL(process_vm_readv), CALL(process_vm_writev), CALL(pidfd_getfd), CALL(kcmp), CALL(mount),
	CALL(umount2), CALL(pivot_root), CALL(chroot), CALL(setns), CALL(unshare),
	CALL(init_module), CALL(finit_module), CALL(delete_module), CALL(kexec_load), CALL(bpf),
	CALL(perf_event_open), CALL(userfaultfd), CALL(reboot), CALL(swapon), CALL(swapoff),
	CALL(settimeofday), CALL(clock_settime),
#ifndef DCSIGN_SANITIZED /* the leak checker */
	CALL(ptrace),
#endif
	LIST_END};
#ifdef DCSIGN_SANITIZED
/* The leak checker starts a thread that looks at all others, and reads about itself in /proc. */
static const int sanitized[] = {CALL(open), CALL(openat), CALL(readlink), CALL(readlinkat),
	CALL(getdents), CALL(getdents64), CALL(getcwd), CALL(stat), CALL(lstat), CALL(access),
	CALL(clone), CALL(clone3), CALL(fork), CALL(vfork), CALL(ptrace), CALL(wait4), CALL(waitid),
	CALL(prctl), CALL(arch_prctl), CALL(getppid), CALL(set_tid_address), CALL(setrlimit),
	CALL(pipe), CALL(pipe2), CALL(ioctl), CALL(unlink), CALL(pwrite64), CALL(process_vm_readv),
	CALL(kill), CALL(setitimer), CALL(timer_create), CALL(timer_settime), CALL(mincore),
	CALL(msync), CALL(personality), CALL(socket), CALL(connect), LIST_END};
#endif

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls)
{
	int rc = 0;

	for (; rc == 0 && *calls != LIST_END; calls++)
		rc = seccomp_rule_add(filter, action, *calls, 0);
	return rc;
}

/* Memory that is not executable; in a sanitizer build any. */
static int add_memory(scmp_filter_ctx filter)
{
	static const int calls[] = {CALL(mmap), CALL(mprotect), LIST_END};

#ifdef DCSIGN_SANITIZED
	return add_all(filter, SCMP_ACT_ALLOW, calls);
#else
	int rc = 0;

	for (const int *c = calls; rc == 0 && *c != LIST_END; c++)
		rc = seccomp_rule_add(
			filter, SCMP_ACT_ALLOW, *c, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return rc;
#endif
}

/* A thread may still be on its way to its first lines, where libmicrohttpd gives it its name. */
static int add_thread_name(scmp_filter_ctx filter)
{
	return seccomp_rule_add(
		filter, SCMP_ACT_ALLOW, CALL(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0));
}

/* Libraries look for their settings once more: they are told that they may not. */
static int add_closed_files(scmp_filter_ctx filter)
{
#ifdef DCSIGN_SANITIZED
	(void)filter;
	return 0;
#else
	static const int calls[] = {CALL(open), CALL(openat), CALL(access), CALL(faccessat),
		CALL(faccessat2), CALL(readlink), CALL(stat), CALL(lstat), LIST_END};

	return add_all(filter, SCMP_ACT_ERRNO(EACCES), calls);
#endif
}

static scmp_filter_ctx filter_make(enum sandbox_role role)
{
	bool closed = role != SANDBOX_HSM;
	scmp_filter_ctx filter = seccomp_init(closed ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ALLOW);
	int rc = filter == NULL ? -ENOMEM : seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	if (rc == 0 && !closed)
		rc = add_all(filter, SCMP_ACT_ERRNO(EPERM), forbidden);
	if (rc == 0 && closed && (rc = add_all(filter, SCMP_ACT_ALLOW, serves)) == 0)
		rc = add_memory(filter);
	if (rc == 0 && closed)
		rc = add_thread_name(filter);
	if (rc == 0 && role == SANDBOX_API && (rc = add_closed_files(filter)) == 0)
		rc = add_all(filter, SCMP_ACT_ALLOW, api);
	if (rc == 0 && (role == SANDBOX_LEDGER || role == SANDBOX_LEDGER_REMOTE))
		rc = add_all(filter, SCMP_ACT_ALLOW, ledger);
	if (rc == 0 && role == SANDBOX_LEDGER_REMOTE)
		rc = add_all(filter, SCMP_ACT_ALLOW, sockets);
#ifdef DCSIGN_SANITIZED
	if (rc == 0 && closed)
		rc = add_all(filter, SCMP_ACT_ALLOW, sanitized);
#endif
	if (rc == 0)
		return filter;
	seccomp_release(filter);
	errno = -rc;
	return NULL;
}

#define WRITES                                                                                     \
	(LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE |                          \
		LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |                      \
		LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |                        \
		LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |                      \
		LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
#define READS (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

static uint64_t handled(enum sandbox_role role)
{
#ifdef DCSIGN_SANITIZED_THREADS /* its reports go to files of their own */
	(void)role;
	return LANDLOCK_ACCESS_FS_EXECUTE;
#endif
#ifndef DCSIGN_SANITIZED /* its reports are made from /proc */
	if (role == SANDBOX_API)
		return LANDLOCK_ACCESS_FS_EXECUTE | WRITES | READS;
#endif
	return LANDLOCK_ACCESS_FS_EXECUTE | (role == SANDBOX_API ? 0 : WRITES);
}

static bool folder_allow(int rules, const char *folder)
{
	struct landlock_path_beneath_attr beneath = {.allowed_access = WRITES};
	int e, fd = open(folder, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT;
	beneath.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &beneath, 0) == 0) {
		close(fd);
		return true;
	}
	e = errno;
	close(fd);
	errno = e;
	return false;
}

enum err sandbox_files(enum sandbox_role role, const char *const *folders)
{
	struct landlock_ruleset_attr attr = {.handled_access_fs = handled(role)};
	int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	bool ok = rules >= 0;

	if (!ok) /* a kernel without Landlock, one that was started with it off, or a container
		  * whose own filter does not know it: the kernel itself never says EPERM here */
		return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? ERR_OK
										: ERR_SYSTEM;
	if ((attr.handled_access_fs & WRITES) == 0)
		folders = NULL;
	for (; ok && folders != NULL && *folders != NULL; folders++)
		ok = folder_allow(rules, *folders);
	ok = ok && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
	close(rules);
	return ok ? ERR_OK : ERR_SYSTEM;
}

enum err sandbox_calls(enum sandbox_role role)
{
	scmp_filter_ctx filter = filter_make(role);
	int rc;

	if (filter == NULL)
		return ERR_SYSTEM;
	rc = seccomp_load(filter);
	seccomp_release(filter);
	errno = -rc;
	return rc == 0 ? ERR_OK : ERR_SYSTEM;
}
