#include <jansson.h>
#include <string.h>

#include "compat.h"
#include "reply.h"
#include "run_suite.h"

static struct reply reply;

static json_t *body(void)
{
	json_t *o = json_loadb(
		(const char *)reply.body.octets, reply.body.len, JSON_REJECT_DUPLICATES, NULL);

	ck_assert_ptr_nonnull(o);
	return o;
}

static const char *text(const json_t *o, const char *member)
{
	const char *s = json_string_value(json_object_get(o, member));

	return s != NULL ? s : "(none)";
}

START_TEST(problems)
{
	struct refusal why;
	json_t *o;

	reply_init(&reply);
	for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
		refuse(&why, (enum err)e, "lifetime", "at most %d \"s\"\n", 5);
		reply_problem(&reply, &why, "0123");
		ck_assert_uint_eq(reply.status, err_status((enum err)e));
		ck_assert_str_eq(reply.content_type, "application/problem+json");
		ck_assert_int_eq(reply.err, e);
		o = body();
		ck_assert_str_eq(text(o, "type"), "about:blank");
		ck_assert_int_eq(json_integer_value(json_object_get(o, "status")), reply.status);
		ck_assert_str_eq(text(o, "code"), err_name((enum err)e));
		if (err_of_token((enum err)e)) { /* not in its words */
			ck_assert_str_eq(text(o, "detail"), err_text((enum err)e));
			ck_assert_ptr_null(json_object_get(o, "field"));
			ck_assert_str_eq(reply.detail, "at most 5 \"s\"\n");
		} else {
			ck_assert_str_eq(text(o, "detail"), "at most 5 \"s\"\n");
			ck_assert_str_eq(text(o, "field"), "lifetime");
		}
		ck_assert_str_eq(text(o, "request"), "0123");
		if (reply.status != 500)
			ck_assert_str_ne(text(o, "title"), "Internal Server Error");
		ck_assert_uint_eq(reply.retry_after, reply.status == 503 ? 1 : 0);
		json_decref(o);
	}
	refuse(&why, ERR_RATE, "", "%s", "");
	why.retry_after = 17;
	reply_problem(&reply, &why, "0123");
	o = body();
	ck_assert_uint_eq(reply.retry_after, 17);
	ck_assert_str_eq(text(o, "detail"), err_text(ERR_RATE));
	ck_assert_ptr_null(json_object_get(o, "field"));
	json_decref(o);
	reply_free(&reply);
}
END_TEST

static struct msg_grant granted(void)
{
	struct msg_grant g = {.id = "00112233445566778899aabbccddeeff",
		.role = DC_CLIENT,
		.scheme = SCHEME_ED25519,
		.algorithm = SCHEME_ECDSA_P384,
		.dc = {(const uint8_t *)"\0\1\2\3", 4},
		.not_before = 0,
		.not_after = 1893553445,
		.valid_time = UINT32_MAX,
		.flags = GRANT_KEY_SHARED,
		.chain = "n/main",
		.idx = 1ull << 40};

	memset(g.leaf_hash, 0xab, SHA256_SIZE);
	return g;
}

START_TEST(credentials)
{
	struct msg_grant g = granted();
	struct chain chain = {.pem = (char *)(uintptr_t) "PEM\n", .pem_len = 4};
	json_t *o, *ledger;

	reply_init(&reply);
	reply_credential(&reply, &g, "www", &chain, NULL, false);
	ck_assert_uint_eq(reply.status, 201);
	ck_assert(!reply.replayed);
	o = body();
	ck_assert_uint_eq(json_object_size(o), 14);
	ck_assert_str_eq(text(o, "credential"), "AAECAw==");
	ck_assert_str_eq(text(o, "role"), "client");
	ck_assert_str_eq(text(o, "algorithm"), "ed25519");
	ck_assert_str_eq(text(o, "signature_algorithm"), "ecdsa_secp384r1_sha384");
	ck_assert_str_eq(text(o, "not_before"), "1970-01-01T00:00:00Z");
	ck_assert_str_eq(text(o, "not_after"), "2030-01-02T03:04:05Z");
	ck_assert_str_eq(text(o, "chain"), "PEM\n");
	ck_assert_int_eq(json_integer_value(json_object_get(o, "valid_time")), UINT32_MAX);
	ck_assert_str_eq(json_string_value(json_array_get(json_object_get(o, "warnings"), 0)),
		"KEY-SHARED: another client holds a live credential for this public key");
	ledger = json_object_get(o, "ledger");
	ck_assert_int_eq(json_integer_value(json_object_get(ledger, "index")), 1ll << 40);
	ck_assert_uint_eq(strspn(text(ledger, "leaf_hash"), "ab"), 64);
	ck_assert(json_is_null(json_object_get(ledger, "checkpoint")));
	json_decref(o);

	g.flags = GRANT_REPLAYED;
	reply_credential(&reply, &g, "www", NULL, NULL, false);
	ck_assert(reply.replayed);
	o = body();
	ck_assert(json_is_null(json_object_get(o, "chain")));
	json_decref(o);

	reply_credential(&reply, &g, "www", &chain, NULL, true);
	ck_assert_str_eq(reply.content_type, "application/octet-stream");
	ck_assert_uint_eq(reply.body.len, 4);
	ck_assert_mem_eq(reply.body.octets, "\0\1\2\3", 4);
	ck_assert(reply.replayed);
	reply_free(&reply);
}
END_TEST

START_TEST(decisions)
{
	struct policy policy = {.name = "p", .max_lifetime = 5, .roles = 1};
	struct config_key key = {.name = "www"};
	struct config_client client = {.name = "edge"};
	struct msg_issue_item item = {.proof = PROOF_CSR};
	struct msg_grant g = granted();
	struct rules_of of = {&policy, &client, &key, &item, &g};
	json_t *o, *rules;

	reply_init(&reply);
	reply_decision(&reply, &of);
	o = body();
	ck_assert(json_is_true(json_object_get(o, "allowed")));
	ck_assert_ptr_null(json_object_get(o, "credential"));
	ck_assert_ptr_null(json_object_get(o, "id"));
	ck_assert_str_eq(text(o, "not_after"), "2030-01-02T03:04:05Z");
	rules = json_object_get(o, "rules");
	ck_assert_uint_eq(json_array_size(rules), 15);
	ck_assert_str_eq(text(json_array_get(rules, 0), "rule"), "client");
	ck_assert_str_eq(text(json_array_get(rules, 14), "rule"), "max_live");
	ck_assert_str_eq(text(json_array_get(rules, 9), "detail"), "from 0 s to 5 s");
	for (size_t i = 0; i < 15; i++)
		ck_assert(json_is_true(json_object_get(json_array_get(rules, i), "passed")));
	json_decref(o);
	g.flags |= GRANT_REPLAYED; /* judged by nothing that comes after */
	reply_decision(&reply, &of);
	o = body();
	ck_assert_uint_eq(json_array_size(json_object_get(o, "rules")), 13);
	json_decref(o);
	refuse(&g.refusal, ERR_HELD, "", "%s", "by hand");
	reply_decision(&reply, &of);
	ck_assert_uint_eq(reply.status, 200);
	o = body();
	ck_assert(json_is_false(json_object_get(o, "allowed")));
	ck_assert_str_eq(text(o, "code"), "held");
	ck_assert_str_eq(text(o, "detail"), "by hand");
	rules = json_object_get(o, "rules");
	ck_assert_uint_eq(json_array_size(rules), 12);
	ck_assert(json_is_false(json_object_get(json_array_get(rules, 11), "passed")));
	ck_assert_str_eq(text(json_array_get(rules, 11), "detail"), "by hand");
	json_decref(o);
	reply_free(&reply);
}
END_TEST

/* Each bit of compat is told by the code of its rule, first in the text. */
START_TEST(compat)
{
	struct msg_grant g = granted();
	json_t *o, *list;

	g.flags = 0;
	g.compat = 1u << (compat_rule_count() - 1);
	reply_init(&reply);
	reply_credential(&reply, &g, "www", NULL, "a note\n", false);
	o = body();
	ck_assert_str_eq(
		json_string_value(json_object_get(json_object_get(o, "ledger"), "checkpoint")),
		"a note\n");
	list = json_object_get(o, "warnings");
	ck_assert_uint_eq(json_array_size(list), 1);
	ck_assert_int_eq(strncmp(json_string_value(json_array_get(list, 0)),
				 compat_rule(compat_rule_count() - 1)->code,
				 strlen(compat_rule(compat_rule_count() - 1)->code)),
		0);
	json_decref(o);

	/* all at once, each whole; and a scheme that has no name */
	g.flags = GRANT_KEY_SHARED;
	g.compat = UINT32_MAX >> (32 - compat_rule_count());
	g.scheme = 0x1234;
	reply_credential(&reply, &g, "www", NULL, NULL, false);
	o = body();
	ck_assert(json_is_null(json_object_get(o, "algorithm")));
	ck_assert(json_is_null(json_object_get(o, "chain")));
	list = json_object_get(o, "warnings");
	ck_assert_uint_eq(json_array_size(list), 1 + compat_rule_count());
	for (unsigned i = 0; i < compat_rule_count(); i++) {
		char whole[1024];

		snprintf(
			whole, sizeof(whole), "%s: %s", compat_rule(i)->code, compat_rule(i)->text);
		ck_assert_str_eq(json_string_value(json_array_get(list, 1 + i)), whole);
	}
	json_decref(o);
	reply_free(&reply);
}
END_TEST

START_TEST(batches)
{
	struct policy policy = {.name = "p"};
	struct config_key key = {.name = "www"};
	struct config_client client = {.name = "edge"};
	struct msg_issue_item item = {.proof = PROOF_CSR};
	struct msg_grant g[3] = {granted(), granted(), granted()};
	struct rules_of of = {&policy, &client, &key, &item, NULL};
	struct chain old = {.pem = (char *)(uintptr_t) "OLD\n", .pem_len = 4};
	struct chain chain = {.pem = (char *)(uintptr_t) "PEM\n", .pem_len = 4};
	struct result results[] = {{.refusal = {.err = ERR_RATE, .retry_after = 7}, .item = &item},
		{.grant = &g[0], .chain = &chain, .item = &item},
		{.grant = &g[1], .chain = &old, .item = &item}, {.grant = &g[2], .item = &item}};
	json_t *o, *list;

	g[1].flags = GRANT_REPLAYED;
	refuse(&g[2].refusal, ERR_HELD, "", "%s", "by hand");
	reply_init(&reply);
	reply_batch(&reply, &of, results, 4, false);
	ck_assert_uint_eq(reply.status, 200);
	o = body();
	ck_assert_str_eq(text(o, "chain"), "PEM\n");
	list = json_object_get(o, "results");
	ck_assert_uint_eq(json_array_size(list), 4);
	ck_assert_str_eq(text(json_array_get(list, 0), "code"), "rate_limited");
	ck_assert_int_eq(
		json_integer_value(json_object_get(json_array_get(list, 0), "retry_after")), 7);
	ck_assert_str_eq(text(json_array_get(list, 1), "credential"), "AAECAw==");
	ck_assert_ptr_null(json_object_get(json_array_get(list, 1), "chain"));
	ck_assert_str_eq(text(json_array_get(list, 2), "chain"), "OLD\n");
	ck_assert(json_is_true(json_object_get(json_array_get(list, 2), "replayed")));
	ck_assert_str_eq(text(json_array_get(list, 3), "detail"), "by hand");
	json_decref(o);
	reply_batch(&reply, &of, results, 4, true);
	o = body();
	list = json_object_get(o, "results");
	ck_assert(json_is_true(json_object_get(json_array_get(list, 1), "allowed")));
	ck_assert(json_is_false(json_object_get(json_array_get(list, 3), "allowed")));
	ck_assert_ptr_null(json_object_get(json_array_get(list, 1), "credential"));
	json_decref(o);
	reply_free(&reply);
}
END_TEST

RUN_SUITE("reply", problems, credentials, decisions, compat, batches)
