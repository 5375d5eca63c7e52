# tests of parent
parent_checks = tests/check_message tests/check_channel
check_PROGRAMS += $(parent_checks)
UNIT_TESTS += $(parent_checks)
tests_check_message_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_message_LDADD = $(CHECK_LINK)
tests_check_channel_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_channel_LDADD = $(CHECK_LINK)
