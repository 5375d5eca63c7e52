#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"

static int ends[2];
static uint8_t *space;

static void setup(void)
{
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	ck_assert_ptr_nonnull(space = malloc(MSG_MAX));
}

static void teardown(void)
{
	close(ends[0]);
	close(ends[1]);
	free(space);
}

static enum err send_octets(int fd, size_t len, uint8_t fill, const int *fds, size_t count, int ms)
{
	struct buf b = BUF_INIT(2 * MSG_MAX);
	uint8_t *octets = malloc(len > 0 ? len : 1);
	enum err e;

	ck_assert_ptr_nonnull(octets);
	memset(octets, fill, len > 0 ? len : 1);
	buf_put(&b, octets, len);
	e = channel_send(fd, &b, fds, count, ms);
	buf_free(&b);
	free(octets);
	return e;
}

START_TEST(close_on_exec)
{
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(fcntl(ends[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}
END_TEST

START_TEST(largest_message)
{
	size_t len, count;
	int fds[MSG_FDS];

	/* Two of the largest wait without a reader. */
	ck_assert_int_eq(send_octets(ends[0], MSG_MAX, 1, NULL, 0, 0), ERR_OK);
	ck_assert_int_eq(send_octets(ends[0], MSG_MAX, 2, NULL, 0, 0), ERR_OK);
	ck_assert_int_eq(send_octets(ends[0], MSG_MAX + 1, 3, NULL, 0, 0), ERR_NO_ROOM);
	for (int i = 1; i <= 2; i++) {
		ck_assert_int_eq(
			channel_receive(ends[1], space, MSG_MAX, &len, fds, &count, 0), ERR_OK);
		ck_assert_uint_eq(len, MSG_MAX);
		ck_assert_uint_eq(count, 0);
		ck_assert_int_eq(space[0], i);
		ck_assert_int_eq(space[len - 1], i);
	}
	ck_assert_int_eq(
		channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, 0), ERR_TIMEOUT);
}
END_TEST

START_TEST(too_long_for_the_reader)
{
	size_t len;

	ck_assert_int_eq(send_octets(ends[0], 101, 1, NULL, 0, 0), ERR_OK);
	ck_assert_int_eq(send_octets(ends[0], 100, 2, NULL, 0, 0), ERR_OK);
	ck_assert_int_eq(channel_receive(ends[1], space, 100, &len, NULL, NULL, 0), ERR_FORMAT);
	ck_assert_uint_eq(len, 0);
	ck_assert_int_eq(channel_receive(ends[1], space, 100, &len, NULL, NULL, 0), ERR_OK);
	ck_assert_int_eq(space[0], 2);
}
END_TEST

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

START_TEST(descriptors)
{
	int fds[MSG_FDS], got[MSG_FDS];
	size_t len, count;

	for (int i = 0; i < MSG_FDS; i++)
		ck_assert_int_ge(fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	int before = open_files();
	ck_assert_int_eq(send_octets(ends[0], 4, 1, fds, MSG_FDS, 0), ERR_OK);
	ck_assert_int_eq(send_octets(ends[0], 4, 1, fds, MSG_FDS + 1, 0), ERR_NO_ROOM);
	ck_assert_int_eq(channel_receive(ends[1], space, MSG_MAX, &len, got, &count, 0), ERR_OK);
	ck_assert_uint_eq(len, 4);
	ck_assert_uint_eq(count, MSG_FDS);
	for (size_t i = 0; i < count; i++) {
		ck_assert_int_eq(fcntl(got[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(got[i]);
	}
	/* Descriptors where none are expected: refused, and none stays open. */
	ck_assert_int_eq(send_octets(ends[0], 4, 1, fds, 3, 0), ERR_OK);
	ck_assert_int_eq(channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, 0), ERR_FORMAT);
	/* A message too long that carries some: likewise. */
	ck_assert_int_eq(send_octets(ends[0], 101, 1, fds, 3, 0), ERR_OK);
	ck_assert_int_eq(channel_receive(ends[1], space, 100, &len, got, &count, 0), ERR_FORMAT);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(open_files(), before);
	for (int i = 0; i < MSG_FDS; i++)
		close(fds[i]);
}
END_TEST

/* A sender that is not ours can attach more than we have room for. */
START_TEST(more_descriptors_than_room)
{
	enum { MANY = MSG_FDS + 8 };
	union {
		struct cmsghdr align;
		char octets[CMSG_SPACE(MANY * sizeof(int))];
	} control = {0};
	char x = 1;
	struct iovec part = {&x, 1};
	struct msghdr m = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.octets,
		.msg_controllen = sizeof control.octets};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int got[MSG_FDS], before = open_files();
	size_t len, count;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(MANY * sizeof(int));
	for (size_t i = 0; i < MANY; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &ends[0], sizeof(int));
	ck_assert_int_eq(sendmsg(ends[0], &m, 0), 1);
	ck_assert_int_eq(
		channel_receive(ends[1], space, MSG_MAX, &len, got, &count, 0), ERR_FORMAT);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(open_files(), before);
}
END_TEST

START_TEST(the_end)
{
	size_t len;

	ck_assert_int_eq(send_octets(ends[0], 1, 7, NULL, 0, 0), ERR_OK);
	close(ends[0]);
	/* What was sent before still arrives. */
	ck_assert_int_eq(channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, -1), ERR_OK);
	ck_assert_int_eq(
		channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, -1), ERR_CLOSED);
	ck_assert_int_eq(send_octets(ends[1], 1, 7, NULL, 0, -1), ERR_CLOSED);
	ends[0] = -1;
}
END_TEST

START_TEST(bad_messages_are_not_sent)
{
	struct buf b = BUF_INIT(4);
	size_t len;

	ck_assert_int_eq(channel_send(ends[0], &b, NULL, 0, 0), ERR_FORMAT);
	buf_u64(&b, 1);
	ck_assert_int_eq(channel_send(ends[0], &b, NULL, 0, 0), ERR_NO_ROOM);
	ck_assert_int_eq(
		channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, 0), ERR_TIMEOUT);
	buf_free(&b);
}
END_TEST

static int64_t ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

START_TEST(timeouts)
{
	int64_t start = ms();
	size_t len;
	int sent = 0;

	ck_assert_int_eq(
		channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, 50), ERR_TIMEOUT);
	ck_assert_int_ge(ms() - start, 50);
	while (send_octets(ends[0], MSG_MAX, 1, NULL, 0, 0) == ERR_OK)
		ck_assert_int_lt(sent++, 100);
	ck_assert_int_ge(sent, 2);
	start = ms();
	ck_assert_int_eq(send_octets(ends[0], MSG_MAX, 1, NULL, 0, 50), ERR_TIMEOUT);
	ck_assert_int_ge(ms() - start, 50);
}
END_TEST

enum { SENDERS = 4, EACH = 300 };

static void *sender(void *arg)
{
	uint8_t me = *(uint8_t *)arg;

	for (int i = 0; i < EACH; i++)
		if (send_octets(ends[0], 1 + (size_t)(i * 97 % 20000), me, NULL, 0, -1) != ERR_OK)
			return arg;
	return NULL;
}

/* Messages of several threads arrive whole, more of them than the socket holds at once. */
START_TEST(threads)
{
	pthread_t thread[SENDERS];
	uint8_t who[SENDERS];
	int seen[SENDERS] = {0};
	size_t len;

	for (uint8_t i = 0; i < SENDERS; i++) {
		who[i] = i;
		ck_assert_int_eq(pthread_create(&thread[i], NULL, sender, &who[i]), 0);
	}
	for (int n = 0; n < SENDERS * EACH; n++) {
		ck_assert_int_eq(
			channel_receive(ends[1], space, MSG_MAX, &len, NULL, NULL, 10000), ERR_OK);
		uint8_t me = space[0];
		ck_assert_uint_lt(me, SENDERS);
		ck_assert(memcmp(space, space + 1, len - 1) == 0);
		ck_assert_uint_eq(len, 1 + (size_t)(seen[me]++ * 97 % 20000));
	}
	for (int i = 0; i < SENDERS; i++) {
		void *result;

		ck_assert_int_eq(pthread_join(thread[i], &result), 0);
		ck_assert_ptr_null(result);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("channel");
	TCase *t = tcase_create("channel");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, close_on_exec);
	tcase_add_test(t, largest_message);
	tcase_add_test(t, too_long_for_the_reader);
	tcase_add_test(t, descriptors);
	tcase_add_test(t, more_descriptors_than_room);
	tcase_add_test(t, the_end);
	tcase_add_test(t, bad_messages_are_not_sent);
	tcase_add_test(t, timeouts);
	tcase_add_test(t, threads);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
