/* The addresses that dcsignd.conf names, and listening on them: the parent binds, the api accepts.
 */
#ifndef DCSIGN_SOCKETS_H
#define DCSIGN_SOCKETS_H

#include <sys/socket.h>

#include "err.h"

#define ADDRESS_TEXT 128

/* "192.0.2.1:443", "[2001:db8::1]:443" (numbers only), "unix:/path". ERR_FORMAT. */
enum err address_parse(struct sockaddr_storage *address, socklen_t *len, const char *text);
/* The reverse. */
void address_text(char text[ADDRESS_TEXT], const struct sockaddr_storage *address);
/* A listening socket: close-on-exec, non-blocking. A Unix socket that nobody listens on any more is
 * replaced. bound: what it really is (port 0 becomes a port). ERR_SYSTEM with errno. */
enum err address_listen(int *fd, const char *text, char bound[ADDRESS_TEXT]);

#endif
