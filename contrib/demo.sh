# Shell functions that contrib/try.sh and the end-to-end tests share: a PKI made with the openssl
# command, a SoftHSM token, free ports. Sourced; POSIX sh.

DEMO_MODULE=${DEMO_MODULE:-/usr/lib/softhsm/libsofthsm2.so}
DEMO_CA_EXT='basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash'
DEMO_LEAF_EXT='basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid'
DEMO_SERVER_EXT="$DEMO_LEAF_EXT
extendedKeyUsage=serverAuth
subjectAltName=DNS:localhost,IP:127.0.0.1"
# RFC 9345 section 4.2: DelegationUsage, NULL and not critical, with digitalSignature.
DEMO_DELEGATION_EXT="$DEMO_LEAF_EXT
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:localhost
1.3.6.1.4.1.44363.44=ASN1:NULL"

# demo_x509 FOLDER NAME EXTENSIONS OPTION...: NAME.pem for NAME.csr. It begins a minute ago: a
# credential may only be signed after its certificate's begin.
demo_x509() {
	demo_folder=$1 demo_name=$2
	printf '[ca]\ndefault_ca = d\n[d]\ndatabase = %s/index\nnew_certs_dir = %s\nunique_subject = no\nrand_serial = yes
default_md = sha256\npolicy = p\n[p]\norganizationName = optional\ncommonName = supplied\n[x]\n%s\n' \
		"$1" "$1" "$3" >"$1/$2.cnf"
	shift 3
	: >>"$demo_folder/index"
	openssl ca -batch -config "$demo_folder/$demo_name.cnf" -extensions x -notext \
		-startdate "$(date -u -d '-1 minute' +%Y%m%d%H%M%SZ)" -in "$demo_folder/$demo_name.csr" \
		-out "$demo_folder/$demo_name.pem" "$@" 2>"$demo_folder/openssl.log" || {
		cat "$demo_folder/openssl.log" >&2
		return 1
	}
	rm "$demo_folder/$demo_name.cnf" "$demo_folder/openssl.log" "$demo_folder"/[0-9A-F]*.pem
}

# demo_ca FOLDER NAME: a certificate authority, NAME.pem and NAME.key.
demo_ca() {
	openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1/$2.key" &&
		openssl req -new -key "$1/$2.key" -subj "/O=dcsign demo/CN=$2" -out "$1/$2.csr" &&
		demo_x509 "$1" "$2" "$DEMO_CA_EXT" -selfsign -keyfile "$1/$2.key" -days 60 &&
		rm "$1/$2.csr"
}

# demo_sign FOLDER CA NAME EXTENSIONS: NAME.pem for NAME.csr, by CA.
demo_sign() {
	demo_x509 "$1" "$3" "$4" -cert "$1/$2.pem" -keyfile "$1/$2.key" -days 30
}

# demo_leaf FOLDER CA NAME EXTENSIONS: a key and its certificate by CA, NAME.pem and NAME.key.
demo_leaf() {
	openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1/$3.key" &&
		openssl req -new -key "$1/$3.key" -subj "/O=dcsign demo/CN=$3" -out "$1/$3.csr" &&
		demo_sign "$1" "$2" "$3" "$4" && rm "$1/$3.csr"
}

# demo_client FOLDER CA NAME: a client's key and certificate, spiffe://demo.example/NAME.
demo_client() {
	demo_leaf "$1" "$2" "$3" "$DEMO_LEAF_EXT
extendedKeyUsage=clientAuth
subjectAltName=URI:spiffe://demo.example/$3"
}

# demo_token FOLDER LABEL: an empty SoftHSM token in FOLDER, its configuration FOLDER/softhsm2.conf
# and its PIN in FOLDER/pin. Sets SOFTHSM2_CONF.
demo_token() {
	mkdir -p "$1/tokens"
	printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' \
		"$1" >"$1/softhsm2.conf"
	SOFTHSM2_CONF=$1/softhsm2.conf
	export SOFTHSM2_CONF
	(umask 077 && openssl rand -hex 16 >"$1/pin")
	softhsm2-util --init-token --free --label "$2" --pin "$(cat "$1/pin")" \
		--so-pin "$(openssl rand -hex 16)" >/dev/null
}

# demo_token_close FOLDER [GROUP]: nobody but root changes the token any more; GROUP may read it.
# SoftHSM rewrites token.object at each login, and a crash in that moment would lose the token.
demo_token_close() {
	if [ -n "${2-}" ]; then
		chgrp -R "$2" "$1/tokens"
	fi
	chmod -R u-w,g=rX,o= "$1/tokens"
}

# demo_port: a TCP port that nothing uses now, below the range for outgoing connections.
demo_port() {
	while :; do
		demo_p=$(($(od -An -N2 -tu2 /dev/urandom) % 12000 + 20000))
		demo_hex=$(printf ':%04X' "$demo_p")
		if ! awk -v p="$demo_hex" '$2 ~ p "$" { f = 1 } END { exit !f }' \
			/proc/net/tcp /proc/net/tcp6 2>/dev/null; then
			echo "$demo_p"
			return
		fi
	done
}

# demo_ready MONITOR-URL PID SECONDS: waits until every key can be served. 1: the process has
# gone or the time is over.
demo_ready() {
	demo_left=$(($3 * 10))
	while [ "$demo_left" -gt 0 ]; do
		if curl -sf -o /dev/null --max-time 2 "$1/readyz"; then
			return 0
		fi
		kill -0 "$2" 2>/dev/null || return 1
		sleep 0.1
		demo_left=$((demo_left - 1))
	done
	return 1
}

# demo_reachable FOLDER: can a user who owns nothing of it go there?
demo_reachable() {
	demo_d=$(cd "$1" && pwd -P) || return 1
	while [ "$demo_d" != / ] && [ -n "$demo_d" ]; do
		case "$(stat -c %A "$demo_d")" in
		*x | *t) ;;
		*) return 1 ;;
		esac
		demo_d=$(dirname "$demo_d")
	done
}
