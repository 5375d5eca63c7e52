/*
 * What passes the sieve, read by libmicrohttpd as the api has it read: the library must see the
 * requests that stand there for a reader who knows no more than CRLF, ": " and Content-Length: the
 * same methods, targets, fields and bodies, none more, and all of them up to one that ends the
 * connection.
 */
#include "fuzz_files.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <strings.h>
#include <sys/socket.h>

#include "sieve.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

#define INPUT_MAX 32768

struct field {
	const char *name, *value;
};

/* One request, as the simple reader sees it. */
struct plain {
	char *method, *target, *version;
	struct field field[FRAMING_FIELDS_MAX];
	size_t fields, length, body; /* of the body: announced, and here */
	const char *octets;
	bool last; /* the connection ends after it */
};

static struct {
	char text[INPUT_MAX + 1]; /* a copy of what passed, cut into strings */
	size_t len, at;
	struct plain now;
	size_t taken, seen; /* octets of this body; fields that the library showed */
	unsigned requests, ended;
	bool open, ready;
} reader;

/* The next request; false: there is no whole head any more. */
static bool next(struct plain *p)
{
	char *line = reader.text + reader.at, *end;

	memset(p, 0, sizeof *p);
	if (reader.at >= reader.len || strstr(line, "\r\n\r\n") == NULL)
		return false;
	p->method = strsep(&line, " ");
	p->target = strsep(&line, " ");
	end = strstr(line, "\r\n");
	*end = '\0';
	p->version = line;
	p->last = strcmp(p->version, "HTTP/1.1") != 0;
	for (line = end + 2; line[0] != '\r'; line = end + 2) {
		struct field *f = &p->field[p->fields++];

		end = strstr(line, "\r\n");
		*end = '\0';
		f->name = strsep(&line, ":");
		f->value = line + strspn(line, " \t");
		for (char *c = end; c > f->value && (c[-1] == ' ' || c[-1] == '\t'); c--)
			c[-1] = '\0';
		if (strcasecmp(f->name, "Content-Length") == 0)
			p->length = (size_t)strtoul(f->value, NULL, 10);
		if (strcasecmp(f->name, "Connection") == 0 || strcasecmp(f->name, "Expect") == 0 ||
			strcasecmp(f->name, "Upgrade") == 0)
			p->last = true;
	}
	p->octets = line + 2;
	reader.at = (size_t)(line + 2 - reader.text);
	p->body = reader.len - reader.at < p->length ? reader.len - reader.at : p->length;
	reader.at += p->body;
	return true;
}

static void *on_target(void *cls, const char *target, struct MHD_Connection *connection)
{
	(void)cls;
	(void)connection;
	/* never a request that does not stand there, and after each body the next */
	insist(next(&reader.now));
	insist(strcmp(target, reader.now.target) == 0);
	reader.taken = reader.seen = 0;
	reader.requests++;
	reader.ready = false;
	return &reader;
}

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	const struct field *f = &reader.now.field[reader.seen++];

	(void)cls;
	(void)kind;
	insist(reader.seen <= reader.now.fields);
	while (value_len > 0 && (value[value_len - 1] == ' ' || value[value_len - 1] == '\t'))
		value_len--; /* blanks behind a value, which it keeps */
	insist(strlen(f->name) == name_len && memcmp(f->name, name, name_len) == 0);
	insist(strlen(f->value) == value_len &&
		(value_len == 0 || memcmp(f->value, value, value_len) == 0));
	return MHD_YES;
}

static enum MHD_Result answer(struct MHD_Connection *connection)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(
		2, (void *)(uintptr_t) "ok", MHD_RESPMEM_PERSISTENT);
	enum MHD_Result result = MHD_queue_response(connection, 200, r);

	MHD_destroy_response(r);
	return result;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **context)
{
	(void)cls;
	(void)url;
	(void)context;
	if (!reader.ready) {
		insist(strcmp(method, reader.now.method) == 0 &&
			strcmp(version, reader.now.version) == 0);
		(void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND, on_field, NULL);
		insist(reader.seen == reader.now.fields);
		reader.ready = true;
		return MHD_YES;
	}
	if (*upload_len > 0) {
		insist(reader.taken + *upload_len <= reader.now.body &&
			memcmp(reader.now.octets + reader.taken, upload, *upload_len) == 0);
		reader.taken += *upload_len;
		*upload_len = 0;
		return MHD_YES;
	}
	insist(reader.taken == reader.now.length);
	reader.ended++;
	return answer(connection);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	(void)cls;
	(void)connection;
	(void)context;
	reader.open = what == MHD_CONNECTION_NOTIFY_STARTED;
}

static struct MHD_Daemon *library(void)
{
	static struct MHD_Daemon *daemon;

	if (daemon == NULL)
		daemon = MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, NULL,
			MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)32768,
			MHD_OPTION_URI_LOG_CALLBACK, on_target, NULL, MHD_OPTION_NOTIFY_CONNECTION,
			on_connection, NULL, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_END);
	insist(daemon != NULL);
	return daemon;
}

/* The octets, then the end of the connection. */
static void show(const char *octets, size_t len)
{
	struct sockaddr_in from = {.sin_family = AF_INET};
	char answers[65536];
	int ends[2];
	size_t sent = 0;

	insist(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
	insist(MHD_add_connection(library(), ends[1], (struct sockaddr *)&from, sizeof from) ==
		MHD_YES);
	for (int round = 0; round < 100000 && (round == 0 || reader.open); round++) {
		ssize_t n = sent < len ? send(ends[0], octets + sent, len - sent, MSG_NOSIGNAL) : 0;

		sent += n > 0 ? (size_t)n : 0;
		if (sent == len)
			shutdown(ends[0], SHUT_WR);
		insist(MHD_run(library()) == MHD_YES);
		while (read(ends[0], answers, sizeof answers) > 0)
			;
	}
	insist(!reader.open);
	close(ends[0]);
	MHD_run(library());
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct sieve v;
	struct plain rest;
	char *passed;
	bool whole;

	if (len == 0 || len > INPUT_MAX - sizeof SIEVE_STAND_IN)
		return 0;
	sieve_init(&v);
	insist(sieve_put(&v, octets, len) == ERR_OK);
	passed = malloc(INPUT_MAX);
	insist(passed != NULL);
	memset(&reader, 0, sizeof reader);
	reader.len = sieve_take(&v, passed, INPUT_MAX);
	memcpy(reader.text, passed, reader.len);
	show(passed, reader.len);
	insist(reader.requests <= v.heads);
	/* The library stopped before the end only after a request that may end the connection. */
	whole = reader.requests == 0 || !reader.now.last;
	if (whole && reader.ended == reader.requests)
		insist(!next(&rest));
	sieve_free(&v);
	free(passed);
	return 0;
}
