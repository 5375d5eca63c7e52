/*
 * What an agent finds in its folder when it begins. The first octet chooses: `.pending`, which
 * comes back the same when it is saved; `.ledger`, where nothing but a whole file is no alarm;
 * agent.json and credential.json of the set in place, which is not usable unless it verifies.
 */
#include "fuzz_files.h"

#include "client/agent_state.h"
#include "client/agent_witness.h"
#include "client/formats.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static int folder(void)
{
	static int fd = -1;

	if (fd < 0) {
		fd = open(fuzz_folder(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		insist(fd >= 0 && mkdir(fuzz_path(".set"), 0700) == 0 &&
			symlink(".set", fuzz_path(".current")) == 0);
	}
	return fd;
}

static void try_pending(void)
{
	struct agent_pending one, two;
	struct refusal why;

	if (pending_load(&one, folder()) == ERR_OK) {
		insist(strlen(one.id) == sizeof one.id - 1 && one.key != NULL && one.body[0]);
		insist(pending_save(&one, folder(), &why) == ERR_OK);
		insist(pending_load(&two, folder()) == ERR_OK);
		insist(strcmp(one.id, two.id) == 0 && strcmp(one.body, two.body) == 0 &&
			strcmp(one.wish, two.wish) == 0 && one.made_at == two.made_at &&
			one.spki.len == two.spki.len &&
			memcmp(one.spki.octets, two.spki.octets, one.spki.len) == 0);
		pending_free(&two);
	}
	pending_free(&one);
}

static void try_ledger(void)
{
	struct agent_witness one = {0}, two = {0};
	char octets[65536];
	ssize_t n = fuzz_read(".ledger", octets, sizeof octets);

	witness_load(&one, folder());
	witness_load(&two, folder());
	insist((one.alarm_since != 0) == (two.alarm_since != 0) && one.size == two.size &&
		strcmp(one.alarm, two.alarm) == 0);
	insist(one.alarm_since != 0 || one.alarm[0] != '\0' ||
		(n > 0 && memchr(octets, '{', (size_t)n) != NULL));
}

/* When the answer in place was fresh. */
static int64_t begin_of_set(void)
{
	json_t *o = json_load_file(fuzz_path(".set/credential.json"), 0, NULL);
	const char *text = json_string_value(json_object_get(o, "not_before"));
	int64_t t = 0;

	if (text == NULL || !time_parse(text, &t))
		t = 0;
	json_decref(o);
	return t + 1;
}

static void try_set(void)
{
	struct agent_service service = {.section = {.name = "s"}};
	struct agent_credential c = {.section = {.name = "c"},
		.service_name = "s",
		.service = &service,
		.key = "www",
		.scheme = scheme_by_name("ecdsa_secp256r1_sha256"),
		.role = DC_SERVER,
		.formats = 1u << FORMAT_RAW,
		.uid = (uid_t)-1,
		.gid = (gid_t)-1,
		.mode = 0600};
	struct agent_installed in;
	struct witness_before before;

	installed_read(&in, folder(), &c, begin_of_set());
	insist(in.usable == (in.verifies && in.why.err == ERR_OK));
	insist(!in.verifies); /* there is no key.pem */
	insist(in.why.err != ERR_OK && in.why.detail[0] != '\0');
	witness_before(&before, folder(), in.expiry);
	insist(!before.known || (before.id[0] != '\0' && before.chain[0] != '\0'));
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	static const struct {
		const char *file;
		void (*try)(void);
	} files[] = {
		{".pending", try_pending},
		{".ledger", try_ledger},
		{".set/agent.json", try_set},
		{".set/credential.json", try_set},
	};
	size_t i;

	if (len == 0 || len > 65536)
		return 0;
	fuzz_hush();
	(void)folder();
	i = octets[0] % (sizeof files / sizeof files[0]);
	fuzz_write(files[i].file, octets + 1, len - 1);
	files[i].try();
	unlink(fuzz_path(files[i].file));
	return 0;
}
