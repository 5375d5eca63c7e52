/*
 * A PKCS#11 module without a token behind it: it answers what a test has put down, well or badly.
 * fake_module.so, opened by the test with dlopen and by the code under test as its module: one
 * object in one process. Knows no locks: for one thread.
 */
#ifndef DCSIGN_FAKE_MODULE_H
#define DCSIGN_FAKE_MODULE_H

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

enum fake_call {
	FAKE_GET_FUNCTION_LIST,
	FAKE_INITIALIZE,
	FAKE_GET_SLOT_LIST,
	FAKE_GET_TOKEN_INFO,
	FAKE_OPEN_SESSION,
	FAKE_CLOSE_SESSION,
	FAKE_GET_SESSION_INFO,
	FAKE_LOGIN,
	FAKE_FIND_OBJECTS_INIT,
	FAKE_FIND_OBJECTS,
	FAKE_GET_ATTRIBUTE_VALUE,
	FAKE_SIGN_INIT,
	FAKE_SIGN,
	FAKE_CALLS
};

#define FAKE_OBJECTS	4
#define FAKE_ATTRIBUTES 24
#define FAKE_VALUE	600

struct fake_attribute {
	CK_ATTRIBUTE_TYPE type;
	unsigned char value[FAKE_VALUE];
	CK_ULONG len;
	CK_ULONG told; /* the length that it tells; 0: len */
	CK_RV rv;      /* CKR_OK: it can be read */
};

struct fake_object {
	struct fake_attribute attribute[FAKE_ATTRIBUTES];
	CK_ULONG count;
};

struct fake_module {
	struct {
		CK_RV rv;	/* CKR_OK: as it should be */
		unsigned after; /* so many calls go well first */
		unsigned many;	/* and so many fail; 0: all */
		unsigned calls; /* up to now */
	} call[FAKE_CALLS];
	CK_ULONG tokens; /* in so many slots, alike but for the label */
	CK_TOKEN_INFO token;
	CK_STATE state;		/* of each session */
	bool one_at_a_time;	/* asked for several attributes it knows none */
	CK_ULONG found_at_once; /* C_FindObjects gives no more; 0: all */
	CK_ULONG signature_len;
	struct fake_object object[FAKE_OBJECTS]; /* handles 1.. */
	CK_ULONG objects;
	CK_ULONG open; /* sessions */
	unsigned logins;
};

#endif
