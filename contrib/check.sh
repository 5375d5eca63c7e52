#!/bin/sh
# Installs what the tests need (contrib/packages.sh), then builds and tests dcsign in ./build-check:
#   asan     gcc with ASan and UBSan: the whole suite, once
#   gcc      as a package would be built: unit tests
#   clang    with clang and the tests' hooks: unit tests, and what sanitizers keep from running
#   install  what `make install` with DESTDIR puts where
# The last line is the sum, `N passed, N failed, N skipped`; the exit status is 1 when anything
# failed. Uses $JOBS processors (2). Works again in the same clone: the folder is made anew.
set -eu
cd "$(dirname "$0")/.."
top=$PWD
build=$top/build-check
jobs=${JOBS:-2}
passed=0 failed=0 skipped=0

say() {
	printf '\n== %s\n' "$*"
}

fails() {
	echo "FAILED: $*"
	failed=$((failed + 1))
}

# The numbers of automake's test-suite.log in the build $1.
count() {
	awk -v want="$2" '$1 == "#" && $2 == want ":" { print $3; exit }' "$build/$1/test-suite.log"
}

sum() {
	if ! [ -f "$build/$1/test-suite.log" ]; then
		fails "$1: no test ran"
		return
	fi
	passed=$((passed + $(count "$1" PASS) + $(count "$1" XFAIL)))
	skipped=$((skipped + $(count "$1" SKIP)))
	failed=$((failed + $(count "$1" FAIL) + $(count "$1" XPASS) + $(count "$1" ERROR)))
}

# build NAME TARGET CONFIGURE-ARGUMENT...: configures and builds in its folder, then makes TARGET.
build() {
	name=$1 target=$2
	shift 2
	say "$name: configure $*"
	mkdir -p "$build/$name"
	cd "$build/$name"
	if ! "$top/configure" -q "$@" || ! make -s -j"$jobs"; then
		cd "$top"
		fails "$name does not build"
		return
	fi
	say "$name: make $target"
	failed_before=$failed
	status=0
	make -s -j"$jobs" "$target" VERBOSE=1 || status=$?
	cd "$top"
	sum "$name"
	if [ "$status" != 0 ] && [ "$failed" = "$failed_before" ]; then
		fails "$name: make $target ended with $status"
	fi
}

# What is installed stands where it belongs, and starts.
smoke() {
	say "install: make install DESTDIR=..."
	root=$build/root
	if ! make -s -C "$build/gcc" install DESTDIR="$root"; then
		fails "make install"
		return
	fi
	for f in bin/dcsign sbin/dcsignd libexec/dcsign/dcsignd-api libexec/dcsign/dcsignd-hsm \
		libexec/dcsign/dcsignd-ledger libexec/dcsign/dcsign-keys libexec/dcsign/dcsign-ledger; do
		if ! [ -x "$root/usr/local/$f" ]; then
			fails "$f is not installed"
			return
		fi
	done
	if ! "$root/usr/local/bin/dcsign" --version; then
		fails "the installed dcsign does not start"
		return
	fi
	passed=$((passed + 1))
}

sh contrib/packages.sh check
rm -rf "$build"
say "autogen"
./autogen.sh >/dev/null 2>&1 || {
	echo "autogen.sh failed:" >&2
	./autogen.sh
	exit 1
}
build asan check --enable-werror --enable-sanitizers --enable-test-hooks
build gcc check-unit --enable-werror
build clang check-plain --enable-werror --enable-test-hooks CC=clang
smoke

printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" = 0 ]
