/*
 * Programs that end when malloc fails. Of the libraries below them some take that for bad input,
 * some crash, and none says which it was: a request would be refused for what it does not have, a
 * key for what it is not. So nobody sees malloc fail for what is small: the process says so and
 * exits, and is born again (PROCESSES.md). Linked by programs, never by a library. In a build with
 * sanitizers, which have a malloc of their own, it does nothing.
 */
#ifndef DCSIGN_MEMORY_H
#define DCSIGN_MEMORY_H

#define MEMORY_SMALL (1u << 20) /* octets; more than that fails as ever, and the caller says so */

/* The exit status: defined by the program. */
extern const int memory_exit;

#endif
