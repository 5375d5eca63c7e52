#include "settings.h"

#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#define CONNECT_SECONDS 5L
#define TOTAL_SECONDS	15L

static size_t take_body(char *octets, size_t one, size_t n, void *closure)
{
	struct buf *body = closure;
	buf_put(body, octets, one * n);
	return body->err ? 0 : one * n;
}

static bool set_options(CURL *c, const struct service *s, const char *url, const char *body,
	struct curl_slist *headers, struct service_answer *answer, char *error)
{
#define SET(option, value) (curl_easy_setopt(c, option, value) == CURLE_OK)
	return SET(CURLOPT_URL, url) && SET(CURLOPT_PROTOCOLS_STR, "https") &&
	       SET(CURLOPT_NOSIGNAL, 1L) && SET(CURLOPT_FOLLOWLOCATION, 0L) &&
	       SET(CURLOPT_PROXY, "") && SET(CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) &&
	       SET(CURLOPT_TIMEOUT, TOTAL_SECONDS) &&
	       SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_3) &&
	       SET(CURLOPT_SSL_VERIFYPEER, 1L) && SET(CURLOPT_SSL_VERIFYHOST, 2L) &&
	       SET(CURLOPT_CAINFO, s->ca) && SET(CURLOPT_CAPATH, NULL) &&
	       SET(CURLOPT_SSLCERT, s->cert) && SET(CURLOPT_SSLKEY, s->tls_key) &&
	       SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) && SET(CURLOPT_POST, 1L) &&
	       SET(CURLOPT_POSTFIELDS, body) && SET(CURLOPT_POSTFIELDSIZE, (long)strlen(body)) &&
	       SET(CURLOPT_HTTPHEADER, headers) && SET(CURLOPT_WRITEFUNCTION, take_body) &&
	       SET(CURLOPT_WRITEDATA, &answer->body) && SET(CURLOPT_ERRORBUFFER, error) &&
	       SET(CURLOPT_MAXFILESIZE, (long)SERVICE_ANSWER_MAX) &&
	       SET(CURLOPT_USERAGENT, "dcsign/" PACKAGE_VERSION);
#undef SET
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

enum err service_post(const struct service *s, const char *path, const char *body,
	const char *idempotency, struct service_answer *answer, struct refusal *why)
{
	struct buf url = BUF_INIT(2048), key = BUF_INIT(512);
	struct curl_slist *headers = NULL, *more;
	char error[CURL_ERROR_SIZE] = "";
	size_t len = strlen(s->url);
	CURL *c = NULL;
	CURLcode code;
	enum err e = ERR_NOMEM;

	*answer = (struct service_answer){.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	while (len && s->url[len - 1] == '/')
		len--;
	buf_printf(&url, "%.*s%s", (int)len, s->url, path);
	buf_printf(&key, "Idempotency-Key: %s", idempotency ? idempotency : "");
	headers = curl_slist_append(NULL, "Content-Type: application/json");
	more = idempotency ? curl_slist_append(headers, buf_cstr(&key)) : headers;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !headers || !more)
		goto out;
	c = curl_easy_init();
	if (!c || !buf_cstr(&url) || !buf_cstr(&key) ||
		!set_options(c, s, buf_cstr(&url), body, headers, answer, error)) {
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
	buf_free(&key);
	buf_free(&url);
	return e;
}
