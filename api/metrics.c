#include "settings.h"

#include "metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "alarms.h"

#define SERIES_MAX 4096 /* power of two; what does not fit is counted under empty names */

struct series {
	char key[NAME_SIZE], client[NAME_SIZE];
	unsigned label; /* HTTP status, or 1 + enum err; 0: unused */
	uint64_t count;
};
struct table {
	struct series series[SERIES_MAX];
	unsigned count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table requests, credentials;
static uint64_t dry_runs;
static uint64_t refusals[ERR_COUNT];
static uint64_t handshakes_refused, reaped;

static struct msg_histogram duration;

static uint32_t hash(uint32_t h, const char *s)
{
	for (; *s != '\0'; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return (h ^ 0xff) * 16777619u;
}

/* The series of these labels; NULL: a new one that there is no room for. */
static struct series *find(
	struct table *t, const char *key, const char *client, unsigned label, bool last_resort)
{
	uint32_t at = hash(hash(2166136261u + label, key), client);

	for (;; at++) {
		struct series *s = &t->series[at % SERIES_MAX];

		if (s->label == label && strcmp(s->key, key) == 0 && strcmp(s->client, client) == 0)
			return s;
		if (s->label != 0)
			continue;
		if (t->count >= SERIES_MAX / 4 * 3 && !last_resort)
			return NULL;
		strncpy(s->key, key, NAME_SIZE - 1);
		strncpy(s->client, client, NAME_SIZE - 1);
		s->label = label;
		t->count++;
		return s;
	}
}

/* Under the lock. Bounded: there are few labels, and a quarter of the table for them. */
static void add(struct table *t, const char *key, const char *client, unsigned label)
{
	struct series *s = find(t, key, client, label, false);

	if (s == NULL)
		s = find(t, "", "", label, true);
	s->count++;
}

void metrics_request(const char *key, const char *client, unsigned status, enum err err)
{
	pthread_mutex_lock(&lock);
	add(&requests, key, client, status);
	if (err != ERR_OK && (unsigned)err < ERR_COUNT)
		refusals[err]++;
	pthread_mutex_unlock(&lock);
}

void metrics_credential(const char *key, const char *client, enum err err)
{
	pthread_mutex_lock(&lock);
	add(&credentials, key, client, 1 + (unsigned)err);
	pthread_mutex_unlock(&lock);
}

void metrics_dry_run(void)
{
	pthread_mutex_lock(&lock);
	dry_runs++;
	pthread_mutex_unlock(&lock);
}

void metrics_duration(int64_t us)
{
	size_t i = 0;

	while (i < MSG_BUCKETS - 1 && us > msg_bound_us[i])
		i++;
	pthread_mutex_lock(&lock);
	duration.bucket[i]++;
	duration.sum_us += (uint64_t)us;
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

/* label: "" or as `token="main"` */
static void write_histogram(
	struct buf *out, const char *name, const char *label, const struct msg_histogram *h)
{
	const char *comma = label[0] != '\0' ? "," : "", *open = label[0] != '\0' ? "{" : "",
		   *close = label[0] != '\0' ? "}" : "";
	uint64_t cumulative = 0;

	for (size_t i = 0; i < MSG_BUCKETS; i++) {
		cumulative += h->bucket[i];
		buf_printf(out, "%s_bucket{%s%sle=\"", name, label, comma);
		if (i < MSG_BUCKETS - 1)
			buf_printf(out, "%g", msg_bound_us[i] / 1e6);
		else
			buf_text(out, "+Inf");
		buf_printf(out, "\"} %" PRIu64 "\n", cumulative);
	}
	buf_printf(out, "%s_sum%s%s%s %.6f\n", name, open, label, close, (double)h->sum_us / 1e6);
	buf_printf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, cumulative);
}

static void write_table(struct buf *out, const char *name, const struct table *t, bool outcomes)
{
	for (unsigned i = 0; i < SERIES_MAX; i++) {
		const struct series *s = &t->series[i];

		if (s->label == 0)
			continue;
		buf_printf(out, "%s{key=\"%s\",client=\"%s\",", name, s->key, s->client);
		if (!outcomes)
			buf_printf(out, "code=\"%u\"", s->label);
		else
			buf_printf(out, "outcome=\"%s\"",
				s->label == 1 ? "issued" : err_name((enum err)(s->label - 1)));
		buf_printf(out, "} %" PRIu64 "\n", s->count);
	}
}

static void write_requests(struct buf *out)
{
	family(out, "dcsign_requests_total", "counter",
		"Answers by key, client and HTTP status; empty where not known.");
	write_table(out, "dcsign_requests_total", &requests, false);
	family(out, "dcsign_credentials_total", "counter",
		"Credentials that were asked for, those of batches too, by outcome.");
	write_table(out, "dcsign_credentials_total", &credentials, true);
	single(out, "dcsign_dry_runs_total", "counter", "Credentials judged in dry runs.",
		dry_runs);
	family(out, "dcsign_refusals_total", "counter", "Refusals by reason.");
	for (unsigned i = 0; i < ERR_COUNT; i++)
		if (refusals[i] != 0)
			buf_printf(out, "dcsign_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
				err_name((enum err)i), refusals[i]);
	family(out, "dcsign_request_duration_seconds", "histogram",
		"Time from request line to answer of requests for credentials.");
	write_histogram(out, "dcsign_request_duration_seconds", "", &duration);
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
		family(out, token_spans[s].name, "histogram", token_spans[s].help);
		for (size_t i = 0; i < config->token_count; i++) {
			signer_token(signer, config->token[i].name, &token);
			snprintf(labels, sizeof(labels), "token=\"%s\"", config->token[i].name);
			write_histogram(
				out, token_spans[s].name, labels, &token.span[token_spans[s].span]);
		}
	}
}

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
	uint32_t holds;
	uint64_t live;

	signer_live_now(signer, &holds, &live);
	single(out, "dcsign_holds", "gauge", "Holds in force.", holds);
	single(out, "dcsign_live_credentials", "gauge", "Unexpired credentials.", live);
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

static void write_alarm(void *out, const struct alarm *alarm)
{
	buf_printf(out,
		"dcsign_certificate_ends_soon{certificate=\"%s\",of=\"%s\",within_days=\"%u\"} 1\n",
		alarm->kind, alarm->name, alarm->days);
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
	write_spans(out, snapshot->config, signer);
	write_ledger(out, signer);
	write_listeners(out, snapshot);
	family(out, "dcsign_certificate_ends_soon", "gauge",
		"1 for each certificate that ends within 30 or 7 days.");
	alarms_each(snapshot, time(NULL), write_alarm, out);
}
