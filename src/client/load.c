#include "settings.h"

#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "tool.h"

/* Puts the file's name before what is wrong in it. */
static enum err in_file(struct refusal *why, enum err e, const char *file)
{
	struct refusal inner = *why;
	refuse(why, e, inner.field, "%s: %s", file, inner.detail[0] ? inner.detail : err_text(e));
	return e;
}

enum err load_dc(struct loaded_dc *out, const char *file, struct refusal *why)
{
	struct buf octets = BUF_INIT(FORMAT_FILE_MAX);
	enum err e = tool_read(&octets, file, why);

	*out = (struct loaded_dc){.octets = BUF_INIT(FORMAT_FILE_MAX)};
	if (e)
		goto out;
	e = format_read(&out->octets, &out->form, octets.octets, octets.len, why);
	if (!e) {
		e = dc_parse(&out->dc, out->octets.octets, out->octets.len);
		if (e)
			refuse(why, e, "", "not a delegated credential: %s", err_text(e));
	}
	if (e)
		in_file(why, e, file);
out:
	buf_free(&octets);
	return e;
}

void load_dc_free(struct loaded_dc *in)
{
	buf_free(&in->octets);
}

static bool listed(const char *const *labels, const char *label)
{
	for (; *labels; labels++)
		if (strcmp(*labels, label) == 0)
			return true;
	return false;
}

static bool first_block(struct buf *out, const struct buf *file, const char *const *labels)
{
	BIO *bio = BIO_new_mem_buf(file->octets, (int)file->len);
	char *name, *header;
	unsigned char *octets;
	bool found = false;
	long n;

	while (bio && !found && PEM_read_bio(bio, &name, &header, &octets, &n)) {
		found = listed(labels, name);
		if (found)
			buf_put(out, octets, (size_t)n);
		OPENSSL_free(name);
		OPENSSL_free(header);
		OPENSSL_clear_free(octets, (size_t)n);
	}
	ERR_clear_error();
	BIO_free(bio);
	return found;
}

enum err load_der(struct buf *out, const char *file, const char *const *labels, size_t max,
	struct refusal *why)
{
	static const char begin[] = "-----BEGIN ";
	struct buf octets = BUF_INIT(max);
	enum err e = tool_read(&octets, file, why);

	if (e)
		goto out;
	if (!octets.len || !memmem(octets.octets, octets.len, begin, sizeof begin - 1))
		buf_put(out, octets.octets, octets.len);
	else if (!first_block(out, &octets, labels))
		e = refuse(why, ERR_FORMAT, "", "%s: no PEM block %s in it, or a damaged one", file,
			labels[0]);
	if (!e)
		e = out->err;
out:
	buf_wipe(&octets);
	return e;
}

enum err load_certificate(struct certificate *out, const char *file, struct refusal *why)
{
	static const char *const labels[] = {PEM_STRING_X509, NULL};
	struct buf der = BUF_INIT(FORMAT_FILE_MAX);
	enum err e = load_der(&der, file, labels, FORMAT_FILE_MAX, why);

	if (!e) {
		e = certificate_read(out, der.octets, der.len);
		if (e) {
			memset(out, 0, sizeof *out);
			refuse(why, e, "", "%s: %s", file, err_text(e));
		}
	}
	buf_free(&der);
	return e;
}

void load_certificate_free(struct certificate *in)
{
	if (in->der)
		certificate_free(in);
}

void print_json(const json_t *o)
{
	char *text = json_dumps(o, JSON_INDENT(2));
	puts(text ? text : "{}");
	free(text);
}
