# api: what strangers speak to. dcsignd-api links no libcrypto, no PKCS#11 and no database.
noinst_LIBRARIES += api/libapi.a
api_libapi_a_CPPFLAGS = $(AM_CPPFLAGS) -Iapi -I$(top_srcdir)/api
api_libapi_a_CFLAGS = $(AM_CFLAGS) $(MHD_CFLAGS) $(GNUTLS_CFLAGS) $(JANSSON_CFLAGS)
api_libapi_a_SOURCES = \
	api/pem.c api/pem.h \
	api/peer.c api/peer.h \
	api/tls.c api/tls.h \
	api/snapshot.c api/snapshot.h \
	api/alarms.c api/alarms.h \
	api/limits.c api/limits.h \
	api/linger.c api/linger.h \
	api/request.c api/request_batch.c api/request.h api/request_private.h \
	api/link.c api/link.h \
	api/signer.c api/signer_look.c api/signer_park.c api/signer_turn.c api/signer.h api/signer_private.h \
	api/rules.c api/rules.h \
	api/query.c api/query.h \
	api/reply.c api/reply_credential.c api/reply_key.c api/reply_ledger.c api/reply.h api/reply_private.h \
	api/metrics.c api/metrics_page.c api/metrics.h api/metrics_private.h \
	api/monitor.c api/monitor.h \
	api/routes.c api/routes.h \
	api/pages.c api/pages.h \
	api/credentials.c \
	api/holds.c \
	api/ledger.c \
	api/session.c api/session.h \
	api/framing.c api/framing.h \
	api/sieve.c api/sieve.h \
	api/intake.c api/intake.h \
	api/https.c api/https_exchange.c api/https.h api/https_private.h

API_LIBS = $(MHD_LIBS) $(GNUTLS_LIBS) $(JANSSON_LIBS) -lpthread

pkglibexec_PROGRAMS += api/dcsignd-api
api_dcsignd_api_SOURCES = api/dcsignd-api.c src/memory.c src/memory.h
api_dcsignd_api_CPPFLAGS = $(api_libapi_a_CPPFLAGS)
api_dcsignd_api_CFLAGS = $(api_libapi_a_CFLAGS)
api_dcsignd_api_LDADD = api/libapi.a src/libdcsign.a $(API_LIBS) $(SECCOMP_LIBS)

# openapi.yaml is served from memory.
EXTRA_DIST += api/openapi.yaml
api/libapi_a-pages.$(OBJEXT): api/openapi_yaml.inc
CLEANFILES += api/openapi_yaml.inc
api/openapi_yaml.inc: api/openapi.yaml
	$(AM_V_GEN)$(MKDIR_P) api && od -An -v -tx1 $(srcdir)/api/openapi.yaml | \
		$(SED) 's/\([0-9a-f][0-9a-f]\)/0x\1,/g' >$@.new && mv $@.new $@
