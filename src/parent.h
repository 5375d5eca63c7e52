/* Between the files of dcsignd, the parent: what it owns, its children, what it prepares. */
#ifndef DCSIGN_PARENT_H
#define DCSIGN_PARENT_H

#include <sys/stat.h>

#include "child.h"
#include "conffile.h"

#define EXIT_USAGE	   64
#define EXIT_BROKEN	   70
#define EXIT_TEMPORARY	   75
#define EXIT_CONFIGURATION 78

enum phase {
	GONE,  /* not born, or lost */
	ASKED, /* born and has CONFIG, has not answered */
	TAKEN, /* has taken CONFIG and knows its neighbours */
	SERVING
};

struct birth {
	enum msg_role role;
	char token[NAME_SIZE]; /* for ROLE_HSM; else "" */
	enum phase phase;
	pid_t pid;	  /* 0: none */
	int control;	  /* -1: none */
	uint64_t serial;  /* of the CONFIG that is not answered; 0: none */
	int64_t asked_at; /* all times monotonic, ms */
	int64_t born_at;
	int64_t next_birth;
	int64_t delay;	    /* before the birth that follows the next death */
	bool stale;	    /* lives with an older configuration */
	int64_t served_at;  /* 0: has not said yet that it serves */
	int64_t kill_at;    /* it must have ended by then; 0: need not */
	int64_t asked_last; /* whether it still answers */
	unsigned unanswered;
	/* Of hsm processes; births_heir.c. */
	bool spare;    /* the second of its token: the heir, or the one that is being followed */
	bool retiring; /* a spare that has been followed and drains */
	bool heir_wanted;
	uint64_t unable; /* it serves without a token, for the reason of this number; 0: has it */
	bool no_ledger;	 /* the one before still writes its last records */
};

#define WATCH_MS 30000

/* A revocation list on the disk, as it was when it was read. */
struct watched {
	char *path;
	struct timespec time;
	off_t size;
	ino_t inode;
};

/* What root says over the socket in the state folder; decide.c. One at a time. */
struct decision {
	int listen, asker; /* -1: none */
	uint64_t serial;   /* of what a child was told; 0: nothing yet */
	int64_t until;
};

struct parent {
	const char *path;   /* of the configuration */
	char *credentials;  /* $CREDENTIALS_DIRECTORY or NULL */
	char *programs;	    /* folder of a build tree (test hooks), or NULL */
	char **environment; /* for every child; NULL ends it */
	struct config *config;
	int bundle;				   /* sealed memfd of config */
	bool separate;				   /* children get users of their own */
	struct sandbox_user user[ROLE_LEDGER + 1]; /* by role, where separate */
	int lock;
	int listen[CONFFILE_LISTENS], monitor;
	struct decision decision;
	struct birth *birth; /* ledger, hsm in the order of the tokens, api */
	size_t birth_count;
	struct watched *watched;
	size_t watched_count;
	int64_t watch_ms; /* from one look at them to the next */
	int64_t drain_ms; /* for all to end in */
	uint64_t serial;
	bool started;	/* every child has taken its first configuration */
	bool announced; /* the service manager knows that we are ready */
	bool reloading;
	bool hangup;		/* SIGHUP that is not dealt with yet */
	enum msg_role stopping; /* whose turn it is to end; 0: nobody's */
	int64_t stop_until;
	int exit_code; /* -1: go on */
};

int64_t parent_now(void);
/* One line on standard error: for a person who starts us, and for the log. */
void parent_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "dcsignd-hsm", ... */
const char *program_name(enum msg_role role);

/* prepare.c: they say themselves what is wrong, and give 0 or an exit code. */
/* What children get of our environment; then ours is cleared. */
int prepare_environment(struct parent *p);
/* The file as a snapshot and as a bundle in a sealed memfd. */
int prepare_config(const struct parent *p, struct config **config, int *bundle);
int prepare_users(struct parent *p, const struct config *config);
int prepare_state(struct parent *p); /* folders and lock */
int prepare_sockets(struct parent *p);

/* spawn.c */
/* Bears one program and sends it CONFIG. check: with -n. ERR_OK; else nothing lives, and why says
 * it. */
enum err spawn(struct parent *p, struct birth *b, const struct config *config, int bundle,
	bool check, char *why, size_t size);
/* CONFIG to one that lives. */
enum err send_config(struct parent *p, struct birth *b, const struct config *config, int bundle,
	bool check, char *why, size_t size);
/* Does every program take this bundle? 0 or an exit code. */
int check_bundle(struct parent *p, const struct config *config, int bundle);

/* births.c, births_hear.c */
/* The table for p->config; those that are there stay. False: no memory. */
bool births_plan(struct parent *p);
void births_due(struct parent *p);	     /* bears those whose time has come */
int64_t births_wait(const struct parent *p); /* when the next is due; INT64_MAX: none */
/* Reads one message of a child; false when there was none. */
bool births_hear(struct parent *p, struct birth *b);
void births_reap(struct parent *p); /* the children that ended */
/* CONFIG to those that are stale, one after the other. */
void births_update(struct parent *p);
void births_signal(const struct parent *p, enum msg_role role, int signal); /* ROLE_PARENT: all */
size_t births_alive(const struct parent *p, enum msg_role role);

/* What births*.c share. Both processes of a token stand in the table. */
void births_slay(const struct birth *b);
/* Not the heirs, and not those of tokens that are no longer configured. */
bool births_wanted(const struct parent *p, const struct birth *b);
void births_log(int level, const struct birth *b, const char *event);
/* To all of its neighbours. */
void births_introduce(struct parent *p, struct birth *b);
/* A channel between two that have taken their configuration. */
void births_introduce_two(struct birth *a, struct birth *b);

/*
 * births_heir.c: an hsm process asks for a successor. Its heir is born beside it and has the token
 * open when it says that it serves; then the api's channel leads there, the first one answers what
 * it has and ends, and the ledger's channel follows. One that has no token tells why, and asks
 * again and again: each heir is a look at the token.
 */
struct birth *heir_other(struct parent *p, const struct birth *b); /* NULL: none */
void heir_due(struct parent *p, struct birth *first);
/* The heir says that it serves. Without a token it is of use only to one that has none for another
 * reason (heir->unable). */
void heir_serves(struct parent *p, struct birth *heir);
/* One of the two ended (pid is 0 already). True: nothing is to be born in its place. */
bool heir_buried(struct parent *p, struct birth *b);

/* decide.c
 * Listens on STATE/control/socket. Where that can't be a warning says why, and nobody is heard. */
void decide_open(struct parent *p);
/* The descriptor to poll: the one who asks, else the socket; -1: there is none. */
int decide_poll(const struct parent *p);
void decide_hear(struct parent *p); /* that one can be read */
/* A child's answer. */
void decide_answered(struct parent *p, uint64_t serial, const struct msg_decide_answer *answer);
void decide_due(struct parent *p); /* who has waited long enough is told so */

/* watch.c */
/* Remembers the revocation lists of p->config as they are now; watch_taken: but one that differs
 * from what p->config has of it counts as changed. */
void watch_begin(struct parent *p);
void watch_taken(struct parent *p);
bool watch_changed(const struct parent *p);
void watch_end(struct parent *p);

#endif
