# src/client
bin_PROGRAMS += src/client/dcsign
noinst_LIBRARIES += src/client/libclient.a
src_client_libclient_a_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS) $(CRYPTO_CFLAGS) $(CURL_CFLAGS) $(JANSSON_CFLAGS)
src_client_libclient_a_SOURCES = \
	src/client/command.h \
	src/client/tool.c src/client/tool.h src/client/defaults.c \
	src/client/formats.c src/client/formats.h \
	src/client/load.c src/client/load.h \
	src/client/verify.c src/client/verify.h \
	src/client/keygen.c src/client/keygen.h \
	src/client/install.c src/client/install.h \
	src/client/service.c src/client/service.h \
	src/client/issued.c src/client/issued.h \
	src/client/set.c src/client/set.h \
	src/client/body.c src/client/request.c src/client/request.h \
	src/client/agent_conf.c src/client/agent_conf.h src/client/agent_conf_internal.h \
	src/client/agent_conf_values.c src/client/agent_conf_check.c \
	src/client/agent.c src/client/agent.h src/client/agent_call.c src/client/agent_renew.c \
	src/client/agent_check.c src/client/agent_reload.c src/client/agent_metrics.c \
	src/client/agent_witness.c src/client/agent_witness.h \
	src/client/agent_witness_ask.c src/client/agent_witness_internal.h \
	src/client/agent_state.c src/client/agent_state.h src/client/agent_installed.c \
	src/client/inspect.c \
	src/client/verdict.c
src_client_dcsign_SOURCES = src/client/dcsign.c src/memory.c src/memory.h
src_client_dcsign_LDADD = src/client/libclient.a src/libdcsign.a \
	$(CONFUSE_LIBS) $(CURL_LIBS) $(JANSSON_LIBS) $(CRYPTO_LIBS)

dist_man1_MANS = src/client/dcsign.1 src/client/dcsign-agent.1
dist_example_DATA += src/client/agent.conf.example

# Units name the paths of this installation; installed with --with-systemdsystemunitdir.
agent_units = src/client/dcsign-agent.service src/client/dcsign-agent-once.service
EXTRA_DIST += src/client/dcsign-agent.service.in src/client/dcsign-agent-once.service.in \
	src/client/dcsign-agent-once.timer
CLEANFILES += $(agent_units)
src/client/dcsign-agent.service: src/client/dcsign-agent.service.in
src/client/dcsign-agent-once.service: src/client/dcsign-agent-once.service.in
$(agent_units):
	$(AM_V_GEN)$(MKDIR_P) src/client && $(SED) -e 's|[@]sysconfdir@|$(sysconfdir)|g' \
		-e 's|[@]bindir@|$(bindir)|g' $(srcdir)/$@.in >$@.new && mv $@.new $@
if SYSTEMD_UNITS
systemdsystemunit_DATA += $(agent_units) src/client/dcsign-agent-once.timer
endif
