#include "tls.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_FILE_MAX	   65536
#define HANDSHAKE_MESSAGE  65536 /* octets of one handshake message */
#define CLIENT_CHAIN_DEPTH 8

struct tls {
	gnutls_certificate_credentials_t credentials;
	gnutls_x509_crt_t *ca; /* owned, as its members */
	unsigned ca_count;
	bool has_crl;
	int64_t not_after, ca_not_after;
	int64_t next_update;
};

static enum err bad(struct refusal *why, const struct config_file *file, const char *what)
{
	return refuse(why, ERR_FORMAT, "listen", "%s: %s", file->path, what);
}

static gnutls_datum_t datum(const struct config_file *file)
{
	gnutls_datum_t d = {file->octets, (unsigned)file->len};

	return d;
}

static enum err read_key(struct buf *out, int fd)
{
	uint8_t octets[4096];
	ssize_t n;

	for (off_t at = 0; (n = pread(fd, octets, sizeof(octets), at)) > 0; at += n)
		buf_put(out, octets, (size_t)n);
	gnutls_memset(octets, 0, sizeof(octets));
	return n < 0 ? ERR_SYSTEM : out->err;
}

static enum err load_server(
	struct tls *tls, const struct config_listen *listen, int key_fd, struct refusal *why)
{
	struct buf key = BUF_INIT(KEY_FILE_MAX);
	gnutls_datum_t certificate = datum(&listen->certificate), private_key;
	gnutls_x509_crt_t *chain = NULL;
	unsigned count = 0;
	int rc;
	enum err err = ERR_OK;

	rc = gnutls_x509_crt_list_import2(&chain, &count, &certificate, GNUTLS_X509_FMT_PEM,
		GNUTLS_X509_CRT_LIST_FAIL_IF_UNSORTED);
	if (rc < 0)
		return bad(why, &listen->certificate, gnutls_strerror(rc));
	tls->not_after = gnutls_x509_crt_get_expiration_time(chain[0]);
	if (key_fd < 0 || read_key(&key, key_fd) != ERR_OK) {
		err = refuse(why, ERR_FORMAT, "listen", "%s: the private key can't be read",
			listen->private_key);
		goto out;
	}
	private_key.data = key.octets;
	private_key.size = (unsigned)key.len;
	rc = gnutls_certificate_set_x509_key_mem2(
		tls->credentials, &certificate, &private_key, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (rc < 0)
		err = refuse(why, ERR_FORMAT, "listen", "%s with %s: %s", listen->private_key,
			listen->certificate.path, gnutls_strerror(rc));
out:
	buf_wipe(&key);
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	gnutls_free(chain);
	return err;
}

static enum err load_ca(struct tls *tls, const struct config_listen *listen, struct refusal *why)
{
	gnutls_datum_t pem = datum(&listen->client_ca);
	int rc = gnutls_x509_crt_list_import2(
		&tls->ca, &tls->ca_count, &pem, GNUTLS_X509_FMT_PEM, 0);

	if (rc < 0 || tls->ca_count == 0)
		return bad(why, &listen->client_ca,
			rc < 0 ? gnutls_strerror(rc) : "no certificate in it");
	tls->ca_not_after = INT64_MAX;
	for (unsigned i = 0; i < tls->ca_count; i++) {
		int64_t end = gnutls_x509_crt_get_expiration_time(tls->ca[i]);

		if (gnutls_x509_crt_get_ca_status(tls->ca[i], NULL) != 1)
			return bad(why, &listen->client_ca,
				"a certificate in it is not that of a certification authority");
		if (end < tls->ca_not_after)
			tls->ca_not_after = end;
	}
	rc = gnutls_certificate_set_x509_trust_mem(tls->credentials, &pem, GNUTLS_X509_FMT_PEM);
	return rc == (int)tls->ca_count
		       ? ERR_OK
		       : bad(why, &listen->client_ca, "not every certificate in it can be used");
}

/* The CA (index) that signed this list; -1: none. */
static int signer_of(const struct tls *tls, gnutls_x509_crl_t crl)
{
	unsigned status;

	for (unsigned i = 0; i < tls->ca_count; i++)
		if (gnutls_x509_crl_check_issuer(crl, tls->ca[i]) == 1 &&
			gnutls_x509_crl_verify(crl, &tls->ca[i], 1, 0, &status) == 0 && status == 0)
			return (int)i;
	return -1;
}

static enum err take_crl(struct tls *tls, gnutls_x509_crl_t crl, bool *have, int64_t now,
	const struct config_file *file, struct refusal *why)
{
	int64_t next_update = gnutls_x509_crl_get_next_update(crl);
	int issuer, rc;

	if (next_update == -1)
		return bad(why, file, "the revocation list has no nextUpdate");
	if (next_update <= now)
		return bad(
			why, file, "the revocation list is past its nextUpdate: fetch a new one");
	issuer = signer_of(tls, crl);
	if (issuer < 0)
		return bad(why, file,
			"the revocation list is not signed by a certificate of client_ca, or not "
			"valid "
			"yet");
	if (have[issuer])
		return bad(why, file, "a second revocation list of the same authority");
	rc = gnutls_certificate_set_x509_crl(tls->credentials, &crl, 1);
	if (rc < 0)
		return bad(why, file, gnutls_strerror(rc));
	have[issuer] = true;
	if (next_update < tls->next_update)
		tls->next_update = next_update;
	return ERR_OK;
}

static enum err load_crl_file(struct tls *tls, const struct config_file *file, bool *have,
	int64_t now, struct refusal *why)
{
	gnutls_datum_t octets = datum(file);
	gnutls_x509_crl_t *list = NULL;
	unsigned count = 0;
	enum err err = ERR_OK;
	gnutls_x509_crt_fmt_t format = file->len > 0 && file->octets[0] == 0x30
					       ? GNUTLS_X509_FMT_DER
					       : GNUTLS_X509_FMT_PEM;
	int rc = gnutls_x509_crl_list_import2(&list, &count, &octets, format, 0);

	if (rc < 0)
		return bad(why, file, gnutls_strerror(rc));
	if (count == 0)
		err = bad(why, file, "no revocation list in it");
	for (unsigned i = 0; i < count && err == ERR_OK; i++)
		err = take_crl(tls, list[i], have, now, file, why);
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crl_deinit(list[i]);
	gnutls_free(list);
	return err;
}

static enum err load_crls(
	struct tls *tls, const struct config_listen *listen, int64_t now, struct refusal *why)
{
	bool *have;
	enum err err = ERR_OK;

	tls->next_update = INT64_MAX;
	tls->has_crl = listen->client_crl_count > 0;
	if (!tls->has_crl)
		return ERR_OK;
	have = calloc(tls->ca_count, sizeof(*have));
	if (have == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < listen->client_crl_count && err == ERR_OK; i++)
		err = load_crl_file(tls, &listen->client_crl[i], have, now, why);
	for (unsigned i = 0; i < tls->ca_count && err == ERR_OK; i++)
		if (!have[i])
			err = bad(why, &listen->client_ca,
				"client_crl has no revocation list of an authority in it");
	free(have);
	return err;
}

enum err tls_load(struct tls **out, const struct config_listen *listen, int key_fd, int64_t now,
	struct refusal *why)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	enum err err;

	*out = NULL;
	if (tls == NULL || gnutls_certificate_allocate_credentials(&tls->credentials) != 0) {
		free(tls);
		return refuse(why, ERR_NOMEM, "listen", "%s", listen->address);
	}
	gnutls_certificate_set_verify_limits(tls->credentials, 16384, CLIENT_CHAIN_DEPTH);
	err = load_server(tls, listen, key_fd, why);
	if (err == ERR_OK)
		err = load_ca(tls, listen, why);
	if (err == ERR_OK)
		err = load_crls(tls, listen, now, why);
	if (err != ERR_OK) {
		tls_free(tls);
		return err;
	}
	*out = tls;
	return ERR_OK;
}

void tls_free(struct tls *tls)
{
	if (tls == NULL)
		return;
	for (unsigned i = 0; i < tls->ca_count; i++)
		gnutls_x509_crt_deinit(tls->ca[i]);
	gnutls_free(tls->ca);
	gnutls_certificate_free_credentials(tls->credentials);
	free(tls);
}

enum err tls_attach(const struct tls *tls, gnutls_session_t session)
{
	if (gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, tls->credentials) != 0)
		return ERR_NOMEM;
	gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUIRE);
	gnutls_handshake_set_max_packet_length(session, HANDSHAKE_MESSAGE);
	return ERR_OK;
}

/* With CRLs, only certificates that one of our CAs signed itself can be looked up in them. */
static bool issuer_known(const struct tls *tls, gnutls_x509_crt_t certificate)
{
	for (unsigned i = 0; i < tls->ca_count; i++)
		if (gnutls_x509_crt_check_issuer(certificate, tls->ca[i]) == 1)
			return true;
	return false;
}

static enum err look_at(
	const struct tls *tls, const gnutls_datum_t *der, struct peer *peer, struct refusal *why)
{
	gnutls_x509_crt_t certificate;
	enum err err = ERR_OK;

	if (gnutls_x509_crt_init(&certificate) != 0)
		return refuse(why, ERR_UNKNOWN_CLIENT, "", "out of memory");
	if (gnutls_x509_crt_import(certificate, der, GNUTLS_X509_FMT_DER) != 0)
		err = refuse(why, ERR_UNKNOWN_CLIENT, "", "the client certificate is malformed");
	else if (tls->has_crl && !issuer_known(tls, certificate))
		err = refuse(why, ERR_UNKNOWN_CLIENT, "",
			"no revocation list covers the client certificate's issuer");
	else if (peer != NULL && peer_read(peer, certificate) != ERR_OK)
		err = refuse(why, ERR_UNKNOWN_CLIENT, "",
			"the client certificate's names or serial are malformed");
	gnutls_x509_crt_deinit(certificate);
	return err;
}

static enum err refuse_status(struct refusal *why, unsigned status)
{
	gnutls_datum_t text = {NULL, 0};

	gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	(void)refuse(why, ERR_UNKNOWN_CLIENT, "", "%s",
		text.data != NULL ? (char *)text.data : "the client certificate does not verify");
	gnutls_free(text.data);
	return ERR_UNKNOWN_CLIENT;
}

enum err tls_verify_peer(const struct tls *tls, gnutls_session_t session, int64_t now,
	struct peer *peer, struct refusal *why)
{
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
		.data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT};
	const gnutls_datum_t *list;
	unsigned count = 0, status = 0;
	int rc;

	if (tls->next_update <= now)
		return refuse(why, ERR_UNKNOWN_CLIENT, "",
			"a revocation list of client_crl is past its nextUpdate");
	list = gnutls_certificate_get_peers(session, &count);
	if (list == NULL || count == 0)
		return refuse(why, ERR_UNKNOWN_CLIENT, "", "no client certificate");
	rc = gnutls_certificate_verify_peers(session, &purpose, 1, &status);
	if (rc != 0)
		return refuse(why, ERR_UNKNOWN_CLIENT, "", "%s", gnutls_strerror(rc));
	if (status != 0)
		return refuse_status(why, status);
	return look_at(tls, &list[0], peer, why);
}

int64_t tls_ca_not_after(const struct tls *tls)
{
	return tls->ca_not_after;
}

int64_t tls_certificate_not_after(const struct tls *tls)
{
	return tls->not_after;
}

int64_t tls_crl_next_update(const struct tls *tls)
{
	return tls->next_update;
}
