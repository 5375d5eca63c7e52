/*
 * TLS of one listen section: TLS 1.3 only, a client certificate that verifies against client_ca
 * with purpose clientAuth and, where CRLs are given, against the one of its issuer. Over GnuTLS.
 */
#ifndef DCSIGN_TLS_H
#define DCSIGN_TLS_H

#include <gnutls/gnutls.h>

#include "peer.h"

/* No session tickets, no resumption, no early data: none of them is switched on anywhere. */
#define TLS_PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:%PROFILE_MEDIUM"

struct tls;

/*
 * Reads what the section names and checks that it fits together: certificate with its key (PEM,
 * read from key_fd, which stays open), CAs that are CAs, and either no CRL or for each CA exactly
 * one that it signed and whose nextUpdate has not passed. why->detail names the file.
 */
enum err tls_load(struct tls **out, const struct config_listen *listen, int key_fd, int64_t now,
	struct refusal *why);
void tls_free(struct tls *tls); /* NULL is allowed */

/* Gives the session this section's certificate and demands one of the client. tls must outlive the
 * session or its next tls_attach. ERR_NOMEM. */
enum err tls_attach(const struct tls *tls, gnutls_session_t session);

/*
 * Verifies the certificate that the session's peer has shown, at time now: for the handshake and,
 * after tls_attach of a newer configuration, for the requests that follow. ERR_UNKNOWN_CLIENT with
 * the reason in why->detail. Fills *peer (NULL: not wanted; peer_free).
 */
enum err tls_verify_peer(const struct tls *tls, gnutls_session_t session, int64_t now,
	struct peer *peer, struct refusal *why);

int64_t tls_certificate_not_after(const struct tls *tls);
/* Of the client CA that ends first. */
int64_t tls_ca_not_after(const struct tls *tls);
/* The earliest nextUpdate of its CRLs; INT64_MAX without CRLs. From then on nobody is let in. */
int64_t tls_crl_next_update(const struct tls *tls);

#endif
