#include <stdio.h>
#include <string.h>

#include "plot.h"
#include "report.h"

#define COLUMNS_MAX 48 /* of the plot over time */

static const char head_text[] =
	"<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
	"style-src 'unsafe-inline'\">\n"
	"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	"<title>Ledger of delegated credentials</title>\n<style>\n"
	":root{--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--bar:#2f6db5;--past:#aab4c0;"
	"--good:#1a6b3c;--bad:#b3261e}\n"
	"body{font:15px/1.5 system-ui,'DejaVu Sans',sans-serif;color:var(--ink);background:#fff;"
	"max-width:62rem;margin:2rem auto;padding:0 1rem}\n"
	"h1{font-size:1.6rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2.4rem 0 .6rem;"
	"border-bottom:1px solid var(--line);padding-bottom:.25rem}\n"
	"p.note{color:var(--soft);margin:.2rem 0 .8rem}\n"
	"table{border-collapse:collapse;width:100%;margin:.6rem 0}\n"
	"th,td{text-align:left;padding:.28rem .7rem .28rem 0;border-bottom:1px solid var(--line);"
	"vertical-align:top;min-width:5rem}bdi{overflow-wrap:anywhere}\n"
	"th{font-weight:600;color:var(--soft);font-size:.85rem}\n"
	"td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}"
	"td.t{white-space:nowrap;font-variant-numeric:tabular-nums}td.s{width:22%}\n"
	"code{font:.85rem/1.4 ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere}\n"
	".verdict{border-left:.4rem solid;padding:.6rem 1rem;margin:1rem 0;background:#f6f8fa}"
	".verdict strong{font-size:1.1rem}.good{border-color:var(--good)}.good strong{color:"
	"var(--good)}.bad{border-color:var(--bad)}.bad strong,li.bad{color:var(--bad)}\n"
	"svg{display:block;width:100%;height:auto;margin:.4rem 0}svg text{font-size:12px;"
	"fill:var(--soft)}svg.share{height:.8rem;margin:.35rem 0}\n"
	".bar{fill:var(--bar)}.past{fill:var(--past)}.area{fill:var(--bar);fill-opacity:.25;"
	"stroke:var(--bar);stroke-width:1.5}.grid{stroke:var(--line)}.axis{stroke:var(--soft)}"
	".now{stroke:var(--bad);stroke-dasharray:4 3}\n"
	"@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}}\n"
	"</style>\n</head>\n<body>\n";

static void number(struct buf *out, uint64_t n)
{
	buf_printf(out, "<td class=\"n\">%llu</td>", (unsigned long long)n);
}

static void text_cell(struct buf *out, const char *text)
{
	buf_text(out, "<td><bdi>");
	html_text(out, text);
	buf_text(out, "</bdi></td>");
}

static void time_cell(struct buf *out, int64_t t)
{
	char text[21] = "";

	if (t)
		time_text(text, t);
	buf_printf(out, "<td class=\"t\">%s</td>", text);
}

static void section(struct buf *out, const char *title, const char *note)
{
	buf_printf(out, "<h2>%s</h2>\n", title);
	if (*note)
		buf_printf(out, "<p class=\"note\">%s</p>\n", note);
}

/* ---- what verification said ---- */

static void heads(struct buf *out, const struct report *r)
{
	if (!r->heads)
		return;
	buf_text(out, "<table id=\"heads\"><tr><th>Signed head of</th><th class=\"n\">Records</th>"
		      "<th>Root</th><th>Verifier key</th></tr>\n");
	for (size_t i = 0; i < r->heads; i++) {
		const struct report_head *h = &r->head[i];

		buf_text(out, "<tr>");
		text_cell(out, h->head.origin);
		number(out, h->head.size);
		buf_text(out, "<td><code>");
		buf_hex(out, h->head.root, SHA256_SIZE);
		buf_text(out, "</code></td><td><code>");
		html_text(out, h->vkey);
		buf_text(out, "</code></td></tr>\n");
	}
	buf_text(out, "</table>\n");
}

/* What is not wrong and must be known: gaps that a chain goes on after, records that are archived.
 */
static void notes(struct buf *out, const struct report *r)
{
	if (r->notes.len == 0)
		return;

	const char *at = (const char *)r->notes.octets, *end = at + r->notes.len;

	buf_text(out, "<ul id=\"notes\">\n");
	for (; at < end; at += strlen(at) + 1) {
		buf_text(out, "<li><bdi>");
		html_text(out, at);
		buf_text(out, "</bdi></li>\n");
	}
	buf_text(out, "</ul>\n");
}

/* What was looked at, and what a verification like this one can't see. */
static void caveats(struct buf *out, const struct verify *v)
{
	uint64_t known = 0;

	for (const struct known *k = v->known; k; k = k->next)
		known++;
	if (known || v->verifiers)
		buf_printf(out,
			"<p class=\"note\">Compared with <span id=\"kept\">%llu</span> signed "
			"heads "
			"that were kept elsewhere, <span id=\"trusted\">%zu</span> verifier keys "
			"and "
			"<span id=\"witnesses\">%zu</span> keys of witnesses.</p>\n",
			(unsigned long long)known, v->verifiers, v->witnesses);
	if (v->archived)
		buf_printf(out,
			"<p class=\"note\"><strong><span id=\"archived\">%llu</span> of the "
			"records "
			"are archived</strong>: what they say was not read, and the figures below "
			"lack them.</p>\n",
			(unsigned long long)v->archived);
	if (!v->heads)
		buf_text(out, "<p class=\"note\">No head is signed: nothing binds these records to "
			      "a key.</p>\n");
	if (!v->known)
		buf_text(out, "<p class=\"note\">No head that was kept elsewhere was given: a "
			      "ledger that was put back to an older state as a whole, cut at its "
			      "end or written anew looks good.</p>\n");
	if (!v->verifiers)
		buf_text(out, "<p class=\"note\">No verifier key was given: compare the ones "
			      "below with what was handed over.</p>\n");
	if (v->open)
		buf_printf(out,
			"<p class=\"note\">%llu attempts have no outcome yet: the ledger was not "
			"stopped in order.</p>\n",
			(unsigned long long)v->open);
}

static void verdict(struct buf *out, const struct report *r)
{
	const struct verify *v = &r->verify;
	bool good = v->problems == 0;

	buf_printf(out,
		"<div id=\"verdict\" class=\"verdict %s\"><strong>%s</strong><br>"
		"<span id=\"records\">%llu</span> records in <span id=\"chains\">%llu</span> "
		"%s, <span id=\"credentials\">%llu</span> credentials, "
		"<span id=\"signed-heads\">%llu</span> signed heads, "
		"<span id=\"problems\">%llu</span> problems.</div>\n",
		good ? "good" : "bad", good ? "All is as it must be." : "NOT as it must be.",
		(unsigned long long)v->records, (unsigned long long)v->chains,
		v->chains == 1 ? "chain" : "chains", (unsigned long long)v->credentials,
		(unsigned long long)v->heads, (unsigned long long)v->problems);
	if (!good) {
		buf_text(out, "<ul id=\"problem-list\">\n");
		for (size_t i = 0; i < REPORT_PROBLEMS && r->problem[i]; i++) {
			buf_text(out, "<li class=\"bad\"><bdi>");
			html_text(out, r->problem[i]);
			buf_text(out, "</bdi></li>\n");
		}
		buf_text(out, "</ul>\n");
		if (v->problems > REPORT_PROBLEMS)
			buf_text(out, "<p class=\"note\">The first 100 are shown.</p>\n");
	}
	notes(out, r);
	caveats(out, v);
	heads(out, r);
}

/* ---- issuance ---- */

struct columns {
	const struct report *r;
	size_t hours; /* of each */
};

static void column_label(void *arg, size_t i, char *text, size_t size)
{
	const struct columns *c = arg;
	char full[21];

	time_text(full, (c->r->first_hour + (int64_t)(i * c->hours)) * 3600);
	if (c->hours % 24 == 0)
		snprintf(text, size, "%.10s", full);
	else
		snprintf(text, size, "%.5s %.5s", full + 5, full + 11);
}

static void over_time(struct buf *out, const struct report *r)
{
	static const size_t widths[] = {1, 3, 6, 12, 24, 7 * 24, 28 * 24, 84 * 24, 364 * 24};
	uint64_t column[COLUMNS_MAX] = {0};
	struct columns c = {.r = r, .hours = 0};
	unsigned w = 0;

	while (w + 1 < sizeof(widths) / sizeof(widths[0]) && r->hours > widths[w] * COLUMNS_MAX)
		w++;
	c.hours = widths[w];
	for (size_t i = 0; i < r->hours; i++) {
		size_t at = i / c.hours;

		column[at < COLUMNS_MAX ? at : COLUMNS_MAX - 1] += r->hour[i];
	}

	size_t count = r->hours ? (r->hours + c.hours - 1) / c.hours : 1;

	section(out, "Issuance over time", "");
	buf_printf(out, "<p class=\"note\">Credentials released, %zu hour%s a column, UTC.</p>\n",
		c.hours, c.hours == 1 ? "" : "s");
	plot_columns(out, "Credentials released over time", column,
		count < COLUMNS_MAX ? count : COLUMNS_MAX, column_label, &c);
}

static void issuers(struct buf *out, const char *id, const char *what, const struct figures *f)
{
	uint64_t most = 1;

	for (size_t i = 0; i < f->count; i++)
		most = f->at[i].count > most ? f->at[i].count : most;
	buf_printf(out,
		"<table id=\"%s\"><tr><th>%s</th><th class=\"n\">Issued</th><th></th>"
		"<th class=\"n\">Refused</th><th>Newest</th><th class=\"n\">Unexpired</th>"
		"<th>Until</th></tr>\n",
		id, what);
	for (size_t i = 0; i < f->count; i++) {
		const struct figure *g = &f->at[i];

		buf_text(out, "<tr>");
		text_cell(out, g->name);
		number(out, g->count);
		buf_text(out, "<td class=\"s\">");
		plot_share(out, (double)g->count / (double)most);
		buf_text(out, "</td>");
		number(out, g->refused);
		time_cell(out, g->last);
		number(out, g->live);
		time_cell(out, g->until);
		buf_text(out, "</tr>\n");
	}
	buf_text(out, "</table>\n");
}

/* Names and counts. */
static void counts(struct buf *out, const char *id, const char *what, const struct figures *f)
{
	uint64_t most = 1;

	for (size_t i = 0; i < f->count; i++)
		most = f->at[i].count > most ? f->at[i].count : most;
	buf_printf(out,
		"<table id=\"%s\"><tr><th>%s</th><th class=\"n\">Number</th><th></th></tr>\n", id,
		what);
	for (size_t i = 0; i < f->count; i++) {
		buf_text(out, "<tr>");
		text_cell(out, f->at[i].name);
		number(out, f->at[i].count);
		buf_text(out, "<td class=\"s\">");
		plot_share(out, (double)f->at[i].count / (double)most);
		buf_text(out, "</td></tr>\n");
	}
	buf_text(out, "</table>\n");
}

static void lifetime_label(void *arg, size_t i, char *text, size_t size)
{
	(void)arg;
	if (i + 1 == REPORT_LIFETIMES)
		snprintf(text, size, "longer");
	else if (report_lifetimes[i] < 86400 * 2)
		snprintf(text, size, "to %lld h", (long long)(report_lifetimes[i] / 3600));
	else
		snprintf(text, size, "to %lld d", (long long)(report_lifetimes[i] / 86400));
}

static void lifetimes(struct buf *out, const struct report *r)
{
	char text[32];

	section(out, "Lifetimes", "How long the released credentials were granted to live.");
	plot_columns(out, "Lifetimes granted", r->lifetime, REPORT_LIFETIMES, lifetime_label, NULL);
	buf_text(out,
		"<table id=\"lifetimes\"><tr><th>Lifetime</th><th class=\"n\">Number</th></tr>\n");
	for (size_t i = 0; i < REPORT_LIFETIMES; i++) {
		lifetime_label(NULL, i, text, sizeof(text));
		buf_text(out, "<tr>");
		text_cell(out, text);
		number(out, r->lifetime[i]);
		buf_text(out, "</tr>\n");
	}
	buf_text(out, "</table>\n");
}

/* ---- what is out there ---- */

static void exposure(struct buf *out, const struct report *r)
{
	char now[21], until[21];

	time_text(now, r->now);
	section(out, "Live exposure",
		"A delegated credential can't be revoked: after a theft, this is what must be "
		"waited out.");
	if (!r->lives) {
		buf_printf(out,
			"<p id=\"live\"><span id=\"live-count\">0</span> credentials are unexpired "
			"at %s.</p>\n",
			now);
		return;
	}
	time_text(until, r->live[r->lives - 1]);
	buf_printf(out,
		"<p id=\"live\"><span id=\"live-count\">%zu</span> credentials are unexpired at "
		"%s; "
		"the last one until <span id=\"live-until\">%s</span>.</p>\n",
		r->lives, now, until);
	plot_ends(out, "Unexpired credentials from now on, if no more are issued", r->live,
		r->lives, r->now);
}

static void holds(struct buf *out, const struct report *r)
{
	bool any = false;

	for (size_t i = 0; i < r->holds.count; i++)
		any = any || r->holds.at[i].count;
	if (!any)
		return;
	section(out, "Holds in force", "");
	buf_text(out, "<table id=\"holds\"><tr><th>What is stopped</th><th>Since</th></tr>\n");
	for (size_t i = 0; i < r->holds.count; i++) {
		if (!r->holds.at[i].count)
			continue;
		buf_text(out, "<tr>");
		text_cell(out, r->holds.at[i].name);
		time_cell(out, r->holds.at[i].last);
		buf_text(out, "</tr>\n");
	}
	buf_text(out, "</table>\n");
}

#define SPANS_MAX 40

static void certificates(struct buf *out, const struct report *r)
{
	struct plot_span span[SPANS_MAX];
	size_t count = r->certificates < SPANS_MAX ? r->certificates : SPANS_MAX;

	section(out, "Delegation certificates",
		"Those that a key was proved for. The broken line is the time of this report.");
	/* the newest ones */
	for (size_t i = 0; i < count; i++) {
		const struct report_certificate *c = &r->certificate[r->certificates - count + i];

		span[i] = (struct plot_span){c->key, c->not_before, c->not_after};
	}
	if (count)
		plot_spans(out, "Validity of the delegation certificates", span, count, r->now);
	buf_text(out,
		"<table id=\"certificates\"><tr><th>Key</th><th>Subject</th><th>Valid from</th>"
		"<th>Valid to</th><th>SHA-256</th></tr>\n");
	for (size_t i = 0; i < r->certificates; i++) {
		const struct report_certificate *c = &r->certificate[i];

		buf_text(out, "<tr>");
		text_cell(out, c->key);
		text_cell(out, c->subject);
		time_cell(out, c->not_before);
		time_cell(out, c->not_after);
		buf_printf(out, "<td><code>%s</code></td></tr>\n", c->sha256);
	}
	buf_text(out, "</table>\n");
}

void report_html(struct buf *out, const struct report *r)
{
	char now[21], first[21], last[21];

	time_text(now, r->now);
	buf_text(out, head_text);
	buf_printf(out,
		"<h1>Ledger of delegated credentials</h1>\n<p class=\"note\">Report as of "
		"<span id=\"now\">%s</span>, computed from the records",
		now);
	if (r->first != RECORD_NONE) {
		time_text(first, r->first);
		time_text(last, r->last);
		buf_printf(out, " of <span id=\"first\">%s</span> to <span id=\"last\">%s</span>",
			first, last);
	}
	buf_text(out, ".</p>\n");
	verdict(out, r);
	exposure(out, r);
	holds(out, r);
	over_time(out, r);
	section(out, "By client", "");
	issuers(out, "by-client", "Client", &r->clients);
	section(out, "By delegation key", "");
	issuers(out, "by-key", "Key", &r->keys);
	section(out, "Refusals by reason", r->reasons.count ? "" : "Nothing was refused.");
	if (r->reasons.count)
		counts(out, "refusals", "Reason", &r->reasons);
	lifetimes(out, r);
	certificates(out, r);
	section(out, "Records by type", "");
	counts(out, "types", "Type", &r->types);
	buf_text(out, "</body>\n</html>\n");
}
