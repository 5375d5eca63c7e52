/*
 * Birth of the child programs, both sides. The parent forks and executes one of the programs
 * in $(pkglibexecdir) with the control channel as descriptor 3, standard error kept, standard input
 * and output on /dev/null, everything else closed, an environment that it lists, the child's user,
 * no_new_privs and death with the parent.
 */
#ifndef DCSIGN_CHILD_H
#define DCSIGN_CHILD_H

#include "channel.h"
#include "config.h"
#include "sandbox.h"

#define CHILD_CONTROL 3

struct child_spec {
	const char *program; /* absolute path */
	const char
		*argument; /* argv[1]: the token's name, "-n" to check a bundle and exit, or NULL */
	const struct sandbox_user *user; /* NULL: stay who we are (single_user) */
	char *const *environment;
};

/* Parent side. *pid and *control (parent's end). ERR_SYSTEM with errno (also when exec failed). */
enum err child_spawn(const struct child_spec *spec, pid_t *pid, int *control);

/*
 * Child side, first call in main: sandbox_common, SIGPIPE ignored, death with the parent (checked
 * against a parent that is already gone), then waits for CONFIG. *bundle: the decoded snapshot
 * (digest as in config_from_fd). secrets: the other descriptors with their labels.
 */
struct child_secrets {
	size_t count;
	char label[MSG_FDS][LABEL_SIZE];
	int fd[MSG_FDS];
};
enum err child_start(struct config **config, struct child_secrets *secrets, uint64_t *serial,
	void (*digest)(const void *, size_t, uint8_t[SHA256_SIZE]));
/* The descriptor with this label, or -1; n-th of several with the same label. */
int child_secret(const struct child_secrets *secrets, const char *label, size_t n);
/* Closes all of them. */
void child_secrets_close(struct child_secrets *secrets);
/* Takes a CONFIG message that has been received (start and SIGHUP alike). */
enum err child_take_config(struct config **config, struct child_secrets *secrets,
	struct reader *body, int *fds, size_t fd_count,
	void (*digest)(const void *, size_t, uint8_t[SHA256_SIZE]));
/* Answers CONFIG. why NULL or ERR_OK: taken. */
enum err child_answer_config(uint64_t serial, const struct refusal *why);
/* Tells the parent that this process serves; also its answer when it is asked by an empty STATE. */
enum err child_ready(void);
/* hsm: the same, of one without token or login. reason: not 0, the same number for the same reason,
 * with CHILD_ABSENT when it may pass by itself, with CHILD_NO_ROOM when the token has no session
 * for a second process. */
#define CHILD_ABSENT  0x80000000U
#define CHILD_NO_ROOM 0x40000000U
enum err child_ready_without(uint32_t reason);
/* hsm, ledger: answers DECIDE. why NULL or ERR_OK: done, and text says what. Thread-safe. */
enum err child_answer_decision(uint64_t serial, const struct refusal *why, const char *text);
/* hsm: asks the parent for a successor; the HELLO that has no descriptor says that it is there. */
enum err child_wants_heir(void);

#endif
