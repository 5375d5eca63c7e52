/*
 * A first octet that is even: the rest is a PIN file. Odd: it is the breaker's file. What is taken
 * of either is what stands there, and a breaker that is not of the form that breaker_trip writes
 * lets no login be tried and is left as it is.
 */
#include "fuzz_files.h"

#include <sys/mman.h>

#include "pin.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

#define FILE_MAX 4096

static void try_pin(const uint8_t *octets, size_t len)
{
	struct pin pin;
	struct refusal why;
	int fd = memfd_create("pin", MFD_CLOEXEC);
	size_t most = len > 0 && octets[len - 1] == '\n' ? len - 1 : len;
	bool good = most > 0 && most < PIN_SIZE && memchr(octets, 0, most) == NULL;
	enum err e;

	insist(fd >= 0 && write(fd, octets, len) == (ssize_t)len);
	e = pin_read(&pin, fd, &why);
	close(fd);
	insist((e == ERR_OK) == good);
	if (!good)
		return;
	insist(pin.len == most && memcmp(pin.text, octets, most) == 0 && pin.text[most] == '\0');
	pin_wipe(&pin);
}

static bool file_is(const char *first, const uint8_t *rest, size_t len)
{
	char now[FILE_MAX + 16], want[FILE_MAX + 16];
	ssize_t n = fuzz_read("pin-breaker.x", now, sizeof now);
	size_t head = strlen(first);

	memcpy(want, first, head);
	memcpy(want + head, rest, len);
	return n == (ssize_t)(head + len) && memcmp(now, want, head + len) == 0;
}

static void try_breaker(const uint8_t *octets, size_t len)
{
	const uint8_t *line = memchr(octets, '\n', len), *word = memchr(octets, ' ', len);
	const struct pin pin = {.text = "1234", .len = 4};
	struct refusal why;

	fuzz_write("pin-breaker.x", octets, len);
	if (breaker_trip(fuzz_folder(), "x", &why) != ERR_OK) {
		insist(file_is("", octets, len));
		insist(breaker_arm(fuzz_folder(), "x", &pin, &why) == ERR_PIN);
		insist(breaker_disarm(fuzz_folder(), "x", &why) == ERR_SYSTEM);
		insist(file_is("", octets, len));
		return;
	}
	insist(line != NULL && word != NULL);
	insist(file_is("refused", word, len - (size_t)(word - octets)));
	insist(breaker_disarm(fuzz_folder(), "x", &why) == ERR_OK);
	if (line == octets + len - 1)
		insist(!breaker_present(fuzz_folder(), "x"));
	else
		insist(file_is("", line + 1, len - (size_t)(line + 1 - octets)));
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	if (len == 0 || len > FILE_MAX)
		return 0;
	if (octets[0] & 1)
		try_breaker(octets + 1, len - 1);
	else
		try_pin(octets + 1, len - 1);
	return 0;
}
