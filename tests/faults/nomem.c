/*
 * LD_PRELOAD: the n-th allocation of a program fails, once. $NOMEM is a file of five 64 bit numbers
 * in this machine's order: how many allocations there were, which one is to fail (0: none), how
 * many failed, how many came in behind src/memory.c, and how many did not although the program has
 * it. It is mapped, so that who steers may write it at any time, and so that the processes of one
 * program, one after the other, go on counting. Without $NOMEM nothing fails.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_memalign(size_t alignment, size_t size);
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

static struct {
	uint64_t count, fail, failed, guarded, bare;
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

static int refused(int guarded)
{
	uint64_t n;

	if (control == NULL)
		return 0;
	__atomic_add_fetch(guarded ? &control->guarded : &control->bare, 1, __ATOMIC_RELAXED);
	n = __atomic_add_fetch(&control->count, 1, __ATOMIC_RELAXED);
	if (n != __atomic_load_n(&control->fail, __ATOMIC_RELAXED))
		return 0;
	__atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return 1;
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
	return refused(1) ? NULL : allocate(size);
}

void *__libc_calloc(size_t count, size_t size)
{
	return refused(1) ? NULL : allocate_clear(count, size);
}

void *__libc_realloc(void *p, size_t size)
{
	return refused(1) ? NULL : allocate_again(p, size);
}

/* And here what does not have it, or goes past it. */

void *malloc(size_t size)
{
	return refused(0) ? NULL : allocate(size);
}

void *calloc(size_t count, size_t size)
{
	return refused(0) ? NULL : allocate_clear(count, size);
}

void *realloc(void *p, size_t size)
{
	return refused(0) ? NULL : allocate_again(p, size);
}

void *memalign(size_t alignment, size_t size)
{
	return refused(0) ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return refused(0) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
	void *p = refused(0) ? NULL : __libc_memalign(alignment, size);

	if (p == NULL)
		return ENOMEM;
	*out = p;
	return 0;
}
