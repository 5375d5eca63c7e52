#include "plot.h"

#include <stdio.h>
#include <string.h>

#define WIDTH  920 /* of a plot, in its own units */
#define HEIGHT 220
#define LEFT   64
#define RIGHT  12
#define TOP    14
#define BOTTOM 34

/* The octets of a character that must not be shown as it is: controls, and those that turn the
 * direction of writing (U+200E, U+200F, U+202A..202E, U+2066..2069). */
static size_t unseemly(const unsigned char *p)
{
	if (*p < 0x20 || *p == 0x7f)
		return 1;
	if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] <= 0x9f)
		return 2;
	if (p[0] != 0xe2)
		return 0;
	if (p[1] == 0x80 && (p[2] == 0x8e || p[2] == 0x8f || (p[2] >= 0xaa && p[2] <= 0xae)))
		return 3;
	return p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9 ? 3 : 0;
}

void html_text(struct buf *out, const char *text)
{
	static const char special[] = "&<>\"'";
	static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};

	for (const unsigned char *p = (const unsigned char *)text; *p;) {
		const char *s = strchr(special, *p);
		size_t skip = unseemly(p);

		if (skip)
			buf_text(out, "\xef\xbf\xbd");
		else if (s)
			buf_text(out, names[s - special]);
		else
			buf_u8(out, *p);
		p += skip ? skip : 1;
	}
}

static void open_plot(struct buf *out, const char *title, unsigned height)
{
	buf_printf(out, "<svg viewBox=\"0 0 %d %u\" role=\"img\" aria-label=\"", WIDTH, height);
	html_text(out, title);
	buf_text(out, "\"><title>");
	html_text(out, title);
	buf_text(out, "</title>\n");
}

static void line(struct buf *out, const char *class, double x1, double y1, double x2, double y2)
{
	buf_printf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n",
		class, x1, y1, x2, y2);
}

static void label_put(struct buf *out, double x, double y, const char *anchor, const char *text)
{
	buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
	html_text(out, text);
	buf_text(out, "</text>\n");
}

/* A round number at or above: 1, 2 or 5 times a power of ten. */
static uint64_t round_up(uint64_t n)
{
	static const unsigned steps[] = {1, 2, 5, 10};

	for (uint64_t ten = 1;; ten *= 10) {
		for (unsigned i = 0; i < 4; i++) {
			if (steps[i] * ten >= n || ten > UINT64_MAX / 100)
				return steps[i] * ten;
		}
	}
}

/* The upright axis up to `top`: lines and their numbers. */
static void scale(struct buf *out, uint64_t top)
{
	unsigned steps = top >= 4 ? 4 : top > 0 ? (unsigned)top : 1;
	char text[32];

	while (top % steps)
		steps--;
	for (unsigned i = 0; i <= steps; i++) {
		double y = HEIGHT - BOTTOM - (double)(HEIGHT - TOP - BOTTOM) * i / steps;

		snprintf(text, sizeof(text), "%llu", (unsigned long long)top / steps * i);
		line(out, i ? "grid" : "axis", LEFT, y, WIDTH - RIGHT, y);
		label_put(out, LEFT - 8, y + 4, "end", text);
	}
}

void plot_columns(struct buf *out, const char *title, const uint64_t *value, size_t count,
	void (*label)(void *arg, size_t i, char *text, size_t size), void *arg)
{
	const double room = WIDTH - LEFT - RIGHT, tall = HEIGHT - TOP - BOTTOM;
	size_t every = count > 8 ? (count + 7) / 8 : 1;
	uint64_t top = 1;
	char text[64];

	for (size_t i = 0; i < count; i++)
		top = value[i] > top ? value[i] : top;
	top = round_up(top);
	open_plot(out, title, HEIGHT);
	scale(out, top);
	for (size_t i = 0; i < count; i++) {
		double wide = room / (double)count, x = LEFT + wide * (double)i;
		double high = tall * (double)value[i] / (double)top;

		label(arg, i, text, sizeof(text));
		if (i % every == 0)
			label_put(out, x + wide / 2, HEIGHT - 12, "middle", text);
		if (!value[i])
			continue;
		buf_printf(out,
			"<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
			"height=\"%.1f\"><title>",
			x + wide * 0.1, HEIGHT - BOTTOM - high, wide * 0.8, high);
		html_text(out, text);
		buf_printf(out, ": %llu</title></rect>\n", (unsigned long long)value[i]);
	}
	buf_text(out, "</svg>\n");
}

/* Five times between two, below a plot. */
static void times(struct buf *out, int64_t from, int64_t to, double y)
{
	static const char *const anchors[] = {"start", "middle", "middle", "middle", "end"};
	char text[21];

	for (int i = 0; i <= 4; i++) {
		time_text(text, from + (int64_t)((double)(to - from) * i / 4));
		text[to - from > 4 * 86400 ? 10 : 16] = '\0';
		if (strlen(text) > 10)
			text[10] = ' ';
		label_put(out, LEFT + (double)(WIDTH - LEFT - RIGHT) * i / 4, y, anchors[i], text);
	}
}

void plot_ends(struct buf *out, const char *title, const int64_t *end, size_t count, int64_t from)
{
	const double room = WIDTH - LEFT - RIGHT, tall = HEIGHT - TOP - BOTTOM;
	int64_t to = count ? end[count - 1] : from + 1;
	uint64_t top = round_up(count ? count : 1);
	double last = LEFT;

	to = to > from ? to : from + 1;
	open_plot(out, title, HEIGHT);
	scale(out, top);
	times(out, from, to, HEIGHT - 12);
	buf_printf(out, "<path class=\"area\" d=\"M%d %d V%.1f", LEFT, HEIGHT - BOTTOM,
		HEIGHT - BOTTOM - tall * (double)count / (double)top);
	for (size_t i = 0; i < count; i++) {
		double x = LEFT + room * (double)(end[i] - from) / (double)(to - from);

		/* what is less than half a unit from the step before it is drawn with it */
		if (i + 1 < count && x - last < 0.5)
			continue;
		buf_printf(out, " H%.1f V%.1f", x,
			HEIGHT - BOTTOM - tall * (double)(count - i - 1) / (double)top);
		last = x;
	}
	buf_printf(out, " V%d Z\"/>\n</svg>\n", HEIGHT - BOTTOM);
}

void plot_spans(
	struct buf *out, const char *title, const struct plot_span *span, size_t count, int64_t now)
{
	const double room = WIDTH - LEFT - RIGHT;
	unsigned height = (unsigned)(40 * count) + 48;
	int64_t from = now, to = now + 1;

	for (size_t i = 0; i < count; i++) {
		from = span[i].from < from ? span[i].from : from;
		to = span[i].to > to ? span[i].to : to;
	}
	open_plot(out, title, height);
	for (size_t i = 0; i < count; i++) {
		double x = LEFT + room * (double)(span[i].from - from) / (double)(to - from);
		double end = LEFT + room * (double)(span[i].to - from) / (double)(to - from);

		label_put(out, x, 40 * (double)i + 14, x > WIDTH / 2.0 ? "end" : "start",
			span[i].name);
		buf_printf(out,
			"<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"14\"/>\n",
			span[i].to > now ? "bar" : "past", x, 40 * (double)i + 19,
			end - x > 1 ? end - x : 1);
	}
	line(out, "now", LEFT + room * (double)(now - from) / (double)(to - from), 2,
		LEFT + room * (double)(now - from) / (double)(to - from), height - 26);
	times(out, from, to, height - 8);
	buf_text(out, "</svg>\n");
}

void plot_share(struct buf *out, double share)
{
	buf_printf(out,
		"<svg class=\"share\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" "
		"aria-hidden=\"true\"><rect class=\"bar\" width=\"%.2f\" height=\"10\"/></svg>",
		share * 100);
}
