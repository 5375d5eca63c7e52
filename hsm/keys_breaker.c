#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "keys.h"
#include "pin.h"

int keys_reset_breakers(const struct options *o)
{
	char folder[URI_SIZE];
	struct refusal why = {.err = ERR_OK};
	unsigned cleared = 0;
	struct dirent *entry;
	DIR *d;

	snprintf(folder, sizeof folder, "%s/hsm", o->state);
	d = opendir(folder);
	if (d == NULL && errno != ENOENT) {
		fprintf(stderr, "dcsign keys: %s: %s\n", folder, strerror(errno));
		return EXIT_REFUSED;
	}
	while (d != NULL && (entry = readdir(d)) != NULL) {
		const char *serial = breaker_serial(entry->d_name);
		bool was = false;

		if (serial == NULL || (o->serial != NULL && strcmp(serial, o->serial) != 0))
			continue;
		if (breaker_clear(folder, serial, &was, &why) != ERR_OK) {
			closedir(d);
			return keys_complain(&why);
		}
		printf("cleared the PIN breaker of token %s\n", serial);
		cleared++;
	}
	if (d != NULL)
		closedir(d);
	if (cleared == 0)
		printf("no PIN breaker is set in %s\n", folder);
	return EXIT_OK;
}
