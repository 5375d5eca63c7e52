/*
 * The issuer's decision and the octets to be signed, for a differential test: reads requests on
 * stdin, one a line of 26 words, and writes one verdict a line:
 *
 *   two policies (the key's and the client's), each: max_lifetime min_lifetime clock_skew
 *   max_start_ahead roles schemes (codes in hex, commas, "-" = none) possession_required
 *   the request: role scheme possession term (default, lifetime, not_after) value not_before ("-")
 *   certificate: not_before not_after; now; its octets, the SPKI, `algorithm`, the signature: hex
 *
 *   bad-policy FIELD | refused CODE FIELD |
 *   ok LIFETIME ASKED EXPIRY VALID_TIME WINDOW_OPENS SHA256(TBS) SHA256(DC)
 *
 * FIELD is "-" where the refusal names none.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

static char *word(void)
{
	char *w = strtok(NULL, " \n");

	if (w == NULL) {
		fputs("decide: a word is missing\n", stderr);
		exit(2);
	}
	return w;
}

static int64_t number(const char *text)
{
	char *rest;

	errno = 0;
	long long v = strtoll(text, &rest, 10);
	if (*text == '\0' || *rest != '\0' || errno != 0) {
		fprintf(stderr, "decide: not a number: %s\n", text);
		exit(2);
	}
	return v;
}

static uint32_t schemes(char *text)
{
	uint32_t set = 0;

	if (strcmp(text, "-") == 0)
		return 0;
	for (char *code = text; code != NULL;) {
		char *comma = strchr(code, ',');
		if (comma != NULL)
			*comma++ = '\0';
		set |= scheme_bit((uint16_t)strtoul(code, NULL, 16));
		code = comma;
	}
	return set;
}

static struct policy read_policy(char *first)
{
	struct policy p = {.name = "p", .max_live = 1};

	p.max_lifetime = number(first);
	p.min_lifetime = number(word());
	p.clock_skew = number(word());
	p.max_start_ahead = number(word());
	p.roles = (uint32_t)number(word());
	p.schemes = schemes(word());
	p.possession_required = number(word()) != 0;
	return p;
}

static struct policy_ask read_ask(void)
{
	struct policy_ask a = {.role = (enum dc_role)number(word())};

	a.scheme = (uint16_t)strtoul(word(), NULL, 16);
	a.possession = number(word()) != 0;
	const char *term = word();
	a.term = strcmp(term, "lifetime") == 0	  ? TERM_LIFETIME
		 : strcmp(term, "not_after") == 0 ? TERM_NOT_AFTER
						  : TERM_DEFAULT;
	int64_t value = number(word());
	a.lifetime = a.term == TERM_LIFETIME ? value : 0;
	a.not_after = a.term == TERM_NOT_AFTER ? value : 0;
	const char *start = word();
	a.has_not_before = strcmp(start, "-") != 0;
	a.not_before = a.has_not_before ? number(start) : 0;
	return a;
}

static struct buf read_hex(void)
{
	const char *text = word();
	struct buf b = BUF_INIT(1 << 20);
	size_t len = strlen(text) / 2;
	uint8_t *octets = malloc(len + 1);

	if (octets == NULL || !hex_decode(octets, len, text)) {
		fputs("decide: not hex\n", stderr);
		exit(2);
	}
	buf_put(&b, octets, len);
	free(octets);
	return b;
}

static void print_sha256(const struct buf *b)
{
	uint8_t hash[SHA256_SIZE];
	char text[2 * SHA256_SIZE + 1];

	sha256(b->octets, b->len, hash);
	hex_encode(text, hash, sizeof hash);
	printf(" %s", text);
}

/* As the service does: builds, parses it again, and compares. */
static void print_octets(enum dc_role role, const struct buf *cert, struct dc *dc)
{
	struct buf tbs = BUF_INIT(DC_TBS_MAX), whole = BUF_INIT(DC_MAX);
	struct dc again;
	enum dc_role role_again;

	if (dc_build_tbs(&tbs, role, cert->octets, cert->len, dc) != ERR_OK ||
		dc_parse_tbs(&again, &role_again, tbs.octets, tbs.len, cert->octets, cert->len) !=
			ERR_OK ||
		role_again != role || again.valid_time != dc->valid_time ||
		again.scheme != dc->scheme || again.algorithm != dc->algorithm ||
		again.spki_len != dc->spki_len || memcmp(again.spki, dc->spki, dc->spki_len) != 0) {
		printf(" unbuilt");
	} else {
		print_sha256(&tbs);
	}
	if (dc_build(&whole, dc) != ERR_OK || dc_parse(&again, whole.octets, whole.len) != ERR_OK ||
		again.signature_len != dc->signature_len)
		printf(" unbuilt");
	else
		print_sha256(&whole);
	buf_free(&tbs);
	buf_free(&whole);
}

static const char *field(const struct refusal *why)
{
	return why->field[0] == '\0' ? "-" : why->field;
}

static void decide(char *first)
{
	struct policy of_key = read_policy(first), of_client = read_policy(word()), both;
	struct policy_ask ask = read_ask();
	int64_t begin = number(word()), end = number(word()), now = number(word());
	struct buf cert = read_hex(), spki = read_hex();
	uint16_t algorithm = (uint16_t)strtoul(word(), NULL, 16);
	struct buf signature = read_hex();
	struct policy_grant g;
	struct refusal why = {.err = ERR_OK};

	if (policy_check(&of_key, &why) != ERR_OK || policy_check(&of_client, &why) != ERR_OK) {
		printf("bad-policy %s\n", field(&why));
		goto out;
	}
	policy_narrow(&both, &of_key, &of_client);
	enum err e = policy_decide(&both, &ask, begin, end, now, &g, &why);
	if (e != ERR_OK) {
		printf("refused %s %s\n", err_name(e), field(&why));
		goto out;
	}
	printf("ok %" PRId64 " %" PRId64 " %" PRId64 " %" PRIu32 " %" PRId64, g.lifetime, g.asked,
		g.expiry, g.valid_time, g.window_opens);
	struct dc dc = {.valid_time = g.valid_time,
		.scheme = ask.scheme,
		.spki = spki.octets,
		.spki_len = spki.len,
		.algorithm = algorithm,
		.signature = signature.octets,
		.signature_len = signature.len};
	print_octets(ask.role, &cert, &dc);
	putchar('\n');
out:
	buf_free(&cert);
	buf_free(&spki);
	buf_free(&signature);
}

int main(void)
{
	char *line = NULL, *first;
	size_t size = 0;

	while (getline(&line, &size, stdin) > 0)
		if ((first = strtok(line, " \n")) != NULL)
			decide(first);
	free(line);
	return 0;
}
