#include "say.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "json.h"

#define PROGRESS_SECONDS 10 /* between lines that go to a file */

static void problem_text(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	if (idx == NO_IDX)
		printf("%s: %s\n", chain, what);
	else
		printf("%s, record %lld: %s\n", chain, (long long)idx, what);
}

static void problem_json(void *arg, const char *chain, int64_t idx, const char *what)
{
	struct buf b = BUF_INIT(65536);
	struct octets name = octets_text(chain), text = octets_text(what);

	(void)arg;
	buf_text(&b, "{\"chain\":");
	canon_text(&b, &name);
	if (idx != NO_IDX)
		buf_printf(&b, ",\"idx\":%lld", (long long)idx);
	buf_text(&b, ",\"problem\":");
	canon_text(&b, &text);
	printf("%s}\n", buf_cstr(&b));
	buf_free(&b);
}

static void note_text(void *arg, const char *chain, const char *what)
{
	(void)arg;
	printf("%s %s\n", chain, what);
}

static void note_json(void *arg, const char *chain, const char *what)
{
	struct buf b = BUF_INIT(65536);
	struct octets name = octets_text(chain), text = octets_text(what);

	(void)arg;
	buf_text(&b, "{\"chain\":");
	canon_text(&b, &name);
	buf_text(&b, ",\"note\":");
	canon_text(&b, &text);
	printf("%s}\n", buf_cstr(&b));
	buf_free(&b);
}

static void head_text(void *arg, const struct checkpoint *c, const uint8_t key[CHECKPOINT_KEY])
{
	struct buf vkey = BUF_INIT(CHECKPOINT_MAX);

	(void)arg;
	checkpoint_vkey_write(&vkey, c->origin, key);
	printf("%s: newest head over %llu records, verifier key %s\n", c->origin,
		(unsigned long long)c->size, buf_cstr(&vkey));
	buf_free(&vkey);
}

static void head_json(void *arg, const struct checkpoint *c, const uint8_t key[CHECKPOINT_KEY])
{
	struct buf vkey = BUF_INIT(CHECKPOINT_MAX), line = BUF_INIT(CHECKPOINT_MAX);

	(void)arg;
	checkpoint_vkey_write(&vkey, c->origin, key);

	struct octets origin = octets_text(c->origin), text = octets_of(vkey.octets, vkey.len);

	buf_text(&line, "{\"origin\":");
	canon_text(&line, &origin);
	buf_printf(&line, ",\"size\":%llu,\"verifier_key\":", (unsigned long long)c->size);
	canon_text(&line, &text);
	printf("%s}\n", buf_cstr(&line));
	buf_free(&vkey);
	buf_free(&line);
}

void say_summary(const struct verify *v, bool json)
{
	if (json) {
		putchar('{');
		if (v->archived)
			printf("\"archived\":%llu,", (unsigned long long)v->archived);
		printf("\"chains\":%llu,\"credentials\":%llu,\"heads\":%llu,\"open\":%llu,"
		       "\"problems\":%llu,\"records\":%llu}\n",
			(unsigned long long)v->chains, (unsigned long long)v->credentials,
			(unsigned long long)v->heads, (unsigned long long)v->open,
			(unsigned long long)v->problems, (unsigned long long)v->records);
		return;
	}
	printf("%llu records in %llu chains, %llu credentials, %llu signed heads: %s\n",
		(unsigned long long)v->records, (unsigned long long)v->chains,
		(unsigned long long)v->credentials, (unsigned long long)v->heads,
		v->problems ? "NOT as they must be" : "all as they must be");
	if (v->resume)
		printf("Records that an earlier run verified were not read again, nor the tables "
		       "compared (--resume).\n");
	if (v->chain_only)
		printf("What the records say was not looked at (--chain-only).\n");
	if (v->archived)
		printf("%llu records are archived, and what they say was not looked at "
		       "(--archive).\n",
			(unsigned long long)v->archived);
	if (v->problems)
		printf("%llu problems\n", (unsigned long long)v->problems);
	if (v->open)
		printf("%llu attempts have no outcome yet: the ledger was not stopped in order, "
		       "its next start closes them\n",
			(unsigned long long)v->open);
	if (!v->known)
		printf("A ledger that was put back to an older state as a whole looks good here; "
		       "only a signed head kept elsewhere shows that (--checkpoint).\n");
	if (!v->verifiers)
		printf("Compare the verifier key with the one that was handed over "
		       "(--verifier-key).\n");
}

/* On a terminal once a second in one line, else a line each ten seconds. */
static void progress(void *arg, const char *chain, uint64_t done, uint64_t of)
{
	static time_t begun, last;
	time_t now = time(NULL);
	bool terminal = isatty(STDERR_FILENO);

	(void)arg;
	if (!begun)
		begun = last = now;
	if (terminal && done == of && last != begun)
		fputs("\r\033[K", stderr);
	if (now - last < (terminal ? 1 : PROGRESS_SECONDS) || done == of)
		return;
	last = now;
	fprintf(stderr, "%s%s: %llu of %llu records, %lld s%s", terminal ? "\r" : "", chain,
		(unsigned long long)done, (unsigned long long)of, (long long)(now - begun),
		terminal ? "\033[K" : "\n");
}

void say_progress(struct verify *v)
{
	v->progress = progress;
}

void say_to(struct verify *v, bool json)
{
	v->problem = json ? problem_json : problem_text;
	v->head = json ? head_json : head_text;
	v->note = json ? note_json : note_text;
}
