/*
 * A SoftHSM token of one test, seen through p11fault.so: its own folder, rule file and witness.
 * Everything ends the test when it fails.
 */
#ifndef DCSIGN_P11RIG_H
#define DCSIGN_P11RIG_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>
#include <stddef.h>

#define RIG_PIN "749-wrong-is-worse"

struct rig {
	char dir[64];
	CK_FUNCTION_LIST *p11;	/* through p11fault.so */
	CK_FUNCTION_LIST *real; /* SoftHSM itself, initialised and logged in by way of p11 */
	CK_SLOT_ID slot;
	CK_SESSION_HANDLE session;
	CK_OBJECT_HANDLE private_key, public_key; /* P-256 */
};

bool rig_available(void); /* is SoftHSM installed? */
/* Makes folder and token, loads the module, logs in, makes a key. */
void rig_open(struct rig *r);
void rig_close(struct rig *r);
/* Only folder and environment; the module is not loaded yet. */
void rig_prepare(struct rig *r);
void rig_remove(struct rig *r);
/* Loads the module and makes r->p11; C_Initialize is left to the caller. */
void rig_load(struct rig *r);
/* What C_GetFunctionList of p11fault.so says. */
CK_RV rig_list(CK_FUNCTION_LIST **list);
/* C_Initialize, the slot of the token, a session. No login. */
void rig_start(struct rig *r);

/* Replaces the rules (rename). NULL: no rule file. */
void rig_rules(struct rig *r, const char *text);
/* The same, written over the old file. */
void rig_rules_in_place(struct rig *r, const char *text);

/* The witness as one text, borrowed until the next call; lines that hold all of these words. */
const char *rig_witness(struct rig *r);
unsigned rig_lines(struct rig *r, const char *word, const char *word2);

CK_SESSION_HANDLE rig_session(struct rig *r);
/* C_SignInit and C_Sign of 32 octets that are all `octet`, with the P-256 key. sig: 64 octets. */
CK_RV rig_sign(
	struct rig *r, CK_SESSION_HANDLE s, unsigned char octet, unsigned char *sig, CK_ULONG *len);
/* Does the module itself take this signature for those octets? */
bool rig_verify(struct rig *r, unsigned char octet, const unsigned char *sig, CK_ULONG len);
/* A key pair of another type, and one signature with it; what C_Verify says of it. */
struct rig_kind {
	const char *name;
	CK_MECHANISM_TYPE generate, sign;
	const unsigned char *params; /* EC_PARAMS; NULL: RSA-2048 */
	size_t params_len;
	size_t input_len, signature_len;
};
extern const struct rig_kind rig_kinds[];
extern const unsigned rig_kind_count;
void rig_generate(struct rig *r, const struct rig_kind *k, CK_OBJECT_HANDLE pair[2]);
CK_RV rig_sign_kind(struct rig *r, const struct rig_kind *k, CK_OBJECT_HANDLE key,
	unsigned char octet, unsigned char *sig, CK_ULONG *len);
bool rig_verify_kind(struct rig *r, const struct rig_kind *k, CK_OBJECT_HANDLE key,
	unsigned char octet, const unsigned char *sig, CK_ULONG len);

#endif
