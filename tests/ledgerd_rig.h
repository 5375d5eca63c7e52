/* The real dcsignd-ledger and its neighbours, played by the test: dcsignd, an hsm process, the api.
 * What does not go as it must ends the test. */
#ifndef LEDGERD_RIG_H
#define LEDGERD_RIG_H

#include <sys/types.h>

#include "ledger/commit.h"
#include "ledger_help.h"
#include "message.h"

struct rig {
	char folder[64], url[160], path[128];
	struct config config;
	char **environment;  /* of the process; NULL: none */
	const char *program; /* NULL: dcsignd-ledger itself */
	pid_t pid;
	int control, hsm, api; /* our ends */
	uint64_t serial;
	struct msg_hello_answer hello;
	struct msg_append_answer answers;
	uint8_t octets[MSG_MAX];
	struct issuer issuer;
	uint8_t generation[SHA256_SIZE];
};
extern struct rig rig;

/* A folder, a key and a configuration with one token, main; nothing runs. */
void rig_set_up(void);
/* Kills what still runs and removes the folder. */
void rig_tear_down(void);

/* A descriptor of the configuration's bundle; rig.generation is its digest. */
int rig_bundle(void);
/* Starts the program; argument NULL or "-n". */
void rig_spawn(const char *argument);
/* CONFIG and its answer, whose text is kept where that is not NULL. */
enum err rig_config(char text[512]);
/* Our end of a fresh channel to a neighbour, whose HELLO the process gets. */
int rig_channel(uint8_t role, const char *name);
/* HELLO of the hsm process; the answer is in rig.hello. */
void rig_hello(void);
/* All of these: a process that serves, rig.hsm and rig.api. */
void rig_up(void);
/* Exit status, or the negative number of the signal. */
int rig_wait(void);
/* SIGTERM first. */
int rig_down(void);

/* The next message, which must be of this type. */
void rig_receive(int fd, uint16_t type, struct reader *body);
void rig_append_send(struct record *const *records, size_t count, uint64_t max_live_key);
/* The answer to the oldest APPEND: rig.answers; the first item's code. */
enum err rig_answers(void);
enum err rig_append(struct record *r);
void rig_start_and_config(void);

/* All records of sign1/main in the ledger at rest, a line each. Borrowed until the next call. */
const char *rig_stored(void);
unsigned rig_occurrences(const char *text, const char *what);

#endif
