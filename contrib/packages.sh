#!/bin/sh
# Installs what Debian 12 needs to build and try dcsign, and with the argument `check` also what its
# tests need, with `long` what `make check-long` needs besides,
# with `nodes` what contrib/two-nodes.sh needs. Says what it does; does nothing when
# everything is there or DCSIGN_SKIP_INSTALL=1.
set -eu

build='gcc libc6-dev make autoconf automake autoconf-archive pkg-config
	libssl-dev libconfuse-dev libjansson-dev libmicrohttpd-dev libgnutls28-dev libp11-dev
	libp11-kit-dev libseccomp-dev libsqlite3-dev libpq-dev libcurl4-openssl-dev'
try='softhsm2 openssl curl ca-certificates libnss3-tools android-libboringssl-dev'
check='check clang libclang-rt-14-dev clang-format opensc opensc-pkcs11 python3-minimal
	python3-cryptography python3-yaml faketime mandoc strace patch xz-utils libnss3-dev
	p11-kit p11-kit-modules opencryptoki gdb systemd golang-cfssl'
nodes='postgresql haproxy'
long='gcovr valgrind clang-tidy clang-tools cppcheck
	chromium-headless-shell fonts-dejavu-core
	swtpm tpm2-abrmd libtss2-tcti-tabrmd0 libtpm2-pkcs11-1 dbus
	debhelper dpkg-dev lintian mmdebstrap systemd-container'

case "${1-}" in
'') wanted="$build $try" ;;
nodes) wanted="$build $try $nodes" ;;
check) wanted="$build $try $check $nodes" ;;
long) wanted="$build $try $check $nodes $long" ;;
*)
	echo "usage: sh contrib/packages.sh [nodes | check | long]" >&2
	exit 2
	;;
esac

if [ "${DCSIGN_SKIP_INSTALL-}" = 1 ]; then
	echo "packages: DCSIGN_SKIP_INSTALL=1, so none are installed"
	exit 0
fi
if ! command -v apt-get >/dev/null; then
	echo "packages: no apt-get here: install the counterparts of these yourself, then set" >&2
	echo "DCSIGN_SKIP_INSTALL=1:" $wanted >&2
	exit 1
fi

missing=
for p in $wanted; do
	case "$(dpkg-query -W -f '${Status}' "$p" 2>/dev/null)" in
	*'ok installed') ;;
	*) missing="$missing $p" ;;
	esac
done
if [ -z "$missing" ]; then
	echo "packages: all there"
	exit 0
fi

sudo=
if [ "$(id -u)" != 0 ]; then
	if ! command -v sudo >/dev/null; then
		echo "packages: run as root or with sudo, or install these and set DCSIGN_SKIP_INSTALL=1:$missing" >&2
		exit 1
	fi
	sudo=sudo
fi
echo "packages: installing$missing"
# A mirror that fails once is asked again, and another apt-get is waited for.
apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600"
$apt update
$apt -y --no-install-recommends install $missing >/dev/null
