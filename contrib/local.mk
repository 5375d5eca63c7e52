EXTRA_DIST += contrib/packages.sh contrib/check.sh contrib/try.sh contrib/demo.sh .ci/run
