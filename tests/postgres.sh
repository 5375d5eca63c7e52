# A PostgreSQL server of Debian for a test: in a folder of its own, on a Unix socket, as a user without
# rights (it refuses to run as root). Sourced by tests (bash). A test calls pg_present, then pg_make,
# pg_start; whoever sourced it ends the server with pg_stop. The roles: the owner, node (a dcsignd),
# auditor. Everything lies in the folder $PG.
PG_USER=${PG_USER:-nobody}

# The programs of the newest version; skips loudly where there are none.
pg_present() {
	PG_BIN=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
	if [ -z "$PG_BIN" ] || [ ! -x "$PG_BIN/postgres" ] || [ ! -x "$PG_BIN/initdb" ]; then
		echo "SKIP: no PostgreSQL server here (Debian's package postgresql): NOTHING of the engine was tested"
		exit 77
	fi
}

# As the server's user.
pg_as() {
	if [ "$(id -u)" = 0 ]; then
		setpriv --reuid="$PG_USER" --regid="$(id -g "$PG_USER")" --clear-groups "$@"
	else
		"$@"
	fi
}

# pg_make FOLDER: makes a cluster. Sets PG.
pg_make() {
	PG=$1
	mkdir -p "$PG" && chmod 711 "$PG" || return 1
	[ "$(id -u)" != 0 ] || chown "$PG_USER" "$PG" || return 1
	(cd / && pg_as "$PG_BIN/initdb" -D "$PG/data" -U owner -A trust -E UTF8 --locale=C.UTF-8 --no-sync --wal-segsize=4 \
		--no-instructions >"$PG/initdb.log" 2>&1) || return 1
	(cd / && pg_as sh -c "mkdir -m 711 '$PG/run' && cat >>'$PG/data/postgresql.conf'") <<END
listen_addresses = ''
unix_socket_directories = '$PG/run'
shared_buffers = 32MB
max_connections = 40
max_wal_size = 256MB
min_wal_size = 32MB
logging_collector = off
log_min_messages = warning
END
}

# pg_start [FOLDER-OF-DATA]: starts the server and waits until it takes connections. Sets PG_PID.
pg_start() {
	local n
	# the server dies with the shell that started it
	(cd / && exec setpriv $([ "$(id -u)" != 0 ] || echo "--reuid=$PG_USER --regid=$(id -g "$PG_USER") --clear-groups") \
		--pdeathsig QUIT "$PG_BIN/postgres" -D "${1:-$PG/data}" </dev/null >>"$PG/log" 2>&1) &
	PG_PID=$!
	for n in $(seq 600); do
		pg_sql postgres 'SELECT 1' >/dev/null 2>&1 && return
		kill -0 "$PG_PID" 2>/dev/null || break
		sleep 0.1
	done
	echo "the database server does not start:" >&2
	tail -n 20 "$PG/log" >&2
	return 1
}

# pg_stop [SIGNAL]: ends it; INT is a fast stop, QUIT an immediate one that loses nothing durable.
pg_stop() {
	[ -n "${PG_PID-}" ] || return 0
	kill -"${1:-INT}" "$PG_PID" 2>/dev/null
	wait "$PG_PID" 2>/dev/null
	PG_PID=
}

# pg_sql DATABASE SQL [ROLE]: as the owner or as this role.
pg_sql() {
	"$PG_BIN/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$PG/run" -U "${3:-owner}" -d "$1" -c "$2"
}

# pg_url ROLE [DATABASE]
pg_url() {
	echo "postgresql://$1@/${2:-dcsign}?host=$PG/run"
}

# The database dcsign with the roles node and auditor and nothing in it.
pg_database() {
	pg_sql postgres 'CREATE ROLE node LOGIN' && pg_sql postgres 'CREATE ROLE auditor LOGIN' &&
		pg_sql postgres 'CREATE DATABASE dcsign'
}
