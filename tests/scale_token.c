/* Makes COUNT P-256 delegation keys in the token "demo" of SoftHSM and a certificate for each:
 * DIR/kNNNN.pem, and their sections in DIR/keys.conf. COUNT 0: logs in, finds all
 * private keys, reads what has to be known of each, signs once with each, and prints what the
 * module alone takes for that: kb, the memory before it signs, and milliseconds: of work (open find
 * attributes sign, cpu: all), and of the clock (wall). usage: scale_token DIR COUNT PIN-FILE */
#include <check.h>
#include <dlfcn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hsm_fixture.h"

static CK_FUNCTION_LIST *p11;

static void must(CK_RV rv, const char *call)
{
	if (rv == CKR_OK)
		return;
	fprintf(stderr, "scale_token: %s: 0x%lx\n", call, rv);
	exit(1);
}

struct moment { /* milliseconds: of the clock, of this process's work */
	long wall, cpu;
};

static long clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static struct moment moment_now(void)
{
	return (struct moment){clock_ms(CLOCK_MONOTONIC), clock_ms(CLOCK_PROCESS_CPUTIME_ID)};
}

static CK_SESSION_HANDLE session_open(const char *pin_file)
{
	CK_C_GetFunctionList list;
	CK_SLOT_ID slots[8];
	CK_ULONG count = 8;
	CK_SESSION_HANDLE s;
	char pin[128] = "";
	void *module = dlopen(FIXTURE_MODULE, RTLD_NOW);
	FILE *f = fopen(pin_file, "r");

	if (module == NULL || f == NULL || fgets(pin, sizeof pin, f) == NULL)
		exit(1);
	fclose(f);
	pin[strcspn(pin, "\n")] = '\0';
	*(void **)&list = dlsym(module, "C_GetFunctionList");
	must(list(&p11), "C_GetFunctionList");
	must(p11->C_Initialize(NULL), "C_Initialize");
	must(p11->C_GetSlotList(CK_TRUE, slots, &count), "C_GetSlotList");
	must(p11->C_OpenSession(slots[0], CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s),
		"C_OpenSession");
	must(p11->C_Login(s, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
	return s;
}

static EVP_PKEY *key_make(CK_SESSION_HANDLE s, const char *label, unsigned n)
{
	static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	static uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
	uint8_t id[4] = {(uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n};
	CK_MECHANISM_TYPE ecdsa = CKM_ECDSA;
	CK_MECHANISM generation = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
	CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1}, {CKA_EC_PARAMS, p256, sizeof p256},
		{CKA_LABEL, (void *)(uintptr_t)label, strlen(label)}, {CKA_ID, id, sizeof id}};
	CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, 1}, {CKA_PRIVATE, &yes, 1},
		{CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1}, {CKA_SIGN, &yes, 1},
		{CKA_DECRYPT, &no, 1}, {CKA_UNWRAP, &no, 1}, {CKA_SIGN_RECOVER, &no, 1},
		{CKA_DERIVE, &no, 1}, {CKA_MODIFIABLE, &no, 1}, {CKA_COPYABLE, &no, 1},
		{CKA_ALLOWED_MECHANISMS, &ecdsa, sizeof ecdsa},
		{CKA_LABEL, (void *)(uintptr_t)label, strlen(label)}, {CKA_ID, id, sizeof id}};
	CK_OBJECT_HANDLE o, p;
	uint8_t point[128];
	CK_ATTRIBUTE ask = {CKA_EC_POINT, point, sizeof point};
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	EVP_PKEY *key = NULL;
	OSSL_PARAM *params;

	must(p11->C_GenerateKeyPair(s, &generation, public, 4, private, 14, &o, &p),
		"C_GenerateKeyPair");
	must(p11->C_GetAttributeValue(s, o, &ask, 1), "C_GetAttributeValue");
	OSSL_PARAM_BLD_push_utf8_string(b, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0);
	OSSL_PARAM_BLD_push_octet_string(b, OSSL_PKEY_PARAM_PUB_KEY, point + 2, ask.ulValueLen - 2);
	params = OSSL_PARAM_BLD_to_param(b);
	if (EVP_PKEY_fromdata_init(ctx) != 1 ||
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		exit(1);
	OSSL_PARAM_free(params);
	OSSL_PARAM_BLD_free(b);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static long rss_kb(void)
{
	long kb = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "r");

	while (f != NULL && fgets(line, sizeof line, f) != NULL)
		sscanf(line, "VmRSS: %ld", &kb);
	if (f != NULL)
		fclose(f);
	return kb;
}

static CK_ULONG find_all(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *found, CK_ULONG most)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = {CKA_CLASS, &class, sizeof class};
	CK_ULONG n = 1, count = 0;

	must(p11->C_FindObjectsInit(s, &template, 1), "C_FindObjectsInit");
	for (; n > 0 && count < most; count += n)
		must(p11->C_FindObjects(s, found + count, most - count, &n), "C_FindObjects");
	must(p11->C_FindObjectsFinal(s), "C_FindObjectsFinal");
	return count;
}

/* What has to be known of a key that is to be served: its name, its type, what it may do. */
static void read_attributes(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key)
{
	static const CK_ATTRIBUTE_TYPE types[] = {CKA_LABEL, CKA_ID, CKA_KEY_TYPE, CKA_EC_PARAMS,
		CKA_ALLOWED_MECHANISMS, CKA_TOKEN, CKA_PRIVATE, CKA_SIGN, CKA_SENSITIVE,
		CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_DECRYPT,
		CKA_UNWRAP, CKA_DERIVE, CKA_SIGN_RECOVER, CKA_ALWAYS_AUTHENTICATE, CKA_LOCAL,
		CKA_MODIFIABLE, CKA_COPYABLE};
	uint8_t value[sizeof types / sizeof *types][64];
	CK_ATTRIBUTE a[sizeof types / sizeof *types];

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		a[i] = (CK_ATTRIBUTE){types[i], value[i], sizeof value[i]};
	must(p11->C_GetAttributeValue(s, key, a, sizeof types / sizeof *types),
		"C_GetAttributeValue");
}

static int print_floor(CK_SESSION_HANDLE s, struct moment begun)
{
	CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
	static CK_OBJECT_HANDLE found[8192];
	uint8_t hash[32] = {1}, signature[256];
	struct moment opened = moment_now(), listed, known, end;
	CK_ULONG count = find_all(s, found, sizeof found / sizeof *found);
	long kb = rss_kb();

	listed = moment_now();
	for (CK_ULONG i = 0; i < count; i++)
		read_attributes(s, found[i]);
	known = moment_now();
	for (CK_ULONG i = 0; i < count; i++) {
		CK_ULONG len = sizeof signature;

		must(p11->C_SignInit(s, &ecdsa, found[i]), "C_SignInit");
		must(p11->C_Sign(s, hash, sizeof hash, signature, &len), "C_Sign");
	}
	end = moment_now();
	printf("kb=%ld open=%ld find=%ld attributes=%ld sign=%ld cpu=%ld wall=%ld\n", kb,
		opened.cpu - begun.cpu, listed.cpu - opened.cpu, known.cpu - listed.cpu,
		end.cpu - known.cpu, end.cpu - begun.cpu, end.wall - begun.wall);
	return 0;
}

static int make_all(int argc, char **argv)
{
	int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate what = {
		.not_before = now - 1000, .not_after = now + 30 * 86400};
	unsigned count = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
	struct moment begun = moment_now();
	CK_SESSION_HANDLE s;
	char path[512], label[16];
	FILE *conf, *f;

	if (argc != 4)
		return 2;
	s = session_open(argv[3]);
	if (count == 0)
		return print_floor(s, begun);
	snprintf(path, sizeof path, "%s/keys.conf", argv[1]);
	conf = fopen(path, "w");
	for (unsigned n = 0; n < count && conf != NULL; n++) {
		struct buf pem = BUF_INIT(65536);
		EVP_PKEY *key;

		snprintf(label, sizeof label, "k%04u", n);
		key = key_make(s, label, n);
		fixture_certify(&pem, key, &what);
		EVP_PKEY_free(key);
		snprintf(path, sizeof path, "%s/%s.pem", argv[1], label);
		f = fopen(path, "w");
		if (f == NULL || fwrite(pem.octets, 1, pem.len, f) != pem.len || fclose(f) != 0)
			return 1;
		fprintf(conf,
			"key %s {\n\ttoken = main\n\turi = \"pkcs11:object=%s\"\n\tcertificate = { "
			"\"%s\" }\n\tpolicy = default\n}\n",
			label, label, path);
		buf_free(&pem);
	}
	p11->C_Finalize(NULL);
	return conf == NULL || fclose(conf) != 0;
}

static int argument_count, status = 1;
static char **arguments;

/* fixture_certify works inside a test only */
START_TEST(all)
{
	status = make_all(argument_count, arguments);
}
END_TEST

int main(int argc, char **argv)
{
	Suite *s = suite_create("scale_token");
	TCase *c = tcase_create("all");
	SRunner *r = srunner_create(s);

	argument_count = argc;
	arguments = argv;
	tcase_set_timeout(c, 0);
	tcase_add_test(c, all);
	suite_add_tcase(s, c);
	srunner_set_fork_status(r, CK_NOFORK);
	srunner_run_all(r, CK_SILENT);
	srunner_free(r);
	return status;
}
