# tests of parent
parent_checks = tests/check_message tests/check_channel tests/check_config tests/check_sandbox \
	tests/check_conffile tests/check_child
check_PROGRAMS += $(parent_checks) tests/check_dcsignd tests/fakes/child
UNIT_TESTS += $(parent_checks)
# It puts programs of its own in the place of the children.
if TEST_HOOKS
UNIT_TESTS += tests/check_dcsignd
endif

tests_fakes_child_SOURCES = tests/fakes/child.c
tests_fakes_child_LDADD = src/libdcsign.a

tests_check_message_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_message_LDADD = $(CHECK_LINK)
tests_check_channel_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_channel_LDADD = $(CHECK_LINK)
tests_check_sandbox_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_sandbox_LDADD = $(CHECK_LINK) $(SECCOMP_LIBS)

tests_check_config_SOURCES = tests/check_config.c tests/memory_source.h
tests_check_config_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_config_LDADD = src/libconffile.a $(CHECK_LINK) $(CONFUSE_LIBS)
tests_check_conffile_SOURCES = tests/check_conffile.c tests/memory_source.h
tests_check_conffile_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_conffile_LDADD = src/libconffile.a $(CHECK_LINK) $(CONFUSE_LIBS)
tests_check_child_SOURCES = tests/check_child.c tests/memory_source.h
tests_check_child_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_child_LDADD = src/libconffile.a $(CHECK_LINK) $(CONFUSE_LIBS)
tests_check_dcsignd_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_dcsignd_LDADD = src/libconffile.a $(CHECK_LINK)

tests_fuzz_config_SOURCES = tests/fuzz_config.c tests/memory_source.h
tests_fuzz_config_LDADD = src/libconffile.a $(FUZZ_LINK) $(CONFUSE_LIBS)
