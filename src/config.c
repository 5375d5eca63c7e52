#include "settings.h"

#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum err config_from_fd(struct config **out, int fd,
	void (*digest)(const void *octets, size_t len, uint8_t out[SHA256_SIZE]))
{
	const int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW;
	int have = fcntl(fd, F_GET_SEALS);
	struct stat st;
	void *octets;
	enum err e;

	*out = NULL;
	if (have < 0 || (have & seals) != seals)
		return ERR_FORMAT;
	if (fstat(fd, &st) != 0)
		return ERR_SYSTEM;
	if (st.st_size < 1 || st.st_size > (off_t)CONFIG_BUNDLE_MAX)
		return ERR_FORMAT;
	octets = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (octets == MAP_FAILED)
		return errno == ENOMEM ? ERR_NOMEM : ERR_SYSTEM;
	e = config_decode(out, octets, (size_t)st.st_size);
	if (e == ERR_OK && digest != NULL)
		digest(octets, (size_t)st.st_size, (*out)->generation);
	munmap(octets, (size_t)st.st_size);
	return e;
}

struct config *config_ref(struct config *c)
{
	__atomic_add_fetch(&c->references, 1, __ATOMIC_RELAXED);
	return c;
}

static int compare_name(const void *name, const void *item)
{
	return strcmp(name, item);
}

#define FIND(what)                                                                                 \
	(c->what##_count == 0                                                                      \
			? NULL                                                                     \
			: bsearch(name, c->what, c->what##_count, sizeof *c->what, compare_name))

const struct config_token *config_token(const struct config *c, const char *name)
{
	return FIND(token);
}

const struct config_key *config_key(const struct config *c, const char *name)
{
	return FIND(key);
}

const struct config_client *config_client(const struct config *c, const char *name)
{
	return FIND(client);
}

const struct policy *config_policy(const struct config *c, const char *name)
{
	return FIND(policy);
}

bool config_client_has_key(const struct config_client *client, const char *name)
{
	size_t low = 0, high = client->key_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, client->keys[middle]);

		if (order == 0)
			return true;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return false;
}

void config_effective_policy(struct policy *out, const struct config *c,
	const struct config_key *key, const struct config_client *client)
{
	const struct policy *own = config_policy(c, key->policy), *narrower = own;

	if (client != NULL && client->policy[0] != '\0')
		narrower = config_policy(c, client->policy);
	if (own == NULL || narrower == NULL) { /* no snapshot is like that; if one were: nothing */
		memset(out, 0, sizeof *out);
		return;
	}
	policy_narrow(out, own, narrower);
	if (out->max_lifetime > c->limits.max_lifetime)
		out->max_lifetime = c->limits.max_lifetime;
}
