#include "session.h"

#include <string.h>
#include <time.h>

#include "limits.h"
#include "log.h"
#include "metrics.h"

static struct tls *tls_of(const struct session *s)
{
	return s->snapshot->tls[s->listen];
}

/* libmicrohttpd closes a connection whose handshake failed without a word. */
static int end_handshake(gnutls_session_t gnutls, gnutls_alert_description_t alert, int rc)
{
	(void)gnutls_alert_send(gnutls, GNUTLS_AL_FATAL, alert);
	return rc;
}

static int verify(gnutls_session_t gnutls)
{
	struct session *s = gnutls_session_get_ptr(gnutls);

	if (tls_verify_peer(tls_of(s), gnutls, time(NULL), &s->peer, &s->why) != ERR_OK)
		return end_handshake(gnutls, GNUTLS_A_BAD_CERTIFICATE, GNUTLS_E_CERTIFICATE_ERROR);
	s->verified = true;
	s->on_verified(s);
	return 0;
}

/* The Certificate message of a client that has none: no context, no certificates (RFC 8446 section
 * 4.4.2). */
static bool is_empty_certificate(unsigned type, const gnutls_datum_t *message)
{
	return type == GNUTLS_HANDSHAKE_CERTIFICATE_PKT && message != NULL && message->size == 4 &&
	       memcmp(message->data, "\0\0\0\0", 4) == 0;
}

static int note_message(gnutls_session_t gnutls, unsigned type, unsigned when, unsigned incoming,
	const gnutls_datum_t *message)
{
	struct session *s = gnutls_session_get_ptr(gnutls);

	(void)when;
	if (!incoming)
		return 0;
	s->last_message = type;
	if (is_empty_certificate(type, message))
		return end_handshake(
			gnutls, GNUTLS_A_CERTIFICATE_REQUIRED, GNUTLS_E_CERTIFICATE_REQUIRED);
	return 0;
}

int session_no_certificate(gnutls_session_t gnutls, const gnutls_datum_t *ca, int count,
	const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **chain,
	unsigned *chain_len, gnutls_privkey_t *key)
{
	(void)gnutls;
	(void)ca;
	(void)count;
	(void)algorithms;
	(void)algorithm_count;
	*chain = NULL;
	*chain_len = 0;
	*key = NULL;
	return -1;
}

bool session_begin(struct session *s, gnutls_session_t gnutls, size_t listen)
{
	s->gnutls = gnutls;
	s->listen = listen;
	s->snapshot = snapshot_current();
	s->last_message = UINT32_MAX;
	if (gnutls == NULL || s->snapshot == NULL || tls_attach(tls_of(s), gnutls) != ERR_OK)
		return false;
	gnutls_session_set_ptr(gnutls, s);
	gnutls_session_set_verify_function(gnutls, verify);
	gnutls_handshake_set_hook_function(
		gnutls, GNUTLS_HANDSHAKE_ANY, GNUTLS_HOOK_PRE, note_message);
	return true;
}

bool session_accepted(struct session *s, struct snapshot *current, struct refusal *why)
{
	int64_t now = time(NULL);

	if (s->plain)
		return true;
	if (!s->verified)
		return refuse(why, ERR_UNKNOWN_CLIENT, "", "no client certificate") == ERR_OK;
	if (s->snapshot != current && !s->refused) {
		struct snapshot *old = s->snapshot;

		s->snapshot = snapshot_ref(current);
		s->refused = tls_attach(tls_of(s), s->gnutls) != ERR_OK ||
			     tls_verify_peer(tls_of(s), s->gnutls, now, NULL, why) != ERR_OK;
		snapshot_unref(old);
	}
	if (!s->refused && s->peer.x509.not_after >= now && tls_crl_next_update(tls_of(s)) > now)
		return true;
	if (why->err == ERR_OK)
		(void)refuse(why, ERR_UNKNOWN_CLIENT, "",
			"the client certificate has expired, was refused before, or can't be "
			"checked "
			"against a current revocation list");
	return false;
}

void session_log_refused(const struct session *s)
{
	static struct log_gate gate = {.per_second = 1};
	const char *reason = s->why.detail;
	uint64_t left_out;

	metrics_handshake_refused();
	if (s->why.err == ERR_OK && s->last_message == UINT32_MAX)
		reason = "no TLS ClientHello that can be read";
	else if (s->why.err == ERR_OK && s->last_message == GNUTLS_HANDSHAKE_CERTIFICATE_PKT)
		reason = "no client certificate, or one that can't be read";
	else if (s->why.err == ERR_OK)
		reason = "ended by the client or no TLS 1.3 parameters in common";
	if (log_gate_open(&gate, monotonic_ms(), &left_out))
		LOG(LOG_LEVEL_WARNING, "handshake refused", LS("peer", s->peer.address),
			LS("reason", reason), LN("left_out", left_out));
}

void session_end(struct session *s)
{
	sieve_free(&s->sieve);
	peer_free(&s->peer);
	snapshot_unref(s->snapshot);
}
