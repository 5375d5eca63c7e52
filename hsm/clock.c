#include "settings.h"

#include "clock.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "counters.h"
#include "log.h"

#define SAMPLE_S       1
#define FILE_LATEST_MS 1000000000000000 /* the year 33658 */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t woken;
	struct guard guard;
	struct clock_options options;
	char path[4096];
	pthread_t thread;
	char accepted[160]; /* who said that the reference is right, and why; "": nobody did */
	bool running, stopping, told; /* told: the log knows that it is not trusted */
	bool asked;		      /* somebody waits to hear what came of clock_accept */
	uint64_t serial, accepts;
} clock_state = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct clock_reading clock_sample(void)
{
	struct timespec wall, boot;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	return (struct clock_reading){
		.wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000,
		.boot_ms = (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000,
	};
}

bool clock_boot_id(char text[40])
{
	const char *path = "/proc/sys/kernel/random/boot_id";
	ssize_t n;
	int fd;

#ifdef DCSIGN_TEST_HOOKS
	const char *other = getenv("DCSIGN_BOOT_ID_FILE");

	if (other != NULL)
		path = other;
#endif
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, 36);

	if (fd >= 0)
		close(fd);
	if (n == 36)
		text[36] = '\0';
	else
		strcpy(text, "unknown");
	return n == 36;
}

/* The kernel's word; a time daemon gives it. */
static bool synchronised(void)
{
	struct timex t = {.modes = 0};

	return adjtimex(&t) >= 0 && (t.status & STA_UNSYNC) == 0;
}

static int64_t steady_ms(void)
{
#ifdef DCSIGN_TEST_HOOKS
	const char *ms = getenv("DCSIGN_CLOCK_STEADY_MS");

	if (ms != NULL)
		return atoll(ms);
#endif
	return CLOCK_STEADY_MS;
}

/* --- the file: "BOOT-ID FIRST-WALL FIRST-BOOT WALL BOOT\n", milliseconds; `dcsign ledger
 * accept-clock` adds " accepted UID REASON" --- */

/* Only root's word counts, or that of the one user that all of dcsignd runs as. */
static void load_accepted(int fd, const char *line)
{
	const char *said = strstr(line, " accepted ");
	struct stat st;
	char reason[128] = "";
	unsigned uid;

	clock_state.accepted[0] = '\0';
	if (said != NULL && fstat(fd, &st) == 0 && (st.st_uid == 0 || st.st_uid == geteuid()) &&
		sscanf(said, " accepted %u %127[^\n]", &uid, reason) == 2)
		snprintf(clock_state.accepted, sizeof clock_state.accepted, "uid %u: %s", uid,
			reason);
}

/* Readings of clocks, not numbers that nobody could reckon with. */
static bool plausible(const struct clock_reading *r)
{
	return r->wall_ms >= 0 && r->wall_ms <= FILE_LATEST_MS && r->boot_ms >= 0 &&
	       r->boot_ms <= FILE_LATEST_MS;
}

static bool load(struct clock_reading *first, struct clock_reading *reference)
{
	char boot[40], of[40], line[512] = "";
	int fd = open(clock_state.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);

	if (fd >= 0)
		load_accepted(fd, line);
	if (fd >= 0)
		close(fd);
	return n > 0 && clock_boot_id(boot) &&
	       sscanf(line, "%39s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64, of,
		       &first->wall_ms, &first->boot_ms, &reference->wall_ms,
		       &reference->boot_ms) == 5 &&
	       strcmp(boot, of) == 0 && plausible(first) && plausible(reference);
}

static void save(const struct guard *g)
{
	char boot[40], line[256], fresh[sizeof clock_state.path + 8];
	bool good = false;
	int fd, len;

	if (!clock_boot_id(boot))
		return;
	len = snprintf(line, sizeof line, "%s %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
		boot, g->first.wall_ms, g->first.boot_ms, g->reference.wall_ms,
		g->reference.boot_ms);
	snprintf(fresh, sizeof fresh, "%s.new", clock_state.path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0) {
		good = write(fd, line, (size_t)len) == len;
		good = close(fd) == 0 && good && rename(fresh, clock_state.path) == 0;
	}
	if (!good)
		LOG(LOG_LEVEL_ERROR, "the clock's reference can't be kept",
			LS("file", clock_state.path));
}

/* --- the thread --- */

static void tell(bool resumed, const struct clock_event *event)
{
	LOG(resumed ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR,
		resumed ? "the clock is trusted again"
			: "the clock is not to be trusted: nothing is issued",
		LS("reason", event->detail), LN("drift_ms", (uint64_t)llabs(event->drift_ms)));
}

/* Who asked hears that it is written down, or that the clock has moved since. */
static void answer(bool resumed)
{
	struct refusal why = {.err = ERR_OK};
	uint64_t serial = 0;

	pthread_mutex_lock(&clock_state.lock);
	if (clock_state.asked && (resumed || !clock_state.guard.accepted)) {
		serial = clock_state.serial;
		clock_state.asked = false;
	}
	pthread_mutex_unlock(&clock_state.lock);
	if (serial == 0)
		return;
	if (!resumed)
		refuse(&why, ERR_CLOCK, "", "the clock has moved since: nothing was accepted");
	clock_state.options.decided(clock_state.options.arg, serial, &why);
}

static void look(void)
{
	struct clock_reading at = clock_sample();
	struct clock_event event = {.at = at};
	char accepted[sizeof clock_state.accepted];
	struct refusal why;
	bool sync = synchronised(), stopped, settled;
	uint64_t accepts;

	pthread_mutex_lock(&clock_state.lock);
	(void)guard_judge(&clock_state.guard, &at, &event.drift_ms);
	counter_set(COUNTER_CLOCK_DRIFT_MS, (uint64_t)event.drift_ms);
	stopped = !clock_state.guard.trusted && !clock_state.told;
	settled = !clock_state.guard.trusted && guard_settled(&clock_state.guard, &at, sync);
	event.accepted = clock_state.guard.accepted;
	memcpy(accepted, clock_state.accepted, sizeof accepted);
	accepts = clock_state.accepts;
	why = clock_state.guard.why;
	clock_state.told = !clock_state.guard.trusted;
	pthread_mutex_unlock(&clock_state.lock);
	event.detail = why.detail;
	if (stopped) {
		tell(false, &event);
		(void)clock_state.options.record(clock_state.options.arg, &event);
	}
	if (!event.accepted)
		answer(false);
	event.resumed = true;
	event.detail = event.accepted ? accepted : "steady, a new reference is taken";
	if (!settled || clock_state.options.record(clock_state.options.arg, &event) != ERR_OK)
		return;
	pthread_mutex_lock(&clock_state.lock);
	settled = accepts == clock_state.accepts; /* else another reading is to be written down */
	if (settled) {
		guard_resume(&clock_state.guard);
		clock_state.told = false;
		save(&clock_state.guard);
	}
	pthread_mutex_unlock(&clock_state.lock);
	if (!settled)
		return;
	tell(true, &event);
	answer(true);
}

static bool wait_for_next(void)
{
	struct timespec until;
	bool stopping;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += SAMPLE_S;
	pthread_mutex_lock(&clock_state.lock);
	while (!clock_state.stopping &&
		pthread_cond_timedwait(&clock_state.woken, &clock_state.lock, &until) == 0)
		;
	stopping = clock_state.stopping;
	pthread_mutex_unlock(&clock_state.lock);
	return !stopping;
}

static void *sample(void *arg)
{
	(void)arg;
	do
		look();
	while (wait_for_next());
	return NULL;
}

/* --- what the header declares --- */

void clock_start(void)
{
	struct clock_reading at = clock_sample();

	guard_begin(&clock_state.guard, NULL, NULL, &at, false, false, CLOCK_STEADY_MS);
}

enum err clock_begin(const struct clock_options *options)
{
	struct clock_reading first, reference, at = clock_sample();
	pthread_condattr_t monotonic;
	int64_t floor = clock_state.guard.floor;
	bool known;

	clock_state.options = *options;
	snprintf(clock_state.path, sizeof clock_state.path, "%s/clock.%s", options->folder,
		options->token);
	known = load(&first, &reference);
	guard_begin(&clock_state.guard, known ? &first : NULL, known ? &reference : NULL, &at,
		options->need_sync, synchronised(), steady_ms());
	clock_state.guard.floor = floor;
	if (known && clock_state.accepted[0] != '\0')
		guard_accept(&clock_state.guard, &reference);
	if (!known && clock_state.guard.trusted)
		save(&clock_state.guard);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&clock_state.woken, &monotonic);
	pthread_condattr_destroy(&monotonic);
	clock_state.running = pthread_create(&clock_state.thread, NULL, sample, NULL) == 0;
	return clock_state.running ? ERR_OK : ERR_SYSTEM;
}

void clock_end(void)
{
	if (!clock_state.running)
		return;
	pthread_mutex_lock(&clock_state.lock);
	clock_state.stopping = true;
	pthread_cond_signal(&clock_state.woken);
	pthread_mutex_unlock(&clock_state.lock);
	pthread_join(clock_state.thread, NULL);
	clock_state.running = false;
}

void clock_need_sync(bool need)
{
	pthread_mutex_lock(&clock_state.lock);
	clock_state.guard.need_sync = need;
	pthread_mutex_unlock(&clock_state.lock);
}

enum err clock_accept(uint64_t serial, uint32_t uid, const char *reason, struct refusal *why)
{
	struct clock_reading at;
	int64_t drift;

	pthread_mutex_lock(&clock_state.lock);
	at = clock_sample();
	if (clock_state.guard.trusted) {
		refuse(why, ERR_CLOCK, "", "the clock is trusted: there is nothing to accept");
	} else if (clock_judge(&at, &at, clock_state.guard.floor, &drift, why) == ERR_OK) {
		guard_accept(&clock_state.guard, &at);
		snprintf(clock_state.accepted, sizeof clock_state.accepted, "uid %u: %s",
			(unsigned)uid, reason);
		clock_state.serial = serial;
		clock_state.asked = true;
		clock_state.accepts++;
	}
	pthread_mutex_unlock(&clock_state.lock);
	return why->err;
}

void clock_floor(int64_t last_time)
{
	pthread_mutex_lock(&clock_state.lock);
	clock_state.guard.floor = last_time;
	pthread_mutex_unlock(&clock_state.lock);
}

enum err clock_now(int64_t *now, struct refusal *why)
{
	struct clock_reading at;
	int64_t drift;
	enum err e;

	pthread_mutex_lock(&clock_state.lock);
	at = clock_sample();
	e = guard_judge(&clock_state.guard, &at, &drift);
	if (e != ERR_OK && why != NULL)
		*why = clock_state.guard.why;
	pthread_mutex_unlock(&clock_state.lock);
	*now = at.wall_ms / 1000;
	return e;
}

int64_t clock_estimate(void)
{
	struct clock_reading at;
	int64_t drift, seconds;

	pthread_mutex_lock(&clock_state.lock);
	at = clock_sample();
	(void)guard_judge(&clock_state.guard, &at, &drift);
	seconds = guard_estimate(&clock_state.guard, &at);
	pthread_mutex_unlock(&clock_state.lock);
	return seconds;
}

bool clock_trusted(struct refusal *why)
{
	bool trusted;

	pthread_mutex_lock(&clock_state.lock);
	trusted = clock_state.guard.trusted;
	*why = clock_state.guard.why;
	pthread_mutex_unlock(&clock_state.lock);
	return trusted;
}
