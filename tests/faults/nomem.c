/*
 * LD_PRELOAD: the n-th allocation of a program fails. $NOMEM is a file of 64 bit numbers in this
 * machine's order, struct control below. It is mapped, so that who steers may write it at any time,
 * and so that the processes of one program, one after the other, go on counting. Without $NOMEM
 * nothing fails. Two ways:
 *   fail              this one fails, once, and the program has to bear it.
 *   first last step   each of these fails in a copy of the process, made for it, which has to say
 *                     what it lacks and to exit with `want`; the process itself goes on. So one run
 *                     tries them all. For this the filter of system calls is wider by four, and
 *                     RLIMIT_NPROC stays as it was.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SMALL	(1u << 20) /* MEMORY_SMALL: who asks for more is told that there is none */
#define PATIENT 100000	   /* looks at a copy, 0.1 ms apart at least, before it is killed */

extern void *__libc_memalign(size_t alignment, size_t size);
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct control {
	uint64_t count;	       /* allocations so far */
	uint64_t fail, failed; /* the one that is to fail, 0: none; how often it did */
	uint64_t guarded;      /* that came in behind src/memory.c */
	uint64_t bare;	       /* that did not although the program has it */
	uint64_t first, last, step, want;
	uint64_t tried;			 /* copies */
	uint64_t wrong, wrong_n, status; /* that ended otherwise; the last: which, and its status */
	uint64_t large, large_n;	 /* too large for a copy; the last one */
} * control;

static void *(*real_malloc)(size_t size);
static void *(*real_realloc)(void *p, size_t size);

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("NOMEM");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	*(void **)&real_malloc = dlsym(RTLD_NEXT, "__libc_malloc");
	*(void **)&real_realloc = dlsym(RTLD_NEXT, "__libc_realloc");
	if ((path != NULL && fd < 0) || real_malloc == NULL || real_realloc == NULL)
		_exit(98);
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		_exit(98);
	close(fd);
	control = at;
}

static int took(pid_t copy, int *status)
{
	const struct timespec moment = {.tv_nsec = 100000};

	for (int i = 0; i < PATIENT; i++) {
		if (syscall(SYS_wait4, copy, status, __WALL | WNOHANG, NULL) == copy)
			return 1;
		nanosleep(&moment, NULL);
	}
	syscall(SYS_kill, copy, SIGKILL);
	syscall(SYS_wait4, copy, status, __WALL, NULL);
	return 0;
}

/* True in the copy. */
static int copied(uint64_t n)
{
	struct control *c = control;
	long copy = syscall(SYS_clone, 0, NULL, NULL, NULL, 0); /* its end sends no signal */
	int status = 0;

	if (copy == 0) {
		control = NULL;
		return 1;
	}
	__atomic_add_fetch(&c->tried, 1, __ATOMIC_RELAXED);
	if (copy > 0 && took((pid_t)copy, &status) && WIFEXITED(status) &&
		(uint64_t)WEXITSTATUS(status) == c->want)
		return 0;
	__atomic_add_fetch(&c->wrong, 1, __ATOMIC_RELAXED);
	c->wrong_n = n;
	c->status = copy > 0 ? (uint64_t)status : (uint64_t)errno << 32;
	return 0;
}

static int refused(int guarded, size_t size)
{
	struct control *c = control;
	int e = errno, fails;
	uint64_t n, step;

	if (c == NULL)
		return 0;
	__atomic_add_fetch(guarded ? &c->guarded : &c->bare, 1, __ATOMIC_RELAXED);
	n = __atomic_add_fetch(&c->count, 1, __ATOMIC_RELAXED);
	step = __atomic_load_n(&c->step, __ATOMIC_ACQUIRE);
	fails = n == __atomic_load_n(&c->fail, __ATOMIC_RELAXED);
	if (fails)
		__atomic_add_fetch(&c->failed, 1, __ATOMIC_RELAXED);
	else if (guarded && step > 0 && n >= c->first && n <= c->last &&
		 (n - c->first) % step == 0) {
		if (size > SMALL) {
			__atomic_add_fetch(&c->large, 1, __ATOMIC_RELAXED);
			c->large_n = n;
		} else
			fails = copied(n);
	}
	errno = fails ? ENOMEM : e;
	return fails;
}

/* What a process needs for its copies. */

__attribute__((weak)) int seccomp_rule_add(
	scmp_filter_ctx filter, uint32_t action, int call, unsigned count, ...);

int seccomp_load(const scmp_filter_ctx filter)
{
	static const int calls[] = {
		SCMP_SYS(clone), SCMP_SYS(wait4), SCMP_SYS(kill), SCMP_SYS(nanosleep)};
	int (*load)(scmp_filter_ctx filter);

	*(void **)&load = dlsym(RTLD_NEXT, "seccomp_load");
	for (size_t i = 0; control != NULL && i < sizeof calls / sizeof calls[0]; i++)
		(void)seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	return load(filter);
}

static struct rlimit processes = {RLIM_INFINITY, RLIM_INFINITY};

int setrlimit(__rlimit_resource_t what, const struct rlimit *to)
{
	if (control == NULL || what != RLIMIT_NPROC)
		return (int)syscall(SYS_prlimit64, 0, what, to, NULL);
	processes = *to;
	return 0;
}

int getrlimit(__rlimit_resource_t what, struct rlimit *now)
{
	if (control == NULL || what != RLIMIT_NPROC)
		return (int)syscall(SYS_prlimit64, 0, what, NULL, now);
	*now = processes;
	return 0;
}

/* Before the constructor there is no real one yet; all of them give the same kind of memory. */
static void *allocate(size_t size)
{
	return real_malloc != NULL ? real_malloc(size) : __libc_memalign(16, size);
}

static void *allocate_clear(size_t count, size_t size)
{
	size_t octets;
	void *p;

	if (__builtin_mul_overflow(count, size, &octets))
		return NULL;
	p = allocate(octets);
	return p != NULL ? memset(p, 0, octets) : NULL;
}

static void *allocate_again(void *old, size_t size)
{
	size_t had = old != NULL ? malloc_usable_size(old) : 0;
	void *p;

	if (real_realloc != NULL)
		return real_realloc(old, size);
	p = allocate(size);
	if (p != NULL && had > 0)
		memcpy(p, old, had < size ? had : size);
	if (p != NULL)
		free(old);
	return p;
}

/* Of a program with src/memory.c only that file gets here. */

void *__libc_malloc(size_t size)
{
	return refused(1, size) ? NULL : allocate(size);
}

void *__libc_calloc(size_t count, size_t size)
{
	return refused(1, count * size) ? NULL : allocate_clear(count, size);
}

void *__libc_realloc(void *p, size_t size)
{
	return refused(1, size) ? NULL : allocate_again(p, size);
}

/* And here what does not have it, or goes past it. */

void *malloc(size_t size)
{
	return refused(0, size) ? NULL : allocate(size);
}

void *calloc(size_t count, size_t size)
{
	return refused(0, count * size) ? NULL : allocate_clear(count, size);
}

void *realloc(void *p, size_t size)
{
	return refused(0, size) ? NULL : allocate_again(p, size);
}

void *memalign(size_t alignment, size_t size)
{
	return refused(0, size) ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return refused(0, size) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p = refused(0, size) ? NULL : __libc_memalign(alignment, size);

	if (p == NULL)
		return ENOMEM;
	*out = p;
	return 0;
}
