# tests of parent
parent_checks = tests/check_message tests/check_channel tests/check_conffile
check_PROGRAMS += $(parent_checks)
UNIT_TESTS += $(parent_checks)
tests_check_message_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_message_LDADD = $(CHECK_LINK)
tests_check_channel_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_channel_LDADD = $(CHECK_LINK)
tests_check_conffile_SOURCES = tests/check_conffile.c tests/memory_source.h
tests_check_conffile_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_conffile_LDADD = src/libconffile.a $(CHECK_LINK) $(CONFUSE_LIBS)
