/*
 * The configuration. A first octet of 0: the rest is a bundle; what is taken encodes to the same
 * octets. Else all of it is the text of a file: what is taken comes through the bundle unchanged.
 */
#include "memory_source.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void use(const struct config *c)
{
	struct buf json = BUF_INIT(CONFIG_BUNDLE_MAX);

	for (size_t i = 0; i < c->token_count; i++)
		config_json(&json, c, c->token[i].name);
	for (size_t i = 0; i < c->key_count; i++)
		for (size_t k = 0; k <= c->client_count; k++) {
			struct policy p;

			config_effective_policy(
				&p, c, &c->key[i], k < c->client_count ? &c->client[k] : NULL);
			if (p.max_lifetime > c->limits.max_lifetime)
				abort();
		}
	buf_free(&json);
}

static void same(const struct config *c, const uint8_t *octets, size_t len)
{
	struct buf out = BUF_INIT(CONFIG_BUNDLE_MAX);

	if (config_encode(&out, c) != ERR_OK || out.len != len ||
		memcmp(out.octets, octets, len) != 0)
		abort();
	buf_free(&out);
}

static void try_bundle(const uint8_t *octets, size_t len)
{
	struct config *c;

	if (config_decode(&c, octets, len) != ERR_OK)
		return;
	use(c);
	same(c, octets, len);
	config_unref(c);
}

static void try_text(const uint8_t *octets, size_t len)
{
	struct buf complaints = BUF_INIT(1 << 20), out = BUF_INIT(CONFIG_BUNDLE_MAX);
	const struct conffile_source source = {
		&complaints, memory_load, memory_secret, memory_there, memory_complain};
	struct config *c, *back;
	enum err e = conffile_parse(&c, "/etc/x", (const char *)octets, len, &source);

	if ((e == ERR_FORMAT) != (complaints.len > 0))
		abort();
	buf_free(&complaints);
	if (e != ERR_OK)
		return;
	use(c);
	/* What the file's reader lets pass every child must take. */
	if (config_encode(&out, c) != ERR_OK || config_decode(&back, out.octets, out.len) != ERR_OK)
		abort();
	same(back, out.octets, out.len);
	config_unref(back);
	config_unref(c);
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	if (len > 0 && octets[0] == 0)
		try_bundle(octets + 1, len - 1);
	else
		try_text(octets, len);
	return 0;
}
