/* What the two files of metrics share: forms of the text format, the api's own counters. */
#ifndef DCSIGN_METRICS_PRIVATE_H
#define DCSIGN_METRICS_PRIVATE_H

#include "metrics.h"

void metrics_family(struct buf *out, const char *name, const char *type, const char *help);
void metrics_single(
	struct buf *out, const char *name, const char *type, const char *help, uint64_t v);
/* v / 10^digits, exact, without zeros at the end. */
void metrics_decimal(struct buf *out, uint64_t v, unsigned digits);
/* label: "" or as `token="main"` */
void metrics_histogram(
	struct buf *out, const char *name, const char *label, const struct msg_histogram *h);
void metrics_own(struct buf *out);

#endif
