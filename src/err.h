/*
 * Error codes: one list for every room.
 *
 * 0 is success. Each code has a stable name, the HTTP status that an API answer with this code
 * gets, and a sentence. The names are part of the HTTP API (member "code" of problem+json, RFC
 * 9457) and of the ledger (member "reason"); they never change their meaning.
 */
#ifndef DCSIGN_ERR_H
#define DCSIGN_ERR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* X(symbol, name, HTTP status, text) */
#define ERR_LIST(X)                                                                                \
	X(OK, "ok", 200, "success")                                                                \
	/* the machine */                                                                          \
	X(NOMEM, "out_of_memory", 503, "out of memory")                                            \
	X(SYSTEM, "system_error", 500, "a system call failed")                                     \
	X(CLOSED, "peer_closed", 503, "the other process has gone")                                \
	X(TIMEOUT, "timeout", 504, "the time allowed for this has passed")                         \
	X(CRYPTO, "crypto_failure", 500, "the cryptographic library failed")                       \
	X(NO_ROOM, "no_room", 500, "the value does not fit the space for it")                      \
	X(INTERNAL, "internal_error", 500, "an invariant of the service does not hold")            \
	/* octets */                                                                               \
	X(TRUNCATED, "truncated", 400, "the octets end before the value does")                     \
	X(TRAILING, "trailing_octets", 400, "octets follow the end of the value")                  \
	X(LENGTH, "bad_length", 400, "a length lies outside its limits")                           \
	X(FORMAT, "bad_format", 400, "the octets are not of the expected form")                    \
	/* SubjectPublicKeyInfo of a delegated credential: RFC 9345 section 4 */                   \
	X(SPKI_UNKNOWN, "public_key_unknown", 422,                                                 \
		"not a public key in the one DER form that is accepted for its type")              \
	X(SPKI_FORBIDDEN, "public_key_forbidden", 422,                                             \
		"a public key of this type must not be used in a delegated credential")            \
	X(SPKI_MISMATCH, "public_key_mismatch", 422,                                               \
		"the public key is not of the type that the algorithm asks for")                   \
	X(SPKI_INVALID, "public_key_invalid", 422,                                                 \
		"the public key is not a valid one of its type")                                   \
	X(SPKI_WEAK, "public_key_weak", 422, "the public key is too weak or known to be broken")   \
	X(SPKI_REUSED, "public_key_reused", 422,                                                   \
		"the public key is one that must never be the key of a delegated credential")      \
	/* delegation certificate: RFC 9345 section 4.2 */                                         \
	X(CERT_MALFORMED, "certificate_malformed", 503, "not a DER X.509 certificate")             \
	X(CERT_NO_DELEGATION, "certificate_no_delegation_usage", 503,                              \
		"the certificate has no DelegationUsage extension")                                \
	X(CERT_DELEGATION_CRITICAL, "certificate_delegation_usage_critical", 503,                  \
		"the certificate's DelegationUsage extension is critical")                         \
	X(CERT_DELEGATION_VALUE, "certificate_delegation_usage_value", 503,                        \
		"the value of the certificate's DelegationUsage extension is not NULL")            \
	X(CERT_DUPLICATE, "certificate_duplicate_extension", 503,                                  \
		"the certificate has an extension twice")                                          \
	X(CERT_KEY_USAGE, "certificate_key_usage", 503,                                            \
		"the certificate's key usage lacks digitalSignature")                              \
	X(CERT_ENCIPHERMENT, "certificate_key_encipherment", 503,                                  \
		"the certificate's key usage has keyEncipherment")                                 \
	X(CERT_CA, "certificate_is_ca", 503, "the certificate is that of an authority")            \
	X(CERT_PURPOSE, "certificate_purpose", 422,                                                \
		"the certificate's extended key usage does not allow this role")                   \
	X(CERT_NOT_YET, "certificate_not_yet_valid", 503, "the certificate is not valid yet")      \
	X(CERT_EXPIRED, "certificate_expired", 503, "the certificate has expired")                 \
	X(CERT_KEY, "certificate_key_unsupported", 503,                                            \
		"the certificate's public key can't sign delegated credentials")                   \
	X(CERT_WEAK, "certificate_weak", 503, "the certificate is signed with a weak algorithm")   \
	X(CERT_CHAIN, "certificate_chain", 503, "the certificate chain does not verify")           \
	/* a delegated credential as a verifier sees it: RFC 9345 sections 4.1.3 and 4.2 */        \
	X(DC_SIGNATURE, "dc_bad_signature", 422, "the signature does not verify")                  \
	X(DC_EXPIRED, "dc_expired", 422, "the delegated credential has expired")                   \
	X(DC_VALIDITY, "dc_inappropriate_validity_period", 422,                                    \
		"the delegated credential is valid for more than 7 days from now")                 \
	X(DC_BEYOND_CERT, "dc_outlives_certificate", 422,                                          \
		"the delegated credential does not expire before its certificate")                 \
	X(DC_ALGORITHM, "dc_bad_algorithm", 422,                                                   \
		"a signature algorithm of the delegated credential is not allowed")                \
	/* the request: HTTP and JSON */                                                           \
	X(MALFORMED, "malformed", 400, "the request is not of the form that the API describes")    \
	X(UNKNOWN_CLIENT, "unknown_client", 403, "the client certificate belongs to no client")    \
	X(NO_RIGHT, "missing_right", 403, "this client may not do this")                           \
	X(NOT_FOUND, "not_found", 404, "there is nothing here")                                    \
	X(NO_KEY, "no_such_key", 404, "this client has no key of this name")                       \
	X(METHOD, "method_not_allowed", 405, "the method is not one of this resource")             \
	X(TOO_LARGE, "body_too_large", 413, "the body is too large")                               \
	X(TARGET, "target_too_long", 414, "the request line is too long")                          \
	X(MEDIA_TYPE, "unsupported_media_type", 415, "the body must be application/json")          \
	X(EXPECTATION, "expectation_failed", 417, "the expectation can't be met")                  \
	X(HEADERS, "headers_too_large", 431, "the header fields are too large")                    \
	X(VERSION, "http_version", 505, "the version of HTTP is not spoken here")                  \
	/* the request: policy */                                                                  \
	X(ROLE, "role_not_allowed", 422, "the policy does not allow this role")                    \
	X(ALGORITHM, "algorithm_not_allowed", 422, "the policy does not allow this algorithm")     \
	X(LIFETIME_LONG, "lifetime_too_long", 422, "the lifetime is over the policy's maximum")    \
	X(LIFETIME_SHORT, "lifetime_too_short", 422, "the lifetime is under the policy's minimum") \
	X(START_FUTURE, "start_too_far_ahead", 422, "the start lies too far in the future")        \
	X(START_PAST, "start_in_the_past", 422, "the start lies too far in the past")              \
	X(BEYOND_CERT, "outlives_certificate", 422,                                                \
		"the credential would not expire before the delegation certificate")               \
	X(PROOF_REQUIRED, "proof_required", 422, "the policy asks for proof of possession")        \
	X(PROOF_INVALID, "proof_invalid", 422, "the proof of possession does not verify")          \
	X(PROOF_UNSUPPORTED, "proof_unsupported", 422,                                             \
		"proof of possession can't be verified for a key of this type")                    \
	X(HELD, "held", 409, "issuance is on hold")                                                \
	X(IDEMPOTENCY_MISMATCH, "idempotency_mismatch", 409,                                       \
		"this Idempotency-Key was used with another request")                              \
	X(IDEMPOTENCY_EXPIRED, "idempotency_expired", 409,                                         \
		"the credential issued under this Idempotency-Key has expired")                    \
	X(KEY_SHARED, "key_shared", 409, "another client holds a live credential for this key")    \
	X(QUOTA, "quota_exceeded", 429, "too many unexpired credentials")                          \
	X(RATE, "rate_limited", 429, "too many requests")                                          \
	/* the service */                                                                          \
	X(OVERLOADED, "overloaded", 503, "too many requests are under way")                        \
	X(STOPPING, "stopping", 503, "the service is stopping")                                    \
	X(KEY_UNAVAILABLE, "key_unavailable", 503, "the key can't be used now")                    \
	X(LEDGER_UNAVAILABLE, "ledger_unavailable", 503, "the ledger can't be written now")        \
	X(CLOCK, "clock_untrusted", 503, "the clock can't be trusted now")                         \
	X(OUTCOME_UNKNOWN, "outcome_unknown", 504,                                                 \
		"no answer in time: a credential may have been signed")                            \
	/* the token */                                                                            \
	X(PIN, "pin_refused", 503, "the token refused the PIN, or it will not be tried again")     \
	X(TOKEN, "token_unavailable", 503, "the token can't be used now")                          \
	X(KEY_MISSING, "key_missing", 503, "the token has no private key with this URI")           \
	X(KEY_AMBIGUOUS, "key_ambiguous", 503, "several private keys match this URI")              \
	X(KEY_WEAK, "key_attributes", 503, "an attribute of the key makes it unfit")               \
	X(KEY_UNPROVED, "key_unproved", 503, "the key is not the certificate's key")

enum err {
#define ERR_ENUM(symbol, name, status, text) ERR_##symbol,
	ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
		ERR_COUNT
};

/* The stable name, the HTTP status (of ERR_OK: 200), the sentence. Any value is taken; one that is
 * not a code reads as ERR_INTERNAL. Static strings. */
const char *err_name(enum err e);
unsigned err_status(enum err e);
const char *err_text(enum err e);

/* The code with this name, or ERR_COUNT. */
enum err err_by_name(const char *name);

/*
 * A refusal as a person gets it: what, where, and what would be accepted.
 * field: the request's member, header or the configuration's option; "" when none fits.
 * detail: a sentence with the limit and what to do; "" when the code says it all.
 * retry_after: seconds; 0 = do not say.
 */
struct refusal {
	enum err err;
	char field[32];
	char detail[256];
	uint32_t retry_after;
};

/* Its detail is what a token or its module said: words for the operator, not for clients. */
bool err_of_token(enum err e);

/* Fills *r (NULL is allowed) and returns e, so that a check can end with `return refuse(...)`.
 * The detail is cut at its size on a UTF-8 border. */
enum err refuse(struct refusal *r, enum err e, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#ifdef DCSIGN_ANALYZED /* an analyser of one file at a time must see what it returns */
#define refuse(r, e, field, ...) ((void)(refuse)(r, e, field, __VA_ARGS__), (e))
#endif

#endif
