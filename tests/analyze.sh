# Static analysis of the programs' sources: `make analyze`, and in `make check-long`.
#   tidy      clang-tidy, as .clang-tidy says
#   scan      scan-build: clang's path-sensitive analyser
#   gcc       gcc -fanalyzer
#   cppcheck  cppcheck
# With arguments: these alone. Any finding fails. What is no defect is
# suppressed at its line with the reason; of gcc, which takes nothing there that clang does not mind, in analyze_gcc.txt; of scan-build in analyze_scan.txt.
set -u
[ "${DCSIGN_TESTS-}" = long ] || {
	echo "skipped: in make check-long and make analyze"
	exit 77
}
for p in clang-tidy scan-build cppcheck gcc; do
	command -v "$p" >/dev/null || {
		echo "skipped: there is no $p here"
		exit 77
	}
done
work=$TOP_BUILDDIR/build-analyze
failed=0

# finds NAME FILE: what stands in FILE are findings.
finds() {
	local count
	count=$(grep -c . "$2")
	echo "$1: $count lines of findings"
	[ "$count" = 0 ] || {
		cat "$2"
		failed=1
	}
}

sources() {
	(cd "$TOP_SRCDIR" && find src hsm api -name '*.c' | sort)
}

# One file at a time: clang 14 mixes up va_list when it reads several.
tidy() {
	make -s -C "$TOP_BUILDDIR" api/openapi_yaml.inc || exit 99
	(cd "$TOP_SRCDIR" && sources | xargs -P2 -I@ clang-tidy --quiet @ -- -std=gnu11 $flags) \
		>"$work/tidy.out" 2>"$work/tidy.err"
	grep -q 'Error while' "$work/tidy.err" && cat "$work/tidy.err" >>"$work/tidy.out"
	finds clang-tidy "$work/tidy.out"
}

# make_with NAME COMMAND CONFIGURE-ARGUMENT...: the programs, built through COMMAND.
make_with() {
	local name=$1 command=$2
	shift 2
	rm -rf "$work/$name" && mkdir -p "$work/$name" && cd "$work/$name" || exit 99
	$command "$TOP_SRCDIR/configure" -q --enable-test-hooks CPPFLAGS=-DDCSIGN_ANALYZED "$@" >configure.out 2>&1 || {
		cat configure.out
		exit 99
	}
	$command make -s -k -j2 >make.out 2>&1 || {
		tail -n 30 make.out
		exit 99
	}
}

scan() {
	make_with scan "scan-build --use-cc=clang -o $work/scan.html" CC=clang CFLAGS=-g
	sed '/^#/d; /^$/d' "$TOP_SRCDIR/tests/analyze_scan.txt" >"$work/scan.known"
	sed -n "s|^$TOP_SRCDIR/\\(.*warning:.*\\)|\\1|p" "$work/scan/make.out" | sort -u |
		grep -v -f "$work/scan.known" >"$work/scan.out"
	finds scan-build "$work/scan.out"
}

gcc_analyzer() {
	make_with gcc '' CC=gcc CFLAGS='-O0 -g -fanalyzer'
	sed '/^#/d; /^$/d' "$TOP_SRCDIR/tests/analyze_gcc.txt" >"$work/gcc.known"
	sed -n "s|^.*$TOP_SRCDIR/\\(.*\\[-Wanalyzer.*\\)|\\1|p" "$work/gcc/make.out" | sort -u |
		grep -v -f "$work/gcc.known" >"$work/gcc.out"
	finds 'gcc -fanalyzer' "$work/gcc.out"
}

cppcheck_all() {
	(cd "$TOP_SRCDIR" && cppcheck -q -j2 --std=c11 --platform=unix64 --library=posix \
		--enable=warning,performance,portability --inline-suppr \
		--suppress=readdirCalled --suppress=getpwnamCalled --suppress=getgrnamCalled \
		--include=tests/analyze_cppcheck.h -DDCSIGN_ANALYZED \
		-Isrc src hsm api) >"$work/cppcheck.out" 2>&1
	finds cppcheck "$work/cppcheck.out"
}

mkdir -p "$work" || exit 99
flags="-D_GNU_SOURCE -DDCSIGN_ANALYZED -Isrc -I$TOP_BUILDDIR -I$TOP_BUILDDIR/api -DPKGLIBEXECDIR=\"/x\" -DSYSCONFDIR=\"/x\"
	$(pkg-config --cflags p11-kit-1 libpq)"
for tool in ${*:-tidy scan gcc cppcheck}; do
	case $tool in
	tidy) tidy ;;
	scan) scan ;;
	gcc) gcc_analyzer ;;
	cppcheck) cppcheck_all ;;
	*) echo "no such tool: $tool" && exit 99 ;;
	esac
done
exit $failed
