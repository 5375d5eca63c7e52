/* What the token_*.c files share; nobody else includes it. */
#ifndef DCSIGN_TOKEN_PRIVATE_H
#define DCSIGN_TOKEN_PRIVATE_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <pthread.h>
#include <stdatomic.h>

#include "token.h"
#include "token_gate.h"

typedef struct PKCS11_ctx_st PKCS11_CTX;
typedef struct PKCS11_slot_st PKCS11_SLOT;

struct token {
	PKCS11_CTX *ctx;
	PKCS11_SLOT *slots, *slot; /* slots: as libp11 gave them; slot: ours */
	unsigned slot_count;
	void *module; /* dlopen of the same file: keeps the code mapped */
	CK_FUNCTION_LIST *p11;
	bool own_state; /* p11 was initialised apart from libp11's */
	CK_SLOT_ID slot_id;
	CK_TOKEN_INFO info;
	struct token_facts facts;

	pthread_mutex_t keeper_lock; /* the keeper session serves one call at a time */
	CK_SESSION_HANDLE keeper;
	CK_OBJECT_HANDLE any_key; /* that token_probe found; CK_INVALID_HANDLE: none yet */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t freed;
	struct token_session *session; /* limit of them */
	unsigned limit;
	unsigned cap;	   /* so many can be open: less than limit when the token said so */
	int64_t cap_until; /* monotonic_ms: then more are tried again */
	bool lost;
	struct gate gate;
	_Atomic int64_t keeper_since; /* monotonic_ms when the keeper's call began; 0: none */
};

struct token_session {
	struct token *token;
	CK_SESSION_HANDLE handle; /* CK_INVALID_HANDLE: closed */
	bool in_use;
	bool tried;	       /* a signature was made on it: it is not fresh any more */
	bool failed;	       /* to be closed */
	int64_t until;	       /* nothing is begun on it later */
	_Atomic int64_t since; /* as keeper_since */
};

/* The keeper session serves one call at a time. */
void keeper_lock(struct token *t);
void keeper_unlock(struct token *t);
/* Closes what nobody uses: after an error of one, the others are doubtful too. */
void sessions_drop(struct token *t);

/* Parses and checks; *out is freed with p11_kit_uri_free. */
enum err uri_parse(P11KitUri **out, const char *text, bool of_key, struct refusal *why);
/* The template that finds the key; attributes borrowed from uri. Room for 3. */
CK_ULONG uri_template(P11KitUri *uri, CK_OBJECT_CLASS *object_class, CK_ATTRIBUTE out[3]);

/* ERR_TOKEN with the call's name and the text of rv. */
enum err token_refuse(struct refusal *why, const char *call, CK_RV rv);
void token_set_lost(struct token *t);

/* One attribute of an object on the keeper session (the caller holds keeper_lock): CKR_OK and its
 * length, else as C_GetAttributeValue. */
CK_RV attribute_read(struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value,
	size_t size, size_t *len);
/* keeper_since begins anew: the call before has come back. */
void keeper_touch(struct token *t);
/* Handles of the private keys that match, at most two. */
CK_ULONG index_find(const struct token_index *x, const CK_ATTRIBUTE *template, CK_ULONG n,
	CK_OBJECT_HANDLE found[2]);
/* Handles of the objects that match, at most max. */
enum err objects_find(struct token *t, CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *out,
	CK_ULONG max, CK_ULONG *count, struct refusal *why);

/* The mechanism for a key type: the only one that is used and that a key should be limited to. */
CK_MECHANISM_TYPE mechanism_for(enum key_type type);

/* EC curves by key type: the DER of CKA_EC_PARAMS. NULL when it is not such a type. */
struct token_curve {
	enum key_type type;
	CK_KEY_TYPE key_type;
	const uint8_t *params;
	size_t params_len;
	size_t signature_len; /* raw */
};
const struct token_curve *curve_of_type(enum key_type type);
const struct token_curve *curve_of_params(CK_KEY_TYPE key_type, const uint8_t *params, size_t len);

#endif
