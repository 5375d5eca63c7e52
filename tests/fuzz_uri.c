/* The PKCS#11 URI of a token or a key: what is taken names something, is written by p11-kit so that
 * it is taken again and matches the same, and has no query, white space or unknown attribute. */
#include "fuzz_files.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "token_private.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void again(P11KitUri *uri, bool of_key)
{
	P11KitUri *back;
	char *text = NULL;
	struct refusal why;
	P11KitUriType type = P11_KIT_URI_FOR_TOKEN | (of_key ? P11_KIT_URI_FOR_OBJECT : 0);

	insist(p11_kit_uri_format(uri, type, &text) == P11_KIT_URI_OK);
	insist(uri_parse(&back, text, of_key, &why) == ERR_OK);
	insist(p11_kit_uri_match_token_info(uri, p11_kit_uri_get_token_info(back)) == 1);
	p11_kit_uri_free(back);
	free(text);
}

static void try(const char *text, bool of_key)
{
	P11KitUri *uri;
	struct refusal why = {.err = ERR_OK};
	enum err e = uri_parse(&uri, text, of_key, &why);

	if (e != ERR_OK) {
		insist(uri == NULL && why.err == e && why.detail[0] != '\0');
		return;
	}
	insist(strncmp(text, "pkcs11:", 7) == 0 && strchr(text, '?') == NULL);
	for (const char *c = text; *c != '\0'; c++)
		insist(isgraph((unsigned char)*c));
	again(uri, of_key);
	p11_kit_uri_free(uri);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	char text[1024];

	if (len == 0 || len > sizeof text)
		return 0;
	memcpy(text, octets + 1, len - 1);
	text[len - 1] = '\0';
	try(text, octets[0] & 1);
	return 0;
}
