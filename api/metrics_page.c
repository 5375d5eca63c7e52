#include "settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "alarms.h"
#include "metrics_private.h"

static int64_t started; /* the process */

static void write_keys(struct buf *out, const struct config *config, struct signer *signer)
{
	struct signer_key state;

	metrics_family(out, "dcsign_key_served", "gauge", "1 while the key can be used.");
	for (size_t i = 0; i < config->key_count; i++) {
		signer_key(signer, config->key[i].token, config->key[i].name, &state);
		buf_printf(out, "dcsign_key_served{key=\"%s\",token=\"%s\"} %d\n",
			config->key[i].name, config->key[i].token, state.err == ERR_OK);
	}
	metrics_family(out, "dcsign_key_certificate_expiry_timestamp_seconds", "gauge",
		"notAfter of the delegation certificate that issues.");
	for (size_t i = 0; i < config->key_count; i++) {
		signer_key(signer, config->key[i].token, config->key[i].name, &state);
		if (state.has_certificate)
			buf_printf(out,
				"dcsign_key_certificate_expiry_timestamp_seconds{key=\"%s\"} "
				"%" PRId64 "\n",
				config->key[i].name, state.certificate_not_after);
	}
}

/* Counters of an hsm process; digits: those of the counter behind the metric's decimal point. */
static const struct {
	const char *name, *type, *help;
	enum msg_counter counter;
	unsigned digits;
} token_counters[] = {
	{"dcsign_token_signatures_total", "counter", "Signatures made by the token.",
		COUNTER_SIGNATURES, 0},
	{"dcsign_token_sign_errors_total", "counter", "Signing calls that failed.",
		COUNTER_SIGN_ERRORS, 0},
	{"dcsign_token_sign_seconds_total", "counter", "Time inside signing calls.",
		COUNTER_SIGN_US, 6},
	{"dcsign_token_verify_failures_total", "counter",
		"Signatures that did not verify and were not released.", COUNTER_VERIFY_FAILURES,
		0},
	{"dcsign_token_queue_requests", "gauge", "Requests that wait for a worker.", COUNTER_QUEUE,
		0},
	{"dcsign_token_workers_busy", "gauge", "Workers with a request.", COUNTER_WORKERS_BUSY, 0},
	{"dcsign_token_sessions", "gauge", "Open sessions.", COUNTER_SESSIONS, 0},
	{"dcsign_token_ledger_wait_seconds_total", "counter", "Time waited for the ledger.",
		COUNTER_LEDGER_US, 6},
	{"dcsign_token_clock_drift_seconds", "gauge",
		"Distance between the wall clock and its reference.", COUNTER_CLOCK_DRIFT_MS, 3},
};

/* The parts of a request inside the hsm process. */
static const struct {
	const char *name, *help;
	enum msg_span span;
} token_spans[] = {
	{"dcsign_token_queue_seconds", "Time until a worker took a request.", SPAN_QUEUE},
	{"dcsign_token_ledger_seconds", "Time of each wait for the ledger.", SPAN_LEDGER},
	{"dcsign_token_sign_seconds", "Time of each signing call.", SPAN_SIGN},
	{"dcsign_token_verify_seconds", "Time of each check of a signature.", SPAN_VERIFY},
	{"dcsign_token_request_seconds", "Time from a request's arrival to its answer.",
		SPAN_TOTAL},
};

static void write_spans(struct buf *out, const struct config *config, struct signer *signer)
{
	struct signer_token token;
	char labels[NAME_SIZE + 16];

	for (size_t s = 0; s < sizeof(token_spans) / sizeof(token_spans[0]); s++) {
		metrics_family(out, token_spans[s].name, "histogram", token_spans[s].help);
		for (size_t i = 0; i < config->token_count; i++) {
			signer_token(signer, config->token[i].name, &token);
			snprintf(labels, sizeof(labels), "token=\"%s\"", config->token[i].name);
			metrics_histogram(
				out, token_spans[s].name, labels, &token.span[token_spans[s].span]);
		}
	}
}

static void write_tokens(struct buf *out, const struct config *config, struct signer *signer)
{
	struct signer_token token;

	metrics_family(out, "dcsign_token_ready", "gauge", "1 while the token can be used.");
	for (size_t i = 0; i < config->token_count; i++) {
		signer_token(signer, config->token[i].name, &token);
		buf_printf(out, "dcsign_token_ready{token=\"%s\"} %d\n", config->token[i].name,
			token.ready);
	}
	metrics_family(out, "dcsign_token_requests_waiting", "gauge",
		"Requests sent to the token's process and not answered.");
	for (size_t i = 0; i < config->token_count; i++) {
		signer_token(signer, config->token[i].name, &token);
		buf_printf(out, "dcsign_token_requests_waiting{token=\"%s\"} %u\n",
			config->token[i].name, token.waiting);
	}
	for (size_t c = 0; c < sizeof(token_counters) / sizeof(token_counters[0]); c++) {
		metrics_family(out, token_counters[c].name, token_counters[c].type,
			token_counters[c].help);
		for (size_t i = 0; i < config->token_count; i++) {
			signer_token(signer, config->token[i].name, &token);
			buf_printf(out, "%s{token=\"%s\"} ", token_counters[c].name,
				config->token[i].name);
			metrics_decimal(out, token.counter[token_counters[c].counter],
				token_counters[c].digits);
			buf_text(out, "\n");
		}
	}
}

/* The second line of a note. */
static uint64_t note_size(const char *note)
{
	const char *line = strchr(note, '\n');

	return line != NULL ? strtoull(line + 1, NULL, 10) : 0;
}

static void write_ledger(struct buf *out, struct signer *signer)
{
	char note[CHECKPOINT_MAX + 1];
	struct msg_read_answer heads;
	bool ready = signer_ledger(signer, &heads);
	uint32_t holds;
	uint64_t live;

	signer_live_now(signer, &holds, &live);
	metrics_single(out, "dcsign_holds", "gauge", "Holds in force.", holds);
	metrics_single(out, "dcsign_live_credentials", "gauge", "Unexpired credentials.", live);
	metrics_single(out, "dcsign_ledger_ready", "gauge", "1 while the ledger answers.", ready);
	metrics_single(out, "dcsign_ledger_size_bytes", "gauge", "Size of the ledger's store.",
		heads.octets);
	metrics_family(out, "dcsign_ledger_records", "gauge", "Records in each chain.");
	for (unsigned i = 0; i < heads.count; i++)
		buf_printf(out, "dcsign_ledger_records{chain=\"%s\"} %" PRIu64 "\n",
			heads.head[i].chain, heads.head[i].size);
	metrics_family(out, "dcsign_ledger_signed_records", "gauge",
		"Records that the newest signed head of each chain covers.");
	for (unsigned i = 0; i < heads.count; i++)
		if (signer_note(signer, heads.head[i].chain, note))
			buf_printf(out, "dcsign_ledger_signed_records{chain=\"%s\"} %" PRIu64 "\n",
				heads.head[i].chain, note_size(note));
	metrics_family(out, "dcsign_ledger_last_record_timestamp_seconds", "gauge",
		"Time of the last record of each chain's writer.");
	for (unsigned i = 0; i < heads.count; i++)
		if (heads.head[i].last_time != 0)
			buf_printf(out,
				"dcsign_ledger_last_record_timestamp_seconds{chain=\"%s\"} "
				"%" PRId64 "\n",
				heads.head[i].chain, heads.head[i].last_time);
}

/* The other processes; this one's own births show in its start time. */
static void write_processes(struct buf *out, const struct config *config, struct signer *signer)
{
	metrics_single(out, "process_start_time_seconds", "gauge",
		"When this process, dcsignd-api, began to serve.", (uint64_t)started);
	metrics_family(out, "dcsign_process_restarts_total", "counter",
		"Births of each other process after its first, as dcsignd-api has seen them.");
	buf_printf(out, "dcsign_process_restarts_total{process=\"ledger\",token=\"\"} %u\n",
		signer_restarts(signer, ROLE_LEDGER, ""));
	for (size_t i = 0; i < config->token_count; i++)
		buf_printf(out, "dcsign_process_restarts_total{process=\"hsm\",token=\"%s\"} %u\n",
			config->token[i].name,
			signer_restarts(signer, ROLE_HSM, config->token[i].name));
}

static void write_listeners(struct buf *out, const struct snapshot *snapshot)
{
	const struct config *config = snapshot->config;

	metrics_family(out, "dcsign_tls_certificate_expiry_timestamp_seconds", "gauge",
		"notAfter of the TLS server certificate.");
	for (size_t i = 0; i < config->listen_count; i++)
		if (snapshot->tls[i] != NULL)
			buf_printf(out,
				"dcsign_tls_certificate_expiry_timestamp_seconds{listen=\"%zu\"} "
				"%" PRId64 "\n",
				i, tls_certificate_not_after(snapshot->tls[i]));
	metrics_family(out, "dcsign_client_ca_expiry_timestamp_seconds", "gauge",
		"The first notAfter of the CAs of client certificates.");
	for (size_t i = 0; i < config->listen_count; i++)
		if (snapshot->tls[i] != NULL)
			buf_printf(out,
				"dcsign_client_ca_expiry_timestamp_seconds{listen=\"%zu\"} "
				"%" PRId64 "\n",
				i, tls_ca_not_after(snapshot->tls[i]));
	metrics_family(out, "dcsign_client_crl_next_update_timestamp_seconds", "gauge",
		"Earliest nextUpdate of the CRLs; from then on nobody is let in.");
	for (size_t i = 0; i < config->listen_count; i++)
		if (snapshot->tls[i] != NULL && tls_crl_next_update(snapshot->tls[i]) != INT64_MAX)
			buf_printf(out,
				"dcsign_client_crl_next_update_timestamp_seconds{listen=\"%zu\"} "
				"%" PRId64 "\n",
				i, tls_crl_next_update(snapshot->tls[i]));
}

static void write_alarm(void *out, const struct alarm *alarm)
{
	buf_printf(out,
		"dcsign_certificate_ends_soon{certificate=\"%s\",of=\"%s\",within_days=\"%u\"} 1\n",
		alarm->kind, alarm->name, alarm->days);
}

void metrics_start(int64_t now)
{
	started = now;
}

void metrics_write(struct buf *out, const struct snapshot *snapshot, struct signer *signer,
	struct connections *connections)
{
	metrics_family(out, "dcsign_build_info", "gauge", "1; the version of dcsign.");
	buf_printf(out, "dcsign_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	metrics_own(out);
	metrics_single(out, "dcsign_connections", "gauge", "Open connections, the monitor's too.",
		connections_count(connections));
	write_keys(out, snapshot->config, signer);
	write_tokens(out, snapshot->config, signer);
	write_spans(out, snapshot->config, signer);
	write_ledger(out, signer);
	write_processes(out, snapshot->config, signer);
	write_listeners(out, snapshot);
	metrics_family(out, "dcsign_certificate_ends_soon", "gauge",
		"1 for each certificate that ends within 30 or 7 days.");
	alarms_each(snapshot, time(NULL), write_alarm, out);
}
