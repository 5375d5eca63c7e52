#!/bin/sh
# Builds dcsign twice, in folders of different names, with another clock (where faketime is installed),
# umask, locale, time zone and home, and compares all that `make install` puts in place, octet by octet;
# with --deb the Debian packages, too.
#   sh contrib/reproducible.sh [--deb] dcsign-VERSION.tar.xz
# The archive is that of `make dist`. The date of both is that of debian/changelog (SOURCE_DATE_EPOCH).
set -eu
deb=
[ "${1-}" != --deb ] || { deb=yes && shift; }
[ $# = 1 ] && [ -f "$1" ] || {
	sed -n 's/^# \{0,1\}//; 2,7p' "$0" >&2
	exit 2
}
archive=$(realpath "$1")
jobs=${JOBS:-2}
later=
! command -v faketime >/dev/null || later='faketime -f +400d'
work=$(mktemp -d "${TMPDIR:-/tmp}/dcsign-twice.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP

fails() {
	echo "reproducible: $*" >&2
	exit 1
}

# in_world NAME COMMAND...: in the surroundings of the build NAME (one, another).
in_world() {
	name=$1
	shift
	set -- env SOURCE_DATE_EPOCH="$epoch" DEB_BUILD_OPTIONS="nocheck parallel=$jobs" "$@"
	if [ "$name" = one ]; then
		umask 022
		env -i PATH="$PATH" LC_ALL=C TZ=UTC HOME="$work" "$@"
	else
		umask 027
		env -i PATH="$PATH" LC_ALL=C.UTF-8 LANG=C.UTF-8 TZ=Pacific/Apia HOME=/nowhere USER=another $later "$@"
	fi
}

# unpack NAME: sets source, which is longer for the one than for the other.
unpack() {
	case "$1" in
	one) source=$work/a ;;
	*) source=$work/another/folder/with-a-long-name ;;
	esac
	mkdir -p "$source"
	tar xf "$archive" -C "$source" --strip-components=1
	epoch=$(date -d "$(sed -n 's/^ -- .*>  //p' "$source/debian/changelog" | head -n 1)" +%s)
}

# hashes FOLDER: of each file and link in it, with its mode.
hashes() {
	(cd "$1" && find . -type f -printf '%m ' -exec sha256sum {} \; -o -type l -printf 'link %p %l\n' | LC_ALL=C sort -k 3)
}

build() {
	unpack "$1"
	(cd "$source" && in_world "$1" sh -c '
		./configure -q --prefix=/usr --sysconfdir=/etc --localstatedir=/var \
			--with-systemdsystemunitdir=/lib/systemd/system \
			CFLAGS="-g -O2 -ffile-prefix-map=$PWD=." &&
		make -s -j"$0" && make -s install DESTDIR="$PWD/root"' "$jobs") >"$work/log" 2>&1 ||
		fails "it does not build: $(tail -n 20 "$work/log")"
	hashes "$source/root" >"$work/$1.sum"
	rm -rf "$source"
}

build_deb() {
	unpack "$1"
	(cd "$source" && in_world "$1" dpkg-buildpackage -us -uc -b) \
		>"$work/log" 2>&1 || fails "dpkg-buildpackage: $(tail -n 20 "$work/log")"
	mkdir -p "$work/deb-$1"
	mv "$source"/../*.deb "$work/deb-$1"
	hashes "$work/deb-$1" >"$work/$1.sum"
	rm -rf "$source"
}

# compare WHAT
compare() {
	[ -s "$work/one.sum" ] || fails "$1: nothing was installed"
	diff "$work/one.sum" "$work/another.sum" >"$work/diff" || fails "$1: these differ:
$(cat "$work/diff")"
	echo "reproducible: $1: $(wc -l <"$work/one.sum") files are the same in both"
}

build one
build another
compare "make install"
if [ -n "$deb" ]; then
	build_deb one
	build_deb another
	compare "dpkg-buildpackage"
fi
