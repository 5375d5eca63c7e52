#include <ctype.h>
#include <string.h>

#include "token_private.h"

/* The attributes of RFC 7512 section 2.3 that name a token or an object. p11-kit knows more, and
 * takes an unknown one as "matches anything". */
static const char *const token_attributes[] = {"token", "serial", "manufacturer", "model"};
static const char *const key_attributes[] = {
	"object", "id", "type", "token", "serial", "manufacturer", "model"};

static bool name_known(const char *name, size_t len, bool of_key, size_t *index)
{
	const char *const *names = of_key ? key_attributes : token_attributes;
	size_t n = of_key ? sizeof key_attributes / sizeof *key_attributes
			  : sizeof token_attributes / sizeof *token_attributes;

	for (*index = 0; *index < n; ++*index)
		if (strlen(names[*index]) == len && memcmp(names[*index], name, len) == 0)
			return true;
	return false;
}

/* Labels and names are texts; an id is any octets. */
static bool has_nul(const char *attribute, size_t len)
{
	for (size_t i = 0; i + 3 <= len; i++)
		if (memcmp(attribute + i, "%00", 3) == 0)
			return strncmp(attribute, "id=", 3) != 0;
	return false;
}

/* p11-kit drops blanks, lets the last of two equal attributes win, and ignores unknown queries. */
static enum err uri_form(const char *text, bool of_key, struct refusal *why)
{
	unsigned seen = 0;
	const char *at;

	if (strncmp(text, "pkcs11:", 7) != 0)
		return refuse(why, ERR_FORMAT, "uri", "it must begin with pkcs11: (RFC 7512)");
	for (at = text; *at != '\0'; at++) {
		if (isspace((unsigned char)*at) || !isprint((unsigned char)*at))
			return refuse(why, ERR_FORMAT, "uri",
				"white space and other than ASCII must be written as %%XX");
		if (*at == '?')
			return refuse(why, ERR_FORMAT, "uri",
				"it must have no query (?...): module and PIN have their own "
				"options");
	}
	for (at = text + 7; *at != '\0';) {
		size_t len = strcspn(at, ";"), name_len = strcspn(at, "=;"), index;

		if (name_len == len || !name_known(at, name_len, of_key, &index))
			return refuse(why, ERR_FORMAT, "uri",
				"attribute \"%.*s\" can't stand here; known are %s", (int)name_len,
				at,
				of_key ? "object, id, type, token, serial, manufacturer, model"
				       : "token, serial, manufacturer, model");
		if (seen & 1u << index)
			return refuse(why, ERR_FORMAT, "uri", "attribute \"%.*s\" stands twice",
				(int)name_len, at);
		if (has_nul(at, len))
			return refuse(why, ERR_FORMAT, "uri", "attribute \"%.*s\" holds a NUL",
				(int)name_len, at);
		seen |= 1u << index;
		at += len + (at[len] == ';');
	}
	return ERR_OK;
}

static bool blank(const unsigned char *text, size_t len)
{
	/* p11-kit leaves 0xff or blanks in a member that the URI does not have */
	for (size_t i = 0; i < len; i++)
		if (text[i] != ' ' && text[i] != 0xff && text[i] != 0)
			return false;
	return true;
}

enum err uri_parse(P11KitUri **out, const char *text, bool of_key, struct refusal *why)
{
	P11KitUri *uri = NULL;
	CK_TOKEN_INFO *info;
	CK_ATTRIBUTE *object_class;
	int rc;
	enum err e = uri_form(text, of_key, why);

	*out = NULL;
	if (e != ERR_OK)
		return e;
	uri = p11_kit_uri_new();
	if (uri == NULL)
		return refuse(why, ERR_NOMEM, "uri", "%s", "");
	rc = p11_kit_uri_parse(
		text, P11_KIT_URI_FOR_TOKEN | (of_key ? P11_KIT_URI_FOR_OBJECT : 0), uri);
	if (rc != P11_KIT_URI_OK || p11_kit_uri_any_unrecognized(uri)) {
		e = refuse(why, ERR_FORMAT, "uri", "%s",
			rc != P11_KIT_URI_OK ? p11_kit_uri_message(rc)
					     : "a value in it is too long or not understood");
		goto out;
	}
	info = p11_kit_uri_get_token_info(uri);
	object_class = p11_kit_uri_get_attribute(uri, CKA_CLASS);
	if (!of_key && blank(info->label, sizeof info->label) &&
		blank(info->serialNumber, sizeof info->serialNumber))
		e = refuse(why, ERR_FORMAT, "uri", "it must name the token by token= or serial=");
	else if (of_key && p11_kit_uri_get_attribute(uri, CKA_LABEL) == NULL &&
		 p11_kit_uri_get_attribute(uri, CKA_ID) == NULL)
		e = refuse(why, ERR_FORMAT, "uri", "it must name the key by object= or id=");
	else if (of_key && object_class != NULL &&
		 *(const CK_OBJECT_CLASS *)object_class->pValue != CKO_PRIVATE_KEY)
		e = refuse(why, ERR_FORMAT, "uri", "type, where given, must be private");
out:
	if (e == ERR_OK)
		*out = uri;
	else
		p11_kit_uri_free(uri);
	return e;
}

CK_ULONG
uri_template(P11KitUri *uri, CK_OBJECT_CLASS *object_class, CK_ATTRIBUTE out[3])
{
	static const CK_ATTRIBUTE_TYPE types[] = {CKA_LABEL, CKA_ID};
	CK_ULONG n = 0;

	out[n++] = (CK_ATTRIBUTE){CKA_CLASS, object_class, sizeof *object_class};
	for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
		const CK_ATTRIBUTE *a = p11_kit_uri_get_attribute(uri, types[i]);

		if (a != NULL)
			out[n++] = *a;
	}
	return n;
}

static enum err uri_check(const char *text, bool of_key, struct refusal *why)
{
	P11KitUri *uri;
	enum err e = uri_parse(&uri, text, of_key, why);

	if (e == ERR_OK)
		p11_kit_uri_free(uri);
	return e;
}

enum err token_uri_check(const char *uri, struct refusal *why)
{
	return uri_check(uri, false, why);
}

enum err token_key_uri_check(const char *uri, struct refusal *why)
{
	return uri_check(uri, true, why);
}
