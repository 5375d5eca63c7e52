/* What only a person can say: root connects to a socket in the state folder, and the child that it
 * concerns is told. */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "parent.h"

#define ANSWER_MS 10000

/* STATE/control is root's alone. A unit without the capability to make it has it made for it. */
static int control_folder(const struct parent *p)
{
	int state = open(p->config->state, O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct stat st;

	if (state >= 0 && (mkdirat(state, "control", 0700) == 0 || errno == EEXIST))
		fd = openat(state, "control", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (state >= 0)
		close(state);
	if (fd < 0 || (fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
			      (st.st_mode & (S_IRWXG | S_IRWXO)) == 0))
		return fd;
	close(fd);
	errno = EPERM;
	return -1;
}

void decide_open(struct parent *p)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int folder = control_folder(p);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177);
	bool ok;

	/* the folder's own path may be longer than an address; the lock is ours, so is the name */
	snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/socket", folder);
	ok = folder >= 0 && fd >= 0 && (unlinkat(folder, "socket", 0) == 0 || errno == ENOENT) &&
	     bind(fd, (const struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 4) == 0;
	umask(mask);
	if (!ok)
		LOG(LOG_LEVEL_WARNING, "no socket for root: accept-clock and succeed need a stop",
			LS("folder", p->config->state), LS("reason", strerror(errno)));
	if (folder >= 0)
		close(folder);
	if (!ok && fd >= 0)
		close(fd);
	p->decision.listen = ok ? fd : -1;
}

int decide_poll(const struct parent *p)
{
	return p->decision.asker >= 0 ? p->decision.asker : p->decision.listen;
}

static void forget(struct decision *d)
{
	close(d->asker);
	d->asker = -1;
	d->serial = 0;
}

static void answer(struct decision *d, const struct msg_decide_answer *m)
{
	struct buf out = BUF_INIT(1024);

	msg_begin(&out, MSG_ANSWER(MSG_DECIDE), 0);
	msg_decide_answer_write(&out, m);
	(void)channel_send(d->asker, &out, NULL, 0, 0);
	buf_free(&out);
	forget(d);
}

static void refuse_asker(struct decision *d, enum err e, const char *text)
{
	struct msg_decide_answer m = {.err = e};

	snprintf(m.text, sizeof m.text, "%s", text);
	answer(d, &m);
}

/* The socket's mode says who may; the kernel says who it is. */
static bool identify(int fd, struct ucred *who)
{
	socklen_t len = sizeof *who;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, who, &len) == 0 &&
	       (who->uid == 0 || who->uid == geteuid());
}

static struct birth *child_for(struct parent *p, const struct msg_decide *m)
{
	for (size_t i = 0; i < p->birth_count; i++) {
		struct birth *b = &p->birth[i];

		if (b->pid <= 0 || b->control < 0 || b->spare || !births_wanted(p, b))
			continue;
		if (m->what == DECIDE_SUCCEED && b->role == ROLE_LEDGER && b->phase >= TAKEN)
			return b;
		if (m->what == DECIDE_CLOCK && b->role == ROLE_HSM && b->phase == SERVING &&
			strcmp(b->token, m->name) == 0)
			return b;
	}
	return NULL;
}

static void tell(struct parent *p, const struct msg_decide *m)
{
	struct birth *b = child_for(p, m);
	struct buf out = BUF_INIT(1024);

	if (b == NULL) {
		refuse_asker(&p->decision, ERR_NOT_FOUND,
			m->what == DECIDE_CLOCK ? "no process serves a token of this name"
						: "the ledger's process is not there");
		return;
	}
	msg_begin(&out, MSG_DECIDE, ++p->serial);
	msg_decide_write(&out, m);
	if (channel_send(b->control, &out, NULL, 0, 0) == ERR_OK)
		p->decision.serial = p->serial;
	else
		refuse_asker(&p->decision, ERR_TIMEOUT, "the process takes no message");
	buf_free(&out);
	LOG(LOG_LEVEL_WARNING, "a person decides",
		LS("what", m->what == DECIDE_CLOCK ? "accept-clock" : "succeed"),
		LS("name", m->name), LN("uid", m->uid), LS("reason", m->reason));
}

static void hear_asker(struct parent *p)
{
	uint8_t octets[1024];
	struct msg_decide m;
	struct msg_head head;
	struct reader body;
	struct ucred who;
	size_t len;
	enum err e = channel_receive(p->decision.asker, octets, sizeof octets, &len, NULL, NULL, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e != ERR_OK || p->decision.serial != 0 || !identify(p->decision.asker, &who) ||
		msg_open(&head, &body, octets, len) != ERR_OK || head.type != MSG_DECIDE ||
		msg_decide_read(&m, &body) != ERR_OK) {
		forget(&p->decision);
		return;
	}
	m.uid = who.uid;
	tell(p, &m);
}

void decide_hear(struct parent *p)
{
	struct decision *d = &p->decision;
	struct ucred who;

	if (d->asker >= 0) {
		hear_asker(p);
		return;
	}
	d->asker = accept4(d->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	d->until = parent_now() + ANSWER_MS;
	if (d->asker >= 0 && !identify(d->asker, &who))
		forget(d);
}

void decide_answered(struct parent *p, uint64_t serial, const struct msg_decide_answer *m)
{
	if (p->decision.asker >= 0 && p->decision.serial == serial && serial != 0)
		answer(&p->decision, m);
}

void decide_due(struct parent *p)
{
	if (p->decision.asker >= 0 && parent_now() >= p->decision.until)
		refuse_asker(&p->decision, ERR_TIMEOUT,
			"it was said, and nothing has come of it within 10 seconds: the log and "
			"/readyz tell what it waits for");
}
