#include "postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_MS 2000
#define TEXT_MAX   1024

static const char *const names[PG_STATEMENT_COUNT] = {
#define STATEMENT_NAME(name, sql) #name,
	PG_STATEMENTS(STATEMENT_NAME)
#undef STATEMENT_NAME
};
static const char *const sql[PG_STATEMENT_COUNT] = {
#define STATEMENT_TEXT(name, text) text,
	PG_STATEMENTS(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

/* Plans are made once, while tables may be empty, and must fit when they are not: by index. A
 * server that hears nothing from us gives our locks to the others soon. */
static const char settings[] =
	"SET search_path = dcsign, pg_temp; SET plan_cache_mode = force_generic_plan;"
	"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
	"SET enable_bitmapscan = off; SET jit = off; SET lock_timeout = '4s';"
	"SET idle_in_transaction_session_timeout = '10s'; SET tcp_keepalives_idle = 5;"
	"SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
	"SET tcp_user_timeout = 10000; SET client_min_messages = error";

const char *pg_text(struct store *store)
{
	const char *text = buf_cstr(&((struct postgres *)store)->text);

	return text ? text : "";
}

static enum err refused(struct postgres *s, struct refusal *why, enum err e)
{
	return refuse(why, e, "ledger", "the database: %s", pg_text(&s->store));
}

/* ---- the URL ---- */

/* A password in a URL ends up in process lists and configuration backups. What is wrong with a URL
 * that can't be read is not said: it may be the password. */
static enum err url_check(const char *url, struct refusal *why)
{
	PQconninfoOption *all = PQconninfoParse(url, NULL);
	bool secret = false;

	if (!all)
		return refuse(why, ERR_NOT_FOUND, "ledger",
			"the URL of the database can't be read: give "
			"postgresql://ROLE@HOST/DATABASE?OPTION=VALUE as libpq takes it");
	for (PQconninfoOption *o = all; o->keyword; o++)
		secret = secret || (o->val && *o->val && strchr(o->dispchar, '*'));
	PQconninfoFree(all);
	return secret ? refuse(why, ERR_NOT_FOUND, "ledger",
				"the URL of the database must not have a password: put it into a "
				"file and name that with passfile=")
		      : ERR_OK;
}

static struct postgres *new_one(const char *url)
{
	struct postgres *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->store.engine = &store_postgres;
	s->last = &s->first;
	s->text = (struct buf)BUF_INIT(TEXT_MAX);
	s->url = strdup(url);
	if (s->url)
		return s;
	free(s);
	return NULL;
}

void pg_abandon(struct store *store)
{
	struct postgres *s = (struct postgres *)store;

	pg_results_clear(s);
	if (s->conn)
		PQfinish(s->conn);
	pg_rows_free(s);
	pg_columns_free(&s->records);
	pg_columns_free(&s->nodes);
	pg_columns_free(&s->credentials);
	pg_columns_free(&s->blanks);
	buf_free(&s->text);
	free(s->url);
	free(s);
}

enum err pg_stop(struct store *store)
{
	pg_abandon(store);
	return ERR_OK;
}

/* ---- the connection ---- */

static int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The sockets change while several hosts are tried. */
static bool connect_wait(PGconn *conn)
{
	int64_t until = monotonic_ms() + CONNECT_MS;
	PostgresPollingStatusType state = PGRES_POLLING_WRITING;

	while (state != PGRES_POLLING_OK && state != PGRES_POLLING_FAILED) {
		struct pollfd p = {.fd = PQsocket(conn),
			.events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT};
		int64_t left = until - monotonic_ms();

		if (left <= 0 || (poll(&p, 1, (int)left) < 0 && errno != EINTR))
			return false;
		if (p.revents)
			state = PQconnectPoll(conn);
	}
	return state == PGRES_POLLING_OK;
}

static enum err link_up(struct postgres *s)
{
	const char *const keys[] = {"dbname", "fallback_application_name", "client_encoding", NULL};
	const char *const values[] = {s->url, "dcsign", "UTF8", NULL};

	if (s->conn)
		PQfinish(s->conn);
	s->queued = 0;
	s->conn = PQconnectStartParams(keys, values, 1);
	if (!s->conn)
		return ERR_NOMEM;
	if (PQstatus(s->conn) == CONNECTION_BAD || !connect_wait(s->conn))
		return pg_lost(s, PQerrorMessage(s->conn)[0] ? NULL : "no answer in time");
	PQsetnonblocking(s->conn, 1);
	return ERR_OK;
}

enum err pg_connect(struct postgres **out, const char *url, struct refusal *why)
{
	enum err e = url_check(url, why);
	struct postgres *s = e ? NULL : new_one(url);

	if (e)
		return e;
	if (!s)
		return refuse(why, ERR_NOMEM, "ledger", "out of memory");
	e = link_up(s);
	if (e) {
		refused(s, why, ERR_TIMEOUT);
		pg_abandon(&s->store);
		return ERR_TIMEOUT;
	}
	*out = s;
	return ERR_OK;
}

/* ---- what the database must be ---- */

static const char check[] =
	"SELECT current_setting('fsync'), current_setting('full_page_writes'), "
	"current_setting('synchronous_commit'), pg_is_in_recovery()::text, "
	"current_setting('server_encoding'), current_setting('server_version_num'), "
	"coalesce((SELECT 'here' FROM pg_tables WHERE schemaname = 'dcsign' AND tablename = "
	"'version'), 'none')";

static enum err durable_check(struct postgres *s, const PGresult *r, struct refusal *why)
{
	static const char *const names_of[] = {"fsync", "full_page_writes", "synchronous_commit"};

	for (int i = 0; i < 3; i++) {
		if (strcmp(PQgetvalue(r, 0, i), "off") == 0)
			return refuse(why, ERR_NOT_FOUND, "ledger",
				"the database runs with %s = off: what it says is durable can be "
				"lost. Set it to on",
				names_of[i]);
	}
	if (!s->reader && strcmp(PQgetvalue(r, 0, 3), "false") != 0) {
		refuse(why, ERR_CLOSED, "ledger",
			"this server is a standby and takes no records: name the primary, or "
			"several hosts and target_session_attrs=read-write");
		return pg_lost(s, why->detail);
	}
	return ERR_OK;
}

static enum err database_check(struct postgres *s, struct refusal *why)
{
	PGresult *r;
	enum err e = pg_plain(s, check, &r);

	if (e)
		return refused(s, why, e);
	if (!s->reader)
		e = durable_check(s, r, why);
	if (e)
		return e;
	if (strcmp(PQgetvalue(r, 0, 4), "UTF8") != 0)
		return refuse(why, ERR_NOT_FOUND, "ledger",
			"the database has the encoding %s: make one with UTF8",
			PQgetvalue(r, 0, 4));
	if (atoi(PQgetvalue(r, 0, 5)) < 130000)
		return refuse(why, ERR_NOT_FOUND, "ledger",
			"the database server is older than PostgreSQL 13");
	if (strcmp(PQgetvalue(r, 0, 6), "here") != 0)
		return refuse(why, ERR_NOT_FOUND, "ledger",
			"there is no ledger in this database: dcsign ledger init makes one");
	e = pg_plain(s, "SELECT version FROM dcsign.version", &r);
	if (e)
		return refused(s, why, e);
	if (PQntuples(r) != 1 || atoi(PQgetvalue(r, 0, 0)) != PG_FORMAT)
		return refuse(why, ERR_FORMAT, "ledger",
			"the ledger in this database is not of this version: dcsign ledger init "
			"brings an older one up to date");
	return ERR_OK;
}

static enum err prepare(struct postgres *s)
{
	enum err e = ERR_OK;

	for (int i = 0; i < PG_STATEMENT_COUNT && !e; i++) {
		if (!PQsendPrepare(s->conn, names[i], sql[i], 0, NULL))
			return pg_lost(s, NULL);
		s->queued++;
		if (s->queued == PG_RESULTS / 2)
			e = pg_sync(s);
	}
	return e ? e : s->queued ? pg_sync(s) : ERR_OK;
}

static enum err set_up(struct postgres *s, struct refusal *why)
{
	enum err e = pg_plain(s, settings, NULL);

	if (e)
		return refused(s, why, e);
	e = database_check(s, why);
	if (e)
		return e;
	if (!PQenterPipelineMode(s->conn))
		return pg_lost(s, NULL);
	e = prepare(s);
	return e ? refused(s, why, e) : ERR_OK;
}

enum err pg_open(struct store **out, const char *url, struct refusal *why)
{
	struct postgres *s;
	enum err e = pg_connect(&s, url, why);

	if (e)
		return e;
	e = set_up(s, why);
	if (e)
		pg_abandon(&s->store);
	else
		*out = &s->store;
	return e == ERR_CLOSED ? ERR_TIMEOUT : e;
}

enum err pg_open_copy(struct store **out, const char *url, struct refusal *why)
{
	struct postgres *s;
	PGresult *r;
	enum err e = pg_connect(&s, url, why);

	if (e)
		return e;
	s->reader = true;
	e = set_up(s, why);
	if (!e && (e = pg_ask(s, &r, PG_SNAPSHOT, "")))
		refused(s, why, e);
	if (e)
		pg_abandon(&s->store);
	else
		*out = &s->store;
	return e;
}

/* ---- the writer ---- */

static enum err node_lock(struct postgres *s, struct refusal *why)
{
	PGresult *r;
	enum err e = pg_ask(s, &r, PG_NODE_LOCK, "t", s->node);

	if (e)
		return refused(s, why, e);
	return pg_int(r, 0, 0) ? ERR_OK
			       : refuse(why, ERR_TIMEOUT, "ledger",
					 "another dcsignd writes the chains of the node %s, or the "
					 "database has not noticed its end yet",
					 s->node);
}

static enum err epoch_take(struct postgres *s)
{
	PGresult *r;
	enum err e = pg_queue(s, PG_BEGIN, "");

	if (!e)
		e = pg_queue(s, PG_LOCK, "");
	if (!e)
		e = pg_queue(s, PG_CLAIM, "t", s->node);
	if (!e)
		e = pg_ask(s, &r, PG_COMMIT, "");
	if (e)
		return e;
	s->epoch = pg_int(s->result[2], 0, 0);
	s->seen = pg_int(s->result[2], 0, 1);
	return ERR_OK;
}

enum err pg_claim(struct store *store, const char *node, struct refusal *why)
{
	struct postgres *s = (struct postgres *)store;
	bool again = *s->node != '\0';
	enum err e = ERR_OK;

	snprintf(s->node, sizeof(s->node), "%s", node);
	if (!again)
		e = node_lock(s, why);
	if (e)
		return e;
	e = epoch_take(s);
	return e ? refused(s, why, e) : ERR_OK;
}

enum err pg_resume(struct store *store, struct refusal *why)
{
	struct postgres *s = (struct postgres *)store;
	enum err e;

	pg_forget(s);
	e = link_up(s);
	if (e)
		return refused(s, why, e);
	e = set_up(s, why);
	if (!e && *s->node)
		e = node_lock(s, why);
	if (e)
		pg_lost(s, why->detail);
	return e == ERR_NOMEM || !e ? e : ERR_CLOSED;
}
