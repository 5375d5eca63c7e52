/*
 * Runs a fuzz target over files without libFuzzer: over the files and folders of its arguments, or,
 * without any, over $TOP_SRCDIR/tests/corpus/<t>/ when the program is called fuzz_<t>.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static unsigned inputs;

static void fail(const char *what, const char *path)
{
	fprintf(stderr, "%s: ", what);
	perror(path);
	exit(1);
}

/* The input stands in memory of exactly its size, so that ASan sees a read past its end. */
static void replay_file(const char *path, size_t len)
{
	uint8_t *octets = malloc(len ? len : 1);
	uint8_t *input;
	FILE *f = fopen(path, "rb");

	if (octets == NULL || f == NULL || fread(octets, 1, len, f) != len)
		fail("read", path);
	fclose(f);
	input = malloc(len);
	if (len > 0 && input != NULL)
		memcpy(input, octets, len);
	LLVMFuzzerTestOneInput(input, len);
	inputs++;
	free(input);
	free(octets);
}

static void replay(const char *path)
{
	struct stat st;
	struct dirent **entries;
	int i, count;
	char inside[4096];

	if (stat(path, &st) != 0)
		fail("stat", path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path, (size_t)st.st_size);
		return;
	}
	count = scandir(path, &entries, NULL, alphasort);
	if (count < 0)
		fail("scandir", path);
	for (i = 0; i < count; i++) {
		if (entries[i]->d_name[0] != '.') {
			snprintf(inside, sizeof(inside), "%s/%s", path, entries[i]->d_name);
			replay(inside);
		}
		free(entries[i]);
	}
	free(entries);
}

static void replay_corpus(const char *program)
{
	const char *top = getenv("TOP_SRCDIR");
	const char *slash = strrchr(program, '/');
	const char *name = slash ? slash + 1 : program;
	char path[4096];

	if (top == NULL || strncmp(name, "fuzz_", strlen("fuzz_")) != 0) {
		fprintf(stderr, "usage: %s FILE-OR-FOLDER..., or TOP_SRCDIR set\n", program);
		exit(2);
	}
	snprintf(path, sizeof(path), "%s/tests/corpus/%s", top, name + strlen("fuzz_"));
	replay(path);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 2)
		replay_corpus(argv[0]);
	for (i = 1; i < argc; i++)
		replay(argv[i]);
	if (inputs == 0) {
		fprintf(stderr, "%s: no inputs\n", argv[0]);
		return 1;
	}
	printf("%s: %u inputs\n", argv[0], inputs);
	return 0;
}
