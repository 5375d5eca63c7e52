/*
 * The hsm side of the ledger channel: records in, and whether they are durable. Threads wait for
 * their own answers; one thread (the process's main loop) receives for all.
 */
#ifndef DCSIGN_APPEND_H
#define DCSIGN_APPEND_H

#include "record.h"

struct append; /* the channel to the ledger; lives as long as the process */

struct append *append_new(void);
/* Nobody may wait any more. */
void append_free(struct append *a);

/* A fresh channel replaces the old one: whoever waited on that gets ERR_LEDGER_UNAVAILABLE, and
 * nothing but append_open is sent until it succeeded. Takes fd over. -1: there is none now. */
void append_attach(struct append *a, int fd);
/* The descriptor to poll, or -1. Main thread. */
int append_fd(const struct append *a);
/* Routes the next message to those who wait for it; append_flush sends what it made room for.
 * ERR_TIMEOUT: there is none. ERR_CLOSED: the channel is gone (detached). ERR_FORMAT: malformed.
 * Main thread. */
enum err append_receive(struct append *a);

/* HELLO over a fresh channel; *answer tells the chain and where it stands. Then append_first. */
enum err append_open(
	struct append *a, const char *token, struct msg_hello_answer *answer, struct refusal *why);
/* The number of the channel that is open for everybody (1, 2, ...); 0: none. */
uint64_t append_generation(struct append *a);
/* The chain's name, "" before the first append_open. */
void append_chain(struct append *a, char chain[2 * NAME_SIZE + 8]);

struct append_item {
	struct octets record; /* record_encode */
	uint64_t max_live_key, max_live_client;
	uint8_t judge_only;
};
struct waiter;
/* What became of them; answers are in the order of the items, octets borrowed from it. */
struct append_answers {
	size_t count;
	struct msg_appended *item; /* owned */
	struct waiter *waiters;	   /* owned: with the messages that the answers point into */
	size_t messages;

	size_t asked;	       /* messages under way */
	enum err err;	       /* why there are not more */
	_Atomic unsigned left; /* until done is called */
	void (*done)(void *arg);
	void *arg;
};
/*
 * Makes 1..MSG_ITEMS records durable, in order, and waits. As few transactions as the size of a
 * message allows; what several threads ask for at once goes together. ERR_LEDGER_UNAVAILABLE: it is
 * not known which of them are durable. Free the answers in any case.
 */
enum err append_records(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why);
/*
 * The same without waiting: done(arg) is called once, by any thread and perhaps before this
 * returns; then append_finish tells, and the answers are to be freed. Until then items and answers
 * stay where they are. What is asked leaves when append_flush is called, or with what others ask.
 */
void append_begin(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, void (*done)(void *arg), void *arg);
enum err append_finish(struct append_answers *out, struct refusal *why);
void append_flush(struct append *a);
/* How many of those who wait would be sent by append_flush now. */
size_t append_ready(struct append *a);
/* The same as append_records for START and CONFIG after append_open; opens the channel for
 * everybody when all were taken, else gives the refusal. */
enum err append_first(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why);
void append_answers_free(struct append_answers *out);
/* Sends and does not wait: for records whose loss costs nothing but themselves. */
void append_post(struct append *a, const struct append_item *items, size_t count);

#endif
