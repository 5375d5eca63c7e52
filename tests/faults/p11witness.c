#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "p11fault.h"

static int witness = -1;

bool witness_open(const char *path)
{
	if (path == NULL)
		return true;
	witness = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	if (witness < 0)
		fprintf(stderr, "p11fault: %s: %s\n", path, strerror(errno));
	return witness >= 0;
}

struct line {
	char *text;
	size_t len;
};

static void put(struct line *l, const char *text)
{
	size_t len = strlen(text);

	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void put_number(struct line *l, unsigned long v, unsigned base, unsigned least)
{
	char digits[24];
	unsigned n = 0;

	for (; v != 0 || n < least; v /= base)
		digits[n++] = "0123456789abcdef"[v % base];
	while (n > 0)
		l->text[l->len++] = digits[--n];
}

static void put_field(struct line *l, const char *name, unsigned long v, unsigned base)
{
	put(l, name);
	put_number(l, v, base, 1);
}

static void put_hex(struct line *l, const char *name, const uint8_t *octets, size_t len)
{
	put(l, name);
	for (size_t i = 0; i < len; i++) {
		l->text[l->len++] = "0123456789abcdef"[octets[i] >> 4];
		l->text[l->len++] = "0123456789abcdef"[octets[i] & 15];
	}
}

static void put_head(struct line *l)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	put_field(l, "t=", (unsigned long)now.tv_sec, 10);
	put(l, ".");
	put_number(l, (unsigned long)now.tv_nsec, 10, 9);
	put_field(l, " pid=", (unsigned long)this_process(), 10);
	put_field(l, " tid=", (unsigned long)this_thread(), 10);
}

static void put_call(struct line *l, const struct call *c)
{
	put(l, " fn=");
	put(l, fn_name(c->fn));
	if (c->kind != OF_MODULE)
		put_field(l, c->kind == OF_SESSION ? " s=" : " slot=", c->first, 10);
	if (c->fn == FN_C_SignInit || c->fn == FN_C_Sign) {
		put_field(l, " mech=0x", c->op.mechanism, 16);
		put_field(l, " key=", c->op.key, 10);
	}
	if (c->fn != FN_C_Sign)
		return;
	if (c->sig == NULL)
		put(l, " query=1");
	else if (c->in != NULL)
		put_hex(l, " in=", c->in, c->in_len);
}

static void put_signature(struct line *l, const struct call *c)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];

	put_field(l, " len=", *c->sig_len, 10);
	SHA256(c->sig, *c->sig_len < c->sig_made ? *c->sig_len : c->sig_made, hash);
	put_hex(l, " sig=", hash, sizeof hash);
}

/* One write(2): whole or, when it fails, the end of the process. A witness is never silent. */
static void say(struct line *l)
{
	ssize_t n;

	l->text[l->len++] = '\n';
	do
		n = write(witness, l->text, l->len);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)l->len)
		return;
	fprintf(stderr, "p11fault: the witness can't be written: %s\n",
		n < 0 ? strerror(errno) : "short write");
	abort();
}

static void write_line(const struct call *c, bool ended)
{
	char small[2048];
	size_t need = 1024 + (c->fn == FN_C_Sign ? 2 * c->in_len : 0);
	struct line l = {.text = small};

	if (witness < 0)
		return;
	if (need > sizeof small && (l.text = malloc(need)) == NULL)
		abort();
	put_head(&l);
	put_call(&l, c);
	if (ended) {
		put_field(&l, " rv=0x", c->rv, 16);
		if (c->fn == FN_C_Sign && c->rv == CKR_OK && c->sig != NULL)
			put_signature(&l, c);
	} else {
		put(&l, " ev=begin");
	}
	for (unsigned i = 0; i < c->did_count; i++) {
		put(&l, i == 0 ? " did=" : ",");
		put(&l, c->did[i]);
	}
	say(&l);
	if (l.text != small)
		free(l.text);
}

void witness_begin(const struct call *c)
{
	write_line(c, false);
}

void witness_end(const struct call *c)
{
	write_line(c, true);
}

void witness_note(const char *text)
{
	char small[1024];
	struct line l = {.text = small};

	if (witness < 0)
		return;
	put_head(&l);
	put(&l, " note=");
	for (; *text != '\0'; text++)
		small[l.len++] = *text == ' ' || *text == '\n' ? '_' : *text;
	say(&l);
}
