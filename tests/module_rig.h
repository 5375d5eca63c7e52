/* Tests of a token on the fake module: see fakes/fake_module.h. */
#ifndef DCSIGN_TESTS_MODULE_RIG_H
#define DCSIGN_TESTS_MODULE_RIG_H

#include "fakes/fake_module.h"
#include "token.h"

#define RIG_URI "pkcs11:token=a"

/* What the module answers, and where it lies. */
extern struct fake_module *module;
extern char module_path[4096];
extern struct token *token;

/* One token "a" without keys; nothing fails. */
void rig_setup(void);
/* Closes the token: no session is left open in the module. */
void rig_teardown(void);

/* From now on the call fails with rv, after so many that go well. */
void rig_fails(enum fake_call call, CK_RV rv, unsigned after);
/* As rig_fails, but so many times. */
void rig_fails_times(enum fake_call call, CK_RV rv, unsigned after, unsigned many);
/* Every call goes well again. */
void rig_mended(void);

/* token_open with so many sessions, and all of them in C_Sign at once. */
enum err rig_try_open(const char *uri, unsigned sessions, struct refusal *why);
/* The same, which goes well. */
void rig_open(unsigned sessions);

/* A P-256 key that is as it should be. */
struct fake_object *rig_key(const char *label, const char *id);
struct fake_attribute *rig_attribute(struct fake_object *o, CK_ATTRIBUTE_TYPE type);
/* Its value is these octets from now on. */
void rig_set(struct fake_object *o, CK_ATTRIBUTE_TYPE type, const void *value, CK_ULONG len);
/* It can't be read: C_GetAttributeValue says rv. */
void rig_unread(struct fake_object *o, CK_ATTRIBUTE_TYPE type, CK_RV rv);

#endif
