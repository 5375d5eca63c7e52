/*
 * The functions through which libmicrohttpd takes connections and what comes over them. The library
 * has no hook there, so this program defines these functions itself, and the library's calls come
 * here (a definition in the program goes before one in a shared library):
 * gnutls_record_recv and gnutls_record_check_pending, which put the session's sieve in between;
 * gnutls_record_send (below); recv and poll, which do the same for connections without TLS that
 * intake_plain has named, and nothing else for all others; epoll_wait (below); and accept4, which
 * closes a connection when there is no descriptor for it, where the library would ask again at
 * once, without end. Were they not called, no head would be counted by the sieve, and https.c
 * answers no request that the sieve has not counted.
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

/* The next two things that are sent are the head and the body of one answer: they go as one TLS
 * record, where the library makes two of them. */
void intake_send_both(struct session *s);

/*
 * The listeners with TLS wait in epoll_wait: a thousand idle connections cost those that work
 * nothing there, and much in poll. The library's 0.9.75 has two faults with it, which this
 * epoll_wait keeps from it. It takes "as many events as asked for" as a reason to wait again before
 * it looks at them: there is always one less. And a handshake that waits for the client it tries
 * again at once, without end: so handshakes are made in epoll_wait, and the library hears of a
 * connection when its handshake is done (then its own gnutls_handshake has nothing to do) or has
 * failed.
 * key: what the library's epoll set knows the connection by. Until the handshake is done, or
 * intake_handshake_done, which may come twice. In the thread that serves the connection.
 */
void intake_handshake(struct session *s, const void *key);
void intake_handshake_done(struct session *s);

/* What comes on fd passes the sieve of s (borrowed) until intake_forget, which must come before fd
 * is closed. Both in the thread that reads fd, or when it reads no more. false: fd is too large. */
bool intake_plain(int fd, struct session *s);
void intake_forget(int fd);

#endif
