/* What dcsignd-ledger is made to do while powercut.so records it. */
#include "settings.h"

#include "powercut_lives.h"

#include <check.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"

#define SAMPLES 16
#define WAIT_MS 20000

char trace_file[160], fold_file[160], lives_folder[64];
struct sample last;
static struct sample sample[SAMPLES], test;

const char *scratch(void)
{
	return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static void configure(void)
{
	static struct config_client clients[] = {{.name = "edge", .may = RIGHT_ISSUE},
		{.name = "security", .may = RIGHT_HOLD | RIGHT_RELEASE}};
	static char key[] = "www", *keys[] = {key};
	static struct policy policy = {.name = "default"};
	static struct config_key www = {.name = "www", .token = "main", .policy = "default"};

	policy_defaults(&policy);
	clients[0].keys = clients[1].keys = keys;
	clients[0].key_count = clients[1].key_count = 1;
	www.uri = rig.url;
	rig.config.client = clients;
	rig.config.client_count = 2;
	rig.config.policy = &policy;
	rig.config.key = &www;
	rig.config.policy_count = rig.config.key_count = 1;
	rig.config.checkpoint.every = 6;
}

/* The configuration of a ledger in this folder. */
void move_to(const char *folder)
{
	static char file[160];

	snprintf(rig.folder, sizeof(rig.folder), "%s", folder);
	snprintf(rig.path, sizeof(rig.path), "%s/lib/ledger.db", folder);
	snprintf(rig.url, sizeof(rig.url), "sqlite:%s", rig.path);
	snprintf(file, sizeof(file), "%s/heads", folder);
	rig.config.checkpoint.file = file;
	close(rig_bundle());
	memcpy(rig.issuer.generation, rig.generation, SHA256_SIZE);
}

static void hold(uint16_t type, const char *reason)
{
	struct msg_hold m = {.by = "security", .by_serial = "0b", .peer = "unix", .key = "www"};
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_hold_answer a;
	struct reader body;

	memset(m.request, 'a', ID_SIZE - 1);
	m.reason = octets_text(reason);
	msg_begin(&out, type, ++rig.serial);
	msg_hold_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.api, &out, NULL, 0, WAIT_MS), ERR_OK);
	buf_free(&out);
	rig_receive(rig.api, MSG_ANSWER(type), &body);
	ck_assert_int_eq(msg_hold_answer_read(&a, &body), ERR_OK);
	ck_assert_int_eq(a.refusal.err, ERR_OK);
}

static void checkpoint(void)
{
	struct msg_read m = {.kind = READ_CHECKPOINT, .chain = "sign1/main"};
	static struct msg_read_answer a;
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader body;

	msg_begin(&out, MSG_READ, ++rig.serial);
	msg_read_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.api, &out, NULL, 0, WAIT_MS), ERR_OK);
	buf_free(&out);
	rig_receive(rig.api, MSG_ANSWER(MSG_READ), &body);
	ck_assert_int_eq(msg_read_answer_read(&a, &body), ERR_OK);
	ck_assert_int_eq(a.err, ERR_OK);
}

static void batch(struct record *const *records, size_t count)
{
	rig_append_send(records, count, 0);
	rig_answers();
	for (size_t i = 0; i < count; i++)
		ck_assert_int_eq(rig.answers.item[i].refusal.err, ERR_OK);
}

static void first_life(void)
{
	struct record *many[] = {&sample[1].authorised, &sample[2].authorised,
		&sample[3].authorised, &sample[4].authorised};
	struct record *outcomes[] = {
		&sample[1].issued, &sample[2].failed, &sample[3].issued, &sample[4].issued};

	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&test.self_test), ERR_OK);
	ck_assert_int_eq(rig_append(&test.proved), ERR_OK);
	ck_assert_int_eq(rig_append(&sample[0].authorised), ERR_OK);
	ck_assert_int_eq(rig_append(&sample[0].issued), ERR_OK);
	batch(many, 4);
	batch(outcomes, 4);
	hold(MSG_HOLD, "ticket 7");
	ck_assert_int_eq(rig_append(&sample[5].authorised), ERR_HELD);
	hold(MSG_RELEASE, "ticket 7 is closed");
	checkpoint();
	rig.config.require_clock_sync = !rig.config.require_clock_sync;
	ck_assert_int_eq(rig_config(NULL), ERR_OK);
	rig_start_and_config();
	/* a writer dies with attempts under way */
	ck_assert_int_eq(rig_append(&sample[6].authorised), ERR_OK);
	ck_assert_int_eq(rig_append(&sample[7].authorised), ERR_OK);
	close(rig.hsm);
	rig.hsm = rig_channel(ROLE_HSM, "main");
	rig_hello();
	ck_assert_int_eq(rig_append(&sample[6].issued), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(rig_append(&sample[8].authorised), ERR_OK);
	kill(rig.pid, SIGKILL);
	rig_wait();
}

/* ---- what a folder held before ---- */

static FILE *begun;

static void event_put(enum powercut_event type, uint64_t file, uint64_t at, const char *path,
	const void *octets, size_t len)
{
	struct powercut_head h = {.type = type,
		.path_len = (uint32_t)strlen(path),
		.file = file,
		.at = at,
		.len = len};

	ck_assert_uint_eq(fwrite(&h, sizeof(h), 1, begun), 1);
	fputs(path, begun);
	ck_assert_uint_eq(fwrite(octets, 1, len, begun), len);
}

static int entry_put(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	uint8_t *octets = calloc(1, (size_t)st->st_size + 1);
	FILE *f;
	size_t len = 0;

	if (kind != FTW_F) {
		event_put(at->level ? POWERCUT_FOLDER : POWERCUT_OPEN, st->st_ino, 0, path, "", 0);
	} else {
		f = fopen(path, "re");
		ck_assert_ptr_nonnull(f);
		len = fread(octets, 1, (size_t)st->st_size, f);
		fclose(f);
		while (len > 0 && octets[len - 1] == 0)
			len--;
		event_put(POWERCUT_MAKE, st->st_ino, 0, path, "", 0);
		event_put(POWERCUT_WRITE, st->st_ino, 0, "", octets, len);
		event_put(POWERCUT_SIZE, st->st_ino, (uint64_t)st->st_size, "", "", 0);
		event_put(POWERCUT_SYNC, st->st_ino, 0, "", "", 0);
	}
	free(octets);
	return 0;
}

static int folder_sync_put(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)path;
	(void)at;
	if (kind != FTW_F)
		event_put(POWERCUT_SYNC, st->st_ino, 0, "", "", 0);
	return 0;
}

/* All that is there, and durable. */
static void trace_begin(const char *folder, const char *file)
{
	begun = fopen(file, "we");
	ck_assert_ptr_nonnull(begun);
	ck_assert_int_eq(nftw(folder, entry_put, 8, FTW_PHYS), 0);
	ck_assert_int_eq(nftw(folder, folder_sync_put, 8, FTW_PHYS), 0);
	ck_assert_int_eq(fclose(begun), 0);
}

static void trace_to(const char *file)
{
	static char preload[4200], folder[96], trace[200], asan[128], *environment[5];
	const char *top = getenv("TOP_BUILDDIR");

	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s/tests/faults/powercut.so",
		top ? top : ".");
	snprintf(folder, sizeof(folder), "POWERCUT_FOLDER=%s", rig.folder);
	snprintf(trace, sizeof(trace), "POWERCUT_TRACE=%s", file);
	snprintf(asan, sizeof(asan), "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0");
	environment[0] = preload;
	environment[1] = folder;
	environment[2] = trace;
	environment[3] = asan;
	rig.environment = environment;
}

/* Start, requests, batches, hold, checkpoint, SIGHUP, kill -9, start, shutdown, start, shutdown. */
void lives_record(void)
{
	trace_to(trace_file);
	first_life();
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&sample[9].authorised), ERR_OK);
	ck_assert_int_eq(rig_append(&sample[9].issued), ERR_OK);
	ck_assert_int_eq(rig_append(&sample[10].authorised), ERR_OK);
	ck_assert_int_eq(rig_down(), 0);
	rig_up();
	ck_assert_int_eq(rig_down(), 0);
	rig.environment = NULL;
}

void recovery_record(const char *folder, const char *file)
{
	trace_begin(folder, file);
	move_to(folder);
	trace_to(file);
	rig_up();
	rig_start_and_config();
	kill(rig.pid, SIGKILL);
	rig_wait();
	rig.environment = NULL;
}

/* So much that the write-ahead log is folded into the file while the process serves. */
void fold_record(void)
{
	static char pad[60001];
	struct record *four[4];
	struct sample s[4];

	memset(pad, 'x', sizeof(pad) - 1);
	trace_to(fold_file);
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&test.self_test), ERR_OK);
	ck_assert_int_eq(rig_append(&test.proved), ERR_OK);
	for (unsigned i = 0; i < 30; i++) {
		for (unsigned k = 0; k < 2; k++) {
			sample_make(&s[k], &rig.issuer, 100 + 2 * i + k);
			s[k].authorised.detail = octets_text(pad);
			four[k] = &s[k].authorised;
		}
		batch(four, 2);
		for (unsigned k = 0; k < 2; k++)
			four[k] = &s[k].issued;
		batch(four, 2);
		for (unsigned k = 0; k < 2; k++)
			sample_free(&s[k]);
	}
	kill(rig.pid, SIGKILL);
	rig_wait();
	rig.environment = NULL;
}

void lives_set_up(void)
{
	setenv("TMPDIR", scratch(), 1);
	rig_set_up();
	configure();
	snprintf(trace_file, sizeof(trace_file), "%s.trace", rig.folder);
	snprintf(fold_file, sizeof(fold_file), "%s.fold", rig.folder);
	strcpy(lives_folder, rig.folder);
	move_to(lives_folder);
	for (unsigned i = 0; i < SAMPLES; i++)
		sample_make(&sample[i], &rig.issuer, i + 1);
	sample_make(&test, &rig.issuer, 90);
	sample_make(&last, &rig.issuer, 91);
}

void lives_tear_down(void)
{
	unlink(trace_file);
	unlink(fold_file);
	for (unsigned i = 0; i < SAMPLES; i++)
		sample_free(&sample[i]);
	sample_free(&test);
	sample_free(&last);
	move_to(lives_folder);
	rig_tear_down();
}
