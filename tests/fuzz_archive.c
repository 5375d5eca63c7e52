/* A file of archived records that somebody handed over: each line that is a record is found under
 * its chain and number. */
#include "fuzz_files.h"

#include "ledger/archive.h"
#include "ledger/state.h"
#include "record.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static bool place(const char *json, size_t len, char chain[CHAIN_SIZE], int64_t *idx)
{
	struct buf text = BUF_INIT(RECORD_MAX);
	struct record r;
	bool good = record_parse(&r, &text, json, len) == ERR_OK &&
		    state_text(chain, CHAIN_SIZE, &r.chain);

	*idx = good ? r.idx : -1;
	buf_free(&text);
	return good;
}

static void is_found(const struct archive *list, const char *line, size_t len)
{
	char chain[CHAIN_SIZE], other[CHAIN_SIZE];
	const char *json;
	int64_t idx, at;
	size_t json_len;

	if (!place(line, len, chain, &idx))
		return;
	insist(archive_get(list, chain, idx, &json, &json_len));
	insist(place(json, json_len, other, &at) && at == idx && strcmp(chain, other) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct archive *list = NULL;
	struct refusal why = {.err = ERR_OK};
	size_t begin = 0;

	if (len > 65536)
		return 0;
	fuzz_write("archive", octets, len);
	insist(archive_open(&list, fuzz_path("archive"), &why) == ERR_OK);
	for (size_t i = 0; i <= len; i++)
		if (len > 0 && (i == len || octets[i] == '\n')) {
			is_found(list, (const char *)octets + begin, i - begin);
			begin = i + 1;
		}
	archive_free(list);
	return 0;
}
