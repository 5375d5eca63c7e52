#include "token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 64

static void die(const char *what)
{
	fprintf(stderr, "token: %s\n", what);
	exit(1);
}

void token_pin(char pin[TOKEN_PIN_MAX], const char *pin_file)
{
	FILE *f = fopen(pin_file, "re");

	if (!f || !fgets(pin, TOKEN_PIN_MAX, f))
		die("the PIN file can't be read");
	fclose(f);
	pin[strcspn(pin, "\r\n")] = '\0';
}

void token_open(struct token *t, const char *module, const char *uri)
{
	char *words = getenv("MODULE_ARGS");
	CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK,
		.pReserved = words != NULL && *words != '\0' ? words : NULL};

	t->p11 = p11_kit_module_load(module, P11_KIT_MODULE_UNMANAGED);
	t->uri = p11_kit_uri_new();
	if (!t->p11 || t->p11->C_Initialize(&args) != CKR_OK)
		die("the module can't be loaded");
	if (!t->uri ||
		p11_kit_uri_parse(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, t->uri) != P11_KIT_URI_OK)
		die("the URI can't be parsed");
}

void token_close(struct token *t)
{
	p11_kit_uri_free(t->uri);
	t->p11->C_Finalize(NULL);
	p11_kit_module_release(t->p11);
}

CK_SESSION_HANDLE token_session(struct token *t)
{
	CK_SLOT_ID slots[SLOTS];
	CK_ULONG count = SLOTS;
	CK_SESSION_HANDLE session = CK_INVALID_HANDLE;
	CK_RV rv;

	if (t->p11->C_GetSlotList(CK_TRUE, slots, &count) != CKR_OK)
		die("C_GetSlotList");
	for (CK_ULONG i = 0; i < count; i++) {
		CK_TOKEN_INFO info;

		if (t->p11->C_GetTokenInfo(slots[i], &info) != CKR_OK ||
			!p11_kit_uri_match_token_info(t->uri, &info))
			continue;
		if (t->p11->C_OpenSession(slots[i], CKF_SERIAL_SESSION, NULL, NULL, &session) !=
			CKR_OK)
			die("C_OpenSession");
		rv = t->p11->C_Login(session, CKU_USER, (CK_UTF8CHAR *)t->pin, strlen(t->pin));
		if (rv != CKR_OK && rv != CKR_USER_ALREADY_LOGGED_IN)
			die("C_Login");
		return session;
	}
	die("no token of this URI");
	return 0;
}

CK_OBJECT_HANDLE token_key(struct token *t, CK_SESSION_HANDLE session)
{
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE want[8] = {{CKA_CLASS, &class, sizeof(class)}};
	CK_ULONG wanted = 1, found = 0;
	CK_OBJECT_HANDLE key = CK_INVALID_HANDLE;
	CK_ATTRIBUTE_TYPE named[] = {CKA_LABEL, CKA_ID};

	for (size_t i = 0; i < 2; i++) {
		CK_ATTRIBUTE *a = p11_kit_uri_get_attribute(t->uri, named[i]);

		if (a)
			want[wanted++] = *a;
	}
	if (t->p11->C_FindObjectsInit(session, want, wanted) != CKR_OK ||
		t->p11->C_FindObjects(session, &key, 1, &found) != CKR_OK || found != 1)
		die("no key of this URI");
	t->p11->C_FindObjectsFinal(session);
	return key;
}

CK_ULONG token_sign(struct token *t, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
	const uint8_t digest[32], uint8_t signature[132])
{
	CK_MECHANISM mechanism = {CKM_ECDSA, NULL, 0};
	CK_ULONG len = 132;

	if (t->p11->C_SignInit(session, &mechanism, key) != CKR_OK ||
		t->p11->C_Sign(session, (CK_BYTE *)(uintptr_t)digest, 32, signature, &len) !=
			CKR_OK)
		die("C_Sign (the key must be an EC key)");
	return len;
}
