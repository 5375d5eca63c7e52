/* A PKCS#11 module, its token and one private key in it, as the bench uses them raw. Every failure
 * ends the program with a line that says what failed. */
#ifndef DCSIGN_BENCH_TOKEN_H
#define DCSIGN_BENCH_TOKEN_H

#include <p11-kit/p11-kit.h>
#include <p11-kit/pkcs11.h>
#include <p11-kit/uri.h>
#include <stdint.h>

#define TOKEN_PIN_MAX 256

struct token {
	CK_FUNCTION_LIST *p11;
	P11KitUri *uri;
	char pin[TOKEN_PIN_MAX];
};

/* The first line of pin_file, without its end. */
void token_pin(char pin[TOKEN_PIN_MAX], const char *pin_file);
/* Loads and initializes the module, with MODULE_ARGS of the environment. uri names the key. t->pin
 * must be set. */
void token_open(struct token *t, const char *module, const char *uri);
void token_close(struct token *t);
/* A new session, logged in. */
CK_SESSION_HANDLE token_session(struct token *t);
CK_OBJECT_HANDLE token_key(struct token *t, CK_SESSION_HANDLE session);
/* CKM_ECDSA over a digest of 32 octets; signature has room for 132. Gives the signature's length.
 */
CK_ULONG token_sign(struct token *t, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key,
	const uint8_t digest[32], uint8_t signature[132]);

#endif
