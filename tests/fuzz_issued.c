/* The service's answer to an agent or to dcsign request, at the moment that its own not_before
 * names: what is taken says the same as the credential in it. */
#include "fuzz_files.h"

#include <time.h>

#include "client/issued.h"
#include "client/service.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static int64_t begin_of(const uint8_t *octets, size_t len)
{
	json_t *o = json_loadb((const char *)octets, len, 0, NULL);
	const char *text = json_string_value(json_object_get(o, "not_before"));
	int64_t t = 0;

	if (text == NULL || !time_parse(text, &t))
		t = 0;
	json_decref(o);
	return t + 1;
}

static void says_the_same(const struct issued *in)
{
	struct buf again = BUF_INIT(DC_MAX), text = BUF_INIT(2 * DC_MAX);
	const char *said = json_string_value(json_object_get(in->root, "credential"));

	insist(dc_build(&again, &in->dc) == ERR_OK && again.len == in->octets.len &&
		memcmp(again.octets, in->octets.octets, again.len) == 0);
	buf_base64(&text, in->octets.octets, in->octets.len);
	insist(buf_cstr(&text) != NULL && strcmp(buf_cstr(&text), said) == 0);
	insist(in->expiry == dc_expiry(&in->dc, in->leaf.not_before) && in->leaf.has_delegation);
	buf_free(&again);
	buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	const struct asked asked = {.key = "www", .role = DC_SERVER, .any_spki = true};
	struct service_answer answer = {.status = 422};
	struct service_problem problem;
	struct refusal why = {.err = ERR_OK};
	struct issued got;
	enum err e;

	if (len > 65536)
		return 0;
	e = issued_read(&got, octets, len, &asked, begin_of(octets, len), &why);
	if (e == ERR_OK)
		says_the_same(&got);
	else
		insist(why.err == e);
	issued_free(&got);
	/* the same octets as a refusal */
	answer.body = (struct buf)BUF_INIT(SERVICE_ANSWER_MAX);
	snprintf(answer.media_type, sizeof answer.media_type, "application/problem+json");
	buf_put(&answer.body, octets, len);
	insist(service_problem(&answer, &problem) != 0 && problem.code[0] != '\0');
	buf_free(&answer.body);
	return 0;
}
