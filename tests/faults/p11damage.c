#include <pthread.h>
#include <string.h>

#include "p11fault.h"

#define KEYS 64

/* The last two signatures of a key: whichever is not the one at hand is an older one. */
static struct past {
	CK_OBJECT_HANDLE key;
	CK_ULONG len[2];
	CK_BYTE octets[2][SIGNATURE_MAX];
} pasts[KEYS];
static unsigned next_past;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool damage_fits(const struct call *c)
{
	return !c->skip && c->rv == CKR_OK && c->sig != NULL && *c->sig_len > 0 &&
	       *c->sig_len <= SIGNATURE_MAX;
}

static struct past *past_of(CK_OBJECT_HANDLE key)
{
	for (unsigned i = 0; i < KEYS; i++)
		if (pasts[i].key == key)
			return &pasts[i];
	return NULL;
}

void damage_remember(const struct call *c)
{
	pthread_mutex_lock(&lock);
	struct past *p = past_of(c->op.key);
	if (p == NULL) {
		p = &pasts[next_past++ % KEYS];
		memset(p, 0, sizeof *p);
		p->key = c->op.key;
	}
	p->len[0] = p->len[1];
	memcpy(p->octets[0], p->octets[1], sizeof p->octets[0]);
	p->len[1] = *c->sig_len;
	memcpy(p->octets[1], c->sig, *c->sig_len);
	pthread_mutex_unlock(&lock);
}

/* Under the lock. */
static const CK_BYTE *older(const struct call *c)
{
	const struct past *p = past_of(c->op.key);

	for (unsigned i = 0; p != NULL && i < 2; i++)
		if (p->len[i] == *c->sig_len && memcmp(p->octets[i], c->sig, *c->sig_len) != 0)
			return p->octets[i];
	return NULL;
}

bool damage_replay_fits(const struct call *c)
{
	bool fits;

	if (!damage_fits(c))
		return false;
	pthread_mutex_lock(&lock);
	fits = older(c) != NULL;
	pthread_mutex_unlock(&lock);
	return fits;
}

void damage_replay(struct call *c, const struct applied *a)
{
	(void)a;
	pthread_mutex_lock(&lock);
	const CK_BYTE *octets = older(c);
	if (octets != NULL)
		memcpy(c->sig, octets, *c->sig_len);
	pthread_mutex_unlock(&lock);
}

void damage_flip(struct call *c, const struct applied *a)
{
	uint64_t bit = (a->value == NO_VALUE ? a->nth : a->value) % (8 * *c->sig_len);

	c->sig[bit / 8] ^= (CK_BYTE)(0x80 >> bit % 8);
}

void damage_length(struct call *c, const struct applied *a)
{
	*c->sig_len = a->value;
}

void damage_zero_r(struct call *c, const struct applied *a)
{
	(void)a;
	memset(c->sig, 0, *c->sig_len / 2);
}

void damage_zero_s(struct call *c, const struct applied *a)
{
	(void)a;
	memset(c->sig + *c->sig_len / 2, 0, *c->sig_len / 2);
}

void damage_big_r(struct call *c, const struct applied *a)
{
	(void)a;
	memset(c->sig, 0xff, *c->sig_len / 2);
}

void damage_big_s(struct call *c, const struct applied *a)
{
	(void)a;
	memset(c->sig + *c->sig_len / 2, 0xff, *c->sig_len / 2);
}
