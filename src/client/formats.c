#include "settings.h"

#include "formats.h"

#include <ctype.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>

static const char label[] = "DELEGATED CREDENTIAL";

/* Fizz has labels of its own for each role. */
static const char *const fizz_label[] = {
	[DC_SERVER] = "SERVER DELEGATED CREDENTIAL",
	[DC_CLIENT] = "CLIENT DELEGATED CREDENTIAL",
};
static const char *const fizz_key_label[] = {
	[DC_SERVER] = "SERVER DC PRIVATE KEY",
	[DC_CLIENT] = "CLIENT DC PRIVATE KEY",
};

const char format_names[] = "raw, pem, hex, json, fizz";

static const struct {
	const char *name, *file;
} formats[FORMATS] = {
	[FORMAT_RAW] = {"raw", "credential.dc"},
	[FORMAT_PEM] = {"pem", "credential.pem"},
	[FORMAT_HEX] = {"hex", "credential.hex"},
	[FORMAT_JSON] = {"json", "credential.json"},
	[FORMAT_FIZZ] = {"fizz", "fizz.pem"},
};

const char *format_name(enum dc_format f)
{
	return formats[f].name;
}

const char *format_file(enum dc_format f)
{
	return formats[f].file;
}

bool format_by_name(const char *name, enum dc_format *f)
{
	int i;
	for (i = 0; i < FORMATS; i++)
		if (strcmp(name, formats[i].name) == 0) {
			*f = (enum dc_format)i;
			return true;
		}
	return false;
}

static bool is_credential(const char *name, enum dc_format *form)
{
	bool fizz = strcmp(name, fizz_label[DC_SERVER]) == 0 ||
		    strcmp(name, fizz_label[DC_CLIENT]) == 0;
	if (fizz)
		*form = FORMAT_FIZZ;
	return fizz || strcmp(name, label) == 0;
}

/* Exactly one block of our label; other blocks (a key, certificates) may stand beside it. */
static enum err read_pem(
	struct buf *dc, enum dc_format *form, const uint8_t *file, size_t len, struct refusal *why)
{
	BIO *bio = BIO_new_mem_buf(file, (int)len);
	char *name, *header;
	unsigned char *octets;
	unsigned found = 0;
	long n;
	unsigned long last;

	if (!bio)
		return ERR_NOMEM;
	while (PEM_read_bio(bio, &name, &header, &octets, &n)) {
		if (is_credential(name, form) && found++ == 0)
			buf_put(dc, octets, (size_t)n);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(octets, (size_t)n);
	}
	last = ERR_peek_last_error();
	ERR_clear_error();
	BIO_free(bio);
	if (ERR_GET_REASON(last) != PEM_R_NO_START_LINE)
		return refuse(why, ERR_FORMAT, "", "a block of this PEM file is damaged");
	if (found != 1)
		return refuse(why, ERR_FORMAT, "",
			"%u blocks of this PEM file are labelled %s: exactly one is needed", found,
			label);
	return dc->err;
}

static enum err read_json(struct buf *dc, const uint8_t *file, size_t len, struct refusal *why)
{
	json_error_t error;
	json_t *root = json_loadb((const char *)file, len, JSON_REJECT_DUPLICATES, &error);
	json_t *member = json_object_get(root, "credential");
	enum err e = ERR_FORMAT;

	if (!root)
		refuse(why, e, "", "not JSON, line %d: %.160s", error.line, error.text);
	else if (!json_is_string(member))
		refuse(why, e, "credential", "the JSON object has no member \"credential\"");
	else if ((e = base64_decode(dc, json_string_value(member), json_string_length(member))))
		refuse(why, e, "credential", "the member \"credential\" is not base64");
	json_decref(root);
	return e;
}

static size_t trimmed(const uint8_t *file, size_t len)
{
	while (len && isspace(file[len - 1]))
		len--;
	return len;
}

static bool is_hex(const uint8_t *file, size_t len)
{
	size_t i;
	for (i = 0; i < len; i++)
		if (!isxdigit(file[i]))
			return false;
	return len > 0;
}

static enum err read_hex(struct buf *dc, const uint8_t *file, size_t len, struct refusal *why)
{
	size_t i;
	if (len % 2)
		return refuse(why, ERR_FORMAT, "", "an odd number of hex digits");
	for (i = 0; i < len; i += 2) {
		char pair[3] = {(char)tolower(file[i]), (char)tolower(file[i + 1]), 0};
		uint8_t octet = 0;
		if (!hex_decode(&octet, 1, pair))
			return ERR_FORMAT;
		buf_u8(dc, octet);
	}
	return dc->err;
}

enum err format_read(
	struct buf *dc, enum dc_format *form, const uint8_t *file, size_t len, struct refusal *why)
{
	static const char begin[] = "-----BEGIN ";
	struct dc parsed;
	size_t end = trimmed(file, len), at = 0;

	*form = FORMAT_RAW;
	if (len == 0)
		return refuse(why, ERR_FORMAT, "", "the file is empty");
	if (len > FORMAT_FILE_MAX)
		return refuse(
			why, ERR_FORMAT, "", "the file is larger than %d octets", FORMAT_FILE_MAX);
	if (dc_parse(&parsed, file, len) != ERR_OK) {
		while (at < end && isspace(file[at]))
			at++;
		if (at < end && file[at] == '{')
			*form = FORMAT_JSON;
		else if (memmem(file, end, begin, sizeof begin - 1))
			*form = FORMAT_PEM;
		else if (is_hex(file + at, end - at))
			*form = FORMAT_HEX;
	}
	switch (*form) {
	case FORMAT_JSON:
		return read_json(dc, file, len, why);
	case FORMAT_PEM:
		return read_pem(dc, form, file, len, why);
	case FORMAT_HEX:
		return read_hex(dc, file + at, end - at, why);
	default:
		buf_put(dc, file, len);
		return dc->err;
	}
}

static enum err write_pem(struct buf *file, const uint8_t *dc, size_t len)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long n;
	enum err e = ERR_CRYPTO;
	if (bio && PEM_write_bio(bio, label, "", dc, (long)len) > 0) {
		n = BIO_get_mem_data(bio, &text);
		buf_put(file, text, (size_t)n);
		e = file->err;
	}
	BIO_free(bio);
	return e;
}

/* The key's PEM block under another label. */
static enum err relabelled(struct buf *file, const struct buf *pem, const char *name)
{
	BIO *bio = BIO_new_mem_buf(pem->octets, (int)pem->len);
	BIO *out = BIO_new(BIO_s_secmem());
	char *old = NULL, *header = NULL, *text = NULL;
	unsigned char *der = NULL;
	long len = 0, n;
	enum err e = ERR_CRYPTO;

	if (bio && out && PEM_read_bio(bio, &old, &header, &der, &len) &&
		PEM_write_bio(out, name, "", der, len) > 0) {
		n = BIO_get_mem_data(out, &text);
		buf_put(file, text, (size_t)n);
		e = file->err;
	}
	OPENSSL_free(old);
	OPENSSL_free(header);
	OPENSSL_clear_free(der, (size_t)len);
	BIO_free(out);
	BIO_free(bio);
	return e;
}

/* Fizz cuts the base64 out between the label lines and takes no line break in it. */
static enum err write_fizz(struct buf *file, const struct format_source *s)
{
	const char *name = fizz_label[s->role];
	struct dc dc;
	enum err e = dc_parse(&dc, s->dc, s->len);

	if (e)
		return e;
	if (dc.scheme != SCHEME_ECDSA_P256)
		return ERR_DC_ALGORITHM;
	buf_printf(file, "-----BEGIN %s-----\n", name);
	buf_base64(file, s->dc, s->len);
	buf_printf(file, "\n-----END %s-----\n", name);
	e = relabelled(file, s->key, fizz_key_label[s->role]);
	if (!e)
		buf_put(file, s->chain->octets, s->chain->len);
	return e ? e : file->err;
}

enum err format_write(struct buf *file, enum dc_format f, const struct format_source *source)
{
	switch (f) {
	case FORMAT_RAW:
		buf_put(file, source->dc, source->len);
		return file->err;
	case FORMAT_PEM:
		return write_pem(file, source->dc, source->len);
	case FORMAT_HEX:
		buf_hex(file, source->dc, source->len);
		buf_text(file, "\n");
		return file->err;
	case FORMAT_FIZZ:
		return write_fizz(file, source);
	default:
		return ERR_FORMAT;
	}
}
