#include <stdlib.h>
#include <string.h>

#include "policy.h"
#include "request.h"
#include "run_suite.h"

#define KEY "\"public_key\":\"AAEC\""

static struct request request;
static struct refusal why;

static enum err parse(const char *body)
{
	memset(&why, 0, sizeof why);
	return request_parse(&request, "www", NULL, (const uint8_t *)body, strlen(body), &why);
}

START_TEST(everything)
{
	const char *body = "{\"public_key\":\"AAEC\",\"algorithm\":\"ecdsa_secp384r1_sha384\","
			   "\"role\":\"client\",\"lifetime\":3600,\"reference\":\"T-1\","
			   "\"not_before\":\"2030-01-02T03:04:05Z\"}";

	ck_assert_int_eq(
		request_parse(&request, "www", "k-1", (const uint8_t *)body, strlen(body), &why),
		ERR_OK);
	ck_assert_str_eq(request.item.key, "www");
	ck_assert_uint_eq(request.item.role, DC_CLIENT);
	ck_assert_uint_eq(request.item.algorithm, SCHEME_ECDSA_P384);
	ck_assert_uint_eq(request.item.proof, PROOF_NONE);
	ck_assert_uint_eq(request.item.spki.len, 3);
	ck_assert_mem_eq(request.item.spki.at, "\0\1\2", 3);
	ck_assert_uint_eq(request.item.term, TERM_LIFETIME);
	ck_assert_int_eq(request.item.term_value, 3600);
	ck_assert_uint_eq(request.item.has_not_before, 1);
	ck_assert_int_eq(request.item.not_before, 1893553445);
	ck_assert_uint_eq(request.item.reference.len, 3);
	ck_assert_mem_eq(request.item.reference.at, "T-1", 3);
	ck_assert_str_eq(request.item.idempotency, "k-1");
	request_free(&request);
}
END_TEST

START_TEST(least)
{
	ck_assert_int_eq(parse(" {" KEY "} \n"), ERR_OK);
	ck_assert_uint_eq(request.item.role, DC_SERVER);
	ck_assert_uint_eq(request.item.algorithm, 0);
	ck_assert_uint_eq(request.item.term, TERM_DEFAULT);
	ck_assert_uint_eq(request.item.has_not_before, 0);
	ck_assert_uint_eq(request.item.reference.len, 0);
	ck_assert_str_eq(request.item.idempotency, "");
	request_free(&request);
	ck_assert_int_eq(parse("{" KEY ",\"not_after\":\"1970-01-01T00:00:07Z\"}"), ERR_OK);
	ck_assert_uint_eq(request.item.term, TERM_NOT_AFTER);
	ck_assert_int_eq(request.item.term_value, 7);
	request_free(&request);
	ck_assert_int_eq(parse("{\"csr\":\"-----BEGIN CERTIFICATE REQUEST-----\\nAAEC\\n"
			       "-----END CERTIFICATE REQUEST-----\"}"),
		ERR_OK);
	ck_assert_uint_eq(request.item.proof, PROOF_CSR);
	request_free(&request);
}
END_TEST

static const struct {
	const char *body, *field;
	enum err err;
} bad[] = {
	{"", "", ERR_MALFORMED},
	{"{", "", ERR_MALFORMED},
	{"[]", "", ERR_MALFORMED},
	{"[{" KEY "}]", "", ERR_MALFORMED},
	{"7", "", ERR_MALFORMED},
	{"null", "", ERR_MALFORMED},
	{"{" KEY "}{}", "", ERR_MALFORMED},
	{"{" KEY "}x", "", ERR_MALFORMED},
	{"{" KEY ",}", "", ERR_MALFORMED},
	{"{" KEY "," KEY "}", "", ERR_MALFORMED},
	{"{" KEY ",\"public\\u005fkey\":\"AAEC\"}", "", ERR_MALFORMED},
	{"{" KEY ",\"x\":[-0]}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":-0}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":01}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":+1}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":NaN}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":1e999}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":9223372036854775808}", "", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":3600.0}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":36e2}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":0}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":-1}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":\"1\"}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":null}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":true}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":[1]}", "lifetime", ERR_MALFORMED},
	{"{" KEY ",\"not_after\":1}", "not_after", ERR_MALFORMED},
	{"{" KEY ",\"not_after\":\"2030-02-30T00:00:00Z\"}", "not_after", ERR_MALFORMED},
	{"{" KEY ",\"not_before\":\"2030-01-01T00:00:00+00:00\"}", "not_before", ERR_MALFORMED},
	{"{" KEY ",\"lifetime\":1,\"not_after\":\"2030-01-01T00:00:00Z\"}", "not_after",
		ERR_MALFORMED},
	{"{" KEY ",\"reference\":\"\"}", "reference", ERR_MALFORMED},
	{"{" KEY ",\"reference\":\"a\\u0000b\"}", "", ERR_MALFORMED},
	{"{" KEY ",\"reference\":\"\xc0\x80\"}", "", ERR_MALFORMED},
	{"{" KEY ",\"reference\":\"\xed\xa0\x80\"}", "", ERR_MALFORMED},
	{"{" KEY ",\"reference\":\"\\ud800\"}", "", ERR_MALFORMED},
	{"\xef\xbb\xbf{" KEY "}", "", ERR_MALFORMED},
	{"{\"lifetime\":1}", "csr", ERR_MALFORMED},
	{"{" KEY ",\"ttl\":1}", "ttl", ERR_MALFORMED},
	{"{" KEY ",\"\":1}", "", ERR_MALFORMED},
	{"{" KEY ",\"an_unknown_member_with_a_very_long_name_indeed\":1}", "", ERR_MALFORMED},
	{"{\"public_key\":\"\"}", "public_key", ERR_MALFORMED},
	{"{\"public_key\":\"AAE\"}", "public_key", ERR_MALFORMED},
	{"{\"public_key\":\"AAEC\\n\"}", "public_key", ERR_MALFORMED},
	{"{\"public_key\":\"_w==\"}", "public_key", ERR_MALFORMED},
	{"{\"public_key\":\"AB==\"}", "public_key", ERR_MALFORMED},
	{"{\"public_key\":{}}", "public_key", ERR_MALFORMED},
	{"{\"csr\":\"AAEC\"}", "csr", ERR_MALFORMED},
	{"{" KEY ",\"csr\":\"-----BEGIN CERTIFICATE REQUEST-----\\nAAEC\\n"
	 "-----END CERTIFICATE REQUEST-----\"}",
		"csr", ERR_MALFORMED},
	{"{" KEY ",\"role\":1}", "role", ERR_MALFORMED},
	{"{" KEY ",\"role\":\"Server\"}", "role", ERR_ROLE},
	{"{" KEY ",\"algorithm\":1027}", "algorithm", ERR_MALFORMED},
	{"{" KEY ",\"algorithm\":\"sha1\"}", "algorithm", ERR_ALGORITHM},
};

START_TEST(refused)
{
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		enum err err = parse(bad[i].body);

		ck_assert_msg(err == bad[i].err, "%s: %s", bad[i].body, err_name(err));
		ck_assert_msg(strcmp(why.field, bad[i].field) == 0, "%s: field %s", bad[i].body,
			why.field);
		ck_assert_str_ne(why.detail, "");
		request_free(&request);
	}
}
END_TEST

START_TEST(sizes)
{
	static char body[REQUEST_MAX + 64];
	struct buf text = BUF_INIT(sizeof body);
	uint8_t key[8193] = {1};

	for (size_t len = 8192; len <= 8193; len++) {
		buf_reset(&text);
		buf_text(&text, "{\"public_key\":\"");
		buf_base64(&text, key, len);
		buf_text(&text, "\"}");
		ck_assert_int_eq(parse(buf_cstr(&text)), len == 8192 ? ERR_OK : ERR_MALFORMED);
		request_free(&request);
	}
	for (int len = REFERENCE_MAX; len <= REFERENCE_MAX + 1; len++) {
		buf_reset(&text);
		buf_printf(&text, "{" KEY ",\"reference\":\"%0*d\"}", len, 0);
		ck_assert_int_eq(
			parse(buf_cstr(&text)), len == REFERENCE_MAX ? ERR_OK : ERR_MALFORMED);
		request_free(&request);
	}
	buf_free(&text);
	memset(body, '[', REQUEST_MAX); /* a deep nest of arrays */
	ck_assert_int_eq(parse(body), ERR_MALFORMED);
	request_free(&request);
}
END_TEST

START_TEST(idempotency)
{
	static const struct {
		const char *value;
		enum err err;
	} keys[] = {{NULL, ERR_OK}, {"a", ERR_OK}, {"~!\"", ERR_OK}, {"", ERR_MALFORMED},
		{"a b", ERR_MALFORMED}, {"\x7f", ERR_MALFORMED}, {"\xc3\xbc", ERR_MALFORMED}};
	const char *body = "{" KEY "}";
	char key[IDEMPOTENCY_SIZE + 1];

	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		ck_assert_int_eq(request_parse(&request, "www", keys[i].value,
					 (const uint8_t *)body, strlen(body), &why),
			keys[i].err);
		request_free(&request);
	}
	for (size_t len = IDEMPOTENCY_SIZE - 1; len <= IDEMPOTENCY_SIZE; len++) {
		memset(key, 'k', len);
		key[len] = '\0';
		ck_assert_int_eq(request_parse(&request, "www", key, (const uint8_t *)body,
					 strlen(body), &why),
			len == IDEMPOTENCY_SIZE ? ERR_MALFORMED : ERR_OK);
		request_free(&request);
	}
}
END_TEST

static enum err parse_batch(struct batch_request *b, const char *key, const char *body)
{
	memset(&why, 0, sizeof why);
	return batch_parse(b, "www", key, (const uint8_t *)body, strlen(body), &why);
}

START_TEST(batches)
{
	static const char *const whole[] = {"", "[]", "{}", "{\"requests\":[]}",
		"{\"requests\":{}}", "{\"requests\":[{" KEY "}],\"x\":1}",
		"{\"requests\":[{" KEY "," KEY "}]}", "{\"requests\":[{" KEY "}]"};
	struct batch_request b;

	for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		ck_assert_int_eq(parse_batch(&b, NULL, whole[i]), ERR_MALFORMED);
		ck_assert_uint_eq(b.count, 0);
		batch_free(&b);
	}
	ck_assert_int_eq(parse_batch(&b, "k",
				 "{\"requests\":[{" KEY "},7,{" KEY ",\"ttl\":1},{" KEY
				 ",\"role\":\"client\"}]}"),
		ERR_OK);
	ck_assert_uint_eq(b.count, 4);
	ck_assert_int_eq(b.item[0].refusal.err, ERR_OK);
	ck_assert_str_eq(b.item[0].request.item.idempotency, "k/0");
	ck_assert_int_eq(b.item[1].refusal.err, ERR_MALFORMED);
	ck_assert_int_eq(b.item[2].refusal.err, ERR_MALFORMED);
	ck_assert_str_eq(b.item[2].refusal.field, "ttl");
	ck_assert_int_eq(b.item[3].refusal.err, ERR_OK);
	ck_assert_uint_eq(b.item[3].request.item.role, DC_CLIENT);
	ck_assert_uint_eq(b.item[3].request.item.spki.len, 3);
	ck_assert_str_eq(b.item[3].request.item.key, "www");
	ck_assert_str_eq(b.item[3].request.item.idempotency, "k/3");
	batch_free(&b);
}
END_TEST

START_TEST(batch_sizes)
{
	static char body[BATCH_MAX];
	char key[IDEMPOTENCY_SIZE];
	struct batch_request b;

	for (unsigned n = 256; n <= 257; n++) {
		strcpy(body, "{\"requests\":[");
		for (unsigned i = 0; i < n; i++)
			strcat(body, i == 0 ? "{" KEY "}" : ",{" KEY "}");
		strcat(body, "]}");
		memset(key, 'k', 125);
		key[124] = '\0';
		ck_assert_int_eq(parse_batch(&b, key, body), n == 256 ? ERR_OK : ERR_MALFORMED);
		if (n == 256) {
			ck_assert_uint_eq(strlen(b.item[255].request.item.idempotency), 128);
			ck_assert_str_eq(b.item[255].request.item.idempotency + 124, "/255");
		}
		batch_free(&b);
	}
	key[124] = 'k';
	key[125] = '\0';
	ck_assert_int_eq(parse_batch(&b, key, "{\"requests\":[{" KEY "}]}"), ERR_MALFORMED);
	ck_assert_str_eq(why.field, "Idempotency-Key");
	batch_free(&b);
}
END_TEST

RUN_SUITE("request", everything, least, refused, sizes, idempotency, batches, batch_sizes)
