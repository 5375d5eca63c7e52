/* The function list of PKCS#11 2.40 as one table. kind: what the first parameter `first` is. */
#ifndef DCSIGN_P11FUNCTIONS_H
#define DCSIGN_P11FUNCTIONS_H

#include <p11-kit/pkcs11.h>

/* clang-format off */

/* Those that p11fault.c wraps by hand. */
#define P11_SPECIAL(X)                                                                             \
	X(C_GetFunctionList) X(C_Initialize) X(C_Finalize) X(C_GetTokenInfo) X(C_OpenSession)      \
	X(C_CloseSession) X(C_CloseAllSessions) X(C_Login) X(C_InitPIN) X(C_SignInit) X(C_Sign) \
	X(C_GenerateKeyPair)

#define MECH CK_MECHANISM *m
#define IN(a) CK_BYTE *a, CK_ULONG a##_len
#define OUT(a) CK_BYTE *a, CK_ULONG *a##_len
#define TEMPLATE(t) CK_ATTRIBUTE *t, CK_ULONG t##_count
#define S CK_SESSION_HANDLE first
#define SLOT CK_SLOT_ID first

/* name, kind, parameters, arguments */
#define P11_PLAIN(X)                                                                               \
	X(C_GetInfo, OF_MODULE, (CK_INFO *info), (info))                                           \
	X(C_GetSlotList, OF_MODULE, (CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *count),         \
		(present, list, count))                                                            \
	X(C_GetSlotInfo, OF_SLOT, (SLOT, CK_SLOT_INFO *info), (first, info))                       \
	X(C_GetMechanismList, OF_SLOT, (SLOT, CK_MECHANISM_TYPE *list, CK_ULONG *count),           \
		(first, list, count))                                                              \
	X(C_GetMechanismInfo, OF_SLOT, (SLOT, CK_MECHANISM_TYPE t, CK_MECHANISM_INFO *info),       \
		(first, t, info))                                                                  \
	X(C_InitToken, OF_SLOT, (SLOT, IN(pin), CK_UTF8CHAR *label), (first, pin, pin_len, label)) \
	X(C_SetPIN, OF_SESSION, (S, IN(old), IN(pin)), (first, old, old_len, pin, pin_len))        \
	X(C_GetSessionInfo, OF_SESSION, (S, CK_SESSION_INFO *info), (first, info))                 \
	X(C_GetOperationState, OF_SESSION, (S, OUT(state)), (first, state, state_len))             \
	X(C_SetOperationState, OF_SESSION,                                                         \
		(S, IN(state), CK_OBJECT_HANDLE enc, CK_OBJECT_HANDLE auth),                       \
		(first, state, state_len, enc, auth))                                              \
	X(C_Logout, OF_SESSION, (S), (first))                                                      \
	X(C_CreateObject, OF_SESSION, (S, TEMPLATE(t), CK_OBJECT_HANDLE *o),                       \
		(first, t, t_count, o))                                                            \
	X(C_CopyObject, OF_SESSION,                                                                \
		(S, CK_OBJECT_HANDLE from, TEMPLATE(t), CK_OBJECT_HANDLE *o),                      \
		(first, from, t, t_count, o))                                                      \
	X(C_DestroyObject, OF_SESSION, (S, CK_OBJECT_HANDLE o), (first, o))                        \
	X(C_GetObjectSize, OF_SESSION, (S, CK_OBJECT_HANDLE o, CK_ULONG *size), (first, o, size))  \
	X(C_GetAttributeValue, OF_SESSION, (S, CK_OBJECT_HANDLE o, TEMPLATE(t)),                   \
		(first, o, t, t_count))                                                            \
	X(C_SetAttributeValue, OF_SESSION, (S, CK_OBJECT_HANDLE o, TEMPLATE(t)),                   \
		(first, o, t, t_count))                                                            \
	X(C_FindObjectsInit, OF_SESSION, (S, TEMPLATE(t)), (first, t, t_count))                    \
	X(C_FindObjects, OF_SESSION, (S, CK_OBJECT_HANDLE *o, CK_ULONG max, CK_ULONG *count),      \
		(first, o, max, count))                                                            \
	X(C_FindObjectsFinal, OF_SESSION, (S), (first))                                            \
	X(C_EncryptInit, OF_SESSION, (S, MECH, CK_OBJECT_HANDLE key), (first, m, key))             \
	X(C_Encrypt, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))                  \
	X(C_EncryptUpdate, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))            \
	X(C_EncryptFinal, OF_SESSION, (S, OUT(a)), (first, a, a_len))                              \
	X(C_DecryptInit, OF_SESSION, (S, MECH, CK_OBJECT_HANDLE key), (first, m, key))             \
	X(C_Decrypt, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))                  \
	X(C_DecryptUpdate, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))            \
	X(C_DecryptFinal, OF_SESSION, (S, OUT(a)), (first, a, a_len))                              \
	X(C_DigestInit, OF_SESSION, (S, MECH), (first, m))                                         \
	X(C_Digest, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))                   \
	X(C_DigestUpdate, OF_SESSION, (S, IN(a)), (first, a, a_len))                               \
	X(C_DigestKey, OF_SESSION, (S, CK_OBJECT_HANDLE key), (first, key))                        \
	X(C_DigestFinal, OF_SESSION, (S, OUT(a)), (first, a, a_len))                               \
	X(C_SignUpdate, OF_SESSION, (S, IN(a)), (first, a, a_len))                                 \
	X(C_SignFinal, OF_SESSION, (S, OUT(a)), (first, a, a_len))                                 \
	X(C_SignRecoverInit, OF_SESSION, (S, MECH, CK_OBJECT_HANDLE key), (first, m, key))         \
	X(C_SignRecover, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))              \
	X(C_VerifyInit, OF_SESSION, (S, MECH, CK_OBJECT_HANDLE key), (first, m, key))              \
	X(C_Verify, OF_SESSION, (S, IN(a), IN(b)), (first, a, a_len, b, b_len))                    \
	X(C_VerifyUpdate, OF_SESSION, (S, IN(a)), (first, a, a_len))                               \
	X(C_VerifyFinal, OF_SESSION, (S, IN(a)), (first, a, a_len))                                \
	X(C_VerifyRecoverInit, OF_SESSION, (S, MECH, CK_OBJECT_HANDLE key), (first, m, key))       \
	X(C_VerifyRecover, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))            \
	X(C_DigestEncryptUpdate, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))      \
	X(C_DecryptDigestUpdate, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))      \
	X(C_SignEncryptUpdate, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))        \
	X(C_DecryptVerifyUpdate, OF_SESSION, (S, IN(a), OUT(b)), (first, a, a_len, b, b_len))      \
	X(C_GenerateKey, OF_SESSION, (S, MECH, TEMPLATE(t), CK_OBJECT_HANDLE *o),                  \
		(first, m, t, t_count, o))                                                         \
	X(C_WrapKey, OF_SESSION, (S, MECH, CK_OBJECT_HANDLE by, CK_OBJECT_HANDLE key, OUT(a)),     \
		(first, m, by, key, a, a_len))                                                     \
	X(C_UnwrapKey, OF_SESSION,                                                                 \
		(S, MECH, CK_OBJECT_HANDLE by, IN(a), TEMPLATE(t), CK_OBJECT_HANDLE *o),           \
		(first, m, by, a, a_len, t, t_count, o))                                           \
	X(C_DeriveKey, OF_SESSION,                                                                 \
		(S, MECH, CK_OBJECT_HANDLE key, TEMPLATE(t), CK_OBJECT_HANDLE *o),                 \
		(first, m, key, t, t_count, o))                                                    \
	X(C_SeedRandom, OF_SESSION, (S, IN(a)), (first, a, a_len))                                 \
	X(C_GenerateRandom, OF_SESSION, (S, IN(a)), (first, a, a_len))                             \
	X(C_GetFunctionStatus, OF_SESSION, (S), (first))                                           \
	X(C_CancelFunction, OF_SESSION, (S), (first))                                              \
	X(C_WaitForSlotEvent, OF_MODULE, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved),       \
		(flags, slot, reserved))

/* clang-format on */

enum kind { OF_MODULE, OF_SLOT, OF_SESSION };

#define P11_ENUM_SPECIAL(name)		   FN_##name,
#define P11_ENUM_PLAIN(name, kind, ps, as) FN_##name,
enum fn { P11_SPECIAL(P11_ENUM_SPECIAL) P11_PLAIN(P11_ENUM_PLAIN) FN_COUNT, FN_ANY = FN_COUNT };

#endif
