#include "module_rig.h"

#include <check.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fake_module *module;
char module_path[4096];
struct token *token;
static void *opened;

void rig_setup(void)
{
	const char *build = getenv("TOP_BUILDDIR");

	snprintf(module_path, sizeof module_path, "%s/tests/fakes/fake_module.so",
		build != NULL ? build : ".");
	opened = dlopen(module_path, RTLD_NOW | RTLD_LOCAL);
	ck_assert_msg(opened != NULL, "%s", dlerror());
	module = dlsym(opened, "fake_module");
	ck_assert_ptr_nonnull(module);
	memset(module, 0, sizeof *module);
	module->tokens = 1;
	module->state = CKS_RO_USER_FUNCTIONS;
	module->signature_len = 64;
	module->token.flags = CKF_TOKEN_INITIALIZED;
	memset(module->token.label, ' ', sizeof module->token.label);
	memset(module->token.serialNumber, ' ', sizeof module->token.serialNumber);
	memset(module->token.manufacturerID, ' ', sizeof module->token.manufacturerID);
	memset(module->token.model, ' ', sizeof module->token.model);
	memcpy(module->token.serialNumber, "17", 2);
	rig_mended();
	token = NULL;
}

void rig_teardown(void)
{
	token_close(token);
	token = NULL;
	ck_assert_uint_eq(module->open, 0);
	dlclose(opened);
}

void rig_fails_times(enum fake_call call, CK_RV rv, unsigned after, unsigned many)
{
	module->call[call].rv = rv;
	module->call[call].after = after;
	module->call[call].many = many;
	module->call[call].calls = 0;
}

void rig_fails(enum fake_call call, CK_RV rv, unsigned after)
{
	rig_fails_times(call, rv, after, 0);
}

/* A module is initialised once: by libp11. */
void rig_mended(void)
{
	memset(module->call, 0, sizeof module->call);
	rig_fails(FAKE_INITIALIZE, CKR_CRYPTOKI_ALREADY_INITIALIZED, 1);
}

enum err rig_try_open(const char *uri, unsigned sessions, struct refusal *why)
{
	const struct token_spec spec = {
		.module = module_path, .uri = uri, .sessions = sessions, .concurrency = sessions};

	*why = (struct refusal){.err = ERR_OK};
	return token_open(&token, &spec, why);
}

void rig_open(unsigned sessions)
{
	struct refusal why;

	ck_assert_msg(rig_try_open(RIG_URI, sessions, &why) == ERR_OK, "%s", why.detail);
}

struct fake_attribute *rig_attribute(struct fake_object *o, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; i < o->count; i++)
		if (o->attribute[i].type == type)
			return &o->attribute[i];
	ck_assert_uint_lt(o->count, FAKE_ATTRIBUTES);
	o->attribute[o->count].type = type;
	return &o->attribute[o->count++];
}

void rig_set(struct fake_object *o, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len)
{
	struct fake_attribute *a = rig_attribute(o, type);

	ck_assert_uint_le(len, sizeof a->value);
	memcpy(a->value, value, len);
	a->len = len;
	a->told = 0;
	a->rv = CKR_OK;
}

void rig_unread(struct fake_object *o, CK_ATTRIBUTE_TYPE type, CK_RV rv)
{
	rig_attribute(o, type)->rv = rv;
}

struct fake_object *rig_key(const char *label, const char *id)
{
	static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
	static const CK_ATTRIBUTE_TYPE set[] = {CKA_TOKEN, CKA_PRIVATE, CKA_SIGN, CKA_SENSITIVE,
		CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL};
	static const CK_ATTRIBUTE_TYPE unset[] = {CKA_EXTRACTABLE, CKA_DECRYPT, CKA_UNWRAP,
		CKA_DERIVE, CKA_SIGN_RECOVER, CKA_ALWAYS_AUTHENTICATE, CKA_MODIFIABLE,
		CKA_COPYABLE};
	const CK_OBJECT_CLASS private = CKO_PRIVATE_KEY;
	const CK_KEY_TYPE ec = CKK_EC;
	const CK_MECHANISM_TYPE ecdsa = CKM_ECDSA;
	const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
	struct fake_object *o = &module->object[module->objects];

	ck_assert_uint_lt(module->objects++, FAKE_OBJECTS);
	rig_set(o, CKA_CLASS, &private, sizeof private);
	rig_set(o, CKA_LABEL, label, strlen(label));
	rig_set(o, CKA_ID, id, strlen(id));
	rig_set(o, CKA_KEY_TYPE, &ec, sizeof ec);
	rig_set(o, CKA_EC_PARAMS, p256, sizeof p256);
	rig_set(o, CKA_ALLOWED_MECHANISMS, &ecdsa, sizeof ecdsa);
	for (size_t i = 0; i < sizeof set / sizeof *set; i++)
		rig_set(o, set[i], &yes, sizeof yes);
	for (size_t i = 0; i < sizeof unset / sizeof *unset; i++)
		rig_set(o, unset[i], &no, sizeof no);
	return o;
}
