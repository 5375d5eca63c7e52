/* A client's certificate: the facts that decide who it is. Names are UTF-8 without NUL, digests are
 * of the octets, and no name is taken for another kind's. */
#include "fuzz_files.h"

#include "peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void facts(gnutls_x509_crt_t certificate, const uint8_t *octets, size_t len)
{
	struct peer peer = {.uid = 0}, again = {.uid = 0};
	uint8_t digest[SHA256_SIZE];

	if (peer_read(&peer, certificate) != ERR_OK) {
		insist(peer.name_count == 0);
		return;
	}
	insist(peer.name_count <= PEER_NAMES && peer.x509.serial[0] != '\0');
	insist(strspn(peer.x509.serial, "0123456789abcdef") == strlen(peer.x509.serial));
	for (size_t i = 0; i < peer.name_count; i++)
		insist(peer.name[i].value[0] != '\0' &&
			utf8_valid(
				(const uint8_t *)peer.name[i].value, strlen(peer.name[i].value)));
	peer_sha256(octets, len, digest);
	insist(memcmp(digest, peer.x509.sha256, sizeof digest) == 0);
	insist(peer_read(&again, certificate) == ERR_OK && again.name_count == peer.name_count);
	peer_free(&again);
	peer_free(&peer);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	gnutls_datum_t der = {(unsigned char *)(uintptr_t)octets, (unsigned)len};
	gnutls_x509_crt_t certificate;

	if (len == 0 || len > 16384)
		return 0;
	insist(gnutls_x509_crt_init(&certificate) == 0);
	if (gnutls_x509_crt_import(certificate, &der, GNUTLS_X509_FMT_DER) == 0)
		facts(certificate, octets, len);
	gnutls_x509_crt_deinit(certificate);
	return 0;
}
