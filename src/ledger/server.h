/* The ledger process, whose loop is dcsignd-ledger.c: what it hears from its parent and its
 * neighbours. One thread. See PROCESSES.md. */
#ifndef DCSIGN_SERVER_H
#define DCSIGN_SERVER_H

#include "child.h"
#include "gather.h"

enum { EXIT_DRAINED = 0, EXIT_BROKEN = 70, EXIT_ABSENT = 75, EXIT_CONFIGURATION = 78 };

#define PEERS	256
#define SEND_MS 200 /* a writer that does not take its answers is cut off */

/* A neighbour and the channel to it. */
struct peer {
	int fd; /* -1: gone */
	uint8_t role;
	char name[NAME_SIZE];
	struct chain *chain; /* of an hsm process that has said HELLO */
};

struct server {
	struct ledger ledger;
	struct gather gather;
	struct gather held; /* whether it is durable will be known when the store is back */
	struct config *config;
	struct child_secrets secrets; /* the lock is held as long as this is open */
	struct peer peer[PEERS];
	size_t peers;
	int signals;
	bool stopping;
	bool succeeded; /* a chain was ended: when the others go on this process is born anew */
	uint8_t octets[MSG_MAX];
};

/* dcsignd-ledger.c: the clocks, seconds since the epoch and milliseconds. */
int64_t server_wall(void);
int64_t server_ms(void);
/* Ends the process as it is: nothing may be written after a failure whose extent is unknown. */
_Noreturn void server_die(int status, const char *event, const char *detail);
/* A neighbour sent a malformed message, or one that its channel does not carry. */
_Noreturn void server_broken(const char *who);
_Noreturn void server_store_failed(struct server *s, enum err e);

/* server-parent.c: can the process serve with this configuration, after `now` (NULL: at its start)?
 * ERR_OK, or *why. */
enum err parent_config_fits(
	const struct config *now, const struct config *next, struct refusal *why);
/* Takes one message from the parent, if there is one. */
void parent_read(struct server *s);

/* server-peers.c: a fresh channel to a neighbour; the one that was there is the end of a dead one.
 */
void peers_take(struct server *s, const struct msg_hello *hello, int fd);
/* A message of each neighbour in turn, until there is none or the group is full. */
void peers_read(struct server *s);
/* Closes the channels with these descriptors; all of them. */
void peers_lost(struct server *s, const int *lost, size_t count);
void peers_close(struct server *s);

#endif
