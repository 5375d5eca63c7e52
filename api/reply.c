#include "reply_private.h"

#include <stdio.h>
#include <string.h>

#define PROBLEM_TYPE "application/problem+json"

void reply_init(struct reply *r)
{
	memset(r, 0, sizeof(*r));
	r->body = (struct buf)BUF_INIT(REPLY_MAX);
	r->content_type = JSON_TYPE;
}

void reply_free(struct reply *r)
{
	buf_free(&r->body);
}

void reply_begin(struct reply *r, unsigned status, const char *content_type)
{
	reply_free(r);
	reply_init(r);
	r->status = status;
	r->content_type = content_type;
}

static int append(const char *octets, size_t len, void *body)
{
	buf_put(body, octets, len);
	return ((struct buf *)body)->err == ERR_OK ? 0 : -1;
}

bool reply_put_json(struct reply *r, json_t *value)
{
	bool ok = value != NULL && json_dump_callback(value, append, &r->body, JSON_COMPACT) == 0;

	json_decref(value);
	return ok;
}

void reply_json(struct reply *r, unsigned status, struct json_t *body)
{
	static const char no_memory[] =
		"{\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"out_of_memory\"}";

	if (reply_put_json(r, body)) {
		r->status = status;
	} else {
		reply_begin(r, 503, PROBLEM_TYPE);
		r->err = ERR_NOMEM;
		buf_text(&r->body, no_memory);
	}
}

static const char *phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase; /* RFC 9110, RFC 6585 */
	} phrases[] = {
		{400, "Bad Request"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{409, "Conflict"},
		{413, "Content Too Large"},
		{414, "URI Too Long"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
		{505, "HTTP Version Not Supported"},
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Internal Server Error";
}

void reply_set_text(json_t *object, const char *name, const char *text)
{
	if (text[0] != '\0')
		json_object_set_new(object, name, json_string(text));
}

const char *reply_detail(enum err err, const char *detail)
{
	return detail[0] == '\0' || err_of_token(err) ? err_text(err) : detail;
}

void reply_set_why(json_t *o, const struct refusal *why)
{
	json_object_set_new(o, "code", json_string(err_name(why->err)));
	reply_set_text(o, "detail", reply_detail(why->err, why->detail));
	if (!err_of_token(why->err))
		reply_set_text(o, "field", why->field);
}

json_t *reply_problem_json(const struct refusal *why, unsigned status)
{
	json_t *o = json_object();

	json_object_set_new(o, "type", json_string("about:blank"));
	json_object_set_new(o, "title", json_string(phrase(status)));
	json_object_set_new(o, "status", json_integer(status));
	reply_set_why(o, why);
	return o;
}

unsigned reply_status(enum err err)
{
	unsigned status = err_status(err);

	return status < 400 ? 500 : status;
}

uint32_t reply_retry_after(const struct refusal *why, unsigned status)
{
	return status == 503 && why->retry_after == 0 ? 1 : why->retry_after;
}

void reply_problem(struct reply *r, const struct refusal *why, const char *request)
{
	unsigned status = reply_status(why->err);
	json_t *o;

	reply_begin(r, status, PROBLEM_TYPE);
	r->err = why->err;
	snprintf(r->detail, sizeof(r->detail), "%s", why->detail);
	r->retry_after = reply_retry_after(why, status);
	o = reply_problem_json(why, status);
	reply_set_text(o, "request", request);
	reply_json(r, status, o);
}

void reply_set_hex(json_t *o, const char *name, const uint8_t digest[SHA256_SIZE])
{
	char text[2 * SHA256_SIZE + 1];

	hex_encode(text, digest, SHA256_SIZE);
	json_object_set_new(o, name, json_string(text));
}

void reply_set_time(json_t *o, const char *name, int64_t t)
{
	char text[21];

	time_text(text, t);
	json_object_set_new(o, name, json_string(text));
}

void reply_set_scheme(json_t *o, const char *name, uint16_t code)
{
	const struct scheme *scheme = scheme_by_code(code);

	json_object_set_new(o, name, scheme != NULL ? json_string(scheme->name) : json_null());
}

void reply_octets(
	struct reply *r, const char *content_type, const void *octets, size_t len, const char *etag)
{
	reply_begin(r, 200, content_type);
	snprintf(r->etag, sizeof(r->etag), "%s", etag);
	buf_put(&r->body, octets, len);
	if (r->body.err != ERR_OK)
		reply_json(r, 503, NULL);
}

void reply_lines(struct reply *r, size_t max)
{
	reply_begin(r, 200, "application/jsonl");
	r->body.max = max;
}
