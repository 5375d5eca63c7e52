/* Signed notes and verifier keys, as they come from a file or another machine. */
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	static const uint8_t key[CHECKPOINT_KEY] = {1};
	char name[CHECKPOINT_ORIGIN_SIZE];
	uint8_t public_key[CHECKPOINT_KEY];
	static const struct checkpoint_witness someone = {
		.name = "witness.test/w", .public_key = {1}};
	struct checkpoint_witness witness;
	struct checkpoint c;
	char *text = malloc(len + 1);
	size_t note;

	if (!text)
		return 0;
	memcpy(text, octets, len);
	note = checkpoint_length(text, len);
	if (note > len || (note && checkpoint_length(text, note) != note))
		abort();
	if (checkpoint_read(&c, text, len) == ERR_OK && checkpoint_length(text, len) != len)
		abort();
	if (checkpoint_verify(&c, text, len, key) == ERR_OK)
		abort();
	if (checkpoint_cosigned(text, len, &someone, NULL) == ERR_OK)
		abort();
	if (checkpoint_witness_read(&witness, text, len) == ERR_OK &&
		checkpoint_vkey_read(text, len, name, public_key) == ERR_OK)
		abort();
	if (checkpoint_vkey_read(text, len, name, public_key) == ERR_OK) {
		struct buf again = BUF_INIT(CHECKPOINT_MAX);

		checkpoint_vkey_write(&again, name, public_key);
		if (again.len != len || memcmp(again.octets, text, len) != 0)
			abort();
		buf_free(&again);
	}
	free(text);
	return 0;
}
