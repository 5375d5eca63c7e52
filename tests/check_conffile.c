#include <check.h>
#include <stdlib.h>

#include "log.h"
#include "memory_source.h"

static struct buf complaints = BUF_INIT(1 << 20);

static enum err parse(struct config **c, const char *text, size_t len)
{
	const struct conffile_source source = {
		&complaints, memory_load, memory_secret, memory_there, memory_complain};

	buf_reset(&complaints);
	return conffile_parse(c, "/etc/dcsign/dcsignd.conf", text, len, &source);
}

/* The grammar as the manual shows it. */
static const char whole[] =
	"node   = sign1\n"
	"origin = \"dcsign.corp.example\"\n"
	"listen \"0.0.0.0:8443\" {                   # HTTPS only\n"
	"	certificate = \"server.pem\"\n"
	"	private_key = \"server.key\"\n"
	"	client_ca   = \"clients-ca.pem\"\n"
	"	client_crl  = { \"clients.crl\" }\n"
	"}\n"
	"monitor = \"127.0.0.1:9464\"\n"
	"ledger  = \"sqlite:/var/lib/dcsign/ledger.db\"\n"
	"token main {\n"
	"	module       = \"/usr/lib/softhsm/libsofthsm2.so\"\n"
	"	uri          = \"pkcs11:token=dcsign\"\n"
	"	pin          = \"file:/etc/dcsign/pin\"\n"
	"	sessions     = 8\n"
	"	sign_timeout = 2s\n"
	"}\n"
	"policy default {\n"
	"	max_lifetime    = 24h\n"
	"	min_lifetime    = 5m\n"
	"	clock_skew      = 1h\n"
	"	max_start_ahead = 5m\n"
	"	roles           = { server }\n"
	"	algorithms      = { ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384, "
	"ecdsa_secp521r1_sha512 }\n"
	"	proof_of_possession = required\n"
	"	max_live        = 100000\n"
	"}\n"
	"key www {\n"
	"	token       = main\n"
	"	uri         = \"pkcs11:object=www\"\n"
	"	certificate = { \"www.pem\" }\n"
	"	issuer_ca   = \"internal-ca.pem\"\n"
	"	policy      = default\n"
	"}\n"
	"client edge-fra {\n"
	"	match { uri = \"spiffe://corp.example/edge/fra\" }\n"
	"	may      = { issue }\n"
	"	keys     = { www }\n"
	"	policy   = default\n"
	"	rate     = 10/s\n"
	"	max_live = 100\n"
	"}\n";

START_TEST(the_manual)
{
	struct config *c;

	ck_assert_msg(parse(&c, whole, sizeof whole - 1) == ERR_OK, "%s", buf_cstr(&complaints));
	ck_assert_str_eq(c->node, "sign1");
	ck_assert_str_eq(c->origin, "dcsign.corp.example");
	ck_assert_str_eq(c->state, "/var/lib/dcsign");
	ck_assert_str_eq(c->ledger, "sqlite:/var/lib/dcsign/ledger.db");
	ck_assert_str_eq(c->monitor, "127.0.0.1:9464");
	ck_assert(c->require_clock_sync && !c->single_user);
	ck_assert_str_eq(c->users.api, "_dcsign-api");
	ck_assert_str_eq(c->users.hsm, "_dcsign-hsm");
	ck_assert_str_eq(c->users.ledger, "_dcsign-ledger");
	ck_assert_int_eq(c->limits.max_lifetime, 604800);
	ck_assert_int_eq(c->limits.request_deadline_ms, 3000);
	ck_assert_uint_eq(c->limits.queue, 1024);
	ck_assert_uint_eq(c->limits.connections, 4096);
	ck_assert(!c->log.json);
	ck_assert_int_eq(c->log.level, LOG_LEVEL_INFO);

	ck_assert_uint_eq(c->listen_count, 1);
	ck_assert_str_eq(c->listen[0].address, "0.0.0.0:8443");
	ck_assert(!c->listen[0].is_unix);
	ck_assert_str_eq(c->listen[0].certificate.path, "/etc/dcsign/server.pem");
	ck_assert_uint_eq(c->listen[0].certificate.len, 4);
	ck_assert_mem_eq(c->listen[0].certificate.octets, "PEM\n", 4);
	ck_assert_str_eq(c->listen[0].private_key, "/etc/dcsign/server.key");
	ck_assert_uint_eq(c->listen[0].client_crl_count, 1);

	const struct config_token *t = config_token(c, "main");
	ck_assert_ptr_nonnull(t);
	ck_assert_str_eq(t->pin, "file:/etc/dcsign/pin");
	ck_assert_uint_eq(t->sessions, 8);
	ck_assert_uint_eq(t->workers, 16);
	ck_assert_uint_eq(t->concurrency, 0);
	ck_assert_int_eq(t->sign_timeout_ms, 2000);
	ck_assert_ptr_null(t->module_args);

	const struct policy *p = config_policy(c, "default");
	ck_assert_ptr_nonnull(p);
	ck_assert_int_eq(p->max_lifetime, 86400);
	ck_assert_int_eq(p->min_lifetime, 300);
	ck_assert_int_eq(p->clock_skew, 3600);
	ck_assert_int_eq(p->max_start_ahead, 300);
	ck_assert_uint_eq(p->roles, 1u << DC_SERVER);
	ck_assert(p->possession_required);
	ck_assert_uint_eq(p->max_live, 100000);
	ck_assert_uint_eq(p->schemes, scheme_bit(SCHEME_ECDSA_P256) |
					      scheme_bit(SCHEME_ECDSA_P384) |
					      scheme_bit(SCHEME_ECDSA_P521));

	const struct config_key *k = config_key(c, "www");
	ck_assert_ptr_nonnull(k);
	ck_assert_str_eq(k->token, "main");
	ck_assert_str_eq(k->policy, "default");
	ck_assert_uint_eq(k->certificate_count, 1);
	ck_assert_str_eq(k->certificate[0].path, "/etc/dcsign/www.pem");

	const struct config_client *client = config_client(c, "edge-fra");
	ck_assert_ptr_nonnull(client);
	ck_assert_uint_eq(client->match_count, 1);
	ck_assert_int_eq(client->match[0].kind, MATCH_URI);
	ck_assert_str_eq(client->match[0].value, "spiffe://corp.example/edge/fra");
	ck_assert_uint_eq(client->may, RIGHT_ISSUE);
	ck_assert(config_client_has_key(client, "www"));
	ck_assert_uint_eq(client->rate_count, 10);
	ck_assert_uint_eq(client->rate_seconds, 1);
	ck_assert_uint_eq(client->max_live, 100);
	config_unref(c);
}
END_TEST

/* The whole text with one piece of it replaced. */
static char *with(const char *old, const char *new)
{
	const char *at = strstr(whole, old);
	struct buf out = BUF_INIT(1 << 20);

	ck_assert_msg(at != NULL, "'%s' is not in the text", old);
	buf_put(&out, whole, (size_t)(at - whole));
	buf_text(&out, new);
	buf_text(&out, at + strlen(old));
	ck_assert_ptr_nonnull(buf_cstr(&out));
	return (char *)out.octets;
}

static const struct {
	const char *old, *new, *says;
} bad[] = {
	{"max_lifetime    = 24h", "max_lifetime    = 7w",
		"/etc/dcsign/dcsignd.conf:19: option 'max_lifetime' in policy 'default': got "
		"'7w', expected a duration from 1s to 7d"},
	{"max_lifetime    = 24h", "max_lifetime = 24",
		":19: option 'max_lifetime' in policy 'default': got '24', expected a duration"},
	{"max_lifetime    = 24h", "max_lifetime = 500ms", "got '500ms'"},
	{"max_lifetime    = 24h", "max_lifetime = -1h", "got '-1h'"},
	{"max_lifetime    = 24h", "max_lifetime = 7d",
		":19: option 'max_lifetime' in policy 'default': got '7d', expected: must be "
		"from 1 s to 601200 s"},
	{"min_lifetime    = 5m", "min_lifetime = 25h", "option 'min_lifetime' in policy"},
	{"clock_skew      = 1h", "clock_skew = 1m", "option 'clock_skew' in policy 'default': got"},
	{"node   = sign1\n", "", "option 'node' is missing"},
	{"node   = sign1", "node = Sign1", ":1: option 'node': got 'Sign1', expected a name"},
	{"node   = sign1", "node = sign1\nnode = sign2", ":2: option 'node' stands here twice"},
	{"node   = sign1", "nodes = sign1", ":1: no such option 'nodes'"},
	{"sessions     = 8", "sessions = 8\n sesions = 8",
		":16: no such option 'sesions' in token"},
	{"sessions     = 8", "sessions = 0", "option 'sessions' in token 'main': got '0'"},
	{"sessions     = 8", "sessions = 08x", "got '08x'"},
	{"sessions     = 8", "sessions = 8 workers = 8",
		"option 'workers' in token 'main': got '8', expected more than sessions (8)"},
	{"sessions     = 8", "sessions = 8 concurrency = 9", "option 'concurrency' in token"},
	{"keys     = { www }", "keys = { www }\n keys = { www }",
		":39: option 'keys' in client 'edge-fra' stands here twice"},
	{"keys     = { www }", "keys = { www, www }", "expected each name once"},
	{"keys     = { www }", "keys = { www, mail }",
		":38: option 'keys' in client 'edge-fra': got 'mail', expected the name of a "
		"section 'key'"},
	{"keys     = { www }", "", "option 'keys' in client 'edge-fra' is missing"},
	{"keys     = { www }", "keys = { * }", ":38: a * must stand in quotes"},
	{"keys     = { www }", "keys = { }", "option 'keys' in client 'edge-fra' is an empty list"},
	{"roles           = { server }", "roles = { }", "'roles' in policy 'default' is an empty"},
	{"roles           = { server }", "roles = { serve }", "expected server or client"},
	{"may      = { issue }", "may = { sign }", "expected issue, read, hold or release"},
	{"may      = { issue }", "may = { issue, issue }", "expected each word once"},
	{"may      = { issue }", "", "option 'may' in client 'edge-fra' is missing"},
	{"token       = main", "token = other",
		":29: option 'token' in key 'www': got 'other', expected the name of a section "
		"'token'"},
	{"policy      = default", "policy = other",
		"option 'policy' in key 'www': got 'other', expected the name of a section "
		"'policy'"},
	{"policy   = default", "policy = other",
		"option 'policy' in client 'edge-fra': got 'other'"},
	{"rate     = 10/s", "rate = 10/d", "option 'rate' in client 'edge-fra': got '10/d'"},
	{"rate     = 10/s", "rate = 0/s", "got '0/s'"},
	{"ecdsa_secp521r1_sha512", "ecdsa_secp521r1_sha256", "got 'ecdsa_secp521r1_sha256'"},
	{"ecdsa_secp521r1_sha512", "rsa_pss_rsae_sha256", "got 'rsa_pss_rsae_sha256'"},
	{"ecdsa_secp521r1_sha512", "ecdsa_secp256r1_sha256", "expected each algorithm once"},
	{"required", "maybe", "got 'maybe', expected required or optional"},
	{"issuer_ca   = \"internal-ca.pem\"", "issuer_ca = \"absent.pem\"",
		":32: option 'issuer_ca' in key 'www': got 'absent.pem', expected a file that can "
		"be read: /etc/dcsign/absent.pem: No such file"},
	{"file:/etc/dcsign/pin", "file:open-to-all",
		":14: option 'pin' in token 'main': got 'file:open-to-all', expected a secret that "
		"only its owner can read: mode 0644"},
	{"file:/etc/dcsign/pin", "1234", "got '1234', expected a secret"},
	{"private_key = \"server.key\"", "private_key = \"open-to-all.key\"",
		"option 'private_key' in listen '0.0.0.0:8443': got 'open-to-all.key'"},
	{"private_key = \"server.key\"", "",
		":8: option 'private_key' in listen '0.0.0.0:8443' is missing"},
	{"0.0.0.0:8443", "localhost:8443", ":8: listen: got 'localhost:8443', expected ADDRESS"},
	{"0.0.0.0:8443", "0.0.0.0:65536", "listen: got '0.0.0.0:65536'"},
	{"0.0.0.0:8443", "unix:/run/dcsign/api",
		":4: option 'certificate' in listen 'unix:/run/dcsign/api': a Unix socket has no"},
	{"/usr/lib/softhsm/libsofthsm2.so", "absent.so",
		":12: option 'module' in token 'main': got 'absent.so', expected a PKCS#11 module: "
		"/etc/dcsign/absent.so: No such file"},
	{"127.0.0.1:9464", "unix:/run/x", "option 'monitor': got 'unix:/run/x'"},
	{"dcsign.corp.example", "dcsign corp", "option 'origin': got 'dcsign corp'"},
	{"dcsign.corp.example", "dcsign+corp", "option 'origin': got 'dcsign+corp'"},
	{"dcsign.corp.example", "${HOME}", ":2: ${...}: variables of the environment are not"},
	{"# HTTPS only", "# ${x", ":3: ${...}"},
	{"sqlite:/var", "mysql:/var", "expected sqlite:PATH or postgresql://"},
	{"sqlite:/var", "postgresql://dcsign:secret@db/var", "expected a URL without a password"},
	{"sqlite:/var", "postgresql://db/x?password=y/", "expected a URL without a password"},
	{"pkcs11:token=dcsign", "pkcs11:slot-id=0",
		"got 'pkcs11:slot-id=0', expected a URI of RFC"},
	{"pkcs11:token=dcsign", "pkcs11:token=", "got 'pkcs11:token='"},
	{"pkcs11:token=dcsign", "pkcs11:token=dcsign?pin-value=1", "got 'pkcs11:token=dcsign?"},
	{"pkcs11:token=dcsign", "pkcs11:model=x", "got 'pkcs11:model=x'"},
	{"pkcs11:object=www", "pkcs11:token=a", "option 'uri' in key 'www': got 'pkcs11:token=a'"},
	{"uri = \"spiffe://corp.example/edge/fra\"", "", "'match' in client 'edge-fra' is empty"},
	{"uri = \"spiffe://corp.example/edge/fra\"", "cn = a dns = b",
		"expected one option in each match section"},
	{"uri = \"spiffe://corp.example/edge/fra\"", "sha256 = \"AB\"", "64 lowercase hex"},
	{"match { uri = \"spiffe://corp.example/edge/fra\" }", "",
		"there is no section 'match' in client 'edge-fra'"},
	{"match { uri", "match { uri = \"x:y\" } match { uri = \"x:y\" } match { uri",
		"client 'edge-fra': 'x:y' matches client 'edge-fra' too"},
	{"policy default {", "policy default { } policy default {",
		"found duplicate title 'default'"},
	{"policy default {", "policy Default {", "policy: got 'Default', expected a name"},
	{"policy default {", "log { } log { } policy default {", "section 'log' stands here twice"},
	{"policy default {", "log { level = loud } policy default {",
		"option 'level' in log: got 'loud', expected debug, info, warning or error"},
	{"policy default {", "polici default {", "no such option 'polici'"},
	{"	max_live        = 100000\n}", "	max_live        = 100000\n",
		":43: the file ends before a section does"},
	{"max_live = 100\n}", "max_live = 100\n}\n}", ":43: unexpected closing brace"},
	{"max_live = 100\n}", "max_live = \n}", ":42: unexpected token '}' in client 'edge-fra'"},
	{"max_live = 100\n}", "max_live = 100\n", ":43: the file ends before a section does"},
	{"max_live = 100\n}\n", "max_live = 100\n}\n\"stray", ":43: the string that begins here"},
	{"max_live = 100\n}\n", "max_live = 100\n}\n/* stray", ":43: the comment that begins here"},
	{"max_live = 100\n}\n", "max_live = 100\n}\n'stray\\'", ":43: the string that begins here"},
	{"max_live = 100\n}\n", "max_live = 100\n}\nlog|level = debug\n", "no such option 'level'"},
	{"sign1", "sign1\xff", "the file is not UTF-8"},
	{"sign1", "sign1\x01", ":1: a control character (0x01)"},
};

START_TEST(errors)
{
	char *text = with(bad[_i].old, bad[_i].new);
	struct config *c;

	ck_assert_msg(parse(&c, text, strlen(text)) == ERR_FORMAT, "%s", bad[_i].new);
	ck_assert_ptr_null(c);
	ck_assert_msg(strstr(buf_cstr(&complaints), bad[_i].says) != NULL, "for '%s': %s",
		bad[_i].new, (char *)complaints.octets);
	free(text);
}
END_TEST

START_TEST(all_errors_at_once)
{
	struct config *c;
	const char text[] = "node = A\norigin = \"\"\nledger = \"x\"\n";

	ck_assert_int_eq(parse(&c, text, sizeof text - 1), ERR_FORMAT);
	ck_assert_str_eq(buf_cstr(&complaints),
		"/etc/dcsign/dcsignd.conf:1: option 'node': got 'A', expected a name: 1 to 64 of "
		"a-z, 0-9 and -\n"
		"/etc/dcsign/dcsignd.conf:2: option 'origin': got '', expected a globally unique "
		"name of 1 to 128 visible ASCII characters without +, such as a domain name\n"
		"/etc/dcsign/dcsignd.conf:3: option 'ledger': got 'x', expected sqlite:PATH or "
		"postgresql://...\n"
		"/etc/dcsign/dcsignd.conf:4: there is no section 'listen'\n"
		"/etc/dcsign/dcsignd.conf:4: there is no section 'token'\n"
		"/etc/dcsign/dcsignd.conf:4: there is no section 'policy'\n"
		"/etc/dcsign/dcsignd.conf:4: there is no section 'key'\n"
		"/etc/dcsign/dcsignd.conf:4: there is no section 'client'\n");
}
END_TEST

START_TEST(a_nul)
{
	struct config *c;
	const char text[] = "node = a\0\n";

	ck_assert_int_eq(parse(&c, text, sizeof text - 1), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&complaints), ":1: a control character (0x00)"));
}
END_TEST

/* What the example does not show. */
static const struct {
	const char *old, *new;
} good[] = {
	{"node   = sign1", "# ünï\n// c\n/* d\n* e */ node = 'sign1'"},
	{"0.0.0.0:8443", "[::]:0"},
	{"certificate = { \"www.pem\" }", "certificate = www.pem"},
	{"certificate = { \"www.pem\" }", "certificate = { \"www.pem\", \"new.pem\" }"},
	{"monitor = \"127.0.0.1:9464\"\n", ""},
	{"sqlite:/var/lib/dcsign/ledger.db", "postgresql://db.example/dcsign?sslmode=verify-full"},
	{"pkcs11:token=dcsign", "pkcs11:serial=12ab;token=dc%20sign"},
	{"file:/etc/dcsign/pin", "credential:pin"},
	{"file:/etc/dcsign/pin", "fd:5"},
	{"sign_timeout = 2s", "sign_timeout = 500ms module_args = 'a=b' environment = { \"A=b\" }"},
	{"ecdsa_secp521r1_sha512", "ed25519"},
	{"rate     = 10/s", "rate = 1000/h"},
	{"may      = { issue }", "may = { issue, read, hold, release }"},
	{"match { uri", "match { cn = edge } match { peer_uid = 0 } match { uri"},
	{"policy default {", "policy narrow { } policy default {"},
	{"policy default {",
		"checkpoint { key = \"k\" every = 10 interval = 1m file = f } limits { "
		"max_lifetime = 1d queue = 5 connections_per_address = 0 } users { api = 1 hsm = 2 "
		"ledger = 3 } log { format = json level = debug } policy default {"},
	{"policy default {",
		"listen \"unix:/run/x\" { } single_user = yes require_clock_sync = no policy "
		"default {"},
};

START_TEST(more_that_is_good)
{
	char *text = with(good[_i].old, good[_i].new);
	struct config *c;

	ck_assert_msg(parse(&c, text, strlen(text)) == ERR_OK, "for '%s': %s", good[_i].new,
		buf_cstr(&complaints));
	config_unref(c);
	free(text);
}
END_TEST

/* What comes out of the text goes through the bundle unchanged. */
START_TEST(through_the_bundle)
{
	struct config *c, *back;
	struct buf one = BUF_INIT(CONFIG_BUNDLE_MAX), two = BUF_INIT(CONFIG_BUNDLE_MAX);

	ck_assert_int_eq(parse(&c, whole, sizeof whole - 1), ERR_OK);
	ck_assert_int_eq(config_encode(&one, c), ERR_OK);
	ck_assert_int_eq(config_decode(&back, one.octets, one.len), ERR_OK);
	ck_assert_int_eq(config_encode(&two, back), ERR_OK);
	ck_assert_uint_eq(one.len, two.len);
	ck_assert_mem_eq(one.octets, two.octets, one.len);
	config_unref(c);
	config_unref(back);
	buf_free(&one);
	buf_free(&two);
}
END_TEST

/* A failed reading leaves nothing behind that the next one sees. */
START_TEST(after_an_error)
{
	struct config *c;

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		char *text = with(bad[i].old, bad[i].new);

		ck_assert_int_eq(parse(&c, text, strlen(text)), ERR_FORMAT);
		free(text);
		ck_assert_int_eq(parse(&c, whole, sizeof whole - 1), ERR_OK);
		config_unref(c);
	}
}
END_TEST

/* The sample is right but for the files that it names. */
START_TEST(the_sample)
{
	const char *top = getenv("TOP_SRCDIR");
	struct buf path = BUF_INIT(4096), text = BUF_INIT(1 << 20);
	struct config *c;
	FILE *f;
	int ch;

	buf_printf(&path, "%s/src/dcsignd.conf.example", top != NULL ? top : ".");
	f = fopen(buf_cstr(&path), "r");
	ck_assert_msg(f != NULL, "%s", (char *)path.octets);
	while ((ch = getc(f)) != EOF)
		buf_u8(&text, (uint8_t)ch);
	fclose(f);
	ck_assert_msg(
		parse(&c, (char *)text.octets, text.len) == ERR_OK, "%s", buf_cstr(&complaints));
	config_unref(c);
	buf_free(&path);
	buf_free(&text);
}
END_TEST

static void teardown(void)
{
	buf_free(&complaints);
}

int main(void)
{
	Suite *s = suite_create("conffile");
	TCase *t = tcase_create("conffile");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, NULL, teardown);
	tcase_add_test(t, the_manual);
	tcase_add_loop_test(t, errors, 0, (int)(sizeof bad / sizeof bad[0]));
	tcase_add_test(t, all_errors_at_once);
	tcase_add_test(t, a_nul);
	tcase_add_loop_test(t, more_that_is_good, 0, (int)(sizeof good / sizeof good[0]));
	tcase_add_test(t, through_the_bundle);
	tcase_add_test(t, after_an_error);
	tcase_add_test(t, the_sample);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
