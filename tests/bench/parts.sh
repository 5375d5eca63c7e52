# The parts of bench.sh: each starts a service as its rows want it and adds samples, a line each:
# NAME VALUE. Sourced by bench.sh after tests/lib.sh (bash).
EXTRA='' # further sections of the configuration
module_env=() # what the user's own module wants in its environment

wanted() {
	local w r
	for w in "$@"; do
		for r in $rows; do
			[ "$w" = "$r" ] && return 0
		done
	done
	return 1
}

sample() {
	echo "$1 $2" >>"$samples"
}

# A member of the JSON line of load in out/load.
loaded() {
	/usr/bin/python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' \
		"$WORK/out/load" "$1"
}

# load STATUS OPTION...: the load generator as the client edge; every answer must have this status.
load() {
	local status=$1
	shift
	"$TOP_BUILDDIR/tests/bench/load" --port "$PORT" --ca "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--key "$WORK/pki/edge.key" "$@" >"$WORK/out/load" || fail "load $*"
	/usr/bin/python3 -c '
import json, sys
a = json.load(open(sys.argv[1]))
sys.exit(a["requests"] == 0 or a["broken"] > 0 or set(a["statuses"]) != {sys.argv[2]})' \
		"$WORK/out/load" "$status" || fail "load $*: $(cat "$WORK/out/load")"
}

issue_load() { # OPTION...
	load 201 --method POST --path "/v1/keys/www/credentials" --bodies "$WORK/bodies" "$@"
}

batch_load() { # OPTION...
	load 200 --method POST --path "/v1/keys/www/credentials/batch" --bodies "$WORK/batches" \
		--count '"credential":"' "$@"
}

# Processor time of the daemon and its children so far: NAME MICROSECONDS a line.
processor() {
	local p
	for p in "$PID" $(cat "/proc/$PID/task/$PID/children"); do
		echo "$(cat "/proc/$p/comm") $(awk -v hz="$(getconf CLK_TCK)" '{ print ($14 + $15) * 1000000 / hz }' "/proc/$p/stat")"
	done
}

# Summed proportional set size of all processes in kilobytes.
memory() {
	local p
	for p in "$PID" $(cat "/proc/$PID/task/$PID/children"); do
		awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup"
	done | awk '{ s += $1 } END { print s }'
}

# The token with the keys www and www384, kept under three names for row 7; or the user's own.
bench_token() {
	token_and_pki
	mv "$WORK/hsm" "$WORK/hsm-0"
	ln -s hsm-0 "$WORK/hsm"
	if [ -n "${MODULE-}" ]; then
		IFS=';' read -ra module_env <<<"${MODULE_ENV-}"
		: "${URI:?URI= of an EC key that may sign}" "${PIN_FILE:?PIN_FILE= with the PIN of its token}"
		env "${module_env[@]}" "$DCSIGN" keys csr --module "$MODULE" --module-args "${MODULE_ARGS-}" \
			--uri "$URI" --pin "file:$PIN_FILE" --subject CN=localhost -o "$WORK/pki/www.csr" || fail "no certificate can be asked for"
		demo_sign "$WORK/pki" ca www "$DEMO_DELEGATION_EXT" || fail "openssl made no certificate"
		eval "$(declare -f config_write | sed '1s/config_write/config_write_demo/')"
		config_write() {
			config_write_demo
			/usr/bin/python3 "$here/own_module.py" "$WORK/etc/dcsignd.conf" "$MODULE" "$URI" "$PIN_FILE"
		}
		service_keys=1
	fi
}

bodies_make() {
	/usr/bin/python3 "$here/bodies.py" "$WORK" || fail "bodies.py"
}

floors() {
	local f=$TOP_BUILDDIR/tests/bench/floors floor=${BENCH_FLOOR_SECONDS:-2}
	local key=("$DEMO_MODULE" "pkcs11:token=demo;object=www" "$WORK/hsm/pin")
	[ -z "${MODULE-}" ] || key=("$MODULE" "$URI" "$PIN_FILE")
	sample F_sign "$(env "${module_env[@]}" "$f" sign "${key[@]}" "$floor")"
	sample F_sign2 "$(env "${module_env[@]}" "$f" sign "${key[@]}" "$floor" 2)"
	sample F_verify "$("$f" verify "$floor")"
	mkdir -p "$WORK/state"
	sample F_sync "$("$f" sync "$WORK/state" "$floor")"
}

# Rows 1, 2, 3, 4, 6 and 11.
plain_rows() {
	fresh_service
	load 200 --path /v1/whoami --clients 16 --seconds "$seconds" --warm-up "$warm_up"
	sample F_http "$(loaded rate)"
	metrics before
	processor >"$WORK/out/before"
	issue_load --clients 16 --seconds "$seconds"
	processor >"$WORK/out/after"
	metrics after
	sample outside_mean "$(/usr/bin/python3 -c 'import sys; print(1000 * float(sys.argv[1]))' "$(loaded mean_ms)")"
	sample rate16 "$(loaded rate)"
	sample p50_16 "$(loaded p50_ms)"
	stages "$(loaded requests)"
	if wanted 3; then
		batch_load --clients 4 --seconds "$seconds" --warm-up "$warm_up"
		sample batch_rate "$(/usr/bin/python3 -c 'import sys; print(float(sys.argv[1]) / float(sys.argv[2]))' "$(loaded counted)" "$(loaded seconds)")"
	fi
	if wanted 4; then
		issue_load --clients 1 --seconds "$seconds" --warm-up "$warm_up"
		sample p50_1 "$(loaded p50_ms)"
		sample p99_1 "$(loaded p99_ms)"
	fi
	if wanted 6; then
		load 200 --path /v1/whoami --clients 64 --seconds "$seconds" --new-connection
		sample fresh_http "$(loaded rate)"
		issue_load --clients 64 --seconds "$seconds" --new-connection
		sample fresh_rate "$(loaded rate)"
	fi
	wanted 11 && idle_row
	service_stop
}

# The service's own account, in out/metrics-NAME. The processes tell the api twice a second.
metrics() {
	sleep 1.5
	curl -s --max-time 10 "$MONITOR/metrics" >"$WORK/out/metrics-$1"
}

# Processor time per request of each process, between out/before and out/after; and what the service
# itself says about where the time went in between.
stages() { # REQUESTS
	join "$WORK/out/before" "$WORK/out/after" |
		awk -v n="$1" '{ t = ($3 - $2) / n; sum += t; print "cpu_" $1, t } END { print "cpu", sum }' >>"$samples"
	/usr/bin/python3 "$here/rows.py" --split "$WORK/out/metrics-before" "$WORK/out/metrics-after" >>"$samples" ||
		fail "/metrics does not tell where time goes"
}

fresh_service() {
	rm -rf "$WORK/state"
	CONF_EXTRA="limits { connections = 2048 connections_per_address = 2048 }
$EXTRA"
	service_start
}

# Row 11: a thousand connections that say nothing, beside 16 that work.
idle_row() {
	local before loader
	before=$(memory)
	"$TOP_BUILDDIR/tests/bench/load" --port "$PORT" --ca "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--key "$WORK/pki/edge.key" --path /v1/whoami --clients 1000 --requests 1000 --seconds 1 \
		--linger $((seconds + 6)) >"$WORK/out/idle" &
	loader=$!
	until [ -s "$WORK/out/idle" ]; do
		alive $loader || fail "1,000 connections can't be held"
		sleep 0.1
	done
	sample idle_kib "$(($(memory) - before))"
	issue_load --clients 16 --seconds "$seconds"
	sample idle_rate "$(loaded rate)"
	wait $loader
}

# Row 5: 20 ms in the module for each signature, 40 sessions, 80 clients.
slow_module_row() {
	local module=$CONF_MODULE environment=$CONF_ENVIRONMENT token=$CONF_TOKEN
	mkdir -p "$WORK/spy"
	echo 'C_Sign takes=20' >"$WORK/spy/rules"
	[ -z "$SEPARATE" ] || chown -R "${E2E_UIDS[1]}" "$WORK/spy"
	CONF_MODULE=$TOP_BUILDDIR/tests/faults/p11fault.so
	CONF_ENVIRONMENT=", \"P11FAULT_MODULE=$DEMO_MODULE\", \"P11FAULT_CONTROL=$WORK/spy/rules\""
	CONF_TOKEN='sessions = 40'
	fresh_service
	issue_load --clients 80 --seconds "$seconds" --warm-up "$warm_up"
	sample slow_rate "$(loaded rate)"
	sample slow_p99 "$(loaded p99_ms)"
	service_stop
	CONF_MODULE=$module CONF_ENVIRONMENT=$environment CONF_TOKEN=$token
}

batches() { # CREDENTIALS, a multiple of 256 of them
	[ "$1" -ge 256 ] || return 0
	batch_load --clients 4 --requests $(($1 / 256)) --seconds 100000
	[ "$(loaded counted)" = $(($1 / 256 * 256)) ] || fail "not all were issued: $(cat "$WORK/out/load")"
}

rate16() { # NAME
	issue_load --clients 16 --seconds "$seconds" --warm-up "$warm_up"
	sample "$1" "$(loaded rate)"
}

# Row 7: more keys, more clients.
growth_rows() {
	local n
	for n in 10 10000; do
		EXTRA=$(clients_section $n)
		fresh_service
		rate16 clients_$n
		service_stop
	done
	EXTRA=
	keys_make 10 5000
	for n in 10 5000; do
		ln -sfn "hsm-$n" "$WORK/hsm"
		EXTRA=$(cat "$WORK/keys-$n/keys.conf")
		service_keys=$((n + 2)) service_tries=1200
		fresh_service
		rate16 keys_$n
		service_stop
	done
	EXTRA='' service_keys=2 service_tries=300
	ln -sfn hsm-0 "$WORK/hsm"
}

clients_section() { # COUNT: that many clients, edge and auditor among them
	local i
	for i in $(seq $(($1 - 2))); do
		printf 'client c%d { match { uri = "spiffe://demo.example/c%d" } may = { issue } keys = { www } }\n' $i $i
	done
}

# The same token with so many more keys, if it has not been made yet.
keys_make() { # COUNT...
	local n
	for n in "$@"; do
		[ ! -d "$WORK/keys-$n" ] || continue
		cp -a "$WORK/hsm-0" "$WORK/hsm-$n"
		ln -sfn "hsm-$n" "$WORK/hsm"
		chmod -R u+w "$WORK/hsm/tokens"
		mkdir -p "$WORK/keys-$n"
		"$TOP_BUILDDIR/tests/scale_token" "$WORK/keys-$n" $n "$WORK/hsm/pin" || fail "scale_token"
		if [ -n "$SEPARATE" ]; then
			demo_token_close "$WORK/hsm/." "${E2E_UIDS[1]}"
		else
			demo_token_close "$WORK/hsm/."
		fi
	done
}

# What all processes hold when nobody asks for anything: what a burst took is given back within
# seconds.
idle_memory() {
	sleep "${BENCH_REST:-12}"
	memory
}

# How many more credentials until there are so many records.
short_of() { # RECORDS
	curl -s --max-time 10 "$MONITOR/metrics" |
		awk -v want="$1" '/^dcsign_ledger_records/ { n += $2 } END { print (want > n ? int((want - n) / 2) : 0) }'
}

# Rows 7 (the first), 8 and 9, with 10 keys in all: www, www384 and 8 of the 10.
age_rows() {
	keys_make 10
	ln -sfn hsm-10 "$WORK/hsm"
	EXTRA=$(awk '/^key k/ { n++ } n <= 8' "$WORK/keys-10/keys.conf") service_keys=10
	wanted 7 9 && old_ledger_rows
	wanted 8 && memory_rows
	EXTRA='' service_keys=2
	ln -sfn hsm-0 "$WORK/hsm"
}

# A ledger of BENCH_RECORDS records and a new one, by turns: what else the machine does meets both.
old_ledger_rows() {
	local run since
	fresh_service
	note "issuing until there are $records records"
	batches "$(short_of "$records")"
	note "$(curl -s "$MONITOR/metrics" | grep '^dcsign_ledger_records')"
	service_stop
	for run in $(seq "$runs"); do
		mv "$WORK/state" "$WORK/state-old"
		fresh_service
		rate16 young_rate
		service_stop
		rm -rf "$WORK/state"
		mv "$WORK/state-old" "$WORK/state"
		since=$(/usr/bin/python3 -c 'import time; print(time.monotonic())')
		service_spawn
		sample first_dc "$(/usr/bin/python3 "$here/first_dc.py" "$PORT" "$WORK/pki" "$(head -1 "$WORK/bodies")" "$since")"
		rate16 aged_rate
		service_stop
	done
}

# Memory is compared idle with idle, and both times single requests and batches came before: it is age
# that is looked at.
memory_rows() {
	fresh_service
	sample idle_memory "$(memory)"
	issue_load --clients 16 --seconds "$seconds"
	batches $((dcs / 100 + 1024))
	sample young_memory "$(idle_memory)"
	note "issuing $dcs credentials"
	batches "$dcs"
	issue_load --clients 16 --seconds "$seconds"
	sample aged_memory "$(idle_memory)"
	service_stop
}

# Row 10: a PostgreSQL server of this run's own. Left out, and said so, where Debian's is missing.
PG_PID=
postgres_begin() {
	if ! (pg_present) >/dev/null; then
		note "no PostgreSQL here: row 10 is left out"
		return
	fi
	pg_present
	pg_make "$WORK/pg" && pg_start && pg_database || fail "no PostgreSQL server"
	"$DCSIGN" ledger init --ledger "$(pg_url owner)" --writer node --reader auditor || fail "ledger init"
	test_end() {
		pg_stop QUIT
	}
}

postgres_row() {
	local sqlite=$LEDGER
	fresh_service
	rate16 sqlite_rate
	service_stop
	LEDGER=$(pg_url node)
	fresh_service
	rate16 postgres_rate
	service_stop
	LEDGER=$sqlite
}
