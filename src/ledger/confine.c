#include "confine.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

#include "sandbox.h"

#define FOLDERS 3

enum err confine(const struct config *c)
{
	bool file = strncmp(c->ledger, "sqlite:", 7) == 0;
	const char *const paths[FOLDERS] = {
		file ? c->ledger + 7 : NULL, c->checkpoint.file, c->checkpoint.key};
	char *copy[FOLDERS] = {NULL};
	const char *folders[FOLDERS + 1] = {NULL};
	size_t count = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; i < FOLDERS && e == ERR_OK; i++) {
		if (!paths[i])
			continue;
		copy[i] = strdup(paths[i]);
		if (copy[i])
			folders[count++] = dirname(copy[i]);
		else
			e = ERR_NOMEM;
	}
	if (e == ERR_OK)
		e = sandbox_files(file ? SANDBOX_LEDGER : SANDBOX_LEDGER_REMOTE, folders);
	if (e == ERR_OK)
		e = sandbox_calls(file ? SANDBOX_LEDGER : SANDBOX_LEDGER_REMOTE);
	for (size_t i = 0; i < FOLDERS; i++)
		free(copy[i]);
	return e;
}
