#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conffile_internal.h"

/* Values that name files, tokens, keys and clients. */
static char **text_member(const struct place *p)
{
	return (char **)(void *)((uint8_t *)p->base + p->option->at);
}

/* Reads one file into the bundle's member. */
static void load(const struct place *p, const struct value *v, struct config_file *file)
{
	const struct conffile_source *source = p->r->source;
	char why[256] = "";
	enum err e;

	if (v->text[0] == '\0') {
		expected(p, v, "a path");
		return;
	}
	if ((file->path = conffile_path(p->r, v->text)) == NULL)
		return;
	e = source->load(source->context, file->path, &file->octets, &file->len, why, sizeof why);
	if (e == ERR_NOMEM)
		p->r->nomem = true;
	else if (e != ERR_OK)
		expected(p, v, "a file that can be read: %s", why);
	else if (file->len == 0)
		expected(p, v, "a file that is not empty");
}

void take_file(const struct place *p, const struct value *v, size_t count)
{
	(void)count;
	load(p, v, (struct config_file *)(void *)((uint8_t *)p->base + p->option->at));
}

void take_files(const struct place *p, const struct value *v, size_t count)
{
	struct config_file *list = conffile_list(p, count);

	for (size_t i = 0; list != NULL && i < count; i++)
		load(p, &v[i], &list[i]);
}

void take_module(const struct place *p, const struct value *v, size_t count)
{
	const struct conffile_source *source = p->r->source;
	char **member = text_member(p), why[512] = "";

	(void)count;
	if ((*member = conffile_path(p->r, v->text)) != NULL &&
		source->there(source->context, *member, why, sizeof why) != ERR_OK)
		expected(p, v, "a PKCS#11 module: %s", why);
}

static void check_secret(const struct place *p, const struct value *v, const char *source)
{
	char why[512] = "";

	if (p->r->source->secret(p->r->source->context, source, why, sizeof why) != ERR_OK)
		expected(p, v, "a secret that only its owner can read: %s", why);
}

/* "file:" and the path as the configuration means it. */
static char *file_source(const struct place *p, const char *path)
{
	char *full = conffile_path(p->r, path), *source = NULL;

	if (full != NULL && asprintf(&source, "file:%s", full) < 0) {
		p->r->nomem = true;
		source = NULL;
	}
	free(full);
	return source;
}

void take_pin(const struct place *p, const struct value *v, size_t count)
{
	char **member = text_member(p);

	(void)count;
	if (strncmp(v->text, "file:", 5) == 0)
		*member = file_source(p, v->text + 5);
	else
		*member = conffile_copy(p->r, v->text);
	if (*member != NULL)
		check_secret(p, v, *member);
}

void take_private_key(const struct place *p, const struct value *v, size_t count)
{
	char *source = file_source(p, v->text);

	(void)count;
	if (source == NULL)
		return;
	*text_member(p) = conffile_copy(p->r, source + 5);
	check_secret(p, v, source);
	free(source);
}

static bool one_of(const char *name, size_t len, const char *const *names)
{
	for (; *names != NULL; names++)
		if (strlen(*names) == len && memcmp(*names, name, len) == 0)
			return true;
	return false;
}

/* RFC 7512: only attributes of the list, none twice is the library's business; one of the first two
 * must be there. A query (pin-value, module-path) has no place here. */
static bool uri_good(const char *uri, const char *const *names)
{
	bool found = false;

	if (strncmp(uri, "pkcs11:", 7) != 0 || strpbrk(uri, "? \"") != NULL)
		return false;
	for (uri += 7;; uri++) {
		size_t len = strcspn(uri, ";"), name = strcspn(uri, "=;");

		if (name == len || name + 1 == len || !one_of(uri, name, names))
			return false;
		found = found || one_of(uri, name, (const char *const[]){names[0], names[1], NULL});
		uri += len;
		if (*uri == '\0')
			return found;
	}
}

void take_token_uri(const struct place *p, const struct value *v, size_t count)
{
	static const char *const names[] = {"token", "serial", "manufacturer", "model", NULL};

	(void)count;
	if (!uri_good(v->text, names))
		expected(p, v,
			"a URI of RFC 7512 with token= or serial=, such as pkcs11:token=dcsign; "
			"beside them only manufacturer= and model=, never a slot or a PIN");
	*text_member(p) = conffile_copy(p->r, v->text);
}

void take_key_uri(const struct place *p, const struct value *v, size_t count)
{
	static const char *const names[] = {"object", "id", "type", NULL};

	(void)count;
	if (!uri_good(v->text, names))
		expected(p, v,
			"a URI of RFC 7512 with object= or id=, such as pkcs11:object=www; the "
			"token is named by the option 'token'");
	*text_member(p) = conffile_copy(p->r, v->text);
}

static size_t name_len(const char *assignment)
{
	size_t len = strcspn(assignment, "=");

	if (assignment[len] != '=' || (assignment[0] >= '0' && assignment[0] <= '9') ||
		strspn(assignment,
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789") != len)
		return 0;
	return len;
}

void take_environment(const struct place *p, const struct value *v, size_t count)
{
	char **list = conffile_list(p, count);

	for (size_t i = 0; list != NULL && i < count; i++) {
		size_t len = name_len(v[i].text);

		if (len == 0)
			expected(p, &v[i], "\"NAME=value\"");
		for (size_t k = 0; len > 0 && k < i; k++)
			if (strncmp(v[k].text, v[i].text, len + 1) == 0)
				expected(p, &v[i], "each variable once");
		list[i] = conffile_copy(p->r, v[i].text);
	}
}

void take_attributes(const struct place *p, const struct value *v, size_t count)
{
	char **list = conffile_list(p, count);

	for (size_t i = 0; list != NULL && i < count; i++) {
		size_t len = strlen(v[i].text);

		if (len < 1 || len > 40 ||
			strspn(v[i].text, "abcdefghijklmnopqrstuvwxyz0123456789_") != len)
			expected(p, &v[i],
				"names of attributes in lower case without CKA_, such as "
				"modifiable");
		list[i] = conffile_copy(p->r, v[i].text);
	}
}

static bool match_good(enum match_kind kind, const char *value)
{
	uint8_t digest[SHA256_SIZE];
	size_t len = strlen(value);

	if (kind == MATCH_SHA256 || kind == MATCH_SPKI_SHA256)
		return hex_decode(digest, sizeof digest, value) && value[2 * SHA256_SIZE] == '\0';
	if (kind == MATCH_PEER_UID)
		return len >= 1 && len <= 9 && strspn(value, "0123456789") == len &&
		       (value[0] != '0' || len == 1);
	if (kind == MATCH_URI)
		return strchr(value, ':') != NULL && strchr(value, ' ') == NULL;
	return len > 0;
}

void take_match(const struct place *p, const struct value *v, size_t count)
{
	static const char *const wants[] = {
		[MATCH_URI] = "a URI of the certificate's subjectAltName",
		[MATCH_DNS] = "a DNS name of the certificate's subjectAltName",
		[MATCH_CN] = "the common name of the certificate's subject",
		[MATCH_SHA256] = "the certificate's SHA-256 as 64 lowercase hexadecimal digits",
		[MATCH_SPKI_SHA256] =
			("the SHA-256 of the certificate's public key (SubjectPublicKeyInfo) as 64 "
			 "lowercase hexadecimal digits"),
		[MATCH_PEER_UID] = "a user's number",
	};
	struct config_match *match = p->base;
	enum match_kind kind = (enum match_kind)p->option->least;

	(void)count;
	if (match->value != NULL) {
		expected(p, v,
			"one option in each match section; of several sections any one that fits "
			"is enough");
		return;
	}
	if (!match_good(kind, v->text))
		expected(p, v, "%s", wants[kind]);
	match->kind = kind;
	match->value = conffile_copy(p->r, v->text);
}
