/*
 * Stands in for dcsignd, a dcsignd-hsm and a dcsignd-ledger around a real dcsignd-api, for
 * e2e_api.py. Commands come as lines on standard input, what happens goes to standard output.
 *
 * Folder: server.pem server.key ca.pem www.pem old.pem, crl.pem if there is one, and `clients`, one
 * per line: NAME KIND VALUE MAY(number) KEYS(comma) RATE SECONDS
 */
#include "settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certificate.h"
#include "child.h"
#include "record.h"

#define OCTETS 65536

static const char *folder;
static int control = -1, hsm = -1, ledger = -1;
static int listener[2] = {-1, -1}, monitor_socket = -1;
static pid_t pid;
static uint64_t serial;
static char unix_path[200];

/* how the fakes behave */
static char hsm_mode[32] = "answer";
static enum err refusal = ERR_NOT_FOUND;
static bool key_served = true, ledger_silent, ledger_damaged, ledger_holds;
static unsigned issued, deadline_limit = 10000, queue = 1024, per_address;
static int swarm; /* answers are kept back until so many wait */
static struct {
	uint64_t serial;
	struct msg_issue issue;
} kept[64];
static int kept_count;
static char last[2048] = "none";

static void die(const char *what)
{
	fprintf(stderr, "api_parent: %s: %s\n", what, strerror(errno));
	exit(99);
}

static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	fflush(stdout);
}

static char *path_of(const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		die("asprintf");
	return path;
}

static bool read_file(struct config_file *file, const char *name)
{
	char *path = path_of(name);
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		free(path);
		return false;
	}
	file->path = path;
	file->octets = calloc(1, OCTETS);
	file->len = fread(file->octets, 1, OCTETS, f);
	fclose(f);
	return true;
}

static enum match_kind kind_of(const char *text)
{
	static const char *const names[] = {
		"uri", "dns", "cn", "sha256", "spki_sha256", "peer_uid"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(names[i], text) == 0)
			return (enum match_kind)i;
	die("unknown match");
	return MATCH_CN;
}

static void read_clients(struct config *c)
{
	char *path = path_of("clients"), line[1024];
	FILE *f = fopen(path, "r");

	if (f == NULL)
		die(path);
	c->client = calloc(16, sizeof *c->client);
	while (fgets(line, sizeof line, f) != NULL) {
		struct config_client *client = &c->client[c->client_count++];
		char kind[32], value[256], keys[256], *at = keys, *name;

		if (sscanf(line, "%64s %31s %255s %u %255s %u %u", client->name, kind, value,
			    &client->may, keys, &client->rate_count, &client->rate_seconds) != 7)
			die("clients");
		client->match = calloc(1, sizeof *client->match);
		client->match_count = 1;
		client->match[0].kind = kind_of(kind);
		client->match[0].value = strdup(value);
		client->keys = calloc(8, sizeof(char *));
		while ((name = strsep(&at, ",")) != NULL)
			client->keys[client->key_count++] = strdup(name);
	}
	fclose(f);
	free(path);
}

static void read_key(struct config *c, const char *name, bool both)
{
	struct config_key *key = &c->key[c->key_count++];

	strcpy(key->name, name);
	strcpy(key->token, "main");
	strcpy(key->policy, "default");
	key->uri = strdup("pkcs11:object=www");
	key->certificate = calloc(2, sizeof *key->certificate);
	if (!read_file(&key->certificate[key->certificate_count++], "www.pem"))
		die("www.pem");
	if (both && !read_file(&key->certificate[key->certificate_count++], "old.pem"))
		die("old.pem");
}

static void read_listen(struct config *c)
{
	struct config_listen *l;

	c->listen = calloc(2, sizeof *c->listen);
	c->listen_count = 2;
	l = &c->listen[0];
	l->address = strdup("127.0.0.1:0");
	l->private_key = path_of("server.key");
	l->client_crl = calloc(1, sizeof *l->client_crl);
	if (!read_file(&l->certificate, "server.pem") || !read_file(&l->client_ca, "ca.pem"))
		die("server.pem, ca.pem");
	l->client_crl_count = read_file(&l->client_crl[0], "crl.pem");
	l = &c->listen[1];
	l->is_unix = true;
	if (asprintf(&l->address, "unix:%s", unix_path) < 0)
		die("asprintf");
}

static struct config *make_config(void)
{
	struct config *c = calloc(1, sizeof *c);

	c->references = 1;
	strcpy(c->node, "test");
	c->origin = strdup("test.example");
	c->state = strdup(folder);
	c->ledger = strdup("sqlite:/nowhere");
	c->monitor = strdup("127.0.0.1:0");
	c->single_user = true;
	c->users.api = strdup("0");
	c->users.hsm = strdup("0");
	c->users.ledger = strdup("0");
	c->limits.max_lifetime = 86400;
	c->limits.request_deadline_ms = deadline_limit;
	c->limits.queue = queue;
	c->limits.connections = 256;
	c->limits.connections_per_address = per_address;
	c->log.level = 0;
	read_listen(c);
	c->token = calloc(1, sizeof *c->token);
	c->token_count = 1;
	strcpy(c->token[0].name, "main");
	c->token[0].module = strdup("/nowhere.so");
	c->token[0].uri = strdup("pkcs11:token=main");
	c->token[0].pin = strdup("file:/nowhere");
	c->token[0].sessions = 2;
	c->token[0].workers = 4;
	c->token[0].sign_timeout_ms = 2000;
	c->policy = calloc(1, sizeof *c->policy);
	c->policy_count = 1;
	policy_defaults(&c->policy[0]);
	strcpy(c->policy[0].name, "default");
	c->key = calloc(3, sizeof *c->key);
	read_key(c, "api", false);
	read_key(c, "www", true);
	read_clients(c);
	return c;
}

static int bundle_of(const struct config *c)
{
	struct buf out = BUF_INIT(CONFIG_BUNDLE_MAX);
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (config_encode(&out, c) != ERR_OK || fd < 0 ||
		write(fd, out.octets, out.len) != (ssize_t)out.len ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) !=
			0)
		die("bundle");
	buf_free(&out);
	return fd;
}

static void send_config(bool first)
{
	struct msg_config m = {.count = 2};
	struct buf out = BUF_INIT(MSG_MAX);
	struct config *c = make_config();
	char *key = path_of("server.key");
	int fds[MSG_FDS] = {bundle_of(c), open(key, O_RDONLY | O_CLOEXEC)};
	size_t i = 2;

	strcpy(m.label[0], "bundle");
	strcpy(m.label[1], "tls_key");
	if (first) {
		strcpy(m.label[2], "listen");
		strcpy(m.label[3], "listen");
		strcpy(m.label[4], "monitor");
		fds[2] = listener[0];
		fds[3] = listener[1];
		fds[4] = monitor_socket;
		i = 5;
		m.count = 5;
	}
	msg_begin(&out, MSG_CONFIG, ++serial);
	msg_config_write(&out, &m);
	if (channel_send(control, &out, fds, i, 60000) != ERR_OK)
		die("CONFIG");
	close(fds[0]);
	close(fds[1]);
	buf_free(&out);
	free(key);
	config_unref(c);
}

/* A fresh channel to the api; returns our end. */
static int hello(uint8_t role, const char *name)
{
	struct msg_hello m = {.role = role};
	struct buf out = BUF_INIT(MSG_MAX);
	int ends[2];

	strcpy(m.name, name);
	msg_begin(&out, MSG_HELLO, ++serial);
	msg_hello_write(&out, &m);
	if (channel_pair(ends) != ERR_OK ||
		channel_send(control, &out, &ends[1], 1, 60000) != ERR_OK)
		die("HELLO");
	close(ends[1]);
	buf_free(&out);
	return ends[0];
}

static void leaf_sha256(const char *name, uint8_t digest[SHA256_SIZE])
{
	static struct certificate chain[CERT_CHAIN_MAX];
	struct config_file file = {0};
	size_t n = 0;

	if (!read_file(&file, name) ||
		certificate_read_pem(chain, CERT_CHAIN_MAX, &n, file.octets, file.len) != ERR_OK)
		die(name);
	memcpy(digest, chain[0].sha256, SHA256_SIZE);
	for (size_t i = 0; i < n; i++)
		certificate_free(&chain[i]);
	free(file.octets);
	free(file.path);
}

static void answer_state(uint64_t to)
{
	static struct msg_state_answer m;
	struct buf out = BUF_INIT(MSG_MAX);

	memset(&m, 0, sizeof m);
	m.token_ok = 1;
	m.total = m.count = 2;
	m.counter[COUNTER_SIGNATURES] = issued;
	m.span_count = SPAN_COUNT;
	m.span[SPAN_SIGN].sum_us = 1500000;
	m.span[SPAN_SIGN].bucket[4] = 2;
	m.span[SPAN_SIGN].bucket[MSG_BUCKETS - 1] = 1;
	for (int i = 0; i < 2; i++) {
		strcpy(m.key[i].name, i == 0 ? "api" : "www");
		m.key[i].err = key_served ? ERR_OK : ERR_KEY_MISSING;
		strcpy(m.key[i].detail, key_served ? "" : "no such object");
		strcpy(m.key[i].weak, key_served ? "" : "local");
		if (key_served) {
			leaf_sha256("www.pem", m.key[i].certificate_sha256);
			m.key[i].certificate_not_after = 4000000000;
			m.key[i].algorithm = SCHEME_ECDSA_P256;
		}
	}
	msg_begin(&out, MSG_STATE + 1, to);
	msg_state_answer_write(&out, &m);
	(void)channel_send(hsm, &out, NULL, 0, 60000);
	buf_free(&out);
}

static uint8_t www_leaf[SHA256_SIZE], old_leaf[SHA256_SIZE];

static void fill_grant(
	struct msg_grant *g, const struct msg_issue *issue, const struct msg_issue_item *item)
{
	memset(g, 0, sizeof *g);
	if (strcmp(hsm_mode, "refuse") == 0 ||
		(item->reference.len == 6 && memcmp(item->reference.at, "refuse", 6) == 0)) {
		(void)refuse(&g->refusal, refusal, "lifetime", "as the test asked for");
		return;
	}
	if (issue->dry_run == 0) {
		snprintf(g->id, sizeof g->id, "%032x", ++issued);
		g->dc.at = (const uint8_t *)"not really a credential";
		g->dc.len = 23;
		strcpy(g->chain, "test/main");
		g->idx = issued;
		memset(g->leaf_hash, 0xab, SHA256_SIZE);
	} else {
		g->flags |= GRANT_DRY_RUN;
	}
	if (item->idempotency[0] != '\0')
		g->flags |= GRANT_REPLAYED;
	g->role = item->role;
	g->scheme = SCHEME_ECDSA_P256;
	g->algorithm = SCHEME_ECDSA_P384;
	g->not_before = 1900000000;
	g->not_after = 1900003600;
	g->valid_time = 3600;
	g->compat = 1;
	memset(g->spki_sha256, 0xcd, SHA256_SIZE);
	memcpy(g->certificate_sha256,
		item->reference.len == 3 && memcmp(item->reference.at, "old", 3) == 0 ? old_leaf
										      : www_leaf,
		SHA256_SIZE);
}

static void answer_issue(uint64_t to, const struct msg_issue *issue)
{
	static struct msg_issue_answer a;
	struct buf out = BUF_INIT(MSG_MAX);

	strcpy(a.request, strcmp(hsm_mode, "confuse") == 0 ? "00000000000000000000000000000000"
							   : issue->request);
	a.count = issue->count;
	leaf_sha256("www.pem", www_leaf);
	leaf_sha256("old.pem", old_leaf);
	for (uint16_t i = 0; i < issue->count; i++)
		fill_grant(&a.grant[i], issue, &issue->item[i]);
	msg_begin(&out, MSG_ISSUE + 1, to);
	msg_issue_answer_write(&out, &a);
	(void)channel_send(hsm, &out, NULL, 0, 60000);
	buf_free(&out);
}

static void take_issue(uint64_t from, struct reader *body)
{
	static struct msg_issue m;
	const struct msg_issue_item *item = &m.item[0];
	char sha[65], spki[65];

	if (msg_issue_read(&m, body) != ERR_OK)
		die("ISSUE");
	hex_encode(sha, m.client_sha256, SHA256_SIZE);
	hex_encode(spki, m.client_spki_sha256, SHA256_SIZE);
	snprintf(last, sizeof last,
		"count=%u client=%s sha256=%s spki=%s serial=%s peer=%s deadline=%u dry=%u key=%s "
		"role=%u "
		"algorithm=%u proof=%u spki_len=%zu term=%u value=%lld reference=%.*s "
		"idempotency=%s "
		"request=%s",
		m.count, m.client, sha, spki, m.client_serial, m.peer, m.deadline_ms, m.dry_run,
		item->key, item->role, item->algorithm, item->proof, item->spki.len, item->term,
		(long long)item->term_value, (int)item->reference.len,
		(const char *)item->reference.at, item->idempotency, m.request);
	if (strcmp(hsm_mode, "silent") == 0)
		return;
	if (swarm == 0) {
		answer_issue(from, &m);
		return;
	}
	kept[kept_count].serial = from;
	kept[kept_count++].issue = m;
	if (kept_count < swarm)
		return;
	while (kept_count > 0) { /* the last one first */
		kept_count--;
		answer_issue(kept[kept_count].serial, &kept[kept_count].issue);
	}
}

static void released(struct msg_read_answer *a, struct buf *authorised, struct buf *outcome)
{
	static const uint8_t digest[SHA256_SIZE] = {1}, spki[91] = {0x30};
	struct octets hex = octets_of(digest, sizeof digest);
	struct record r;

	record_init(&r, RECORD_AUTHORISED);
	r.chain = octets_text("test/main");
	r.idx = 3;
	r.id = r.request = octets_text("00112233445566778899aabbccddeeff");
	r.attempt = 1;
	r.client = octets_text("edge");
	r.client_sha256 = r.spki_sha256 = r.certificate_sha256 = r.tbs_sha256 = r.generation = hex;
	r.peer = octets_text("unix");
	r.key = octets_text("www");
	r.role = octets_text("server");
	r.algorithm = r.signature_algorithm = octets_text("ecdsa_secp256r1_sha256");
	r.spki = octets_of(spki, sizeof spki);
	r.possession = octets_text("none");
	r.policy = octets_text("default");
	r.reference = octets_text("T-1");
	r.time = r.now = r.cert_not_before = r.window_opens = 1900000000;
	r.lifetime_asked = r.lifetime_granted = r.valid_time = 3600;
	r.expiry = 1900003600;
	if (record_encode(authorised, &r) != ERR_OK)
		die("AUTHORISED");
	record_init(&r, RECORD_ISSUED);
	r.chain = octets_text("test/main");
	r.idx = 4;
	r.time = 1900000000;
	r.id = octets_text("00112233445566778899aabbccddeeff");
	r.attempt = 1;
	r.dc = octets_of("dc", 2);
	r.dc_sha256 = hex;
	if (record_encode(outcome, &r) != ERR_OK)
		die("ISSUED");
	a->released_count = 1;
	strcpy(a->released[0].chain, "test/main");
	a->released[0].idx = 4;
	a->released[0].authorised = octets_of(authorised->octets, authorised->len);
	a->released[0].issued =
		ledger_damaged ? octets_text("damaged") : octets_of(outcome->octets, outcome->len);
}

/* What a ledger with one credential and one chain says. */
static void fill_read(struct msg_read_answer *a, const struct msg_read *m, struct buf *authorised,
	struct buf *outcome)
{
	bool chain = strcmp(m->chain, "test/main") == 0;
	bool id = strcmp(m->id, "00112233445566778899aabbccddeeff") == 0;

	if (m->kind == READ_CREDENTIALS || id)
		released(a, authorised, outcome);
	if (m->kind == READ_CHECKPOINT || m->kind == READ_PROOF || m->kind == READ_NOTE ||
		(m->kind == READ_CONSISTENCY && m->to == 0))
		a->text = octets_text("a note\n");
	if (m->kind == READ_PROOF || m->kind == READ_CONSISTENCY) {
		a->to = 42;
		a->proof_count = 2;
	}
	if (m->kind == READ_HOLDS && ledger_holds) {
		a->held_count = 2;
		strcpy(a->held[0].client, "edge");
		strcpy(a->held[0].reason, "INC-1");
		strcpy(a->held[1].key, "www");
		strcpy(a->held[1].reason, "INC-2");
	}
	if (m->kind == READ_RECORDS && m->from == 0) {
		a->text = octets_text("{}\n{}\n");
		a->next = 2;
	}
	if (((m->kind == READ_CREDENTIAL || m->kind == READ_PROOF) && !id) ||
		(m->kind >= READ_CONSISTENCY && m->kind <= READ_RECORDS && !chain) ||
		(m->kind == READ_CHECKPOINT && !chain))
		a->err = ERR_NOT_FOUND;
}

static void answer_hold(uint64_t to, uint16_t type, struct reader *body)
{
	struct msg_hold_answer a = {.live = 2, .latest_expiry = 1900003600};
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_hold m;

	if (msg_hold_read(&m, body) != ERR_OK)
		die("HOLD");
	if (strcmp(m.client, "reader") == 0)
		(void)refuse(&a.refusal, ERR_NOT_FOUND, "client", "it is not on hold");
	msg_begin(&out, MSG_ANSWER(type), to);
	msg_hold_answer_write(&out, &a);
	if (!ledger_silent)
		(void)channel_send(ledger, &out, NULL, 0, 60000);
	buf_free(&out);
}

static void answer_read(uint64_t to, struct reader *body)
{
	static struct msg_read_answer a;
	struct buf authorised = BUF_INIT(MSG_MAX), outcome = BUF_INIT(MSG_MAX);
	struct msg_read m;
	struct buf out = BUF_INIT(MSG_MAX);

	if (msg_read_read(&m, body) != ERR_OK)
		die("READ");
	memset(&a, 0, sizeof a);
	a.kind = m.kind;
	a.live = strcmp(m.key, "www") == 0 ? 7 : 3;
	if (m.kind == READ_HEADS) {
		a.live = 0;
		a.octets = 4096;
		a.count = 1;
		strcpy(a.head[0].chain, "test/main");
		a.head[0].size = 42;
		a.head[0].last_time = 1900000000;
	}
	fill_read(&a, &m, &authorised, &outcome);
	msg_begin(&out, MSG_READ + 1, to);
	msg_read_answer_write(&out, &a);
	if (!ledger_silent)
		(void)channel_send(ledger, &out, NULL, 0, 60000);
	buf_free(&out);
	buf_free(&authorised);
	buf_free(&outcome);
}

static void take_message(int *fd)
{
	static uint8_t in[MSG_MAX];
	struct msg_config_answer config;
	struct msg_head head;
	struct reader body;
	size_t len;
	int status;
	enum err err = channel_receive(*fd, in, sizeof in, &len, NULL, NULL, 60000);

	if (err != ERR_OK || msg_open(&head, &body, in, len) != ERR_OK) {
		close(*fd);
		if (fd == &control && waitpid(pid, &status, 0) == pid)
			say("exit %d",
				WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
		*fd = -1;
		return;
	}
	if (fd == &control && head.type == MSG_CONFIG + 1) {
		if (msg_config_answer_read(&config, &body) != ERR_OK)
			die("CONFIG's answer");
		say("config %s", config.err == ERR_OK ? "ok" : config.text);
	} else if (fd == &control && head.type == MSG_STATE) {
		say("ready");
	} else if (head.type == MSG_STATE && strcmp(hsm_mode, "silent") != 0) {
		answer_state(head.serial);
	} else if (head.type == MSG_ISSUE) {
		take_issue(head.serial, &body);
	} else if (head.type == MSG_READ) {
		answer_read(head.serial, &body);
	} else if (head.type == MSG_HOLD || head.type == MSG_RELEASE) {
		answer_hold(head.serial, head.type, &body);
	}
}

static int bound(uint16_t *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 128) != 0 ||
		getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		die("listen");
	*port = ntohs(a.sin_port);
	return fd;
}

static int bound_unix(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(unix_path, sizeof unix_path, "%s/api.sock", folder);
	unlink(unix_path);
	snprintf(a.sun_path, sizeof a.sun_path, "%.100s", unix_path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 16) != 0)
		die("unix socket");
	return fd;
}

static void send_garbage(int fd)
{
	struct buf out = BUF_INIT(64);

	msg_begin(&out, MSG_APPEND + 1, 1);
	buf_u8(&out, 1);
	(void)channel_send(fd, &out, NULL, 0, 100);
	buf_free(&out);
}

static bool command(char *line)
{
	char word[32] = "", value[64] = "";

	if (sscanf(line, "%31s %63s", word, value) < 1)
		return true;
	if (strcmp(word, "quit") == 0)
		return false;
	if (strcmp(word, "mode") == 0)
		strcpy(hsm_mode, value);
	else if (strcmp(word, "refusal") == 0)
		refusal = err_by_name(value);
	else if (strcmp(word, "served") == 0)
		key_served = atoi(value) != 0;
	else if (strcmp(word, "swarm") == 0)
		swarm = atoi(value);
	else if (strcmp(word, "deadline") == 0)
		deadline_limit = (unsigned)atoi(value);
	else if (strcmp(word, "queue") == 0)
		queue = (unsigned)atoi(value);
	else if (strcmp(word, "per_address") == 0)
		per_address = (unsigned)atoi(value);
	else if (strcmp(word, "ledger_silent") == 0)
		ledger_silent = atoi(value) != 0;
	else if (strcmp(word, "ledger_damaged") == 0)
		ledger_damaged = atoi(value) != 0;
	else if (strcmp(word, "ledger_holds") == 0)
		ledger_holds = atoi(value) != 0;
	else if (strcmp(word, "reload") == 0)
		send_config(false);
	else if (strcmp(word, "hsm_close") == 0 && hsm >= 0) {
		close(hsm);
		hsm = -1;
	} else if (strcmp(word, "hsm_open") == 0)
		hsm = hello(ROLE_HSM, "main");
	else if (strcmp(word, "ledger_again") ==
		 0) { /* what it kept to itself is not asked again */
		close(ledger);
		ledger = hello(ROLE_LEDGER, "");
	} else if (strcmp(word, "hsm_garbage") == 0)
		send_garbage(hsm);
	else if (strcmp(word, "term") == 0)
		kill(pid, SIGTERM);
	else if (strcmp(word, "last") == 0) {
		say("last %s", last);
		return true;
	} else if (strcmp(word, "issued") == 0) {
		say("issued %u", issued);
		return true;
	}
	say("done %s", word);
	return true;
}

static void start(const char *program, const char *argument)
{
	static char *environment[] = {NULL, NULL, NULL};
	struct child_spec spec = {
		.program = program, .argument = argument, .environment = environment};
	const char *asan = getenv("ASAN_OPTIONS"), *ubsan = getenv("UBSAN_OPTIONS");
	size_t n = 0;

	if (asan != NULL && asprintf(&environment[n++], "ASAN_OPTIONS=%s", asan) < 0)
		die("asprintf");
	if (ubsan != NULL && asprintf(&environment[n++], "UBSAN_OPTIONS=%s", ubsan) < 0)
		die("asprintf");
	if (child_spawn(&spec, &pid, &control) != ERR_OK)
		die(program);
}

int main(int argc, char **argv)
{
	uint16_t port = 0, monitor_port = 0;
	bool check = argc == 4 && strcmp(argv[3], "-n") == 0;
	char line[256];

	if (argc < 3)
		return 2;
	setvbuf(stdin, NULL, _IONBF, 0);
	signal(SIGPIPE, SIG_IGN);
	folder = argv[2];
	listener[0] = bound(&port);
	listener[1] = bound_unix();
	monitor_socket = bound(&monitor_port);
	start(argv[1], check ? "-n" : NULL);
	send_config(!check);
	if (!check) {
		hsm = hello(ROLE_HSM, "main");
		ledger = hello(ROLE_LEDGER, "");
		say("ports %u %u", port, monitor_port);
	}
	for (;;) {
		struct pollfd p[] = {{STDIN_FILENO, POLLIN, 0}, {control, POLLIN, 0},
			{hsm, POLLIN, 0}, {ledger, POLLIN, 0}};

		if (poll(p, 4, -1) < 0)
			die("poll");
		if (p[1].revents != 0)
			take_message(&control);
		if (p[2].revents != 0)
			take_message(&hsm);
		if (p[3].revents != 0)
			take_message(&ledger);
		if (p[0].revents != 0 &&
			(fgets(line, sizeof line, stdin) == NULL || !command(line)))
			break;
	}
	if (control >= 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return 0;
}
