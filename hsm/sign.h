/* One signature over a delegated credential that is known to be good. */
#ifndef DCSIGN_SIGN_H
#define DCSIGN_SIGN_H

#include "certificate.h"
#include "token.h"

enum sign_result {
	SIGN_GOOD,
	SIGN_FAILED, /* no usable signature came of it */
	SIGN_UNKNOWN /* there may be one, in the token or on its way; nobody has it */
};

/*
 * Asks the token for a signature over tbs by the certificate's key, brings it into the form of RFC
 * 8446 section 4.2.3 (ECDSA: DER) and verifies it with the certificate's public key, not the
 * token's. SIGN_GOOD: appended to *signature. Else *why, and *again tells whether another try on
 * a fresh session is worth while. The session is spoiled by any failure.
 */
enum sign_result sign_and_verify(struct token_session *session, const struct token_key *key,
	const struct certificate *certificate, const struct buf *tbs, struct buf *signature,
	bool *again, struct refusal *why);

#endif
