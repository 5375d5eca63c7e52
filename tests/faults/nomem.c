/*
 * LD_PRELOAD: the n-th allocation of a program fails, once. $NOMEM is a file of three 64 bit
 * numbers in this machine's order: how many allocations there were, which one is to fail (0: none),
 * how many failed. It is mapped, so that who steers may write it at any time, and so that the
 * processes of one program, one after the other, go on counting. Without $NOMEM nothing fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static struct {
	uint64_t count, fail, failed;
} * control;

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("NOMEM");
	int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *at;

	if (path != NULL && fd < 0)
		_exit(98);
	if (fd < 0)
		return;
	at = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		_exit(98);
	close(fd);
	control = at;
}

static int refused(void)
{
	uint64_t n;

	if (control == NULL)
		return 0;
	n = __atomic_add_fetch(&control->count, 1, __ATOMIC_RELAXED);
	if (n != __atomic_load_n(&control->fail, __ATOMIC_RELAXED))
		return 0;
	__atomic_add_fetch(&control->failed, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return refused() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return refused() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
	return refused() ? NULL : __libc_realloc(p, size);
}
