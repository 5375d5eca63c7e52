#include "peer.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_LEN 1024

void peer_sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE])
{
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, octets, len, out) != 0)
		abort(); /* as src/digest.c */
}

static enum err read_serial(struct x509 *x, gnutls_x509_crt_t certificate)
{
	uint8_t raw[(sizeof(x->serial) - 1) / 2];
	size_t len = sizeof(raw), skip = 0;

	if (gnutls_x509_crt_get_serial(certificate, raw, &len) != 0 || len == 0)
		return ERR_CERT_MALFORMED;
	while (skip + 1 < len && raw[skip] == 0)
		skip++;
	hex_encode(x->serial, raw + skip, len - skip);
	return ERR_OK;
}

enum err x509_read(struct x509 *x, gnutls_x509_crt_t certificate)
{
	gnutls_datum_t der = {NULL, 0}, dn = {NULL, 0};
	size_t len = sizeof(x->spki_sha256);
	enum err err = ERR_CERT_MALFORMED;

	memset(x, 0, sizeof(*x));
	if (gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_DER, &der) != 0)
		return ERR_NOMEM;
	peer_sha256(der.data, der.size, x->sha256);
	if (gnutls_x509_crt_get_key_id(
		    certificate, GNUTLS_KEYID_USE_SHA256, x->spki_sha256, &len) != 0 ||
		len != sizeof(x->spki_sha256))
		goto out;
	if (gnutls_x509_crt_get_dn3(certificate, &dn, 0) == 0 && dn.data != NULL)
		snprintf(x->subject, sizeof(x->subject), "%.*s", (int)dn.size, (char *)dn.data);
	x->not_before = gnutls_x509_crt_get_activation_time(certificate);
	x->not_after = gnutls_x509_crt_get_expiration_time(certificate);
	if (x->not_before == -1 || x->not_after == -1)
		goto out;
	err = read_serial(x, certificate);
out:
	gnutls_free(dn.data);
	gnutls_free(der.data);
	return err;
}

static enum err add_name(struct peer *peer, enum match_kind kind, const char *value, size_t len)
{
	if (len == 0 || !utf8_valid((const uint8_t *)value, len))
		return ERR_CERT_MALFORMED;
	if (peer->name_count == PEER_NAMES)
		return ERR_CERT_MALFORMED;
	peer->name[peer->name_count].kind = kind;
	peer->name[peer->name_count].value = strndup(value, len);
	if (peer->name[peer->name_count].value == NULL)
		return ERR_NOMEM;
	peer->name_count++;
	return ERR_OK;
}

static enum err read_alternative_names(struct peer *peer, gnutls_x509_crt_t certificate)
{
	char value[NAME_MAX_LEN];
	size_t len;
	enum err err = ERR_OK;

	for (unsigned i = 0; err == ERR_OK; i++) {
		len = sizeof(value);
		int type = gnutls_x509_crt_get_subject_alt_name(certificate, i, value, &len, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			return ERR_OK;
		if (type < 0)
			return ERR_CERT_MALFORMED;
		if (type == GNUTLS_SAN_URI)
			err = add_name(peer, MATCH_URI, value, len);
		else if (type == GNUTLS_SAN_DNSNAME)
			err = add_name(peer, MATCH_DNS, value, len);
	}
	return err;
}

static enum err read_common_name(struct peer *peer, gnutls_x509_crt_t certificate)
{
	char value[NAME_MAX_LEN], second[NAME_MAX_LEN];
	size_t len = sizeof(value), second_len = sizeof(second);
	int rc = gnutls_x509_crt_get_dn_by_oid(
		certificate, GNUTLS_OID_X520_COMMON_NAME, 0, 0, value, &len);

	if (rc == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ERR_OK;
	if (rc != 0)
		return ERR_CERT_MALFORMED;
	rc = gnutls_x509_crt_get_dn_by_oid(
		certificate, GNUTLS_OID_X520_COMMON_NAME, 1, 0, second, &second_len);
	if (rc != GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
		return ERR_OK;
	return add_name(peer, MATCH_CN, value, len);
}

enum err peer_read(struct peer *peer, gnutls_x509_crt_t certificate)
{
	enum err err;

	peer->has_certificate = true;
	peer->name_count = 0;
	err = x509_read(&peer->x509, certificate);
	if (err == ERR_OK)
		err = read_alternative_names(peer, certificate);
	if (err == ERR_OK)
		err = read_common_name(peer, certificate);
	if (err != ERR_OK)
		peer_free(peer);
	return err;
}

void peer_free(struct peer *peer)
{
	for (size_t i = 0; i < peer->name_count; i++)
		free(peer->name[i].value);
	peer->name_count = 0;
}

struct peer_index {
	size_t count;
	struct place {
		const struct config_match *match;
		const struct config_client *client;
	} place[];
};

static int compare(const struct config_match *match, enum match_kind kind, const char *value)
{
	if (match->kind != kind)
		return match->kind < kind ? -1 : 1;
	return strcmp(match->value, value);
}

static int compare_places(const void *a, const void *b)
{
	const struct place *one = a, *other = b;

	return compare(one->match, other->match->kind, other->match->value);
}

enum err peer_index_make(struct peer_index **out, const struct config *config)
{
	size_t count = 0;

	for (size_t i = 0; i < config->client_count; i++)
		count += config->client[i].match_count;
	*out = calloc(1, sizeof(**out) + count * sizeof(struct place));
	if (*out == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < config->client_count; i++)
		for (size_t j = 0; j < config->client[i].match_count; j++)
			(*out)->place[(*out)->count++] = (struct place){
				.match = &config->client[i].match[j], .client = &config->client[i]};
	if (count > 0)
		qsort((*out)->place, count, sizeof(struct place), compare_places);
	return ERR_OK;
}

void peer_index_free(struct peer_index *index)
{
	free(index);
}

/* What is looked for: the client that fits, if only one does. */
struct search {
	const struct peer_index *index;
	const struct config_client *found;
	bool several;
};

static void look(struct search *s, enum match_kind kind, const char *value)
{
	const struct place *place = s->index->place;
	size_t low = 0, high = s->index->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(place[middle].match, kind, value) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < s->index->count && compare(place[low].match, kind, value) == 0; low++) {
		if (s->found != NULL && s->found != place[low].client)
			s->several = true;
		s->found = place[low].client;
	}
}

static void look_digest(struct search *s, enum match_kind kind, const uint8_t digest[SHA256_SIZE])
{
	char text[2 * SHA256_SIZE + 1];

	hex_encode(text, digest, SHA256_SIZE);
	look(s, kind, text);
}

static void look_uid(struct search *s, uint32_t uid)
{
	char text[16];

	snprintf(text, sizeof(text), "%lu", (unsigned long)uid);
	look(s, MATCH_PEER_UID, text);
}

const struct config_client *peer_client(
	const struct peer_index *index, const struct peer *peer, bool *ambiguous)
{
	struct search s = {.index = index};

	if (peer->has_certificate) {
		look_digest(&s, MATCH_SHA256, peer->x509.sha256);
		look_digest(&s, MATCH_SPKI_SHA256, peer->x509.spki_sha256);
		for (size_t i = 0; i < peer->name_count; i++)
			look(&s, peer->name[i].kind, peer->name[i].value);
	} else {
		look_uid(&s, peer->uid);
	}
	*ambiguous = s.several;
	return s.several ? NULL : s.found;
}
