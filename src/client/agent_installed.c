/* The set in place, read as a server would read it and judged as a client would judge it. */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "agent_state.h"
#include "formats.h"
#include "issued.h"
#include "verify.h"

static json_t *read_json(int set, const char *name)
{
	int fd = openat(set, name, O_RDONLY | O_CLOEXEC);
	json_t *o = fd < 0 ? NULL : json_loadfd(fd, JSON_REJECT_DUPLICATES, NULL);
	if (fd >= 0)
		close(fd);
	return o;
}

static bool key_is(int set, const uint8_t *spki, size_t len)
{
	int fd = openat(set, "key.pem", O_RDONLY | O_CLOEXEC);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	EVP_PKEY *key = f ? PEM_read_PrivateKey(f, NULL, NULL, NULL) : NULL;
	unsigned char *der = NULL;
	int n = key ? i2d_PUBKEY(key, &der) : -1;
	bool same = n > 0 && (size_t)n == len && memcmp(der, spki, len) == 0;

	OPENSSL_free(der);
	EVP_PKEY_free(key);
	if (f)
		fclose(f);
	else if (fd >= 0)
		close(fd);
	return same;
}

static void take_note(struct agent_installed *out, int set, const char *wish)
{
	json_t *note = read_json(set, "agent.json");
	const char *of_set = json_string_value(json_object_get(note, "wish"));

	out->issued_at = json_integer_value(json_object_get(note, "issued_at"));
	out->renew_at = json_integer_value(json_object_get(note, "renew_at"));
	if (!of_set)
		refuse(&out->why, ERR_FORMAT, "", "the set was not made by dcsign agent");
	else if (!wish || strcmp(of_set, wish) != 0)
		refuse(&out->why, ERR_FORMAT, "",
			"the configuration asks for something else now: %s", wish ? wish : "");
	json_decref(note);
}

static bool has_files(int set, const struct agent_credential *c)
{
	int f;
	for (f = 0; f < FORMATS; f++)
		if (c->formats & 1u << f &&
			faccessat(set, format_file((enum dc_format)f), F_OK, 0) != 0)
			return false;
	return faccessat(set, "chain.pem", F_OK, 0) == 0;
}

/* The service's answer as it was installed, verified anew. */
static enum err judge(struct agent_installed *out, int set, const struct agent_credential *c,
	const char *answer, int64_t now)
{
	struct asked asked = {.key = c->key, .role = c->role, .any_spki = true};
	struct issued got;
	enum err e = issued_read(&got, answer, strlen(answer), &asked, now, &out->why);

	if (got.leaf.der && got.dc.spki) {
		const char *id = json_string_value(json_object_get(got.root, "id"));
		out->expiry = dc_expiry(&got.dc, got.leaf.not_before);
		out->certificate_not_after = got.leaf.not_after;
		memcpy(out->certificate_sha256, got.leaf.sha256, SHA256_SIZE);
		sha256(got.dc.spki, got.dc.spki_len, out->spki_sha256);
		snprintf(out->id, sizeof out->id, "%s", id ? id : "");
		if (!e && !key_is(set, got.dc.spki, got.dc.spki_len))
			e = refuse(&out->why, ERR_SPKI_MISMATCH, "",
				"key.pem is missing or not the credential's key");
	}
	issued_free(&got);
	return e;
}

void installed_read(
	struct agent_installed *out, int folder, const struct agent_credential *c, int64_t now)
{
	int set = openat(folder, ".current", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *wish = agent_wish(c), *answer = NULL;
	json_t *root = set < 0 ? NULL : read_json(set, "credential.json");

	*out = (struct agent_installed){0};
	if (root)
		answer = json_dumps(root, JSON_COMPACT);
	if (set < 0) {
		refuse(&out->why, ERR_NOT_FOUND, "", "there is no credential yet");
	} else if (!answer) {
		refuse(&out->why, ERR_FORMAT, "", "credential.json is missing or damaged");
	} else if (judge(out, set, c, answer, now) == ERR_OK) {
		out->verifies = true;
		if (!has_files(set, c))
			refuse(&out->why, ERR_FORMAT, "", "a file of the set is missing");
		take_note(out, set, wish);
	}
	out->usable = out->verifies && out->why.err == ERR_OK;
	free(answer);
	json_decref(root);
	free(wish);
	if (set >= 0)
		close(set);
}

char *agent_note(
	const struct agent_credential *c, const char *url, int64_t issued_at, int64_t renew_at)
{
	char *wish = agent_wish(c), *text = NULL;
	json_t *o = wish ? json_pack("{s:s, s:s, s:s, s:I, s:I}", "credential", c->section.name,
				   "wish", wish, "url", url, "issued_at", (json_int_t)issued_at,
				   "renew_at", (json_int_t)renew_at)
			 : NULL;
	if (o)
		text = json_dumps(o, JSON_INDENT(2));
	json_decref(o);
	free(wish);
	return text;
}
