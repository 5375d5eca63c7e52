#include "pubkey_curves.h"

#include <openssl/obj_mac.h>
#include <pthread.h>

static struct curve {
	enum key_type key;
	int nid;
	size_t order;
	EC_GROUP *group;
} curves[] = {
	{KEY_EC_P256, NID_X9_62_prime256v1, 32, NULL},
	{KEY_EC_P384, NID_secp384r1, 48, NULL},
	{KEY_EC_P521, NID_secp521r1, 66, NULL},
	{KEY_BP256, NID_brainpoolP256r1, 32, NULL},
	{KEY_BP384, NID_brainpoolP384r1, 48, NULL},
	{KEY_BP512, NID_brainpoolP512r1, 64, NULL},
};

static const struct curve *curve_of(enum key_type key)
{
	for (unsigned i = 0; i < sizeof curves / sizeof *curves; i++)
		if (curves[i].key == key)
			return &curves[i];
	return NULL;
}

static void make(void)
{
	for (unsigned i = 0; i < sizeof curves / sizeof *curves; i++)
		curves[i].group = EC_GROUP_new_by_curve_name(curves[i].nid);
}

size_t pubkey_order(enum key_type key)
{
	const struct curve *c = curve_of(key);

	return c == NULL ? 0 : c->order;
}

const EC_GROUP *pubkey_curve(enum key_type key)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const struct curve *c = curve_of(key);

	pthread_once(&once, make);
	return c == NULL ? NULL : c->group;
}
