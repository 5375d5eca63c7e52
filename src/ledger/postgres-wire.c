#include "postgres.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ANSWER_MS 5000 /* a server that is silent for longer is lost */
#define ARRAY_MAX (256u << 20)
#define OID_BYTEA 17
#define OID_INT8  20
#define OID_TEXT  25

static const char *const names[PG_STATEMENT_COUNT] = {
#define STATEMENT_NAME(name, sql) #name,
	PG_STATEMENTS(STATEMENT_NAME)
#undef STATEMENT_NAME
};

static int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say(struct postgres *s, const char *text)
{
	buf_reset(&s->text);
	for (; *text && *text != '\n'; text++)
		buf_u8(&s->text, (uint8_t)*text);
}

void pg_results_clear(struct postgres *s)
{
	for (unsigned i = 0; i < s->results; i++)
		PQclear(s->result[i]);
	s->results = 0;
}

enum err pg_lost(struct postgres *s, const char *why)
{
	if (s->conn) {
		say(s, why ? why : PQerrorMessage(s->conn));
		PQfinish(s->conn);
	}
	s->conn = NULL;
	s->queued = 0;
	pg_results_clear(s);
	return ERR_CLOSED;
}

/* What the database can get over (a full disk, too) is a lost connection to the ledger: after a new
 * one its tails are compared with what is known here, so nothing is taken on trust, and outcomes
 * are kept until they can be written. */
enum err pg_err(struct postgres *s, const PGresult *r)
{
	const char *state = PQresultErrorField(r, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY);

	say(s, text ? text : PQresultErrorMessage(r));
	if (!state)
		return pg_lost(s, NULL);
	if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
		strncmp(state, "42", 2) == 0 || strncmp(state, "3F", 2) == 0 ||
		strncmp(state, "XX", 2) == 0)
		return ERR_FORMAT;
	return pg_lost(s, text);
}

/* Until there is a result, or nothing is left to be sent when results are not waited for. */
static enum err pump(struct postgres *s, int64_t until)
{
	for (;;) {
		int left = PQflush(s->conn);
		int64_t ms = until - monotonic_ms();
		struct pollfd p = {.fd = PQsocket(s->conn), .events = POLLIN};

		if (left < 0)
			return pg_lost(s, NULL);
		if (!PQisBusy(s->conn))
			return ERR_OK;
		if (left)
			p.events |= POLLOUT;
		if (ms <= 0)
			return pg_lost(s, "the database does not answer");
		if (poll(&p, 1, (int)ms) < 0 && errno != EINTR)
			return pg_lost(s, strerror(errno));
		if (p.revents & (POLLIN | POLLERR | POLLHUP) && !PQconsumeInput(s->conn))
			return pg_lost(s, NULL);
	}
}

static enum err result_next(struct postgres *s, PGresult **r)
{
	enum err e = pump(s, monotonic_ms() + ANSWER_MS);

	*r = e ? NULL : PQgetResult(s->conn);
	return e;
}

static bool good(const PGresult *r)
{
	ExecStatusType status = PQresultStatus(r);

	return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

/* The result of the next statement, and the end of it. */
static enum err result_take(struct postgres *s, PGresult **r)
{
	PGresult *end;
	enum err e = result_next(s, r);

	if (e)
		return e;
	if (!*r)
		return pg_lost(s, NULL);
	e = result_next(s, &end);
	if (!e && end) {
		PQclear(end);
		e = pg_lost(s, "the database gave more than was asked for");
	}
	return e;
}

enum err pg_sync(struct postgres *s)
{
	PGresult *bad = NULL, *end;
	unsigned count = s->queued;
	enum err e = ERR_OK;

	pg_results_clear(s);
	if (!s->conn || !PQpipelineSync(s->conn))
		return pg_lost(s, NULL);
	for (unsigned i = 0; i < count && !e; i++) {
		PGresult *r = NULL;

		e = result_take(s, &r);
		if (e) {
			PQclear(r);
			break;
		}
		s->result[s->results++] = r;
		if (!bad && !good(r))
			bad = r;
	}
	if (!e)
		e = result_next(s, &end);
	if (e)
		return e;
	s->queued = 0;
	if (PQresultStatus(end) != PGRES_PIPELINE_SYNC)
		e = pg_lost(s, NULL);
	PQclear(end);
	return e ? e : bad ? pg_err(s, bad) : ERR_OK;
}

/* ---- values ---- */

struct values {
	const char *at[PG_COLUMNS];
	int len[PG_COLUMNS], binary[PG_COLUMNS];
	uint8_t octets[PG_COLUMNS][8];
	int count;
};

static void big_endian(uint8_t out[8], uint64_t v)
{
	for (int i = 8; i-- > 0; v >>= 8)
		out[i] = (uint8_t)v;
}

static void array_close(struct pg_array *a)
{
	uint32_t n = a->count;

	for (int i = 4; i-- > 0; n >>= 8)
		a->octets.octets[12 + i] = (uint8_t)n;
}

static enum err value_take(struct values *v, char kind, va_list *ap)
{
	int n = v->count++;
	const void *p;
	struct pg_array *a;

	v->binary[n] = 1;
	if (kind == 'i') {
		big_endian(v->octets[n], (uint64_t)va_arg(*ap, int64_t));
		v->at[n] = (const char *)v->octets[n];
		v->len[n] = 8;
		return ERR_OK;
	}
	if (kind == 'a') {
		a = va_arg(*ap, struct pg_array *);
		if (a->octets.err)
			return a->octets.err;
		array_close(a);
		v->at[n] = (const char *)a->octets.octets;
		v->len[n] = (int)a->octets.len;
		return ERR_OK;
	}
	p = va_arg(*ap, const void *);
	v->at[n] = p ? p : "";
	v->len[n] = kind == 't'	  ? (int)strlen(v->at[n])
		    : kind == 'h' ? SHA256_SIZE
				  : (int)va_arg(*ap, size_t);
	return ERR_OK;
}

static enum err queue_values(struct postgres *s, enum pg_statement which, const struct values *v)
{
	if (!s->conn)
		return ERR_CLOSED;
	if (s->queued == PG_RESULTS)
		return ERR_INTERNAL;
	if (!PQsendQueryPrepared(s->conn, names[which], v->count, v->at, v->len, v->binary, 1))
		return pg_lost(s, NULL);
	s->queued++;
	return ERR_OK;
}

static enum err queue_list(
	struct postgres *s, enum pg_statement which, const char *kinds, va_list *ap)
{
	struct values v = {.count = 0};
	enum err e = ERR_OK;

	while (*kinds && !e)
		e = value_take(&v, *kinds++, ap);
	return e ? e : queue_values(s, which, &v);
}

enum err pg_queue(struct postgres *s, enum pg_statement which, const char *kinds, ...)
{
	va_list ap;

	va_start(ap, kinds);
	enum err e = queue_list(s, which, kinds, &ap);
	va_end(ap);
	return e;
}

enum err pg_ask(
	struct postgres *s, PGresult **rows, enum pg_statement which, const char *kinds, ...)
{
	va_list ap;

	va_start(ap, kinds);
	enum err e = queue_list(s, which, kinds, &ap);
	va_end(ap);
	if (!e)
		e = pg_sync(s);
	*rows = e || !s->results ? NULL : s->result[s->results - 1];
	return e;
}

enum err pg_plain(struct postgres *s, const char *sql, PGresult **rows)
{
	enum err e = ERR_OK;

	pg_results_clear(s);
	if (!s->conn || !PQsendQuery(s->conn, sql))
		return pg_lost(s, NULL);
	for (;;) {
		PGresult *r;

		if (result_next(s, &r))
			return ERR_CLOSED;
		if (!r)
			break;
		pg_results_clear(s);
		s->result[s->results++] = r;
		if (!e && !good(r))
			e = pg_err(s, r);
		if (e == ERR_CLOSED)
			return e;
	}
	if (rows)
		*rows = s->results ? s->result[0] : NULL;
	return e;
}

/* ---- arrays ---- */

static struct buf *element(struct pg_array *a, uint32_t type, size_t len)
{
	struct buf *b = &a->octets;

	if (!b->len) {
		b->max = ARRAY_MAX;
		buf_u32(b, 1); /* dimensions */
		buf_u32(b, 0); /* no nulls */
		buf_u32(b, type);
		buf_u32(b, 0); /* how many: array_close */
		buf_u32(b, 1); /* the first one's number */
	}
	a->count++;
	buf_u32(b, (uint32_t)len);
	return b;
}

void pg_array_text(struct pg_array *a, const void *text, size_t len)
{
	buf_put(element(a, OID_TEXT, len), text, len);
}

void pg_array_bytes(struct pg_array *a, const void *octets, size_t len)
{
	buf_put(element(a, OID_BYTEA, len), octets, len);
}

void pg_array_int(struct pg_array *a, int64_t value)
{
	buf_u64(element(a, OID_INT8, 8), (uint64_t)value);
}

enum err pg_columns_add(struct pg_columns *c, const char *kinds, ...)
{
	enum err e = ERR_OK;
	va_list ap;

	va_start(ap, kinds);
	for (int i = 0; kinds[i]; i++) {
		struct pg_array *a = &c->column[i];

		if (kinds[i] == 'i') {
			pg_array_int(a, va_arg(ap, int64_t));
		} else if (kinds[i] == 't') {
			const char *text = va_arg(ap, const char *);

			pg_array_text(a, text, strlen(text));
		} else if (kinds[i] == 'T') {
			const char *text = va_arg(ap, const char *);

			pg_array_text(a, text, va_arg(ap, size_t));
		} else {
			pg_array_bytes(a, va_arg(ap, const void *), SHA256_SIZE);
		}
		e = e ? e : a->octets.err;
	}
	va_end(ap);
	return e;
}

enum err pg_columns_queue(struct postgres *s, enum pg_statement which, struct pg_columns *c)
{
	struct values v = {.count = 0};
	enum err e = ERR_OK;

	if (!c->column[0].count)
		return ERR_OK;
	for (int i = 0; i < PG_COLUMNS && c->column[i].count && !e; i++) {
		struct pg_array *a = &c->column[i];

		e = a->octets.err;
		if (e)
			break;
		array_close(a);
		v.at[v.count] = (const char *)a->octets.octets;
		v.len[v.count] = (int)a->octets.len;
		v.binary[v.count++] = 1;
	}
	if (!e)
		e = queue_values(s, which, &v);
	for (int i = 0; i < PG_COLUMNS; i++) {
		buf_reset(&c->column[i].octets);
		c->column[i].count = 0;
	}
	return e;
}

void pg_columns_free(struct pg_columns *c)
{
	for (int i = 0; i < PG_COLUMNS; i++)
		buf_free(&c->column[i].octets);
}

/* ---- results ---- */

int64_t pg_int(const PGresult *r, int row, int column)
{
	const uint8_t *at = (const uint8_t *)PQgetvalue(r, row, column);
	uint64_t v = 0;

	for (int i = 0; i < PQgetlength(r, row, column) && i < 8; i++)
		v = v << 8 | at[i];
	return (int64_t)v;
}

bool pg_text_of(const PGresult *r, int row, int column, char *out, size_t size)
{
	size_t len = (size_t)PQgetlength(r, row, column);

	if (len >= size)
		return false;
	memcpy(out, PQgetvalue(r, row, column), len);
	out[len] = '\0';
	return true;
}

bool pg_octets_of(const PGresult *r, int row, int column, void *out, size_t len)
{
	if ((size_t)PQgetlength(r, row, column) != len)
		return false;
	memcpy(out, PQgetvalue(r, row, column), len);
	return true;
}
