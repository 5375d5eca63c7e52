#include "settings.h"

#include "metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

#define SERIES_MAX 4096 /* power of two; what does not fit is counted under empty names */

struct series {
	char key[NAME_SIZE], client[NAME_SIZE];
	unsigned status; /* 0: unused */
	uint64_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct series series[SERIES_MAX];
static unsigned series_count;
static uint64_t refusals[ERR_COUNT];
static uint64_t handshakes_refused, reaped;

static const int64_t bounds_ms[] = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000};
#define BOUNDS (sizeof(bounds_ms) / sizeof(bounds_ms[0]))
static uint64_t duration[BOUNDS + 1], duration_sum_ms, duration_count;

static uint32_t hash(uint32_t h, const char *s)
{
	for (; *s != '\0'; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return (h ^ 0xff) * 16777619u;
}

/* The series of these labels; NULL: a new one that there is no room for. */
static struct series *find(const char *key, const char *client, unsigned status, bool last_resort)
{
	uint32_t at = hash(hash(2166136261u + status, key), client);

	for (;; at++) {
		struct series *s = &series[at % SERIES_MAX];

		if (s->status == status && strcmp(s->key, key) == 0 &&
			strcmp(s->client, client) == 0)
			return s;
		if (s->status != 0)
			continue;
		if (series_count >= SERIES_MAX / 4 * 3 && !last_resort)
			return NULL;
		strncpy(s->key, key, NAME_SIZE - 1);
		strncpy(s->client, client, NAME_SIZE - 1);
		s->status = status;
		series_count++;
		return s;
	}
}

void metrics_request(const char *key, const char *client, unsigned status, enum err err)
{
	struct series *s;

	pthread_mutex_lock(&lock);
	s = find(key, client, status, false);
	if (s == NULL) /* bounded: there are few statuses, and a quarter of the table for them */
		s = find("", "", status, true);
	s->count++;
	if (err != ERR_OK && (unsigned)err < ERR_COUNT)
		refusals[err]++;
	pthread_mutex_unlock(&lock);
}

void metrics_duration(int64_t ms)
{
	size_t i = 0;

	while (i < BOUNDS && ms > bounds_ms[i])
		i++;
	pthread_mutex_lock(&lock);
	duration[i]++;
	duration_sum_ms += (uint64_t)ms;
	duration_count++;
	pthread_mutex_unlock(&lock);
}

void metrics_handshake_refused(void)
{
	pthread_mutex_lock(&lock);
	handshakes_refused++;
	pthread_mutex_unlock(&lock);
}

void metrics_reaped(unsigned connections)
{
	pthread_mutex_lock(&lock);
	reaped += connections;
	pthread_mutex_unlock(&lock);
}

static void family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(
	struct buf *out, const char *name, const char *type, const char *help, uint64_t v)
{
	family(out, name, type, help);
	buf_printf(out, "%s %" PRIu64 "\n", name, v);
}

static void write_requests(struct buf *out)
{
	uint64_t cumulative = 0;

	family(out, "dcsign_requests_total", "counter",
		"Answers by key, client and HTTP status; empty where not known.");
	for (unsigned i = 0; i < SERIES_MAX; i++)
		if (series[i].status != 0)
			buf_printf(out,
				"dcsign_requests_total{key=\"%s\",client=\"%s\",code=\"%u\"} "
				"%" PRIu64 "\n",
				series[i].key, series[i].client, series[i].status, series[i].count);
	family(out, "dcsign_refusals_total", "counter", "Refusals by reason.");
	for (unsigned i = 0; i < ERR_COUNT; i++)
		if (refusals[i] != 0)
			buf_printf(out, "dcsign_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
				err_name((enum err)i), refusals[i]);
	family(out, "dcsign_request_duration_seconds", "histogram",
		"Time from request line to answer of requests for credentials.");
	for (size_t i = 0; i < BOUNDS; i++) {
		cumulative += duration[i];
		buf_printf(out, "dcsign_request_duration_seconds_bucket{le=\"%g\"} %" PRIu64 "\n",
			(double)bounds_ms[i] / 1000, cumulative);
	}
	buf_printf(out,
		"dcsign_request_duration_seconds_bucket{le=\"+Inf\"} %" PRIu64 "\n"
		"dcsign_request_duration_seconds_sum %.3f\n"
		"dcsign_request_duration_seconds_count %" PRIu64 "\n",
		duration_count, (double)duration_sum_ms / 1000, duration_count);
	single(out, "dcsign_tls_handshakes_refused_total", "counter", "Refused TLS handshakes.",
		handshakes_refused);
	single(out, "dcsign_connections_reaped_total", "counter",
		"Connections shut down at a deadline.", reaped);
}

static void write_keys(struct buf *out, const struct config *config, struct signer *signer)
{
	struct signer_key state;

	family(out, "dcsign_key_served", "gauge", "1 while the key can be used.");
	for (size_t i = 0; i < config->key_count; i++) {
		signer_key(signer, config->key[i].token, config->key[i].name, &state);
		buf_printf(out, "dcsign_key_served{key=\"%s\",token=\"%s\"} %d\n",
			config->key[i].name, config->key[i].token, state.err == ERR_OK);
	}
	family(out, "dcsign_key_certificate_expiry_timestamp_seconds", "gauge",
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

/* Counters of an hsm process; divisor: what one unit of the counter is of the metric's. */
static const struct {
	const char *name, *type, *help;
	enum msg_counter counter;
	double divisor;
} token_counters[] = {
	{"dcsign_token_signatures_total", "counter", "Signatures made by the token.",
		COUNTER_SIGNATURES, 1},
	{"dcsign_token_sign_errors_total", "counter", "Signing calls that failed.",
		COUNTER_SIGN_ERRORS, 1},
	{"dcsign_token_sign_seconds_total", "counter", "Time inside signing calls.",
		COUNTER_SIGN_US, 1e6},
	{"dcsign_token_verify_failures_total", "counter",
		"Signatures that did not verify and were not released.", COUNTER_VERIFY_FAILURES,
		1},
	{"dcsign_token_queue_requests", "gauge", "Requests that wait for a worker.", COUNTER_QUEUE,
		1},
	{"dcsign_token_workers_busy", "gauge", "Workers with a request.", COUNTER_WORKERS_BUSY, 1},
	{"dcsign_token_sessions", "gauge", "Open sessions.", COUNTER_SESSIONS, 1},
	{"dcsign_token_ledger_wait_seconds_total", "counter", "Time waited for the ledger.",
		COUNTER_LEDGER_US, 1e6},
	{"dcsign_token_clock_drift_seconds", "gauge",
		"Distance between the wall clock and its reference.", COUNTER_CLOCK_DRIFT_MS, 1e3},
};

static void write_tokens(struct buf *out, const struct config *config, struct signer *signer)
{
	struct signer_token token;

	family(out, "dcsign_token_ready", "gauge", "1 while the token can be used.");
	for (size_t i = 0; i < config->token_count; i++) {
		signer_token(signer, config->token[i].name, &token);
		buf_printf(out, "dcsign_token_ready{token=\"%s\"} %d\n", config->token[i].name,
			token.ready);
	}
	family(out, "dcsign_token_requests_waiting", "gauge",
		"Requests sent to the token's process and not answered.");
	for (size_t i = 0; i < config->token_count; i++) {
		signer_token(signer, config->token[i].name, &token);
		buf_printf(out, "dcsign_token_requests_waiting{token=\"%s\"} %u\n",
			config->token[i].name, token.waiting);
	}
	for (size_t c = 0; c < sizeof(token_counters) / sizeof(token_counters[0]); c++) {
		family(out, token_counters[c].name, token_counters[c].type, token_counters[c].help);
		for (size_t i = 0; i < config->token_count; i++) {
			signer_token(signer, config->token[i].name, &token);
			buf_printf(out, "%s{token=\"%s\"} %.17g\n", token_counters[c].name,
				config->token[i].name,
				(double)token.counter[token_counters[c].counter] /
					token_counters[c].divisor);
		}
	}
}

static void write_ledger(struct buf *out, struct signer *signer)
{
	struct msg_read_answer heads;
	bool ready = signer_ledger(signer, &heads);

	single(out, "dcsign_ledger_ready", "gauge", "1 while the ledger answers.", ready);
	single(out, "dcsign_ledger_size_bytes", "gauge", "Size of the ledger's store.",
		heads.octets);
	family(out, "dcsign_ledger_records", "gauge", "Records in each chain.");
	for (unsigned i = 0; i < heads.count; i++)
		buf_printf(out, "dcsign_ledger_records{chain=\"%s\"} %" PRIu64 "\n",
			heads.head[i].chain, heads.head[i].size);
}

static void write_listeners(struct buf *out, const struct snapshot *snapshot)
{
	const struct config *config = snapshot->config;

	family(out, "dcsign_tls_certificate_expiry_timestamp_seconds", "gauge",
		"notAfter of the TLS server certificate.");
	for (size_t i = 0; i < config->listen_count; i++)
		if (snapshot->tls[i] != NULL)
			buf_printf(out,
				"dcsign_tls_certificate_expiry_timestamp_seconds{listen=\"%zu\"} "
				"%" PRId64 "\n",
				i, tls_certificate_not_after(snapshot->tls[i]));
	family(out, "dcsign_client_crl_next_update_timestamp_seconds", "gauge",
		"Earliest nextUpdate of the CRLs; from then on nobody is let in.");
	for (size_t i = 0; i < config->listen_count; i++)
		if (snapshot->tls[i] != NULL && tls_crl_next_update(snapshot->tls[i]) != INT64_MAX)
			buf_printf(out,
				"dcsign_client_crl_next_update_timestamp_seconds{listen=\"%zu\"} "
				"%" PRId64 "\n",
				i, tls_crl_next_update(snapshot->tls[i]));
}

void metrics_write(struct buf *out, const struct snapshot *snapshot, struct signer *signer,
	struct connections *connections)
{
	family(out, "dcsign_build_info", "gauge", "1; the version of dcsign.");
	buf_printf(out, "dcsign_build_info{version=\"%s\"} 1\n", PACKAGE_VERSION);
	pthread_mutex_lock(&lock);
	write_requests(out);
	pthread_mutex_unlock(&lock);
	single(out, "dcsign_connections", "gauge", "Open connections, the monitor's too.",
		connections_count(connections));
	write_keys(out, snapshot->config, signer);
	write_tokens(out, snapshot->config, signer);
	write_ledger(out, signer);
	write_listeners(out, snapshot);
}
