# src: what every room may use; a module includes only earlier ones (tests/rooms.txt).
noinst_LIBRARIES += src/libdcsign.a
src_libdcsign_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
src_libdcsign_a_SOURCES = \
	src/err.c src/err.h \
	src/buf.c src/buf_text.c src/buf.h \
	src/log.c src/log.h \
	src/digest.c src/digest.h \
	src/scheme.c src/scheme.h \
	src/spki.c src/spki.h \
	src/pubkey.c src/pubkey_check.c src/pubkey_curves.c src/pubkey_curves.h src/pubkey.h \
	src/dc.c src/dc.h \
	src/certificate.c src/certificate_key.c src/certificate_outline.c src/certificate_rules.c src/certificate.h \
	src/policy.c src/policy.h \
	src/compat.c src/compat.h \
	src/message.c src/message_fields.c src/message_fields.h src/message.h \
	src/json.c src/json.h \
	src/record.c src/record_members.c src/record_members.h src/record_json.c src/record.h \
	src/merkle.c src/merkle_proof.c src/merkle.h \
	src/checkpoint.c src/checkpoint.h \
	src/config.c src/config.h src/config_codec.c src/config_json.c \
	src/channel.c src/channel.h \
	src/sandbox.c src/sandbox_filter.c src/sandbox.h \
	src/child.c src/child.h

# dcsignd: the parent of the others. conffile is linked by it alone.
noinst_LIBRARIES += src/libconffile.a
src_libconffile_a_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS)
src_libconffile_a_SOURCES = \
	src/conffile.c src/conffile.h src/conffile_internal.h \
	src/conffile_schema.c src/conffile_values.c src/conffile_files.c \
	src/conffile_scan.c src/conffile_check.c src/conffile_disk.c \
	src/secret.c src/secret.h \
	src/sockets.c src/sockets.h

sbin_PROGRAMS += src/dcsignd
src_dcsignd_SOURCES = src/dcsignd.c src/memory.c src/memory.h src/parent.h src/prepare.c src/spawn.c src/births.c src/births_hear.c src/births_heir.c \
	src/decide.c src/watch.c src/notify.c src/notify.h
src_dcsignd_CFLAGS = $(AM_CFLAGS) $(CONFUSE_CFLAGS)
src_dcsignd_LDADD = src/libconffile.a src/libdcsign.a $(CONFUSE_LIBS)

# Manual pages name the paths of this installation.
nodist_man5_MANS = src/dcsignd.conf.5
nodist_man8_MANS = src/dcsignd.8
CLEANFILES += src/dcsignd.conf.5 src/dcsignd.8
EXTRA_DIST += src/dcsignd.conf.5.in src/dcsignd.8.in src/PROCESSES.md
src/dcsignd.conf.5: src/dcsignd.conf.5.in
src/dcsignd.8: src/dcsignd.8.in
src/dcsignd.conf.5 src/dcsignd.8:
	$(AM_V_GEN)$(MKDIR_P) src && $(SED) -e 's|[@]sysconfdir@|$(sysconfdir)|g' \
		-e 's|[@]pkglibexecdir@|$(pkglibexecdir)|g' $(srcdir)/$@.in >$@.new && mv $@.new $@

# The unit and what it needs are installed with --with-systemdsystemunitdir.
src_units = src/dcsignd.service
CLEANFILES += $(src_units)
EXTRA_DIST += src/dcsignd.service.in src/dcsignd.sysusers src/dcsignd.tmpfiles
src/dcsignd.service: src/dcsignd.service.in
	$(AM_V_GEN)$(MKDIR_P) src && $(SED) -e 's|[@]sysconfdir@|$(sysconfdir)|g' \
		-e 's|[@]sbindir@|$(sbindir)|g' $(srcdir)/$@.in >$@.new && mv $@.new $@
if SYSTEMD_UNITS
systemdsystemunit_DATA = $(src_units)
endif

# The sample lies beside the place where the configuration goes.
exampledir = $(sysconfdir)/dcsign
dist_example_DATA = src/dcsignd.conf.example
