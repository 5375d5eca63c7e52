#include "metrics_private.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "intake.h"

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

void metrics_family(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_single(
	struct buf *out, const char *name, const char *type, const char *help, uint64_t v)
{
	metrics_family(out, name, type, help);
	buf_printf(out, "%s %" PRIu64 "\n", name, v);
}

void metrics_decimal(struct buf *out, uint64_t v, unsigned digits)
{
	char fraction[24];
	uint64_t unit = 1;
	int len;

	for (unsigned i = 0; i < digits; i++)
		unit *= 10;
	len = snprintf(fraction, sizeof(fraction), "%0*" PRIu64, (int)digits, v % unit);
	while (len > 0 && (fraction[len - 1] == '0' || digits == 0))
		len--;
	buf_printf(out, "%" PRIu64 "%s%.*s", v / unit, len > 0 ? "." : "", len, fraction);
}

void metrics_histogram(
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
	buf_printf(out, "%s_sum%s%s%s ", name, open, label, close);
	metrics_decimal(out, h->sum_us, 6);
	buf_text(out, "\n");
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

void metrics_own(struct buf *out)
{
	pthread_mutex_lock(&lock);
	metrics_family(out, "dcsign_requests_total", "counter",
		"Answers by key, client and HTTP status; empty where not known.");
	write_table(out, "dcsign_requests_total", &requests, false);
	metrics_family(out, "dcsign_credentials_total", "counter",
		"Credentials that were asked for, those of batches too, by outcome.");
	write_table(out, "dcsign_credentials_total", &credentials, true);
	metrics_single(out, "dcsign_dry_runs_total", "counter", "Credentials judged in dry runs.",
		dry_runs);
	metrics_family(out, "dcsign_refusals_total", "counter", "Refusals by reason.");
	for (unsigned i = 0; i < ERR_COUNT; i++)
		if (refusals[i] != 0)
			buf_printf(out, "dcsign_refusals_total{reason=\"%s\"} %" PRIu64 "\n",
				err_name((enum err)i), refusals[i]);
	metrics_family(out, "dcsign_request_duration_seconds", "histogram",
		"Time from request line to answer of requests for credentials.");
	metrics_histogram(out, "dcsign_request_duration_seconds", "", &duration);
	metrics_single(out, "dcsign_tls_handshakes_refused_total", "counter",
		"Refused TLS handshakes.", handshakes_refused);
	metrics_single(out, "dcsign_connections_shed_total", "counter",
		"Connections closed unheard because no descriptor was free.", intake_shed());
	metrics_single(out, "dcsign_connections_reaped_total", "counter",
		"Connections shut down at a deadline.", reaped);
	pthread_mutex_unlock(&lock);
}
