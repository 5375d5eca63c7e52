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

static bool digest_is(const uint8_t digest[SHA256_SIZE], const char *value)
{
	char text[2 * SHA256_SIZE + 1];

	hex_encode(text, digest, SHA256_SIZE);
	return strcmp(text, value) == 0;
}

static bool uid_is(const struct peer *peer, const char *value)
{
	char text[16];

	snprintf(text, sizeof(text), "%lu", (unsigned long)peer->uid);
	return !peer->has_certificate && strcmp(text, value) == 0;
}

static bool has_name(const struct peer *peer, const struct config_match *match)
{
	for (size_t i = 0; i < peer->name_count; i++)
		if (peer->name[i].kind == match->kind &&
			strcmp(peer->name[i].value, match->value) == 0)
			return true;
	return false;
}

static bool matches(const struct peer *peer, const struct config_match *match)
{
	if (match->kind == MATCH_PEER_UID)
		return uid_is(peer, match->value);
	if (!peer->has_certificate)
		return false;
	if (match->kind == MATCH_SHA256)
		return digest_is(peer->x509.sha256, match->value);
	if (match->kind == MATCH_SPKI_SHA256)
		return digest_is(peer->x509.spki_sha256, match->value);
	return has_name(peer, match);
}

const struct config_client *peer_client(
	const struct config *config, const struct peer *peer, bool *ambiguous)
{
	const struct config_client *found = NULL;

	*ambiguous = false;
	for (size_t i = 0; i < config->client_count; i++) {
		const struct config_client *client = &config->client[i];
		bool fits = false;

		for (size_t j = 0; j < client->match_count && !fits; j++)
			fits = matches(peer, &client->match[j]);
		if (fits && found != NULL) {
			*ambiguous = true;
			return NULL;
		}
		if (fits)
			found = client;
	}
	return found;
}
