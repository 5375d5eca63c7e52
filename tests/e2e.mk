# End-to-end tests: the programs of the build tree, over mTLS, against a SoftHSM token of their own.
E2E_TESTS += \
	tests/e2e_config.sh \
	tests/e2e_crl.sh \
	tests/e2e_issue.sh \
	tests/e2e_kill.sh \
	tests/e2e_readme.sh \
	tests/e2e_sighup.sh \
	tests/e2e_spy.sh \
	tests/e2e_start.sh
EXTRA_DIST += tests/lib.sh \
	tests/e2e_config.sh \
	tests/e2e_crl.sh \
	tests/e2e_issue.sh \
	tests/e2e_kill.sh \
	tests/e2e_readme.sh \
	tests/e2e_sighup.sh \
	tests/e2e_spy.sh \
	tests/e2e_start.sh

# Packages, units, documents.
E2E_TESTS += tests/e2e_quickstart.sh tests/e2e_units.sh
LONG_TESTS += tests/e2e_package.sh
check_DATA = $(src_units) $(agent_units)
EXTRA_DIST += tests/e2e_quickstart.sh tests/e2e_units.sh tests/e2e_package.sh

# What is built: the same each time, and of what.
LONG_TESTS += tests/e2e_reproducible.sh
PLAIN_TESTS += tests/e2e_sbom.sh
EXTRA_DIST += tests/e2e_reproducible.sh tests/e2e_sbom.sh
