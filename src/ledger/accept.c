#include "settings.h"

#include "accept.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "decide.h"
#include "options.h"

enum { STATE = OPTIONS_MANY, TOKEN, REASON, HELP };

static const struct option options[] = {{"state", required_argument, NULL, STATE},
	{"token", required_argument, NULL, TOKEN}, {"reason", required_argument, NULL, REASON},
	{"help", no_argument, NULL, HELP}, {NULL, 0, NULL, 0}};

static const char usage[] =
	"usage: dcsign ledger accept-clock --state FOLDER --token NAME --reason TEXT\n"
	"A person says that this machine's clock is right now, as root: to a dcsignd that runs, "
	"or\n"
	"for the next one that starts.\n"
	"Example:\n"
	"  dcsign ledger accept-clock --state /var/lib/dcsign --token main --reason 'NTP was "
	"off'\n";

static int failed(const char *path, const char *why)
{
	fprintf(stderr, "dcsign ledger: %s: %s\n", path, why);
	return EXIT_UNEXPECTED;
}

/* No daemon runs, and who asks is root, or the user that one daemon without users of their own
 * belongs to. -1: it has been said why not, or *runs. */
static int lock_take(const char *state, bool *runs)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/lock", state);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) != 0) {
		failed(path, strerror(errno));
	} else if (geteuid() != 0 && geteuid() != st.st_uid) {
		failed(path, "only root accepts a clock");
	} else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		*runs = true;
	} else {
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return -1;
}

static int64_t now_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* What hsm/clock.c reads: this reading is the first and the reference, and who said so. */
static int line_make(char *line, size_t size, const char *reason)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char boot[37] = "";
	ssize_t n = fd < 0 ? -1 : read(fd, boot, 36);
	long long up = now_ms(CLOCK_BOOTTIME), wall = now_ms(CLOCK_REALTIME);

	if (fd >= 0)
		close(fd);
	return n == 36 ? snprintf(line, size, "%s %lld %lld %lld %lld accepted %u %s\n", boot, wall,
				 up, wall, up, (unsigned)getuid(), reason)
		       : -1;
}

static int file_write(int folder, const char *name, const char *line, int len)
{
	char fresh[NAME_MAX + 8];
	bool good = false;
	int fd;

	snprintf(fresh, sizeof(fresh), "%s.new", name);
	if (unlinkat(folder, fresh, 0) != 0 && errno != ENOENT)
		return -1;
	/* the hsm user reads it, and it stays ours: that is how it knows who wrote it */
	fd = openat(folder, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd >= 0) {
		good = write(fd, line, (size_t)len) == len && fchmod(fd, 0644) == 0 &&
		       fsync(fd) == 0;
		close(fd);
	}
	return good && renameat(folder, fresh, folder, name) == 0 && fsync(folder) == 0 ? 0 : -1;
}

static int accept_clock(const char *state, const struct msg_decide *said)
{
	char path[PATH_MAX], name[NAME_MAX - 8], line[512];
	bool runs = false;
	int lock = lock_take(state, &runs), folder,
	    len = line_make(line, sizeof(line), said->reason);
	int status = EXIT_GOOD;

	if (runs)
		return decide_ask(state, said);
	if (lock < 0)
		return EXIT_UNEXPECTED;
	snprintf(path, sizeof(path), "%s/hsm", state);
	snprintf(name, sizeof(name), "clock.%s", said->name);
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (folder >= 0 && faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		status = failed(name, "there is none: has this token ever been served here?");
	else if (folder < 0 || len < 0 || file_write(folder, name, line, len) != 0)
		status = failed(path, strerror(errno));
	else
		printf("The clock as it is now is taken up at the next start of dcsignd, which "
		       "writes a CLOCK record first.\n");
	if (folder >= 0)
		close(folder);
	close(lock);
	return status;
}

int accept_main(int argc, char **argv)
{
	const char *state = NULL, *token = NULL, *reason = NULL;
	struct msg_decide said = {.what = DECIDE_CLOCK};
	int option;

	optind = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == HELP) {
			fputs(usage, stdout);
			return EXIT_GOOD;
		}
		if (option == STATE)
			state = optarg;
		else if (option == TOKEN)
			token = optarg;
		else if (option == REASON)
			reason = optarg;
		else
			return EXIT_USAGE;
	}
	if (optind == argc && state && token && reason && decide_words(token, NAME_SIZE - 1) &&
		!strchr(token, '/') && decide_words(reason, DECIDE_REASON_MAX)) {
		strcpy(said.name, token);
		strcpy(said.reason, reason);
		return accept_clock(state, &said);
	}
	fprintf(stderr,
		"dcsign ledger: accept-clock needs --state, --token and --reason (printable "
		"ASCII, %d characters at most)\n%s",
		DECIDE_REASON_MAX, usage);
	return EXIT_USAGE;
}
