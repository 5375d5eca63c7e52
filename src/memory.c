#include "settings.h"

#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef DCSIGN_SANITIZED

/* The C library's own, behind the names that are taken here. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): the C library's names */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp) */

static _Noreturn void without_memory(void)
{
	static char text[] = ": out of memory\n";
	char *name = program_invocation_short_name;
	const struct iovec line[] = {{name, strlen(name)}, {text, sizeof text - 1}};
	ssize_t n = writev(STDERR_FILENO, line, 2);

	(void)n;
	_Exit(memory_exit);
}

void *malloc(size_t size)
{
	void *p = __libc_malloc(size);

	if (p == NULL && size <= MEMORY_SMALL)
		without_memory();
	return p;
}

void *calloc(size_t count, size_t size)
{
	void *p = __libc_calloc(count, size);
	size_t octets;

	if (p == NULL && !__builtin_mul_overflow(count, size, &octets) && octets <= MEMORY_SMALL)
		without_memory();
	return p;
}

void *realloc(void *old, size_t size)
{
	void *p = __libc_realloc(old, size);

	if (p == NULL && size > 0 && size <= MEMORY_SMALL)
		without_memory();
	return p;
}

#endif
