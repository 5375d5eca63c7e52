#include "settings.h"

#include "decide.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "channel.h"
#include "options.h"

#define ANSWER_MS 15000

static int connected(const char *state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int folder = open(state, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), error;

	/* the folder's own path may be longer than an address */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control/socket",
		folder);
	if (folder >= 0 && fd >= 0 &&
		connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
		close(folder);
		return fd;
	}
	error = errno;
	if (folder >= 0)
		close(folder);
	if (fd >= 0)
		close(fd);
	errno = error;
	return -1;
}

static enum err answer_wait(int fd, struct msg_decide_answer *a)
{
	uint8_t octets[1024];
	struct msg_head head;
	struct reader body;
	size_t len;
	enum err e = channel_receive(fd, octets, sizeof(octets), &len, NULL, NULL, ANSWER_MS);

	if (!e && (msg_open(&head, &body, octets, len) || head.type != MSG_ANSWER(MSG_DECIDE)))
		e = ERR_FORMAT;
	return e ? e : msg_decide_answer_read(a, &body);
}

int decide_ask(const char *state, const struct msg_decide *m)
{
	struct buf out = BUF_INIT(1024);
	struct msg_decide_answer a = {.err = ERR_OK};
	int fd = connected(state);

	if (fd < 0) {
		fprintf(stderr, "dcsign ledger: %s/control: %s\n", state, strerror(errno));
		return EXIT_UNEXPECTED;
	}
	msg_begin(&out, MSG_DECIDE, 1);
	msg_decide_write(&out, m);

	enum err e = channel_send(fd, &out, NULL, 0, ANSWER_MS);

	buf_free(&out);
	if (!e)
		e = answer_wait(fd, &a);
	close(fd);
	if (e) {
		fprintf(stderr, "dcsign ledger: dcsignd gave no answer: its log tells more\n");
		return EXIT_UNEXPECTED;
	}
	fprintf(a.err ? stderr : stdout, "%s%s\n", a.err ? "dcsign ledger: " : "", a.text);
	return a.err ? EXIT_UNEXPECTED : EXIT_GOOD;
}

bool decide_words(const char *s, size_t most)
{
	size_t len = strlen(s);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)s[i] < ' ' || (unsigned char)s[i] > '~')
			return false;
	}
	return len > 0 && len <= most;
}
