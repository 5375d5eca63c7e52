/*
 * The trace of powercut.so: what a process did to the files of one folder, and what it said over
 * its sockets, in order. Each event is this head, then path_len octets of path (two of them with a
 * NUL between for a rename), then len octets: what was written, or said.
 */
#ifndef POWERCUT_H
#define POWERCUT_H

#include <stdint.h>

enum powercut_event {
	POWERCUT_OPEN = 1, /* path, file */
	POWERCUT_MAKE,	   /* the same; the file was not there before */
	POWERCUT_WRITE,	   /* file, at, octets */
	POWERCUT_SIZE,	   /* file; at: its new size */
	POWERCUT_ROOM,	   /* file; at: its least size from now on */
	POWERCUT_SYNC,	   /* file, or a folder's number */
	POWERCUT_FOLDER,   /* path, file: a new folder's number */
	POWERCUT_RENAME,   /* both paths */
	POWERCUT_UNLINK,   /* path */
	POWERCUT_SAID,	   /* octets; before they leave */
	POWERCUT_BEGIN,	   /* a process started */
	POWERCUT_FAILED	   /* file: a sync that was made to fail */
};

struct powercut_head {
	uint32_t type;
	uint32_t path_len;
	uint64_t file; /* inode number */
	uint64_t at;
	uint64_t len;
};

#endif
