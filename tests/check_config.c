#include "settings.h"

#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory_source.h"

static const char text[] =
	"node = sign1 origin = 'o.example' ledger = 'sqlite:l' monitor = '127.0.0.1:1' "
	"listen '127.0.0.1:0' { certificate = c private_key = k client_ca = a client_crl = { r, s "
	"} } "
	"token main { module = m uri = 'pkcs11:token=t' pin = 'file:p' environment = { 'A=b' } } "
	"token spare { module = m uri = 'pkcs11:token=u' pin = 'file:p' } "
	"policy wide { max_lifetime = 5d roles = { server, client } max_live = 9 } "
	"policy narrow { max_lifetime = 1h clock_skew = 2h algorithms = { ed25519, "
	"ecdsa_secp256r1_sha256 } proof_of_possession = optional max_live = 5 } "
	"key www { token = main uri = 'pkcs11:object=w' certificate = { a, b } issuer_ca = i "
	"policy "
	"= wide accept_weak_key = { modifiable } } "
	"key mail { token = spare uri = 'pkcs11:object=m' certificate = a policy = wide } "
	"client edge { match { uri = 'x:\"\\\\y' } match { peer_uid = 0 } may = { issue, read } "
	"keys "
	"= { www, mail } policy = narrow rate = 10/m max_live = 3 } "
	"client other { match { cn = other } may = { hold, release } } "
	"limits { max_lifetime = 2d }";

static struct config *parsed;
static struct buf octets = BUF_INIT(CONFIG_BUNDLE_MAX);

static void setup(void)
{
	struct buf complaints = BUF_INIT(65536);
	const struct conffile_source source = {
		&complaints, memory_load, memory_secret, memory_there, memory_complain};

	ck_assert_msg(conffile_parse(&parsed, "/x", text, sizeof text - 1, &source) == ERR_OK, "%s",
		buf_cstr(&complaints));
	buf_reset(&octets);
	ck_assert_int_eq(config_encode(&octets, parsed), ERR_OK);
	buf_free(&complaints);
}

static void teardown(void)
{
	config_unref(parsed);
	buf_free(&octets);
}

static enum err decode(struct config **c, const uint8_t *from, size_t len)
{
	uint8_t *exact = malloc(len > 0 ? len : 1);
	enum err e;

	ck_assert_ptr_nonnull(exact);
	memcpy(exact, from, len);
	e = config_decode(c, exact, len);
	free(exact);
	return e;
}

START_TEST(round_trip)
{
	struct buf again = BUF_INIT(CONFIG_BUNDLE_MAX);
	struct config *c;

	ck_assert_int_eq(decode(&c, octets.octets, octets.len), ERR_OK);
	ck_assert_int_eq(config_encode(&again, c), ERR_OK);
	ck_assert_uint_eq(again.len, octets.len);
	ck_assert_mem_eq(again.octets, octets.octets, octets.len);
	ck_assert_uint_eq(c->references, 1);
	ck_assert_str_eq(c->token[0].environment[0], "A=b");
	ck_assert_uint_eq(c->listen[0].client_crl_count, 2);
	ck_assert_uint_eq(c->key[1].certificate[1].len, 4);
	ck_assert_mem_eq(c->key[1].certificate[1].octets, "PEM\n", 4);
	ck_assert_ptr_null(c->token[0].module_args);
	ck_assert_ptr_null(config_key(c, "mail")->issuer_ca.octets);
	ck_assert_ptr_nonnull(config_key(c, "www")->issuer_ca.octets);
	config_unref(c);
	buf_free(&again);
}
END_TEST

START_TEST(truncation_and_more)
{
	struct config *c;

	for (size_t len = 0; len < octets.len; len++) {
		ck_assert_msg(decode(&c, octets.octets, len) == ERR_FORMAT, "cut at %zu", len);
		ck_assert_ptr_null(c);
	}
	buf_u8(&octets, 0);
	ck_assert_int_eq(decode(&c, octets.octets, octets.len), ERR_FORMAT);
}
END_TEST

/* A damaged bundle is refused or is another sound one: it never does harm. */
START_TEST(damage)
{
	struct config *c;

	for (size_t at = 0; at < octets.len; at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			octets.octets[at] ^= (uint8_t)(1u << bit);
			if (config_decode(&c, octets.octets, octets.len) == ERR_OK) {
				struct buf again = BUF_INIT(CONFIG_BUNDLE_MAX),
					   json = BUF_INIT(1 << 20);

				ck_assert_int_eq(config_encode(&again, c), ERR_OK);
				ck_assert_uint_eq(again.len, octets.len);
				ck_assert_mem_eq(again.octets, octets.octets, octets.len);
				config_json(&json, c, "main");
				buf_free(&again);
				buf_free(&json);
			}
			config_unref(c);
			octets.octets[at] ^= (uint8_t)(1u << bit);
		}
}
END_TEST

#define UNSOUND(statement)                                                                         \
	do {                                                                                       \
		struct config *c;                                                                  \
		buf_reset(&octets);                                                                \
		statement;                                                                         \
		ck_assert_int_eq(config_encode(&octets, parsed), ERR_OK);                          \
		ck_assert_msg(decode(&c, octets.octets, octets.len) == ERR_FORMAT, #statement);    \
	} while (0)
#define SOUND()                                                                                    \
	do {                                                                                       \
		struct config *c;                                                                  \
		buf_reset(&octets);                                                                \
		ck_assert_int_eq(config_encode(&octets, parsed), ERR_OK);                          \
		ck_assert_int_eq(decode(&c, octets.octets, octets.len), ERR_OK);                   \
		config_unref(c);                                                                   \
	} while (0)

/* What the users of a snapshot rely on is checked when it is decoded. */
START_TEST(unsound)
{
	struct config_token t = parsed->token[0];

	UNSOUND((parsed->token[0] = parsed->token[1], parsed->token[1] = t)); /* not sorted */
	parsed->token[1] = parsed->token[0];
	parsed->token[0] = t;
	SOUND();
	strcpy(parsed->client[0].name, "zzz"); /* clients: edge, other */
	UNSOUND((void)0);
	strcpy(parsed->client[0].name, "other");
	UNSOUND((void)0); /* twice the same */
	strcpy(parsed->client[0].name, "edge");
	SOUND();
	UNSOUND(strcpy(parsed->key[0].token, "absent"));
	strcpy(parsed->key[0].token, "spare");
	UNSOUND(strcpy(parsed->key[0].policy, "absent"));
	strcpy(parsed->key[0].policy, "wide");
	UNSOUND(strcpy(parsed->client[0].policy, "absent"));
	strcpy(parsed->client[0].policy, "");
	SOUND();
	UNSOUND(parsed->client[0].may = 16);
	parsed->client[0].may = 15;
	UNSOUND(parsed->client[0].match[0].kind = (enum match_kind)6);
	parsed->client[0].match[0].kind = MATCH_URI;
	UNSOUND(parsed->client[0].keys[0][0] = 'z');
	parsed->client[0].keys[0][0] = 'm';
	UNSOUND(parsed->policy[0].max_lifetime = 604800);
	parsed->policy[0].max_lifetime = 3600;
	UNSOUND(strcpy(parsed->node, "A"));
	strcpy(parsed->node, "a");
	SOUND();
}
END_TEST

static int sealed(int seals)
{
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, octets.octets, octets.len), (ssize_t)octets.len);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static size_t digested;
static void count_octets(const void *at, size_t len, uint8_t out[SHA256_SIZE])
{
	digested = len;
	memcpy(out, at, SHA256_SIZE);
}

START_TEST(from_a_descriptor)
{
	static const int all = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	static const int too_few[] = {0, F_SEAL_WRITE, F_SEAL_WRITE | F_SEAL_SHRINK,
		F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_GROW};
	struct config *c;
	int fd = sealed(all);

	ck_assert_int_eq(config_from_fd(&c, fd, count_octets), ERR_OK);
	ck_assert_uint_eq(digested, octets.len);
	ck_assert_mem_eq(c->generation, octets.octets, SHA256_SIZE);
	config_unref(c);
	ck_assert_int_eq(config_from_fd(&c, fd, NULL), ERR_OK);
	ck_assert_mem_eq(c->generation, ((uint8_t[SHA256_SIZE]){0}), SHA256_SIZE);
	config_unref(c);
	close(fd);
	for (size_t i = 0; i < sizeof too_few / sizeof too_few[0]; i++) {
		fd = sealed(too_few[i]);
		ck_assert_int_eq(config_from_fd(&c, fd, NULL), ERR_FORMAT);
		close(fd);
	}
	buf_reset(&octets);
	fd = sealed(all);
	ck_assert_int_eq(config_from_fd(&c, fd, NULL), ERR_FORMAT);
	close(fd);
	ck_assert_int_eq(config_from_fd(&c, 0, NULL), ERR_FORMAT);
	ck_assert_int_eq(config_from_fd(&c, -1, NULL), ERR_FORMAT);
}
END_TEST

START_TEST(look_ups)
{
	ck_assert_ptr_eq(config_token(parsed, "main"), &parsed->token[0]);
	ck_assert_ptr_eq(config_token(parsed, "spare"), &parsed->token[1]);
	ck_assert_ptr_null(config_token(parsed, "mai"));
	ck_assert_ptr_null(config_token(parsed, ""));
	ck_assert_str_eq(config_key(parsed, "www")->name, "www");
	ck_assert_str_eq(config_client(parsed, "other")->name, "other");
	ck_assert_str_eq(config_policy(parsed, "narrow")->name, "narrow");
	ck_assert_ptr_null(config_policy(parsed, "zzz"));
	const struct config_client *edge = config_client(parsed, "edge");
	ck_assert(config_client_has_key(edge, "www"));
	ck_assert(config_client_has_key(edge, "mail"));
	ck_assert(!config_client_has_key(edge, "main"));
	ck_assert(!config_client_has_key(edge, ""));
	ck_assert(!config_client_has_key(config_client(parsed, "other"), "www"));
	struct config none = {.token_count = 0};
	ck_assert_ptr_null(config_token(&none, "main"));
}
END_TEST

START_TEST(effective_policy)
{
	const struct config_key *www = config_key(parsed, "www");
	struct policy p;

	config_effective_policy(&p, parsed, www, NULL);
	ck_assert_str_eq(p.name, "wide");
	ck_assert_int_eq(p.max_lifetime, 2 * 86400); /* the ceiling */
	ck_assert_uint_eq(p.roles, 3);
	ck_assert(p.possession_required);
	config_effective_policy(&p, parsed, www, config_client(parsed, "other"));
	ck_assert_int_eq(p.max_lifetime, 2 * 86400);
	config_effective_policy(&p, parsed, www, config_client(parsed, "edge"));
	ck_assert_str_eq(p.name, "wide");
	ck_assert_int_eq(p.max_lifetime, 3600);
	ck_assert_uint_eq(p.roles, 1);
	ck_assert_uint_eq(p.schemes, scheme_bit(SCHEME_ECDSA_P256));
	ck_assert(p.possession_required); /* optional does not widen */
	ck_assert_int_eq(p.clock_skew, 7200);
	ck_assert_uint_eq(p.max_live, 5);
	/* A snapshot that can't be: nothing is allowed. */
	struct config_key broken = *www;
	strcpy(broken.policy, "absent");
	config_effective_policy(&p, parsed, &broken, NULL);
	ck_assert_int_eq(p.max_lifetime, 0);
	ck_assert_uint_eq(p.schemes, 0);
}
END_TEST

START_TEST(json)
{
	struct buf out = BUF_INIT(1 << 20);

	config_json(&out, parsed, "main");
	ck_assert_str_eq(buf_cstr(&out),
		"{\"clients\":[{\"keys\":[\"mail\",\"www\"],\"match\":[{\"uri\":\"x:\\\"\\\\y\"},{"
		"\"peer_uid\":\"0\"}],\"max_live\":3,\"may\":[\"issue\",\"read\"],\"name\":"
		"\"edge\","
		"\"policy\":\"narrow\",\"rate_count\":10,\"rate_seconds\":60}],\"keys\":[{\"accept_"
		"weak_key\":[\"modifiable\"],\"certificate\":[\"/a\",\"/b\"],\"issuer_ca\":\"/i\","
		"\"name\":\"www\",\"policy\":\"wide\",\"uri\":\"pkcs11:object=w\"}],\"max_"
		"lifetime\":172800,\"policies\":[{\"algorithms\":[\"ecdsa_secp256r1_sha256\","
		"\"ed25519\"],\"clock_skew\":7200,\"max_lifetime\":3600,\"max_live\":5,\"max_start_"
		"ahead\":300,\"min_lifetime\":300,\"name\":\"narrow\",\"proof_of_possession\":"
		"\"optional\",\"roles\":[\"server\"]},{\"algorithms\":[\"ecdsa_secp256r1_sha256\","
		"\"ecdsa_secp384r1_sha384\",\"ecdsa_secp521r1_sha512\"],\"clock_skew\":3600,\"max_"
		"lifetime\":432000,\"max_live\":9,\"max_start_ahead\":300,\"min_lifetime\":300,"
		"\"name\":\"wide\",\"proof_of_possession\":\"required\",\"roles\":[\"server\","
		"\"client\"]}]}");
	buf_reset(&out);
	config_json(&out, parsed, "absent");
	ck_assert_ptr_nonnull(strstr(buf_cstr(&out), "{\"clients\":[],\"keys\":[],"));
	/* Every control character has its shortest form. */
	free(parsed->key[1].uri);
	parsed->key[1].uri = strdup("\b\f\n\r\t\x01\x1f/\x7f");
	buf_reset(&out);
	config_json(&out, parsed, "main");
	ck_assert_ptr_nonnull(
		strstr(buf_cstr(&out), "\"uri\":\"\\b\\f\\n\\r\\t\\u0001\\u001f/\x7f\""));
	buf_free(&out);
}
END_TEST

static void *ref_and_unref(void *c)
{
	for (int i = 0; i < 20000; i++)
		config_unref(config_ref(c));
	return NULL;
}

START_TEST(references)
{
	pthread_t thread[4];

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, ref_and_unref, parsed), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_join(thread[i], NULL), 0);
	ck_assert_uint_eq(parsed->references, 1);
	config_unref(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("config");
	TCase *t = tcase_create("config");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, round_trip);
	tcase_add_test(t, truncation_and_more);
	tcase_add_test(t, damage);
	tcase_add_test(t, unsound);
	tcase_add_test(t, from_a_descriptor);
	tcase_add_test(t, look_ups);
	tcase_add_test(t, effective_policy);
	tcase_add_test(t, json);
	tcase_add_test(t, references);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
