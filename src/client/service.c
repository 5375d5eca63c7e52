#include "settings.h"

#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>
#include <jansson.h>

#include "tool.h"

#define CONNECT_SECONDS 5L
#define TOTAL_SECONDS	15L

static size_t take_body(char *octets, size_t one, size_t n, void *closure)
{
	struct buf *body = closure;
	buf_put(body, octets, one * n);
	return body->err ? 0 : one * n;
}

#define SET(option, value) (curl_easy_setopt(c, option, value) == CURLE_OK)

static bool set_transport(CURL *c, const struct service *s)
{
	return SET(CURLOPT_PROTOCOLS_STR, "https") && SET(CURLOPT_NOSIGNAL, 1L) &&
	       SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_PROXY, "") &&
	       SET(CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) &&
	       SET(CURLOPT_TIMEOUT, TOTAL_SECONDS) &&
	       SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3) &&
	       SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
	       SET(CURLOPT_CAINFO, s->ca) && SET(CURLOPT_CAPATH, NULL) &&
	       SET(CURLOPT_SSLCERT, s->cert) && SET(CURLOPT_SSLKEY, s->tls_key) &&
	       SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
	       SET(CURLOPT_USERAGENT, "dcsign/" PACKAGE_VERSION);
}

static bool set_call(CURL *c, const char *url, const char *body, struct curl_slist *headers,
	struct service_answer *answer, char *error)
{
	return SET(CURLOPT_URL, url) && SET(CURLOPT_HTTPHEADER, headers) &&
	       SET(CURLOPT_WRITEFUNCTION, take_body) && SET(CURLOPT_WRITEDATA, &answer->body) &&
	       SET(CURLOPT_ERRORBUFFER, error) &&
	       SET(CURLOPT_MAXFILESIZE, (long)SERVICE_ANSWER_MAX) &&
	       (!body || (SET(CURLOPT_POST, 1L) && SET(CURLOPT_POSTFIELDS, body) &&
				 SET(CURLOPT_POSTFIELDSIZE, (long)strlen(body))));
}

static const char *header(CURL *c, const char *name)
{
	struct curl_header *h;
	return curl_easy_header(c, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? h->value : "";
}

static void take_headers(CURL *c, struct service_answer *answer)
{
	const char *type = header(c, "Content-Type");
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &answer->status);
	snprintf(answer->media_type, sizeof answer->media_type, "%.*s", (int)strcspn(type, "; "),
		type);
	answer->replayed = strcmp(header(c, "Idempotency-Replayed"), "true") == 0;
	answer->retry_after = strtol(header(c, "Retry-After"), NULL, 10);
	answer->date = curl_getdate(header(c, "Date"), NULL);
	if (answer->date < 0)
		answer->date = 0;
	if (strlen(header(c, "ETag")) < sizeof answer->etag)
		snprintf(answer->etag, sizeof answer->etag, "%s", header(c, "ETag"));
}

static enum err explain(
	CURLcode code, const struct service *s, const char *error, struct refusal *why)
{
	const char *text = *error ? error : curl_easy_strerror(code);
	switch (code) {
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return refuse(why, ERR_CLOSED, "ca",
			"%s: its certificate does not verify with the CA in %s: %s", s->url, s->ca,
			text);
	case CURLE_SSL_CERTPROBLEM:
		return refuse(why, ERR_CLOSED, "cert",
			"the client certificate %s and its key %s can't be used: %s", s->cert,
			s->tls_key, text);
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
	case CURLE_SSL_CONNECT_ERROR:
		return refuse(why, ERR_CLOSED, "",
			"%s ended the connection (does it accept the client certificate?): %s",
			s->url, text);
	case CURLE_URL_MALFORMAT:
	case CURLE_UNSUPPORTED_PROTOCOL:
		return refuse(why, ERR_FORMAT, "url", "%s: give https://host:port", s->url);
	default:
		return refuse(why, ERR_CLOSED, "", "%s: no answer: %s", s->url, text);
	}
}

/* "Name: value" at the list's end, where there is a value. */
static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
	struct buf line = BUF_INIT(1024);
	struct curl_slist *more = NULL;

	if (!value || !*value)
		return true;
	buf_printf(&line, "%s: %s", name, value);
	if (buf_cstr(&line))
		more = curl_slist_append(*list, buf_cstr(&line));
	buf_free(&line);
	if (more)
		*list = more;
	return more != NULL;
}

static bool add_headers(struct curl_slist **list, const struct service_call *call)
{
	return add_header(list, "Content-Type", call->body ? "application/json" : NULL) &&
	       add_header(list, "Idempotency-Key", call->idempotency) &&
	       add_header(list, "If-None-Match", call->etag);
}

enum err service_call(const struct service *s, const struct service_call *call,
	struct service_answer *answer, struct refusal *why)
{
	struct buf url = BUF_INIT(2048);
	struct curl_slist *headers = NULL;
	char error[CURL_ERROR_SIZE] = "";
	size_t len = strlen(s->url);
	CURL *c = NULL;
	CURLcode code;
	enum err e = ERR_NOMEM;

	*answer = (struct service_answer){.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	while (len && s->url[len - 1] == '/')
		len--;
	buf_printf(&url, "%.*s%s", (int)len, s->url, call->path);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		goto out;
	c = curl_easy_init();
	if (!c || !buf_cstr(&url) || !add_headers(&headers, call) || !set_transport(c, s) ||
		!set_call(c, buf_cstr(&url), call->body, headers, answer, error)) {
		e = refuse(why, ERR_INTERNAL, "", "libcurl does not take the options");
		goto out;
	}
	code = curl_easy_perform(c);
	e = code == CURLE_OK ? ERR_OK : explain(code, s, error, why);
	if (e == ERR_OK)
		take_headers(c, answer);
out:
	curl_easy_cleanup(c);
	curl_slist_free_all(headers);
	curl_global_cleanup();
	buf_free(&url);
	return e;
}

static void member(char *text, size_t size, const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	snprintf(text, size, "%s", s ? s : "");
}

/* What to do next, where the service can't know it or has no place for it. */
static const char *next_step(const char *code)
{
	static const struct {
		const char *code, *step;
	} steps[] = {
		{"unknown_client", "the service's operator has to add this client certificate"},
		{"missing_right", "the service's operator gives rights, per client"},
		{"no_such_key",
			"ask the service's operator for the key's name and the right to it"},
		{"held", "this was stopped on purpose: ask who did it and why, then try again"},
		{"proof_required", "use --new-key or --csr instead of --public-key"},
		{"quota_exceeded", "wait until credentials expire, or ask for fewer"},
		{"outcome_unknown", "try again with the same Idempotency-Key: no second credential "
				    "is released"},
		{"clock_untrusted", "the service's operator has to look at its clock"},
	};
	size_t i;
	for (i = 0; i < sizeof steps / sizeof steps[0]; i++)
		if (strcmp(steps[i].code, code) == 0)
			return steps[i].step;
	return NULL;
}

int service_problem(const struct service_answer *a, struct service_problem *p)
{
	json_t *o = json_loadb((const char *)a->body.octets, a->body.len, 0, NULL);
	size_t len;

	memset(p, 0, sizeof *p);
	if (strcmp(a->media_type, "application/problem+json") == 0)
		member(p->code, sizeof p->code, o, "code");
	if (!*p->code) {
		snprintf(p->code, sizeof p->code, "unexpected");
		snprintf(p->detail, sizeof p->detail,
			"an answer that this service never gives (%s)", a->media_type);
		json_decref(o);
		return TOOL_UNEXPECTED;
	}
	member(p->field, sizeof p->field, o, "field");
	member(p->detail, 300, o, "detail");
	if (!*p->detail)
		member(p->detail, 300, o, "title");
	len = strlen(p->detail);
	if (a->retry_after > 0)
		snprintf(p->detail + len, sizeof p->detail - len, "; try again in %ld s",
			a->retry_after);
	len = strlen(p->detail);
	if (next_step(p->code))
		snprintf(p->detail + len, sizeof p->detail - len, "; %s", next_step(p->code));
	json_decref(o);
	return a->status == 500			      ? TOOL_UNEXPECTED
	       : a->status == 503 || a->status == 504 ? TOOL_UNREACHABLE
						      : TOOL_REFUSED;
}
