#define _GNU_SOURCE /* nftw */
#include "p11rig.h"

#include <check.h>
#include <dlfcn.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SOFTHSM "/usr/lib/softhsm/libsofthsm2.so"
#define SO_PIN	"12345678"

static const unsigned char p256[] = {6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7};
static const unsigned char p384[] = {6, 5, 0x2b, 0x81, 4, 0, 0x22};
static const unsigned char ed25519[] = {
	0x13, 12, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'};

const struct rig_kind rig_kinds[] = {
	{"P-256", CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, p256, sizeof p256, 32, 64},
	{"P-384", CKM_EC_KEY_PAIR_GEN, CKM_ECDSA, p384, sizeof p384, 48, 96},
	{"Ed25519", CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EDDSA, ed25519, sizeof ed25519, 700, 64},
	{"RSA-PSS", CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_RSA_PKCS_PSS, NULL, 0, 32, 256},
	{"RSA-PSS-SHA256", CKM_RSA_PKCS_KEY_PAIR_GEN, CKM_SHA256_RSA_PKCS_PSS, NULL, 0, 700, 256},
};
const unsigned rig_kind_count = sizeof rig_kinds / sizeof *rig_kinds;

bool rig_available(void)
{
	return access(SOFTHSM, R_OK) == 0;
}

static void path_of(const struct rig *r, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", r->dir, name);
}

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

void rig_prepare(struct rig *r)
{
	char path[128], text[256];

	memset(r, 0, sizeof *r);
	strcpy(r->dir, "/tmp/p11fault-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(r->dir));
	path_of(r, "tokens", path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	snprintf(text, sizeof text, "directories.tokendir = %s\nlog.level = ERROR\n", path);
	path_of(r, "softhsm2.conf", path);
	write_file(path, text);
	setenv("SOFTHSM2_CONF", path, 1);
	path_of(r, "rules", path);
	setenv("P11FAULT_CONTROL", path, 1);
	path_of(r, "witness", path);
	setenv("P11FAULT_LOG", path, 1);
	unsetenv("P11FAULT_STATE");
	unsetenv("P11FAULT_MODULE");
}

static CK_RV list_of(const char *path, CK_FUNCTION_LIST **list)
{
	void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList get;

	ck_assert_msg(module != NULL, "%s", dlerror());
	*(void **)&get = dlsym(module, "C_GetFunctionList");
	ck_assert_ptr_nonnull(get);
	return get(list);
}

CK_RV rig_list(CK_FUNCTION_LIST **list)
{
	const char *build = getenv("TOP_BUILDDIR");
	char path[512];

	snprintf(path, sizeof path, "%s/tests/faults/p11fault.so", build == NULL ? "." : build);
	return list_of(path, list);
}

void rig_load(struct rig *r)
{
	ck_assert_uint_eq(rig_list(&r->p11), CKR_OK);
	ck_assert_uint_eq(list_of(SOFTHSM, &r->real), CKR_OK);
}

void rig_start(struct rig *r)
{
	CK_SLOT_ID slots[8];
	CK_TOKEN_INFO info;
	CK_ULONG n = 8;

	ck_assert_uint_eq(r->p11->C_Initialize(NULL), CKR_OK);
	ck_assert_uint_eq(r->p11->C_GetSlotList(CK_TRUE, slots, &n), CKR_OK);
	for (CK_ULONG i = 0; i < n; i++) {
		ck_assert_uint_eq(r->real->C_GetTokenInfo(slots[i], &info), CKR_OK);
		r->slot = slots[i];
		if (info.flags & CKF_TOKEN_INITIALIZED)
			break;
	}
	r->session = rig_session(r);
}

static void make_token(struct rig *r)
{
	CK_UTF8CHAR label[32], so[] = SO_PIN, pin[] = RIG_PIN;
	CK_FUNCTION_LIST *p = r->real;
	CK_SESSION_HANDLE s;
	CK_SLOT_ID slot;
	CK_ULONG n = 1;

	memset(label, ' ', sizeof label);
	ck_assert_uint_eq(p->C_Initialize(NULL), CKR_OK);
	ck_assert_uint_eq(p->C_GetSlotList(CK_TRUE, &slot, &n), CKR_OK);
	ck_assert_uint_eq(p->C_InitToken(slot, so, sizeof so - 1, label), CKR_OK);
	ck_assert_uint_eq(
		p->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s),
		CKR_OK);
	ck_assert_uint_eq(p->C_Login(s, CKU_SO, so, sizeof so - 1), CKR_OK);
	ck_assert_uint_eq(p->C_InitPIN(s, pin, sizeof pin - 1), CKR_OK);
	ck_assert_uint_eq(p->C_Finalize(NULL), CKR_OK);
}

void rig_open(struct rig *r)
{
	CK_UTF8CHAR pin[] = RIG_PIN;
	CK_OBJECT_HANDLE pair[2];

	rig_prepare(r);
	rig_load(r);
	make_token(r);
	rig_start(r);
	ck_assert_uint_eq(r->p11->C_Login(r->session, CKU_USER, pin, sizeof pin - 1), CKR_OK);
	rig_generate(r, &rig_kinds[0], pair);
	r->public_key = pair[0];
	r->private_key = pair[1];
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

void rig_remove(struct rig *r)
{
	nftw(r->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void rig_close(struct rig *r)
{
	rig_rules(r, NULL);
	r->p11->C_Finalize(NULL);
	rig_remove(r);
}

void rig_rules(struct rig *r, const char *text)
{
	char path[128], new[128];

	path_of(r, "rules", path);
	path_of(r, "rules.new", new);
	if (text == NULL) {
		unlink(path);
		return;
	}
	write_file(new, text);
	ck_assert_int_eq(rename(new, path), 0);
}

void rig_rules_in_place(struct rig *r, const char *text)
{
	char path[128];

	path_of(r, "rules", path);
	write_file(path, text);
}

const char *rig_witness(struct rig *r)
{
	static char text[1 << 20];
	char path[128];

	path_of(r, "witness", path);
	FILE *f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	size_t len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	ck_assert_uint_lt(len, sizeof text - 1);
	text[len] = '\0';
	return text;
}

unsigned rig_lines(struct rig *r, const char *word, const char *word2)
{
	unsigned n = 0;
	char line[8192];

	for (const char *at = rig_witness(r), *end; (end = strchr(at, '\n')) != NULL;
		at = end + 1) {
		ck_assert_uint_lt((size_t)(end - at), sizeof line - 3);
		snprintf(line, sizeof line, " %.*s ", (int)(end - at), at);
		n += strstr(line, word) != NULL && strstr(line, word2) != NULL;
	}
	return n;
}

CK_SESSION_HANDLE rig_session(struct rig *r)
{
	CK_SESSION_HANDLE s;
	CK_FLAGS flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;

	ck_assert_uint_eq(r->p11->C_OpenSession(r->slot, flags, NULL, NULL, &s), CKR_OK);
	return s;
}

static CK_RV sign(struct rig *r, CK_SESSION_HANDLE s, const struct rig_kind *k,
	CK_OBJECT_HANDLE key, unsigned char octet, unsigned char *sig, CK_ULONG *len)
{
	CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
	CK_MECHANISM m = {
		k->sign, k->params == NULL ? &pss : NULL, k->params == NULL ? sizeof pss : 0};
	unsigned char in[1024];
	CK_RV rv = r->p11->C_SignInit(s, &m, key);

	memset(in, octet, k->input_len);
	*len = k->signature_len;
	return rv != CKR_OK ? rv : r->p11->C_Sign(s, in, k->input_len, sig, len);
}

CK_RV rig_sign(
	struct rig *r, CK_SESSION_HANDLE s, unsigned char octet, unsigned char *sig, CK_ULONG *len)
{
	return sign(r, s, &rig_kinds[0], r->private_key, octet, sig, len);
}

CK_RV rig_sign_kind(struct rig *r, const struct rig_kind *k, CK_OBJECT_HANDLE key,
	unsigned char octet, unsigned char *sig, CK_ULONG *len)
{
	return sign(r, r->session, k, key, octet, sig, len);
}

bool rig_verify_kind(struct rig *r, const struct rig_kind *k, CK_OBJECT_HANDLE key,
	unsigned char octet, const unsigned char *sig, CK_ULONG len)
{
	CK_RSA_PKCS_PSS_PARAMS pss = {CKM_SHA256, CKG_MGF1_SHA256, 32};
	CK_MECHANISM m = {
		k->sign, k->params == NULL ? &pss : NULL, k->params == NULL ? sizeof pss : 0};
	unsigned char in[1024], copy[1024];
	CK_SESSION_HANDLE s;
	CK_RV rv;

	memset(in, octet, k->input_len);
	memcpy(copy, sig, len);
	ck_assert_uint_eq(
		r->real->C_OpenSession(r->slot, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_OK);
	ck_assert_uint_eq(r->real->C_VerifyInit(s, &m, key), CKR_OK);
	rv = r->real->C_Verify(s, in, k->input_len, copy, len);
	ck_assert_uint_eq(r->real->C_CloseSession(s), CKR_OK);
	return rv == CKR_OK;
}

bool rig_verify(struct rig *r, unsigned char octet, const unsigned char *sig, CK_ULONG len)
{
	return rig_verify_kind(r, &rig_kinds[0], r->public_key, octet, sig, len);
}

void rig_generate(struct rig *r, const struct rig_kind *k, CK_OBJECT_HANDLE pair[2])
{
	unsigned char params[16], exponent[] = {1, 0, 1};
	CK_BBOOL yes = CK_TRUE;
	CK_ULONG bits = 2048;
	CK_MECHANISM m = {k->generate, NULL, 0};
	CK_ATTRIBUTE of_ec[] = {
		{CKA_EC_PARAMS, params, k->params_len}, {CKA_VERIFY, &yes, sizeof yes}};
	CK_ATTRIBUTE of_rsa[] = {{CKA_MODULUS_BITS, &bits, sizeof bits},
		{CKA_PUBLIC_EXPONENT, exponent, sizeof exponent}, {CKA_VERIFY, &yes, sizeof yes}};
	CK_ATTRIBUTE private[] = {{CKA_SIGN, &yes, sizeof yes}, {CKA_TOKEN, &yes, sizeof yes}};

	if (k->params != NULL)
		memcpy(params, k->params, k->params_len);
	ck_assert_uint_eq(
		r->p11->C_GenerateKeyPair(r->session, &m, k->params == NULL ? of_rsa : of_ec,
			k->params == NULL ? 3 : 2, private, 2, &pair[0], &pair[1]),
		CKR_OK);
}
