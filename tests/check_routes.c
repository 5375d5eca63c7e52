#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "routes.h"
#include "run_suite.h"

static char uri[] = "spiffe://x/edge", www[] = "www", pem_api[] = "api\n", pem_www[] = "www\n";
static struct config_match match = {MATCH_URI, uri};
static struct config_token token = {.name = "main"};
static struct policy policy = {.name = "default"};
static struct config_key keys[2];
static char *client_keys[] = {www};
static struct config_client client = {.name = "edge",
	.match = &match,
	.match_count = 1,
	.may = RIGHT_ISSUE,
	.keys = client_keys,
	.key_count = 1};
static struct config config = {.token = &token,
	.token_count = 1,
	.policy = &policy,
	.policy_count = 1,
	.key = keys,
	.key_count = 2,
	.client = &client,
	.client_count = 1};
static struct chain chains[2] = {{.pem = pem_api, .pem_len = 4, .etag = "\"1\""},
	{.pem = pem_www, .pem_len = 4, .etag = "\"2\""}};
static size_t first[2] = {0, 1};
static struct snapshot snapshot = {
	.config = &config, .chain = chains, .chain_count = 2, .first = first, .references = 1};
static struct service service;
static struct peer peer = {.has_certificate = true, .name_count = 1};
static struct exchange x;
static unsigned held, resumed;

static void on_hold(struct exchange *exchange)
{
	ck_assert_ptr_eq(exchange, &x);
	held++;
}

static void on_resume(struct exchange *exchange)
{
	ck_assert_ptr_eq(exchange, &x);
	ck_assert_uint_eq(held, 1);
	resumed++;
}

static void begin(const char *method, const char *target)
{
	static struct config_file file[2];

	if (service.signer == NULL) {
		service.signer = signer_new();
		service.rates = rates_new();
		service.connections = connections_new();
		ck_assert_int_eq(peer_index_make(&snapshot.peers, &config), ERR_OK);
		for (int i = 0; i < 2; i++) {
			strcpy(keys[i].name, i == 0 ? "api" : "www");
			strcpy(keys[i].token, "main");
			strcpy(keys[i].policy, "default");
			keys[i].certificate = &file[i];
			keys[i].certificate_count = 1;
		}
		peer.name[0].kind = MATCH_URI;
		peer.name[0].value = uri;
	}
	held = resumed = 0;
	memset(&x, 0, sizeof x);
	x.service = &service;
	x.snapshot = &snapshot;
	x.peer = &peer;
	x.method = method;
	snprintf(x.target, sizeof x.target, "%s", target);
	x.started = monotonic_ms();
	x.deadline = x.started + 1000;
	x.body = (struct buf)BUF_INIT(REQUEST_MAX);
	x.hold = on_hold;
	x.resume = on_resume;
	x.header.content_type = "application/json";
	memcpy(x.id, "00112233445566778899aabbccddeeff", ID_SIZE);
	reply_init(&x.reply);
}

static void done(void)
{
	routes_done(&x);
	buf_free(&x.body);
}

static const struct {
	const char *method, *target;
	unsigned status; /* 0: goes on to the body */
} heads[] = {
	{"POST", "/v1/keys/www/credentials", 0},
	{"POST", "/v1/keys/www/credentials?dry_run=true", 0},
	{"POST", "/v1/keys/www/credentials?dry_run=false", 400},
	{"POST", "/v1/keys/www/credentials?", 400},
	{"POST", "/v1/keys/www/credentials/", 404},
	{"POST", "/v1/keys/www%2fcredentials", 404},
	{"POST", "/v1/keys//credentials", 404},
	{"POST", "/v1/keys/api/credentials", 404},
	{"POST", "/v1/keys/nobody/credentials", 404},
	{"POST", "/v1/keys/www/credentials/batch", 0},
	{"POST", "/v1/keys/www/credentials/batch?dry_run=true", 0},
	{"POST", "/v1/keys/www/credentials/batch/", 404},
	{"GET", "/v1/keys/www/credentials/batch", 405},
	{"GET", "/v1/keys/www/credentials", 405},
	{"post", "/v1/keys/www/credentials", 405},
	{"POST", "/v1/keys/www/hold", 403},
	{"POST", "/v1/keys/api/hold", 404},
	{"POST", "/v1/clients/edge/release", 403},
	{"POST", "/v1/clients/nobody/release", 403},
	{"GET", "/v1/keys/www/release", 405},
	{"GET", "/v1/keys", 0},
	{"GET", "/v1/keys/www", 0},
	{"GET", "/v1/keys/WWW", 404},
	{"GET", "/v1/keys/api", 404},
	{"HEAD", "/v1/keys", 405},
	{"GET", "/v1/keys/www/certificate", 0},
	{"GET", "/v1/whoami", 0},
	{"GET", "/v1/whoami?", 404},
	{"GET", "/v1/credentials", 0},
	{"GET", "/v1/credentials?key=www&client=edge&live_at=2030-01-31T23:59:59Z&after=7&limit=64",
		0},
	{"GET", "/v1/credentials?chain=x", 400},
	{"GET", "/v1/credentials/00112233445566778899aabbccddeeff", 0},
	{"GET", "/v1/credentials/00112233445566778899aabbccddeefg", 404},
	{"GET", "/v1/credentials/0", 404},
	{"GET", "/v1/credentials/00112233445566778899aabbccddeeff?", 404},
	{"GET", "/v1/ledger", 404},
	{"GET", "/v1/ledger/heads", 0},
	{"GET", "/v1/ledger/heads?chain=x", 404},
	{"GET", "/v1/ledger/checkpoint", 400},
	{"GET", "/v1/ledger/checkpoint?chain=n/t%232", 0},
	{"GET", "/v1/ledger/proof?id=00112233445566778899aabbccddeeff", 0},
	{"GET", "/v1/ledger/proof", 400},
	{"GET", "/v1/ledger/consistency?chain=n/t&from=1", 0},
	{"GET", "/v1/ledger/consistency?chain=n/t&from=1&to=2", 0},
	{"GET", "/v1/ledger/consistency?chain=n/t", 400},
	{"GET", "/v1/ledger/records?chain=n/t", 403},
	{"POST", "/v1/ledger/records?chain=n/t", 405},
	{"GET", "/openapi.yaml", 0},
	{"GET", "http://x/v1/whoami", 404},
	{"GET", "*", 404},
	{"GET", "", 404},
	{"GET", "/metrics", 404},
};

START_TEST(targets)
{
	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		begin(heads[i].method, heads[i].target);
		bool on = routes_head(&x);

		ck_assert_msg(
			on == (heads[i].status == 0) && (on || x.reply.status == heads[i].status),
			"%s %s: %u", heads[i].method, heads[i].target, x.reply.status);
		if (x.reply.status == 405)
			ck_assert_ptr_nonnull(x.reply.allow);
		done();
	}
}
END_TEST

static unsigned status_of(const char *method, const char *target)
{
	unsigned status;

	begin(method, target);
	status = routes_head(&x) ? 0 : x.reply.status;
	done();
	return status;
}

START_TEST(who_may)
{
	static const struct {
		const char *target;
		unsigned issue; /* status with the right issue alone */
	} reads[] = {{"/v1/credentials", 0},
		{"/v1/credentials/00112233445566778899aabbccddeeff", 0}, {"/v1/ledger/heads", 0},
		{"/v1/ledger/checkpoint?chain=x", 0},
		{"/v1/ledger/proof?id=00112233445566778899aabbccddeeff", 0},
		{"/v1/ledger/consistency?chain=x&from=1", 0}, {"/v1/ledger/records?chain=x", 403}};

	peer.name_count = 0;
	ck_assert_uint_eq(status_of("GET", "/v1/whoami"), 403);
	ck_assert_uint_eq(status_of("GET", "/nothing"), 403);
	peer.name_count = 1;
	client.may = RIGHT_READ;
	ck_assert_uint_eq(status_of("POST", "/v1/keys/www/credentials"), 403);
	ck_assert_uint_eq(status_of("POST", "/v1/keys/api/credentials"), 404);
	ck_assert_uint_eq(status_of("GET", "/v1/keys/www"), 0);
	client.may = RIGHT_HOLD;
	ck_assert_uint_eq(status_of("POST", "/v1/keys/www/hold"), 0);
	ck_assert_uint_eq(status_of("POST", "/v1/keys/www/release"), 403);
	ck_assert_uint_eq(status_of("POST", "/v1/clients/edge/hold"), 0);
	ck_assert_uint_eq(status_of("POST", "/v1/clients/nobody/hold"), 404);
	for (size_t i = 0; i < sizeof reads / sizeof reads[0]; i++) {
		client.may = RIGHT_HOLD | RIGHT_RELEASE;
		ck_assert_uint_eq(status_of("GET", reads[i].target), 403);
		client.may = RIGHT_READ;
		ck_assert_uint_eq(status_of("GET", reads[i].target), 0);
		client.may = RIGHT_ISSUE;
		ck_assert_uint_eq(status_of("GET", reads[i].target), reads[i].issue);
	}
	client.may = RIGHT_ISSUE;
	service.stopping = true;
	ck_assert_uint_eq(status_of("GET", "/v1/whoami"), 503);
	service.stopping = false;
	ck_assert_uint_eq(status_of("GET", "/v1/whoami"), 0);
}
END_TEST

START_TEST(monitor)
{
	begin("GET", "/healthz");
	x.peer = NULL;
	ck_assert(routes_head(&x) && routes_run(&x));
	ck_assert_uint_eq(x.reply.status, 200);
	done();
	begin("GET", "/v1/whoami");
	x.peer = NULL;
	ck_assert(!routes_head(&x));
	ck_assert_uint_eq(x.reply.status, 404);
	done();
	begin("GET", "/readyz?key=nobody");
	x.peer = NULL;
	ck_assert(routes_head(&x) && routes_run(&x));
	ck_assert_uint_eq(x.reply.status, 404);
	done();
	begin("GET", "/readyz?key=www");
	x.peer = NULL;
	ck_assert(routes_head(&x) && routes_run(&x));
	ck_assert_uint_eq(x.reply.status, 503);
	done();
}
END_TEST

/* Whatever stands behind it: an answer that is not there at once comes with exactly one resume. */
START_TEST(nobody_to_ask)
{
	begin("POST", "/v1/keys/www/credentials");
	ck_assert(routes_head(&x));
	buf_text(&x.body, "{\"public_key\":\"AAEC\"}");
	ck_assert(!routes_run(&x));
	ck_assert_uint_eq(resumed, 1);
	ck_assert_uint_eq(x.reply.status, 503);
	ck_assert_int_eq(x.reply.err, ERR_KEY_UNAVAILABLE);
	done();

	begin("POST", "/v1/keys/www/credentials");
	ck_assert(routes_head(&x));
	ck_assert(routes_run(&x)); /* no body */
	ck_assert_uint_eq(held, 0);
	ck_assert_uint_eq(x.reply.status, 400);
	done();

	begin("GET", "/v1/keys");
	ck_assert(routes_head(&x) && !routes_run(&x));
	ck_assert_uint_eq(resumed, 1);
	ck_assert_uint_eq(x.reply.status, 200);
	done();

	begin("GET", "/v1/whoami");
	ck_assert(routes_head(&x) && !routes_run(&x));
	ck_assert_uint_eq(resumed, 1);
	ck_assert_uint_eq(x.reply.status, 200);
	done();
}
END_TEST

/* Plays the hsm process: grants the ISSUE that waits on fd. */
static void grant(int fd)
{
	static uint8_t in[MSG_MAX];
	static struct msg_issue m;
	static struct msg_issue_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_head head;
	struct reader body;
	size_t len;

	do {
		ck_assert_int_eq(
			channel_receive(fd, in, sizeof in, &len, NULL, NULL, 1000), ERR_OK);
		ck_assert_int_eq(msg_open(&head, &body, in, len), ERR_OK);
	} while (head.type != MSG_ISSUE);
	ck_assert_int_eq(msg_issue_read(&m, &body), ERR_OK);
	memcpy(a.request, m.request, ID_SIZE);
	a.count = 1;
	memset(a.grant[0].id, 'a', ID_SIZE - 1);
	a.grant[0].dc.at = (const uint8_t *)"dc";
	a.grant[0].dc.len = 2;
	strcpy(a.grant[0].chain, "n/main");
	msg_begin(&out, MSG_ISSUE + 1, head.serial);
	msg_issue_answer_write(&out, &a);
	ck_assert_int_eq(channel_send(fd, &out, NULL, 0, 1000), ERR_OK);
	buf_free(&out);
}

START_TEST(granted)
{
	int ends[2];

	begin("POST", "/v1/keys/www/credentials");
	x.header.accept = "application/octet-stream";
	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	ck_assert_int_eq(signer_connect(service.signer, ROLE_HSM, "main", ends[1]), ERR_OK);
	signer_queue(service.signer, 10);
	ck_assert(routes_head(&x));
	buf_text(&x.body, "{\"public_key\":\"AAEC\"}");
	ck_assert(!routes_run(&x));
	ck_assert_uint_eq(held, 1);
	ck_assert_uint_eq(resumed, 0);
	grant(ends[0]);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(signer_turn(service.signer, NULL, 0, 10), ERR_OK);
	ck_assert_uint_eq(resumed, 1);
	ck_assert_uint_eq(x.reply.status, 201);
	ck_assert_uint_eq(x.reply.body.len, 2);
	done();
	close(ends[0]);
}
END_TEST

START_TEST(certificate)
{
	begin("GET", "/v1/keys/www/certificate");
	ck_assert(routes_head(&x) && routes_run(&x));
	ck_assert_uint_eq(x.reply.status, 200);
	ck_assert_mem_eq(x.reply.body.octets, "www\n", 4);
	done();
	begin("GET", "/v1/keys/www/certificate");
	x.header.if_none_match = "\"1\", \"2\"";
	ck_assert(routes_head(&x) && routes_run(&x));
	ck_assert_uint_eq(x.reply.status, 304);
	ck_assert_uint_eq(x.reply.body.len, 0);
	done();
	keys[1].certificate_count = 2; /* which of them issues is not known without the hsm */
	begin("GET", "/v1/keys/www/certificate");
	ck_assert(routes_head(&x) && routes_run(&x));
	ck_assert_uint_eq(x.reply.status, 503);
	keys[1].certificate_count = 1;
	done();
}
END_TEST

#define ALL 0x3ff

static enum err parse(struct query *q, unsigned takes, const char *text)
{
	struct refusal why;
	enum err err = query_parse(q, takes, 0, text, &why);

	if (err != ERR_OK) {
		ck_assert_int_eq(err, ERR_MALFORMED);
		ck_assert_int_eq(why.err, err);
		ck_assert_uint_gt(strlen(why.detail), 0);
	}
	return err;
}

START_TEST(queries)
{
	static const char *const bad[] = {"", "&", "key", "key=", "=www", "key=www&", "&key=www",
		"key=www&&limit=1", "key=www&key=www", "key=w%77w%", "key=ww%7", "key=www%00",
		"key=www%20", "key=WWW", "Key=www", "k%65y=www", "key=www;limit=1", "key=www#x",
		"limit=0", "limit=01", "limit=+1", "limit=1 ", "limit=1234567890123456789",
		"limit=1.0", "from=-1", "from=0x1", "live_at=0", "live_at=2030-01-31", "dry_run=1",
		"dry_run=TRUE", "dry_run", "id=00112233445566778899AABBCCDDEEFF", "id=0",
		"chain=a%0ab", "chain=\xc3\xbc", "chain=", "x=1", "after=", "to=%"};
	struct query q;
	char text[400] = "chain=";

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(parse(&q, ALL, bad[i]) != ERR_OK, "%s", bad[i]);
	ck_assert_int_eq(parse(&q, ALL, NULL), ERR_OK);
	ck_assert_uint_eq(q.given, 0);
	ck_assert_int_eq(parse(&q, ALL,
				 "live_at=2030-01-31T23%3A59:59Z&chain=n%2Ft%232&from=0&to="
				 "999999999999999999&key=%77ww&dry_run=true"),
		ERR_OK);
	ck_assert_str_eq(q.chain, "n/t#2");
	ck_assert_str_eq(q.key, "www");
	ck_assert_uint_eq(q.to, 999999999999999999);
	ck_assert_int_eq(q.live_at, 1896134399);
	ck_assert(q.dry_run);
	ck_assert_int_ne(parse(&q, ALL & ~QUERY_KEY, "key=www"), ERR_OK);
	memset(text + 6, 'x', sizeof q.chain);
	ck_assert_int_ne(parse(&q, ALL, text), ERR_OK);
	text[6 + sizeof q.chain - 1] = '\0';
	ck_assert_int_eq(parse(&q, ALL, text), ERR_OK);
}
END_TEST

RUN_SUITE("routes", targets, queries, who_may, monitor, nobody_to_ask, granted, certificate)
