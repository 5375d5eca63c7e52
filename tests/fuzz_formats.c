/* Files with a delegated credential: whatever is found as one form is written and found again. */
#include <stdlib.h>
#include <string.h>

#include "client/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct buf dc = BUF_INIT(FORMAT_FILE_MAX), file = BUF_INIT(4 * FORMAT_FILE_MAX),
		   again = BUF_INIT(FORMAT_FILE_MAX);
	struct refusal why;
	enum dc_format form, seen;

	if (format_read(&dc, &form, octets, len, &why) == ERR_OK && dc.len > 0 &&
		form != FORMAT_JSON) {
		const struct format_source source = {.dc = dc.octets, .len = dc.len};
		if (format_write(&file, FORMAT_PEM, &source) != ERR_OK)
			abort();
		if (file.len <= FORMAT_FILE_MAX &&
			(format_read(&again, &seen, file.octets, file.len, &why) != ERR_OK ||
				seen != FORMAT_PEM || again.len != dc.len ||
				memcmp(again.octets, dc.octets, dc.len) != 0))
			abort();
	}
	buf_free(&dc);
	buf_free(&file);
	buf_free(&again);
	return 0;
}
