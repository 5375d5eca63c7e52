#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT   "text COLLATE \"C\" NOT NULL"
#define NUMBER "bigint NOT NULL"
#define OCTETS "bytea NOT NULL"
/* Rows that change leave room beside them for their next version. */
#define CHANGES(percent)                                                                           \
	") WITH (fillfactor = " #percent ", autovacuum_vacuum_scale_factor = 0.02);"

/* What brings a ledger from version i to i + 1. Never changed once released. */
static const char *const steps[PG_FORMAT] = {
	"CREATE TABLE writers (node " TEXT " PRIMARY KEY, epoch " NUMBER
	", holds_seen " NUMBER CHANGES(
		20) "CREATE TABLE chains (chain " TEXT " PRIMARY KEY, size " NUMBER ", edge " OCTETS
		    ", root " OCTETS ", last_time " NUMBER CHANGES(
			    20) "CREATE TABLE records (chain " TEXT ", idx " NUMBER ", record " TEXT
				", leaf_hash " OCTETS ", PRIMARY KEY (chain, idx));"
				"CREATE TABLE nodes (chain " TEXT ", level " NUMBER ", idx " NUMBER
				", hash " OCTETS ", PRIMARY KEY (chain, level, idx));"
				"CREATE TABLE checkpoints (chain " TEXT
				" PRIMARY KEY, note " TEXT CHANGES(
					20) "CREATE TABLE credentials (number " NUMBER
					    " PRIMARY KEY, id " TEXT ", chain " TEXT
					    ", authorised " NUMBER ", issued " NUMBER ", key " TEXT
					    ", client " TEXT ", expiry " NUMBER ", time " NUMBER
					    ");"
					    "CREATE INDEX credentials_id ON credentials (id);"
					    "CREATE TABLE attempts (id " TEXT ", attempt " NUMBER
					    ", chain " TEXT ", idx " NUMBER ", issued " NUMBER
					    ", key " TEXT ", client " TEXT ", spki_sha256 " OCTETS
					    ", expiry " NUMBER ", idempotency " TEXT
					    ", PRIMARY KEY (id, attempt)" CHANGES(
						    60) "CREATE INDEX attempts_place ON attempts "
							"(chain, idx);"
							"CREATE INDEX attempts_expiry ON attempts "
							"(expiry);"
							"CREATE INDEX attempts_spki ON attempts "
							"(spki_sha256, client);"
							"CREATE TABLE counts (kind " TEXT
							", name " TEXT ", live " NUMBER
							", PRIMARY KEY (kind, name)" CHANGES(
								20) "CREATE TABLE idempotency "
								    "(client " TEXT ", key " TEXT
								    ", name " TEXT
								    ", request_sha256 " OCTETS
								    ", time " NUMBER ", id " TEXT
								    ", chain " TEXT
								    ", authorised " NUMBER
								    ", issued " NUMBER
								    ", PRIMARY KEY (client, key, "
								    "name)" CHANGES(
									    60) "CREATE INDEX "
										"idempotency_time "
										"ON idempotency "
										"(time);"
										"CREATE TABLE "
										"holds (key " TEXT
										", client " TEXT
										", reason " TEXT
										", PRIMARY KEY "
										"(key, client));"
										"CREATE TABLE "
										"hold_events "
										"(number " NUMBER
										" PRIMARY KEY, "
										"node " TEXT
										", record " TEXT
										");"};

/* What is evidence can be added to and not changed. */
static const char writer_rights[] =
	"GRANT USAGE ON SCHEMA dcsign TO %1$s;"
	"GRANT SELECT ON ALL TABLES IN SCHEMA dcsign TO %1$s;"
	"REVOKE UPDATE, DELETE, TRUNCATE ON records, nodes, credentials, hold_events FROM %1$s;"
	"GRANT INSERT ON records, nodes, credentials, hold_events TO %1$s;"
	"GRANT INSERT, UPDATE ON writers, chains, checkpoints, counts TO %1$s;"
	"GRANT INSERT, UPDATE, DELETE ON attempts, idempotency, holds TO %1$s;";
static const char reader_rights[] = "GRANT USAGE ON SCHEMA dcsign TO %1$s;"
				    "GRANT SELECT ON ALL TABLES IN SCHEMA dcsign TO %1$s;";

static enum err failed(struct postgres *s, struct refusal *why)
{
	return refuse(why, ERR_NOT_FOUND, "ledger", "the database: %s", pg_text(&s->store));
}

/* Several init at once: the second waits, and finds it done. */
static enum err version_find(struct postgres *s, int *version)
{
	PGresult *r;
	enum err e = pg_plain(s,
		"BEGIN; SET LOCAL client_min_messages = error; SELECT pg_advisory_xact_lock("
		"x'64637367'::int); CREATE SCHEMA IF NOT EXISTS dcsign; SET LOCAL search_path = "
		"dcsign, pg_temp; CREATE TABLE IF NOT EXISTS version (version int NOT NULL); "
		"SELECT version FROM version",
		&r);

	*version = !e && PQntuples(r) ? atoi(PQgetvalue(r, 0, 0)) : 0;
	return e;
}

static enum err migrate(struct postgres *s, int version)
{
	char set[96];
	enum err e = ERR_OK;

	for (int i = version; i < PG_FORMAT && !e; i++)
		e = pg_plain(s, steps[i], NULL);
	snprintf(set, sizeof(set), "DELETE FROM version; INSERT INTO version VALUES (%d)",
		PG_FORMAT);
	return e ? e : pg_plain(s, set, NULL);
}

static enum err grant(struct postgres *s, const char *rights, const char *role)
{
	struct buf text = BUF_INIT(8192);
	char *name = PQescapeIdentifier(s->conn, role, strlen(role));
	enum err e = name ? ERR_OK : ERR_NOMEM;

	for (const char *at = rights; *at && name;) {
		const char *hole = strstr(at, "%1$s");

		if (!hole) {
			buf_text(&text, at);
			break;
		}
		buf_put(&text, at, (size_t)(hole - at));
		buf_text(&text, name);
		at = hole + strlen("%1$s");
	}
	PQfreemem(name);
	if (!e)
		e = buf_cstr(&text) ? pg_plain(s, (const char *)text.octets, NULL) : text.err;
	buf_free(&text);
	return e;
}

enum err pg_init(const char *url, const char *writer, const char *reader, struct refusal *why)
{
	struct postgres *s;
	int version;
	enum err e = pg_connect(&s, url, why);

	if (e)
		return e;
	e = version_find(s, &version);
	if (!e && version > PG_FORMAT)
		e = refuse(why, ERR_FORMAT, "ledger",
			"the ledger in this database is of version %d, made by a newer dcsign",
			version);
	else if (e || migrate(s, version) || (writer && grant(s, writer_rights, writer)) ||
		 (reader && grant(s, reader_rights, reader)) || pg_plain(s, "COMMIT", NULL))
		e = failed(s, why);
	pg_abandon(&s->store);
	return e;
}
