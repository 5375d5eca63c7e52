/*
 * The functions through which libmicrohttpd takes connections and what comes over them. The library
 * has no hook there, so this program defines these functions itself, and the library's calls come
 * here (a definition in the program goes before one in a shared library):
 * gnutls_record_recv and gnutls_record_check_pending, which put the session's sieve in between;
 * recv and poll, which do the same for connections without TLS that intake_plain has named, and
 * nothing else for all others; and accept4, which closes a connection when there is no descriptor
 * for it, where the library would ask again at once, without end. Were they not called, no head
 * would be counted by the sieve, and https.c answers no request that the sieve has not counted.
 */
#ifndef DCSIGN_INTAKE_H
#define DCSIGN_INTAKE_H

#include "session.h"

/* A connection without TLS has a smaller descriptor: limits.connections is at most a million. */
#define INTAKE_PLAIN_MAX (1 << 20)

/* Keeps one descriptor back for accept4. ERR_SYSTEM. */
enum err intake_open(void);
void intake_close(void);
/* Connections that were closed because no descriptor was free. */
unsigned long intake_shed(void);

/* What comes on fd passes the sieve of s (borrowed) until intake_forget, which must come before fd
 * is closed. Both in the thread that reads fd, or when it reads no more. false: fd is too large. */
bool intake_plain(int fd, struct session *s);
void intake_forget(int fd);

#endif
