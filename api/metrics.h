/* Counters of the api and the page of /metrics: Prometheus text format 0.0.4. */
#ifndef DCSIGN_METRICS_H
#define DCSIGN_METRICS_H

#include "limits.h"
#include "signer.h"
#include "snapshot.h"

/* Counts one answer. key, client: names of the configuration, or "" where none is known; status:
 * HTTP; err: of a refusal. Thread-safe. */
void metrics_request(const char *key, const char *client, unsigned status, enum err err);
/* Counts one credential that was asked for, alone or in a batch; ERR_OK: issued. Thread-safe. */
void metrics_credential(const char *key, const char *client, enum err err);
void metrics_dry_run(void);
/* One answered POST of credentials, from its request line to its answer. */
void metrics_duration(int64_t us);
void metrics_handshake_refused(void);
void metrics_reaped(unsigned connections);

/* When this process began; once, before the first page. */
void metrics_start(int64_t now);
/* Appends the page. */
void metrics_write(struct buf *out, const struct snapshot *snapshot, struct signer *signer,
	struct connections *connections);

#endif
