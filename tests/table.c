#include "table.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add_field(struct block *b, char *line)
{
	char *equals = strstr(line, " = ");

	ck_assert_msg(equals != NULL, "not a field: %s", line);
	ck_assert_uint_lt(b->count, TABLE_FIELDS);
	*equals = '\0';
	b->names[b->count] = strdup(line);
	b->values[b->count++] = strdup(equals + 3);
}

static void clear(struct block *b)
{
	for (unsigned i = 0; i < b->count; i++) {
		free(b->names[i]);
		free(b->values[i]);
	}
	b->count = 0;
}

unsigned table_each(const char *name, void (*f)(const struct block *))
{
	struct block b = {.count = 0};
	char path[4096], *line = NULL;
	size_t size = 0;
	unsigned n = 0;

	snprintf(path, sizeof path, "%s/tests/vectors/%s", getenv("TOP_SRCDIR"), name);
	FILE *file = fopen(path, "r");
	ck_assert_msg(file != NULL, "can't open %s", path);
	for (;;) {
		ssize_t len = getline(&line, &size, file);
		if (len > 1 && line[0] != '#') {
			line[len - 1] = '\0';
			add_field(&b, line);
		} else if (len <= 1 && b.count > 0) {
			f(&b);
			clear(&b);
			n++;
		}
		if (len < 0)
			break;
	}
	free(line);
	fclose(file);
	return n;
}

const char *block_get(const struct block *b, const char *name)
{
	for (unsigned i = 0; i < b->count; i++)
		if (strcmp(b->names[i], name) == 0)
			return b->values[i];
	return "";
}

struct buf block_octets(const struct block *b, const char *name)
{
	const char *hex = block_get(b, name);
	size_t len = strlen(hex) / 2;
	struct buf out = BUF_INIT(1 << 20);
	uint8_t *octets = malloc(len + 1);

	ck_assert(octets != NULL);
	ck_assert_msg(hex_decode(octets, len, hex), "not hex: %s", hex);
	buf_put(&out, octets, len);
	free(octets);
	return out;
}

int64_t block_number(const struct block *b, const char *name)
{
	return strtoll(block_get(b, name), NULL, 10);
}

uint16_t block_code(const struct block *b, const char *name)
{
	return (uint16_t)strtoul(block_get(b, name), NULL, 16);
}

void pem_certificate(struct buf *out, const struct buf *der)
{
	struct buf text = BUF_INIT(1 << 20);

	buf_base64(&text, der->octets, der->len);
	buf_text(out, "-----BEGIN CERTIFICATE-----\n");
	for (size_t at = 0; at < text.len; at += 64)
		buf_printf(out, "%.64s\n", buf_cstr(&text) + at);
	buf_text(out, "-----END CERTIFICATE-----\n");
	buf_free(&text);
}
