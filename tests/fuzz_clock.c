/* The file with the clock's reference, behind this boot's id or (first octet odd) as it is:
 * whatever it says, the wall clock is trusted only when that agrees with it. */
#include "fuzz_files.h"

#include <stdlib.h>
#include <time.h>

#include "clock.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static enum err record(void *arg, const struct clock_event *event)
{
	(void)arg;
	(void)event;
	return ERR_SYSTEM; /* nothing can be written down, so nothing is trusted anew */
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	const struct clock_options options = {
		.folder = fuzz_folder(), .token = "x", .need_sync = false, .record = record};
	char file[1024];
	struct refusal why;
	int64_t now;
	size_t head = 0;

	if (len == 0 || len > 900)
		return 0;
	fuzz_hush();
	if ((octets[0] & 1) == 0) {
		insist(clock_boot_id(file));
		head = strlen(file);
		file[head++] = ' ';
	}
	memcpy(file + head, octets + 1, len - 1);
	fuzz_write("clock.x", file, head + len - 1);
	insist(clock_begin(&options) == ERR_OK);
	if (clock_now(&now, &why) == ERR_OK)
		insist(llabs(now - (int64_t)time(NULL)) <= 1);
	else
		insist(why.err == ERR_CLOCK && why.detail[0] != '\0');
	(void)clock_estimate();
	clock_end();
	return 0;
}
