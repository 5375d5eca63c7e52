# tests of what outlives power cuts, faults and kills
# The power fails: a recorder of writes and syncs, and what may be left of them.
check_PROGRAMS += tests/faults/powercut.so tests/check_powercut
UNIT_TESTS += tests/check_powercut
LONG_TESTS += tests/check_powercut
tests_faults_powercut_so_SOURCES = tests/faults/powercut.c tests/faults/powercut.h
tests_faults_powercut_so_CFLAGS = -std=gnu11 $(PROJECT_CFLAGS) -fno-sanitize=all -fPIC -U_FORTIFY_SOURCE
tests_faults_powercut_so_LDFLAGS = -shared -Wl,-z,relro -Wl,-z,now
tests_check_powercut_SOURCES = tests/check_powercut.c tests/powercut_image.c tests/powercut_image.h \
	tests/powercut_lives.c tests/powercut_lives.h tests/powercut_facts.c
tests_check_powercut_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_powercut_LDADD = $(LEDGER_CHECK)

# Disks that are full, fail, or lose the file.
check_PROGRAMS += tests/check_disk
UNIT_TESTS += tests/check_disk
tests_check_disk_SOURCES = tests/check_disk.c tests/powercut_image.c tests/powercut_image.h
tests_check_disk_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_disk_LDADD = $(LEDGER_CHECK)

E2E_TESTS += tests/e2e_wayback.sh tests/e2e_archive.sh tests/e2e_accept_clock.sh
EXTRA_DIST += tests/e2e_wayback.sh tests/e2e_archive.sh tests/e2e_accept_clock.sh

E2E_TESTS += tests/e2e_kill_cycles.sh
LONG_TESTS += tests/e2e_kill_cycles.sh
SOAK_TESTS += tests/e2e_kill_cycles.sh
EXTRA_DIST += tests/e2e_kill_cycles.sh tests/faults/kill_cycles.py

# Every system call fails once.
check_PROGRAMS += tests/check_syscalls
UNIT_TESTS += tests/check_syscalls
LONG_TESTS += tests/check_syscalls
tests_check_syscalls_SOURCES = tests/check_syscalls.c tests/syscalls_life.c tests/syscalls_life.h
tests_check_syscalls_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_syscalls_LDADD = $(LEDGER_CHECK)

check_PROGRAMS += tests/check_hsm_syscalls
UNIT_TESTS += tests/check_hsm_syscalls
LONG_TESTS += tests/check_hsm_syscalls
tests_check_hsm_syscalls_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_hsm_syscalls_LDADD = $(HSM_CHECK)

# A ledger of a million records.
check_PROGRAMS += tests/check_age
UNIT_TESTS += tests/check_age
LONG_TESTS += tests/check_age
tests_check_age_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
tests_check_age_LDADD = $(LEDGER_CHECK)
