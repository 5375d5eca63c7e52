#include "snapshot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "pem.h"

#define PEM_MAX (1u << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct snapshot *current;

static void set_etag(struct chain *chain)
{
	uint8_t digest[SHA256_SIZE];

	peer_sha256(chain->pem, chain->pem_len, digest);
	chain->etag[0] = '"';
	hex_encode(chain->etag + 1, digest, sizeof(digest));
	strcat(chain->etag, "\"");
}

static enum err chain_pem(struct chain *chain, gnutls_x509_crt_t *list, unsigned count)
{
	struct buf pem = BUF_INIT(PEM_MAX);
	gnutls_datum_t der;

	for (unsigned i = 0; i < count; i++) {
		if (gnutls_x509_crt_export2(list[i], GNUTLS_X509_FMT_DER, &der) != 0) {
			buf_free(&pem);
			return ERR_NOMEM;
		}
		pem_encode(&pem, "CERTIFICATE", der.data, der.size);
		gnutls_free(der.data);
	}
	if (buf_cstr(&pem) == NULL) {
		buf_free(&pem);
		return pem.err;
	}
	chain->pem = (char *)pem.octets;
	chain->pem_len = pem.len;
	set_etag(chain);
	return ERR_OK;
}

static enum err load_chain(struct chain *chain, const struct config_key *key,
	const struct config_file *file, struct refusal *why)
{
	gnutls_datum_t octets = {file->octets, (unsigned)file->len};
	gnutls_x509_crt_t *list = NULL;
	unsigned count = 0;
	enum err err;

	int rc = gnutls_x509_crt_list_import2(&list, &count, &octets, GNUTLS_X509_FMT_PEM, 0);

	if (rc < 0 || count == 0)
		return refuse(why, ERR_CERT_MALFORMED, "certificate", "key %s: %s: %s", key->name,
			file->path, rc < 0 ? gnutls_strerror(rc) : "no certificate in it");
	err = x509_read(&chain->leaf, list[0]);
	if (err == ERR_OK)
		err = chain_pem(chain, list, count);
	if (err != ERR_OK)
		refuse(why, err, "certificate", "key %s: %s: %s", key->name, file->path,
			err_text(err));
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(list[i]);
	gnutls_free(list);
	return err;
}

static enum err load_chains(struct snapshot *s, struct refusal *why)
{
	const struct config *config = s->config;
	size_t total = 0;
	enum err err = ERR_OK;

	for (size_t i = 0; i < config->key_count; i++)
		total += config->key[i].certificate_count;
	s->chain = calloc(total + 1, sizeof(*s->chain));
	s->first = calloc(config->key_count + 1, sizeof(*s->first));
	if (s->chain == NULL || s->first == NULL)
		return refuse(why, ERR_NOMEM, "", "too many certificates");
	for (size_t i = 0; i < config->key_count; i++) {
		s->first[i] = s->chain_count;
		for (size_t j = 0; j < config->key[i].certificate_count && err == ERR_OK; j++)
			err = load_chain(&s->chain[s->chain_count++], &config->key[i],
				&config->key[i].certificate[j], why);
	}
	return err;
}

static enum err load_listeners(
	struct snapshot *s, const struct child_secrets *secrets, int64_t now, struct refusal *why)
{
	const struct config *config = s->config;
	size_t nth_key = 0;
	enum err err = ERR_OK;

	s->tls = calloc(config->listen_count + 1, sizeof(struct tls *));
	if (s->tls == NULL)
		return refuse(why, ERR_NOMEM, "listen", "too many");
	for (size_t i = 0; i < config->listen_count && err == ERR_OK; i++)
		if (!config->listen[i].is_unix)
			err = tls_load(&s->tls[i], &config->listen[i],
				child_secret(secrets, "tls_key", nth_key++), now, why);
	return err;
}

enum err snapshot_make(struct snapshot **out, struct config *config,
	const struct child_secrets *secrets, int64_t now, struct refusal *why)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	enum err err;

	*out = NULL;
	if (s == NULL)
		return refuse(why, ERR_NOMEM, "", "no memory for a configuration");
	s->references = 1;
	s->config = config_ref(config);
	err = peer_index_make(&s->peers, config);
	if (err != ERR_OK)
		refuse(why, err, "client", "too many");
	if (err == ERR_OK)
		err = load_listeners(s, secrets, now, why);
	if (err == ERR_OK)
		err = load_chains(s, why);
	if (err != ERR_OK) {
		snapshot_unref(s);
		return err;
	}
	*out = s;
	return ERR_OK;
}

struct snapshot *snapshot_ref(struct snapshot *s)
{
	__atomic_add_fetch(&s->references, 1, __ATOMIC_RELAXED);
	return s;
}

void snapshot_unref(struct snapshot *s)
{
	if (s == NULL || __atomic_sub_fetch(&s->references, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (size_t i = 0; s->tls != NULL && i < s->config->listen_count; i++)
		tls_free(s->tls[i]);
	free(s->tls);
	for (size_t i = 0; i < s->chain_count; i++)
		free(s->chain[i].pem);
	free(s->chain);
	free(s->first);
	peer_index_free(s->peers);
	config_unref(s->config);
	free(s);
}

const struct chain *snapshot_chain(
	const struct snapshot *s, const struct config_key *key, const uint8_t sha256[SHA256_SIZE])
{
	const struct chain *chain = s->chain + s->first[key - s->config->key];

	if (sha256 == NULL)
		return key->certificate_count == 1 ? chain : NULL;
	for (size_t i = 0; i < key->certificate_count; i++)
		if (memcmp(chain[i].leaf.sha256, sha256, SHA256_SIZE) == 0)
			return &chain[i];
	return NULL;
}

struct snapshot *snapshot_current(void)
{
	struct snapshot *s;

	pthread_mutex_lock(&lock);
	s = current != NULL ? snapshot_ref(current) : NULL;
	pthread_mutex_unlock(&lock);
	return s;
}

void snapshot_publish(struct snapshot *s)
{
	struct snapshot *old;

	pthread_mutex_lock(&lock);
	old = current;
	current = s;
	pthread_mutex_unlock(&lock);
	snapshot_unref(old);
}
