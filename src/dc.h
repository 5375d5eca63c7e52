/*
 * The delegated credential itself: RFC 9345 section 4. Pure: octets in, octets out, no clock, no
 * keys.
 */
#ifndef DCSIGN_DC_H
#define DCSIGN_DC_H

#include "buf.h"
#include "scheme.h"

enum dc_role { DC_SERVER = 0, DC_CLIENT = 1 };

#define DC_MAX	      65531  /* octets: one extension of one extension block */
#define DC_MAX_VALID  604800 /* seconds: no more may remain (RFC 9345 section 4.1.3) */
#define DC_TBS_PREFIX 98     /* octets before the certificate */
#define DC_TBS_MAX    (DC_TBS_PREFIX + 65536 + DC_MAX)

struct dc {
	uint32_t valid_time; /* seconds after the delegation certificate's notBefore */
	uint16_t scheme;     /* dc_cert_verify_algorithm */
	const uint8_t *spki; /* borrowed */
	size_t spki_len;
	uint16_t algorithm;	  /* how the DC is signed */
	const uint8_t *signature; /* borrowed */
	size_t signature_len;
};

/* All pointers into octets. ERR_TRUNCATED, ERR_TRAILING, ERR_LENGTH (an empty or over-long vector,
 * a DC over DC_MAX). Does not judge the fields. */
enum err dc_parse(struct dc *dc, const uint8_t *octets, size_t len);

/* The DelegatedCredential. ERR_LENGTH for fields that the format can't carry; buf's own errors. */
enum err dc_build(struct buf *out, const struct dc *dc);

/*
 * The octets that are signed: 64 x 0x20, context of the role, 0x00, the certificate's DER as sent,
 * Credential, algorithm. signature is not looked at. Appends.
 */
enum err dc_build_tbs(struct buf *out, enum dc_role role, const uint8_t *cert, size_t cert_len,
	const struct dc *dc);

/*
 * The reverse, for the re-parse before signing: true only when tbs is exactly one DC to be signed
 * by this certificate; then *role and *dc (without signature; pointers into tbs) are what it says.
 */
enum err dc_parse_tbs(struct dc *dc, enum dc_role *role, const uint8_t *tbs, size_t tbs_len,
	const uint8_t *cert, size_t cert_len);

/* not_before: the certificate's, seconds since the epoch. */
int64_t dc_expiry(const struct dc *dc, int64_t not_before);
/* When verifiers start to accept it: max(not_before, expiry - 7 days). */
int64_t dc_window_opens(int64_t not_before, int64_t expiry);

const char *dc_role_name(enum dc_role role); /* "server", "client" */
bool dc_role_parse(const char *text, enum dc_role *role);

#endif
