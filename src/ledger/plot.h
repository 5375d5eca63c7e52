/* Plots as inline SVG, for a page without scripts. Texts are escaped here. */
#ifndef DCSIGN_PLOT_H
#define DCSIGN_PLOT_H

#include "buf.h"

/* Text in HTML or in an attribute: what has a meaning there is escaped, what can't be shown or
 * turns the direction of writing is U+FFFD. */
void html_text(struct buf *out, const char *text);

/* Upright bars, in the order of time; label: of a bar, for its tooltip and below every few of them.
 */
void plot_columns(struct buf *out, const char *title, const uint64_t *value, size_t count,
	void (*label)(void *arg, size_t i, char *text, size_t size), void *arg);
/* A line that goes down in steps: `count` things that end at these times, sorted, after `from`. */
void plot_ends(struct buf *out, const char *title, const int64_t *end, size_t count, int64_t from);
/* Spans of time as lying bars, one a row, and a line at `now`. */
struct plot_span {
	const char *name;
	int64_t from, to;
};
void plot_spans(struct buf *out, const char *title, const struct plot_span *span, size_t count,
	int64_t now);
/* A lying bar of this share of a cell, 0 to 1. */
void plot_share(struct buf *out, double share);

#endif
