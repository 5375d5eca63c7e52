#include "settings.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "parent.h"
#include "secret.h"

#define SEND_MS	 2000
#define CHECK_MS 30000

const char *program_name(enum msg_role role)
{
	static const char *const names[] = {[ROLE_PARENT] = "dcsignd",
		[ROLE_API] = "dcsignd-api",
		[ROLE_HSM] = "dcsignd-hsm",
		[ROLE_LEDGER] = "dcsignd-ledger"};

	return names[role];
}

static void program_path(const struct parent *p, enum msg_role role, char *path, size_t size)
{
	static const char *const folders[] = {
		[ROLE_API] = "api", [ROLE_HSM] = "hsm", [ROLE_LEDGER] = "src/ledger"};

	if (p->programs != NULL)
		snprintf(path, size, "%s/%s/%s", p->programs, folders[role], program_name(role));
	else
		snprintf(path, size, "%s/%s", PKGLIBEXECDIR, program_name(role));
}

/* Ours, then the token's own. Borrowed texts; the caller frees the list. */
static char **environment_of(const struct parent *p, const struct config_token *token)
{
	size_t count = 0, own = token != NULL ? token->environment_count : 0;
	char **list;

	while (p->environment[count] != NULL)
		count++;
	if ((list = calloc(count + own + 1, sizeof *list)) == NULL)
		return NULL;
	memcpy(list, p->environment, count * sizeof *list);
	if (own > 0)
		memcpy(list + count, token->environment, own * sizeof *list);
	return list;
}

/* The descriptors of one CONFIG; those opened here are closed after it was sent. */
struct parcel {
	struct msg_config m;
	int fd[MSG_FDS];
	bool ours[MSG_FDS];
};

static void pack(struct parcel *parcel, const char *label, int fd, bool ours)
{
	uint16_t n = parcel->m.count++;

	snprintf(parcel->m.label[n], LABEL_SIZE, "%s", label);
	parcel->fd[n] = fd;
	parcel->ours[n] = ours;
}

static enum err pack_secret(const struct parent *p, struct parcel *parcel, const char *label,
	const char *source, char *why, size_t size)
{
	int fd;
	enum err e = secret_open(&fd, source, p->credentials, why, size);

	if (e == ERR_OK)
		pack(parcel, label, fd, true);
	return e;
}

static enum err pack_api(const struct parent *p, struct parcel *parcel, const struct config *c,
	bool check, char *why, size_t size)
{
	char source[PATH_MAX + 8];
	enum err e = ERR_OK;

	for (size_t i = 0; i < c->listen_count && e == ERR_OK; i++) {
		if (!check)
			pack(parcel, "listen", p->listen[i], false);
		if (c->listen[i].is_unix)
			continue;
		snprintf(source, sizeof source, "file:%s", c->listen[i].private_key);
		e = pack_secret(p, parcel, "tls_key", source, why, size);
	}
	if (!check && c->monitor != NULL)
		pack(parcel, "monitor", p->monitor, false);
	return e;
}

static enum err pack_all(const struct parent *p, struct parcel *parcel, const struct birth *b,
	const struct config *c, int bundle, bool check, char *why, size_t size)
{
	const struct config_token *token = config_token(c, b->token);

	pack(parcel, "bundle", bundle, false);
	if (b->role == ROLE_API)
		return pack_api(p, parcel, c, check, why, size);
	if (b->role == ROLE_LEDGER && !check)
		pack(parcel, "lock", p->lock, false);
	if (b->role == ROLE_HSM && token != NULL && !check)
		return pack_secret(p, parcel, "pin", token->pin, why, size);
	return ERR_OK;
}

enum err send_config(struct parent *p, struct birth *b, const struct config *config, int bundle,
	bool check, char *why, size_t size)
{
	struct parcel parcel = {.m.count = 0};
	struct buf out = BUF_INIT(MSG_MAX);
	enum err e = pack_all(p, &parcel, b, config, bundle, check, why, size);

	if (e == ERR_OK) {
		b->serial = ++p->serial;
		b->asked_at = parent_now();
		msg_begin(&out, MSG_CONFIG, b->serial);
		msg_config_write(&out, &parcel.m);
		e = channel_send(b->control, &out, parcel.fd, parcel.m.count, SEND_MS);
		if (e != ERR_OK)
			snprintf(why, size, "%s does not take its configuration: %s",
				program_name(b->role), err_text(e));
	}
	for (size_t i = 0; i < parcel.m.count; i++)
		if (parcel.ours[i])
			close(parcel.fd[i]);
	buf_free(&out);
	return e;
}

enum err spawn(struct parent *p, struct birth *b, const struct config *config, int bundle,
	bool check, char *why, size_t size)
{
	char path[PATH_MAX];
	const char *argument = check ? "-n" : b->role == ROLE_HSM ? b->token : NULL;
	struct child_spec spec = {.program = path,
		.argument = argument,
		.user = p->separate ? &p->user[b->role] : NULL};
	char **environment = environment_of(p, config_token(config, b->token));
	enum err e;

	program_path(p, b->role, path, sizeof path);
	if (environment == NULL) {
		snprintf(why, size, "out of memory");
		return ERR_NOMEM;
	}
	spec.environment = environment;
	e = child_spawn(&spec, &b->pid, &b->control);
	free(environment);
	if (e != ERR_OK) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		b->pid = 0;
		return e;
	}
	b->born_at = parent_now();
	if ((e = send_config(p, b, config, bundle, check, why, size)) == ERR_OK)
		return ERR_OK;
	kill(b->pid, SIGKILL);
	waitpid(b->pid, NULL, 0);
	close(b->control);
	b->pid = 0;
	b->control = -1;
	return e;
}

/* The answer to the one CONFIG that a checking child gets. */
static enum err hear_check(const struct birth *b, int64_t until, char *why, size_t size)
{
	struct msg_config_answer answer = {.err = ERR_INTERNAL};
	int64_t left = until - parent_now();
	uint8_t octets[2048];
	struct msg_head head;
	struct reader body;
	size_t len;
	enum err e = channel_receive(
		b->control, octets, sizeof octets, &len, NULL, NULL, left > 0 ? (int)left : 0);

	if (e == ERR_OK)
		e = msg_open(&head, &body, octets, len);
	if (e == ERR_OK)
		e = head.type == MSG_ANSWER(MSG_CONFIG) && head.serial == b->serial
			    ? msg_config_answer_read(&answer, &body)
			    : ERR_FORMAT;
	if (e != ERR_OK)
		snprintf(why, size, "no answer: %s", err_text(e));
	else if (answer.err != ERR_OK)
		snprintf(why, size, "%s", answer.text);
	return e == ERR_OK ? answer.err : ERR_INTERNAL;
}

int check_bundle(struct parent *p, const struct config *config, int bundle)
{
	static const enum msg_role roles[] = {ROLE_LEDGER, ROLE_HSM, ROLE_API};
	int64_t until = parent_now() + CHECK_MS;
	struct birth b[3];
	enum err e[3];
	char why[3][1024];
	int code = 0;

	for (size_t i = 0; i < 3; i++) {
		b[i] = (struct birth){.role = roles[i], .control = -1};
		e[i] = spawn(p, &b[i], config, bundle, true, why[i], sizeof why[i]);
	}
	for (size_t i = 0; i < 3; i++) {
		if (e[i] == ERR_OK) {
			e[i] = hear_check(&b[i], until, why[i], sizeof why[i]);
			if (e[i] == ERR_INTERNAL)
				kill(b[i].pid, SIGKILL);
			close(b[i].control);
			waitpid(b[i].pid, NULL, 0);
		}
		if (e[i] != ERR_OK) {
			parent_say("%s: %s: %s", p->path, program_name(roles[i]), why[i]);
			code = EXIT_CONFIGURATION;
		}
	}
	return code;
}
