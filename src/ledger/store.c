#include "store.h"

#include <string.h>

static const struct store_engine *const engines[] = {&store_sqlite, &store_postgres};

enum err store_engine_of(const char *url, const struct store_engine **engine, const char **where,
	struct refusal *why)
{
	const struct store_engine *found = url[0] == '/' ? &store_sqlite : NULL;
	size_t skip = 0;

	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
		size_t len = strlen(engines[i]->scheme);

		if (strncmp(url, engines[i]->scheme, len) == 0) {
			found = engines[i];
			skip = len;
		}
	}
	if (!found || url[skip] != '/')
		return refuse(why, ERR_NOT_FOUND, "ledger",
			"\"%s\" is no ledger: give sqlite:/absolute/path or "
			"postgresql://ROLE@HOST/DATABASE",
			/* what may hold a password is not said */
			strpbrk(url, "@=") ? "..." : url);
	*engine = found;
	*where = found == &store_postgres ? url : url + skip;
	return ERR_OK;
}
