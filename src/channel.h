/* One SOCK_SEQPACKET socket between two processes: whole messages and, from the parent,
 * descriptors. */
#ifndef DCSIGN_CHANNEL_H
#define DCSIGN_CHANNEL_H

#include "message.h"

/* Both ends close-on-exec. ERR_SYSTEM with errno. */
enum err channel_pair(int ends[2]);

/*
 * Sends one message whole, with count descriptors (0..MSG_FDS; they stay open here). Blocks until
 * there is room, at most timeout_ms (-1: for ever). Thread-safe. Never raises SIGPIPE. ERR_CLOSED,
 * ERR_TIMEOUT, ERR_NO_ROOM (over MSG_MAX), ERR_SYSTEM.
 */
enum err channel_send(
	int fd, const struct buf *message, const int *fds, size_t count, int timeout_ms);

/*
 * Receives one message into octets[size] (size >= MSG_MAX, or a longer message is ERR_FORMAT).
 * *len: its length; descriptors go to fds[MSG_FDS], close-on-exec, and their number to *count; with
 * fds NULL a message that carries any is ERR_FORMAT and they are closed. timeout_ms 0: do not wait
 * (ERR_TIMEOUT when nothing is there), -1: for ever. ERR_CLOSED at the end of the stream.
 */
enum err channel_receive(
	int fd, uint8_t *octets, size_t size, size_t *len, int *fds, size_t *count, int timeout_ms);

#endif
