#include "deadline.h"

#include <string.h>

#include "token.h"

void deadline_init(struct deadline *d, int64_t at)
{
	d->at = at;
	d->answered = false;
	pthread_mutex_init(&d->lock, NULL);
	for (size_t i = 0; i < MSG_ITEMS; i++)
		d->otherwise[i] = ERR_TIMEOUT;
	memset(d->signing, 0, sizeof d->signing);
}

void deadline_destroy(struct deadline *d)
{
	pthread_mutex_destroy(&d->lock);
}

void deadline_otherwise(struct deadline *d, size_t i, enum err e)
{
	pthread_mutex_lock(&d->lock);
	d->otherwise[i] = e;
	pthread_mutex_unlock(&d->lock);
}

void deadline_signing(struct deadline *d, size_t i, const struct attempt *attempt)
{
	pthread_mutex_lock(&d->lock);
	d->signing[i] = attempt;
	pthread_mutex_unlock(&d->lock);
}

bool deadline_unanswered(struct deadline *d, size_t i, struct attempt *attempt)
{
	bool any;

	pthread_mutex_lock(&d->lock);
	any = d->signing[i] != NULL;
	if (any)
		*attempt = *d->signing[i];
	pthread_mutex_unlock(&d->lock);
	return any;
}

enum err deadline_said(struct deadline *d, size_t i)
{
	enum err e;

	pthread_mutex_lock(&d->lock);
	e = d->otherwise[i];
	pthread_mutex_unlock(&d->lock);
	return e;
}

bool deadline_passed(struct deadline *d)
{
	bool passed;

	pthread_mutex_lock(&d->lock);
	passed = d->answered || monotonic_ms() >= d->at;
	pthread_mutex_unlock(&d->lock);
	return passed;
}

bool deadline_answered(struct deadline *d)
{
	bool answered;

	pthread_mutex_lock(&d->lock);
	answered = d->answered;
	pthread_mutex_unlock(&d->lock);
	return answered;
}

bool deadline_claim(struct deadline *d)
{
	bool first;

	pthread_mutex_lock(&d->lock);
	first = !d->answered;
	d->answered = true;
	pthread_mutex_unlock(&d->lock);
	return first;
}
