#include "hostile.h"

#include <string.h>
#include <time.h>

#define OLD 16

static uint64_t state;
static const uint8_t *spki;
static size_t spki_len;
static struct { /* what was sent before: it is sent again */
	size_t len;
	uint8_t octets[MSG_MAX];
} old[OLD];

/* One message under way. Its field number `bent` is written as it must not or just may be. */
static struct buf out = BUF_INIT(HOSTILE_MAX);
static unsigned field, bent, crowd;

void hostile_begin(uint64_t seed, const uint8_t *key, size_t len)
{
	state = seed * 2 + 1;
	spki = key;
	spki_len = len;
}

uint64_t hostile_random(uint64_t most)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state * 2685821657736338717u >> 11) % most;
}

static const char *one_of(const char *const *list, size_t count)
{
	return list[hostile_random(count)];
}
#define ONE_OF(...)                                                                                \
	one_of((const char *const[]){__VA_ARGS__},                                                 \
		sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* Fields. */
static void number(size_t size, uint64_t v)
{
	uint64_t top = 1ull << (8 * size - 1), all = top - 1 + top;
	uint64_t limits[] = {0, 1, 2, v + 1, v - 1, top, top - 1, all, all - 1, 256, 257, 64, 65,
		hostile_random(UINT32_MAX)};

	if (field++ == bent)
		v = limits[hostile_random(sizeof limits / sizeof *limits)];
	for (size_t i = size; i-- > 0;)
		buf_u8(&out, (uint8_t)(v >> (8 * i)));
}

static void digest(void)
{
	size_t len = field++ == bent ? hostile_random(2 * SHA256_SIZE) : SHA256_SIZE;

	for (size_t i = 0; i < len; i++)
		buf_u8(&out, (uint8_t)hostile_random(256));
}

/* A text with something in it that no text of ours has, of the same length. */
static void odd_octets(const uint8_t *octets, size_t len)
{
	static const uint8_t odd[] = {
		0, 0x80, 0xff, '/', '\n', 'A', ' ', 0x7f, '"', 0xed, '.', '_'};
	size_t at = hostile_random(len + 1);

	buf_u32(&out, (uint32_t)len);
	for (size_t i = 0; i < len; i++)
		buf_u8(&out, i == at ? odd[hostile_random(sizeof odd)] : octets[i]);
}

static void vector(const uint8_t *octets, size_t len, size_t most)
{
	static uint8_t filled[8200];
	size_t lengths[] = {0, 1, most - 1, most, most + 1, most + 1};

	if (field++ != bent) {
		buf_vec(&out, octets, len);
		return;
	}
	switch (hostile_random(4)) {
	case 0:
		odd_octets(octets, len);
		break;
	case 1: /* it says more than there is */
		buf_u32(&out,
			(uint32_t)(hostile_random(2) ? len + 1 : UINT32_MAX - hostile_random(9)));
		buf_put(&out, octets, len);
		break;
	default:
		memset(filled, len > 0 ? octets[0] : 'a', sizeof filled);
		buf_vec(&out, filled, lengths[hostile_random(6)]);
	}
}

static void text(const char *s, size_t most)
{
	vector((const uint8_t *)s, strlen(s), most);
}

static const char *id(void)
{
	static char hex[ID_SIZE];

	for (size_t i = 0; i < ID_SIZE - 1; i++)
		hex[i] = "0123456789abcdef"[hostile_random(16)];
	return hex;
}

/* A time, or a number of seconds, near what is allowed or as far from it as can be. */
static uint64_t moment(bool absolute)
{
	const int64_t far[] = {0, 1, 299, 300, 301, 3600, 86399, 86400, 86401, 604800, 604801, -1,
		-300, -301, INT64_MAX, INT64_MIN, INT64_MAX - 86400, UINT32_MAX};
	int64_t v = far[hostile_random(hostile_random(2) ? 10 : sizeof far / sizeof *far)];

	return absolute && hostile_random(4) ? (uint64_t)time(NULL) + (uint64_t)v : (uint64_t)v;
}

/* ISSUE. A client that may not issue asks for a key of its own: one that is not refused as shared.
 */
static const uint8_t other_key[] =
	"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"
	"\x3d\x40\x17\xc3\xe8\x43\x89\x5a\x92\xb7\x0a\xa7\x4d\x1b\x7e\xbc"
	"\x9c\x98\x2c\xcf\x2e\xc4\x96\x8c\xc0\xcd\x55\xf1\x2a\xf4\x66\x0c";
static bool other;

static void issue_item(void)
{
	static const uint16_t algorithms[] = {
		0, 0, 0, 0x0403, 0x0403, 0x0503, 0x0807, 0x0804, 0x0401, 0xffff};
	static uint8_t key[8192];
	unsigned plain = hostile_random(2) == 0, term = plain ? 0 : (unsigned)hostile_random(3);
	unsigned start = !plain && hostile_random(3) == 0;
	size_t len = spki_len;

	memcpy(key, spki, spki_len);
	if (other)
		memcpy(key, other_key, len = sizeof other_key - 1);
	if (!plain && hostile_random(8) == 0)
		key[hostile_random(len)] ^= (uint8_t)(1 + hostile_random(255));
	else if (!plain && hostile_random(20) == 0)
		len = sizeof key;
	text(ONE_OF("www", "www", "www", "www384", "www384", "nothing"), 64);
	number(1, hostile_random(2));
	number(2, plain ? 0 : algorithms[hostile_random(sizeof algorithms / sizeof *algorithms)]);
	number(1, !plain && hostile_random(4) == 0);
	vector(key, len, 8192);
	number(1, term);
	if (term != 0)
		number(8, moment(term == 2));
	number(1, start);
	if (start)
		number(8, moment(true));
	text(ONE_OF("", "T-1", "\xc3\xa9"), REFERENCE_MAX);
	text(ONE_OF("", "", "", "again", "~!@#"), IDEMPOTENCY_SIZE - 1);
}

static void issue(void)
{
	const char *client;
	unsigned many = hostile_random(25) == 0 ? MSG_ITEMS : 1 + (unsigned)hostile_random(3);

	if (crowd > 0)
		many = crowd;
	text(id(), ID_SIZE - 1);
	client = ONE_OF("edge", "edge", "edge", "edge", "edge", "auditor", "stranger");
	other = strcmp(client, "edge") != 0;
	text(client, 64);
	digest();
	digest();
	text(ONE_OF("", "0badcafe"), 47);
	text(ONE_OF("unix", "192.0.2.1:443"), PEER_SIZE - 1);
	number(4, hostile_random(6) ? 3000 : hostile_random(2) * UINT32_MAX);
	number(1, hostile_random(6) == 0);
	number(2, many);
	while (many-- > 0)
		issue_item();
}

/* What is for the ledger. Never a hold on www for edge: the test asks for that afterwards. */
static void hold(void)
{
	text(id(), ID_SIZE - 1);
	text(ONE_OF("auditor", "auditor", "edge", "stranger"), 64);
	digest();
	text("0badcafe", 47);
	text("unix", PEER_SIZE - 1);
	text("www384", 64);
	text(ONE_OF("", "auditor"), 64);
	text("because \xe2\x80\xa6", HOLD_REASON_MAX);
}

static void stranger(void)
{
	bool certificate = hostile_random(2);

	text(id(), ID_SIZE - 1);
	number(1, certificate);
	digest();
	text(certificate ? "1f" : "", 47);
	text("unix", PEER_SIZE - 1);
	text("CN=stranger", SUBJECT_MAX);
	number(8, hostile_random(3));
}

static void question(void)
{
	number(1, 1 + hostile_random(READ_NOTE));
	text(ONE_OF("", "www", "www384", "nothing"), 64);
	text(ONE_OF("", "edge", "stranger"), 64);
	text(hostile_random(2) ? id() : "", ID_SIZE - 1);
	text(ONE_OF("", "test/main", "test/main", "test/none"), 2 * NAME_SIZE + 7);
	number(8, hostile_random(2) ? 0 : moment(true));
	number(8, hostile_random(3) ? hostile_random(9) : moment(false));
	number(2, hostile_random(READ_PAGE + 1));
	number(8, hostile_random(3) ? hostile_random(99) : moment(false));
	number(8, hostile_random(3) ? hostile_random(99) : moment(false));
	number(8, hostile_random(3) ? hostile_random(99) : moment(false));
}

/* APPEND is the hsm processes' alone: a record that would stand for a signature. */
static void append(void)
{
	static const char record[] = "{\"chain\":\"test/main\",\"type\":\"ISSUED\"}";

	number(2, 1);
	text(record, 200);
	number(8, 0);
	number(8, 0);
	number(1, 0);
}

static void state_question(void)
{
	number(4, hostile_random(3) ? 0 : hostile_random(2) * UINT32_MAX);
	number(8, hostile_random(3) ? 0 : hostile_random(UINT32_MAX));
}

static void body(uint16_t type)
{
	if (type == MSG_ISSUE)
		issue();
	else if (type == MSG_STATE)
		state_question();
	else if (type == MSG_READ)
		question();
	else if (type == MSG_HOLD || type == MSG_RELEASE)
		hold();
	else if (type == MSG_STRANGER)
		stranger();
	else if (type == MSG_APPEND)
		append();
	else
		number(8, hostile_random(UINT32_MAX));
}

static uint16_t type_for(uint8_t role)
{
	static const uint16_t hsm[] = {
		MSG_ISSUE, MSG_ISSUE, MSG_ISSUE, MSG_ISSUE, MSG_ISSUE, MSG_STATE};
	static const uint16_t ledger[] = {
		MSG_READ, MSG_READ, MSG_READ, MSG_HOLD, MSG_RELEASE, MSG_STRANGER};

	return (role == ROLE_HSM ? hsm : ledger)[hostile_random(6)];
}

/* How many fields the message has at most; of ISSUE up to the end of its first item. */
static uint64_t fields_of(uint16_t type)
{
	switch (type) {
	case MSG_ISSUE:
		return 20;
	case MSG_READ:
		return 11;
	case MSG_HOLD:
	case MSG_RELEASE:
		return 8;
	case MSG_STRANGER:
		return 7;
	case MSG_STATE:
		return 2;
	default:
		return 1;
	}
}

/* The message as a whole. */
static void bend(const char **what)
{
	size_t at = hostile_random(out.len);

	switch (hostile_random(5)) {
	case 0:
		*what = "truncated";
		out.len = 1 + at;
		break;
	case 1:
		*what = "followed";
		for (uint64_t n = 1 + hostile_random(40); n > 0; n--)
			buf_u8(&out, (uint8_t)hostile_random(256));
		break;
	case 2:
		*what = "oversized";
		while (out.len <= MSG_MAX)
			buf_u64(&out, 0);
		break;
	case 3:
		*what = "protocol";
		out.octets[hostile_random(2)] ^= (uint8_t)(1 + hostile_random(255));
		break;
	default:
		*what = "bits";
		for (uint64_t n = 1 + hostile_random(8); n > 0; n--)
			out.octets[hostile_random(out.len)] ^= (uint8_t)(1u << hostile_random(8));
	}
}

static void begin(uint16_t type, uint64_t serial)
{
	buf_reset(&out);
	msg_begin(&out, type, serial);
	field = 0;
}

size_t hostile_message(uint8_t *octets, uint8_t role, uint64_t serial, bool wild, const char **what)
{
	uint16_t type = type_for(role);
	size_t again = hostile_random(OLD);

	bent = UINT32_MAX;
	crowd = 0;
	*what = "right";
	if (!wild && hostile_random(10) == 0 && old[again].len > 0 &&
		old[again].octets[3] == type) {
		*what = "replayed";
		memcpy(octets, old[again].octets, old[again].len);
		return old[again].len;
	}
	if (wild && role == ROLE_HSM && hostile_random(6) == 0) { /* all of them are there */
		*what = "crowded";
		type = MSG_ISSUE;
		crowd = MSG_ITEMS + 1 + (unsigned)hostile_random(300);
	} else if (wild &&
		   hostile_random(4) == 0) { /* of another channel, an answer, of no known type */
		*what = "foreign";
		do
			type = (uint16_t)hostile_random(hostile_random(2) ? 24 : 65536);
		while (role == ROLE_HSM ? type == MSG_ISSUE || type == MSG_STATE
					: type >= MSG_HOLD || type == MSG_READ);
	} else if (wild && hostile_random(2)) {
		*what = "field";
		bent = (unsigned)hostile_random(fields_of(type));
	}
	do {
		begin(type, serial);
		body(type);
	} while (!wild && out.len > MSG_MAX);
	if (wild && **what == 'r')
		bend(what);
	memcpy(octets, out.octets, out.len);
	if (!wild) {
		old[again].len = out.len;
		memcpy(old[again].octets, out.octets, out.len);
	}
	return out.len;
}
