#include <netinet/in.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "limits.h"
#include "run_suite.h"

static struct config_client clients[2];
static struct config config = {.client = clients, .client_count = 2};

static void set_rate(uint32_t count, uint32_t seconds)
{
	strcpy(clients[0].name, "a");
	strcpy(clients[1].name, "b");
	clients[0].rate_count = count;
	clients[0].rate_seconds = seconds;
}

START_TEST(buckets)
{
	struct rates *r = rates_new();
	struct refusal why;
	int64_t now;

	set_rate(10, 1);
	ck_assert_int_eq(rates_configure(r, &config), ERR_OK);
	now = monotonic_ms() + 1000;
	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(rates_take(r, &clients[0], now, &why), ERR_OK);
	ck_assert_int_eq(rates_take(r, &clients[0], now, &why), ERR_RATE);
	ck_assert_uint_eq(why.retry_after, 1);
	ck_assert_int_eq(rates_take(r, &clients[0], now + 99, &why), ERR_RATE);
	ck_assert_int_eq(rates_take(r, &clients[0], now + 100, &why), ERR_OK);
	ck_assert_int_eq(rates_take(r, &clients[0], now + 100, &why), ERR_RATE);
	ck_assert_uint_eq(rates_left(r, &clients[0], now + 500), 4);
	ck_assert_uint_eq(rates_left(r, &clients[0], now + 100000), 10);
	for (int i = 0; i < 1000; i++) /* without a rate */
		ck_assert_int_eq(rates_take(r, &clients[1], now, &why), ERR_OK);
	rates_free(r);
}
END_TEST

/* Asked every millisecond for an hour, a slow rate gives what it says, not more and not much less.
 */
START_TEST(no_drift)
{
	struct rates *r = rates_new();
	struct refusal why;
	unsigned taken = 0;
	int64_t now;

	set_rate(7, 60);
	ck_assert_int_eq(rates_configure(r, &config), ERR_OK);
	now = monotonic_ms() + 1000;
	for (int64_t t = 0; t < 3600000; t++)
		taken += rates_take(r, &clients[0], now + t, &why) == ERR_OK;
	ck_assert_uint_le(taken, 7 * 60 + 7);
	ck_assert_uint_ge(taken, 7 * 60 - 3);
	rates_free(r);
}
END_TEST

START_TEST(reconfigured)
{
	struct rates *r = rates_new();
	struct refusal why;
	int64_t now;

	set_rate(2, 3600);
	ck_assert_int_eq(rates_configure(r, &config), ERR_OK);
	now = monotonic_ms();
	ck_assert_int_eq(rates_take(r, &clients[0], now, &why), ERR_OK);
	ck_assert_int_eq(rates_take(r, &clients[0], now, &why), ERR_OK);
	ck_assert_int_eq(rates_configure(r, &config), ERR_OK); /* the same: no new start */
	ck_assert_int_eq(rates_take(r, &clients[0], now, &why), ERR_RATE);
	ck_assert_uint_eq(why.retry_after, 1800);
	set_rate(3, 3600);
	ck_assert_int_eq(rates_configure(r, &config), ERR_OK);
	ck_assert_int_eq(rates_take(r, &clients[0], monotonic_ms(), &why), ERR_OK);
	rates_free(r);
}
END_TEST

static struct sockaddr_in v4(uint32_t address)
{
	return (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
}

START_TEST(addresses)
{
	struct connections *c = connections_new();
	struct connection e[3];
	struct sockaddr_in one = v4(0x0a000001), two = v4(0x0a000002);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	const struct sockaddr *first = (struct sockaddr *)&one;

	connections_open(c, &e[0], -1, first, INT64_MAX);
	connections_open(c, &e[1], -1, first, INT64_MAX);
	ck_assert(!connections_admit(c, first, 2));
	ck_assert(connections_admit(c, first, 3));
	ck_assert(connections_admit(c, first, 0));
	ck_assert(connections_admit(c, (struct sockaddr *)&two, 2));
	ck_assert(connections_admit(c, NULL, 1));
	six.sin6_addr.s6_addr[0] = 0x20;
	connections_open(c, &e[2], -1, (struct sockaddr *)&six, INT64_MAX);
	six.sin6_addr.s6_addr[15] = 9; /* of the same /64 */
	ck_assert(!connections_admit(c, (struct sockaddr *)&six, 1));
	six.sin6_addr.s6_addr[7] = 9;
	ck_assert(connections_admit(c, (struct sockaddr *)&six, 1));
	ck_assert_uint_eq(connections_count(c), 3);
	connections_close(c, &e[1]); /* from the middle, the end, the front */
	ck_assert(connections_admit(c, first, 2));
	connections_close(c, &e[0]);
	connections_close(c, &e[2]);
	ck_assert_uint_eq(connections_count(c), 0);
	connections_free(c);
}
END_TEST

START_TEST(deadlines)
{
	struct connections *c = connections_new();
	struct connection e;
	int ends[2];
	char octet;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	connections_open(c, &e, ends[0], NULL, 1000);
	ck_assert_uint_eq(connections_reap(c, 999), 0);
	connections_deadline(c, &e, 2000);
	ck_assert_uint_eq(connections_reap(c, 1999), 0);
	ck_assert_uint_eq(connections_reap(c, 2000), 1);
	ck_assert_int_eq(read(ends[1], &octet, 1), 0);
	ck_assert_uint_eq(connections_reap(c, 3000), 0);
	connections_close(c, &e);
	connections_free(c);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

static struct connection *resumed[4];
static unsigned resumed_count;

static void note_resumed(struct connection *entry)
{
	resumed[resumed_count++] = entry;
}

/* Of three connections one pauses: its time over, it is resumed, once, and not shut down. */
START_TEST(pauses)
{
	struct connections *c = connections_new();
	struct connection e[3];
	int ends[2];
	char octet;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	connections_open(c, &e[0], -1, NULL, 9000);
	connections_open(c, &e[1], ends[0], NULL, 9000);
	connections_open(c, &e[2], -1, NULL, 9000);
	connections_pause(c, &e[1], 2000, note_resumed);
	ck_assert_uint_eq(connections_reap(c, 1999), 0);
	ck_assert_uint_eq(resumed_count, 0);
	ck_assert_uint_eq(connections_reap(c, 2000), 0);
	ck_assert_uint_eq(resumed_count, 1);
	ck_assert_ptr_eq(resumed[0], &e[1]);
	ck_assert_uint_eq(connections_reap(c, 8999), 0);
	ck_assert_uint_eq(resumed_count, 1);
	ck_assert_int_eq(read(ends[1], &octet, 1), -1); /* it is open */
	connections_deadline(c, &e[1], 8000);
	ck_assert_uint_eq(connections_reap(c, 8999), 1); /* an ordinary one again */
	ck_assert_int_eq(read(ends[1], &octet, 1), 0);
	ck_assert_uint_eq(resumed_count, 1);
	for (int i = 0; i < 3; i++)
		connections_close(c, &e[i]);
	connections_free(c);
	close(ends[0]);
	close(ends[1]);
}
END_TEST

START_TEST(log_lines)
{
	struct log_gate gate = {.per_second = 2};
	uint64_t left_out;

	ck_assert(log_gate_open(&gate, 5000, &left_out));
	ck_assert(log_gate_open(&gate, 5001, &left_out));
	for (int i = 0; i < 7; i++)
		ck_assert(!log_gate_open(&gate, 5999, &left_out));
	ck_assert(log_gate_open(&gate, 6000, &left_out));
	ck_assert_uint_eq(left_out, 7);
}
END_TEST

START_TEST(descriptors)
{
	struct rlimit limit = {400, 400};
	struct refusal why;

	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(limits_descriptors(100, &why), ERR_OK);
	ck_assert_int_eq(limits_descriptors(400 - LIMITS_OWN_DESCRIPTORS, &why), ERR_OK);
	ck_assert_int_eq(limits_descriptors(401 - LIMITS_OWN_DESCRIPTORS, &why), ERR_NO_ROOM);
	ck_assert_ptr_nonnull(strstr(why.detail, "400"));
}
END_TEST

RUN_SUITE("limits", buckets, no_drift, reconfigured, addresses, deadlines, pauses, log_lines,
	descriptors)
