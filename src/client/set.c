#include "set.h"

#include <stdlib.h>
#include <string.h>

#include "keygen.h"

#define FILES (FORMATS + 4)

struct content {
	struct buf key, formats[FORMATS];
	char *json;
};

static enum err fill(struct content *c, const struct issued *got, const struct set_wish *wish)
{
	const struct format_source source = {
		got->octets.octets, got->octets.len, wish->role, &c->key, &got->chain};
	enum err e = wish->key ? keygen_private_pem(&c->key, wish->key) : ERR_OK;
	int f;

	c->json = json_dumps(got->root, JSON_INDENT(2) | JSON_SORT_KEYS);
	if (!c->json)
		return ERR_NOMEM;
	for (f = 0; !e && f < FORMATS; f++)
		if (wish->formats & 1u << f && f != FORMAT_JSON)
			e = format_write(&c->formats[f], (enum dc_format)f, &source);
	return e;
}

/* In this order they are written; see install_names for that of the links. */
static size_t list(struct install_file *files, const struct content *c, const struct issued *got,
	const struct set_wish *wish)
{
	size_t n = 0;
	int f;

	files[n++] = (struct install_file){"chain.pem", got->chain.octets, got->chain.len, 0644};
	files[n++] = (struct install_file){"credential.json", c->json, strlen(c->json), 0644};
	for (f = 0; f < FORMATS; f++)
		if (c->formats[f].len)
			files[n++] = (struct install_file){format_file((enum dc_format)f),
				c->formats[f].octets, c->formats[f].len,
				f == FORMAT_FIZZ ? wish->key_mode : 0644};
	if (c->key.len)
		files[n++] =
			(struct install_file){"key.pem", c->key.octets, c->key.len, wish->key_mode};
	if (wish->note)
		files[n++] =
			(struct install_file){"agent.json", wish->note, strlen(wish->note), 0644};
	return n;
}

enum err set_put(struct install *in, const struct issued *got, const struct set_wish *wish,
	struct refusal *why)
{
	struct content c = {.key = BUF_INIT(65536)};
	struct install_file files[FILES];
	enum err e;
	int f;

	for (f = 0; f < FORMATS; f++)
		c.formats[f] = (struct buf)BUF_INIT(2 * FORMAT_FILE_MAX);
	e = fill(&c, got, wish);
	if (e)
		refuse(why, e, "", "the files can't be made: %s", err_text(e));
	else
		e = install_set(in, files, list(files, &c, got, wish), why);
	free(c.json);
	buf_wipe(&c.key);
	for (f = 0; f < FORMATS; f++)
		buf_wipe(&c.formats[f]);
	return e;
}
