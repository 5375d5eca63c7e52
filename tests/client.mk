# tests of client
if HAVE_BORINGSSL
check_PROGRAMS += tests/interop/dc_server
tests_interop_dc_server_SOURCES = tests/interop/dc_server.c
tests_interop_dc_server_CPPFLAGS = $(PROJECT_CPPFLAGS)
tests_interop_dc_server_CFLAGS = $(AM_CFLAGS) $(BORINGSSL_CFLAGS)
tests_interop_dc_server_LDADD = $(BORINGSSL_LIBS)
endif
EXTRA_DIST += tests/interop/handshake.sh tests/interop/make_dc.py
