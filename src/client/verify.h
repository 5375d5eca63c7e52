/*
 * A careful TLS client's judgement of a delegated credential: RFC 9345 sections 4.1.3 and 4.2 and
 * what they rest on. A client that is stricter than another is the measure, so that a DC which
 * passes here passes with all that follow the RFC.
 */
#ifndef DCSIGN_CLIENT_VERIFY_H
#define DCSIGN_CLIENT_VERIFY_H

#include "certificate.h"
#include "dc.h"

/*
 * Judges octets as a DC of this role under this certificate at `now` (seconds since the epoch).
 * Not judged: the certificate's own chain and the server's name. ERR_OK, or the first rule that is
 * broken, explained in *why. *dc is filled in as far as the octets parse (borrowed from them).
 *
 * The rules, in this order: the octets parse; the certificate may delegate (DelegationUsage, key
 * usage with digitalSignature, purpose of the role) and now lies in its validity; now <= expiry;
 * expiry - now <= 7 days; expiry < notAfter; dc_cert_verify_algorithm may stand in a DC; the public
 * key is one of its type, sound, and not the certificate's; the signature verifies with
 * `algorithm`, which fits the certificate's key.
 */
enum err verify_dc(struct dc *dc, const uint8_t *octets, size_t len,
	const struct certificate *certificate, enum dc_role role, int64_t now, struct refusal *why);

/*
 * The part that no TLS stack leaves out: dc_cert_verify_algorithm, public key and signature. *dc is
 * one that dc_parse or verify_dc filled in.
 */
enum err verify_dc_sound(struct dc *dc, const struct certificate *certificate, enum dc_role role,
	struct refusal *why);

/* What NSS (Firefox) calls this refusal: "SSL_ERROR_DC_EXPIRED", ...; NULL where it has no name. */
const char *verify_nss_name(enum err e);

#endif
