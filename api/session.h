/*
 * The TLS side of one connection: who it is, shown in the handshake, and whether that still holds
 * at each request.
 */
#ifndef DCSIGN_SESSION_H
#define DCSIGN_SESSION_H

#include <gnutls/abstract.h>

#include "sieve.h"
#include "snapshot.h"

struct session {
	bool plain;		   /* no TLS on this listener: nothing below but peer is used */
	gnutls_session_t gnutls;   /* borrowed */
	size_t listen;		   /* index of the listen section */
	struct snapshot *snapshot; /* whose credentials it has; a reference */
	bool verified;		   /* the handshake has seen a good client certificate */
	bool refused;		   /* a newer configuration does not accept it any more */
	unsigned last_message;	   /* of the handshake, from the peer */
	struct refusal why;	   /* of a refused handshake */
	struct peer peer;
	struct sieve sieve;			/* what comes after the handshake */
	void (*on_verified)(struct session *s); /* called once, inside the handshake */
	void (*on_octets)(struct session *s);	/* the sieve has got some */
	const void *key;			/* intake.c's, during the handshake */
	struct session *next;
	enum { SENDING_AS_ASKED, SENDING_HEAD, SENDING_BODY, SENDING_REST } sending; /* too */
	size_t rest; /* octets of the body that GnuTLS holds */
};

/* Before the first octet of the handshake. false: the connection can't be used. */
bool session_begin(struct session *s, gnutls_session_t gnutls, size_t listen);
/*
 * Identity belongs to the connection, rights do not: with each new configuration (now, borrowed)
 * the certificate is verified again against its CAs and CRLs; its own end and that of the CRLs are
 * looked at every time. False with the reason in *why.
 */
bool session_accepted(struct session *s, struct snapshot *current, struct refusal *why);
/* A handshake that did not succeed: one line in the log, at most one a second. */
void session_log_refused(const struct session *s);
void session_end(struct session *s);

/* What libmicrohttpd gets as its own certificate: none, so that a session that did not get ours
 * can't be used. A gnutls_certificate_retrieve_function2. */
int session_no_certificate(gnutls_session_t session, const gnutls_datum_t *ca, int count,
	const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain,
	unsigned *chain_len, gnutls_privkey_t *key);

#endif
