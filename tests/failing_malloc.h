/*
 * The n-th allocation fails: of the objects that a test is linked from (see FAILING_MALLOC in
 * tests/core.mk), and of libcrypto where the test says so. A digest without memory ends the process
 * by design: its allocations do not count.
 */
#ifndef DCSIGN_TESTS_FAILING_MALLOC_H
#define DCSIGN_TESTS_FAILING_MALLOC_H

#include <stdbool.h>

/* First thing in main; false when libcrypto has allocated already. */
bool failing_malloc_libcrypto(void);
/* The n-th from now on fails; 0: none does. */
void failing_malloc_at(unsigned n);
/* Whether it came to that. */
bool failing_malloc_failed(void);
/* Counts a call as an allocation; true when it is the one that fails. */
bool failing_malloc_fails(void);
/* What the objects have allocated and not freed, libcrypto not counted. */
long failing_malloc_alive(void);

#endif
