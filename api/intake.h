/*
 * The functions through which libmicrohttpd takes connections and what comes over TLS. The library
 * has no hook there, so this program defines three functions itself, and the library's calls come
 * here (a definition in the program goes before one in a shared library):
 * gnutls_record_recv and gnutls_record_check_pending, which put the session's sieve in between, and
 * accept4, which closes a connection when there is no descriptor for it, where the library would
 * ask again at once, without end. Were they not called, no head would be counted by the sieve, and
 * https.c answers no request that the sieve has not counted.
 */
#ifndef DCSIGN_INTAKE_H
#define DCSIGN_INTAKE_H

#include "err.h"

/* Keeps one descriptor back for accept4. ERR_SYSTEM. */
enum err intake_open(void);
void intake_close(void);
/* Connections that were closed because no descriptor was free. */
unsigned long intake_shed(void);

#endif
