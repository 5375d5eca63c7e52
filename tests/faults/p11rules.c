#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "p11fault.h"

#define TEXT_MAX 16384
#define SETTLED	 20000000 /* ns: a file that is younger may change without its times changing */

struct rule {
	enum fn fn;
	const struct action *action;
	unsigned long value;
	uint64_t skip, count, pct, octets; /* count, octets 0: no limit */
	uint64_t line;
};

/* Shared by the processes that share the rule file; survives each of them. */
struct state {
	_Atomic uint64_t identity; /* of the rules that the counters belong to */
	_Atomic uint64_t seen[RULES_MAX], applied[RULES_MAX];
	_Atomic uint64_t wrong_pins;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char control[4096]; /* empty: there are no rules */
static int state_fd = -1;
static int spare_fd = -1; /* kept for new rules in a process that has lost all others */
static struct state private_state, *state = &private_state;
static struct stat known;
static bool settled;
static uint64_t known_hash;
static struct rule rules[RULES_MAX];
static unsigned rule_count;

static uint64_t hash(uint64_t h, const void *octets, size_t len)
{
	for (const uint8_t *at = octets; len > 0; at++, len--)
		h = (h ^ *at) * UINT64_C(0x100000001b3);
	return h;
}

static int64_t nanoseconds(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
}

bool rules_open(const char *path, const char *state_path)
{
	char name[sizeof control + 8];

	if (path == NULL)
		return true;
	snprintf(name, sizeof name, "%s.state", path);
	state_fd = open(state_path == NULL ? name : state_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (state_fd < 0 || ftruncate(state_fd, sizeof *state) != 0)
		goto bad;
	state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED, state_fd, 0);
	if (state != MAP_FAILED) {
		snprintf(control, sizeof control, "%s", path);
		return true;
	}
bad:
	fprintf(stderr, "p11fault: the state beside %s: %s\n", path, strerror(errno));
	return false;
}

/* ---- the file ---- */

static unsigned long number(const char *text, const char *line)
{
	char *rest;

	errno = 0;
	unsigned long v = strtoul(text, &rest, 0);
	if (!isdigit((unsigned char)*text) || *rest != '\0' || errno != 0)
		fatal("rule with a bad number: %s", line);
	return v;
}

static void parse_action(struct rule *r, char *word, const char *line)
{
	char *value = strchr(word, '=');

	r->action = action_by_name(word, value == NULL ? strlen(word) : (size_t)(value - word));
	if (r->action == NULL)
		fatal("rule with an unknown action: %s", line);
	if (value == NULL ? r->action->value == VALUE_MUST : r->action->value == VALUE_NONE)
		fatal("rule with a value too much or too few: %s", line);
	r->value = value == NULL ? NO_VALUE : number(value + 1, line);
	if (r->fn != FN_ANY && r->action->fn != FN_ANY && r->fn != r->action->fn &&
		r->fn != r->action->fn2)
		fatal("rule with an action that is not for this function: %s", line);
}

static void parse_limit(struct rule *r, const char *word, const char *line)
{
	static const char *const known_limits[] = {"skip=", "count=", "pct=", "octets="};
	uint64_t *const limits[] = {&r->skip, &r->count, &r->pct, &r->octets};

	for (unsigned i = 0; i < 4; i++)
		if (strncmp(word, known_limits[i], strlen(known_limits[i])) == 0) {
			*limits[i] = number(word + strlen(known_limits[i]), line);
			return;
		}
	fatal("rule with an unknown limit: %s", line);
}

static void parse_rule(char *line)
{
	char whole[256], *save, *word;
	struct rule r = {.pct = 100};

	line[strcspn(line, "#")] = '\0';
	if (strlen(line) >= sizeof whole)
		fatal("rule that is too long: %.80s", line);
	memcpy(whole, line, strlen(line) + 1);
	if ((word = strtok_r(line, " \t", &save)) == NULL)
		return;
	if (rule_count == RULES_MAX)
		fatal("more than %d rules", RULES_MAX);
	r.line = hash(UINT64_C(0xcbf29ce484222325), whole, strlen(whole));
	r.fn = fn_by_name(word, strlen(word));
	if ((word = strtok_r(NULL, " \t", &save)) == NULL)
		fatal("rule without an action: %s", whole);
	parse_action(&r, word, whole);
	while ((word = strtok_r(NULL, " \t", &save)) != NULL)
		parse_limit(&r, word, whole);
	rules[rule_count++] = r;
}

static void parse(char *text)
{
	char *end;

	rule_count = 0;
	for (char *line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		*end = '\0';
		parse_rule(line);
	}
}

/* The counters begin anew with new rules; the first process that sees them does it. */
static void count_anew(uint64_t identity)
{
	if (state_fd >= 0)
		flock(state_fd, LOCK_EX);
	if (state->identity != identity) {
		memset(state->seen, 0, sizeof state->seen);
		memset(state->applied, 0, sizeof state->applied);
		state->identity = identity;
	}
	if (state_fd >= 0)
		flock(state_fd, LOCK_UN);
}

static int control_open(void)
{
	int fd = open(control, O_RDONLY | O_CLOEXEC);

	if (fd < 0 && errno == EMFILE && spare_fd >= 0) {
		close(spare_fd);
		spare_fd = -1;
		fd = open(control, O_RDONLY | O_CLOEXEC);
	}
	return fd;
}

static void control_close(int fd)
{
	if (spare_fd < 0)
		spare_fd = fd;
	else
		close(fd);
}

static void read_again(void)
{
	char text[TEXT_MAX + 1];
	size_t len = 0;
	struct timespec now;
	ssize_t n;
	int fd = control_open();

	if (fd < 0 && errno == EMFILE) {
		settled = false; /* another thread was faster: the next call tries again */
		return;
	}
	if (fd < 0 || fstat(fd, &known) != 0)
		fatal("%s: %s", control, strerror(errno));
	while ((n = read(fd, text + len, TEXT_MAX - len)) > 0)
		len += (size_t)n;
	control_close(fd);
	if (n < 0 || len == TEXT_MAX)
		fatal("%s can't be read, or is too long", control);
	text[len] = '\0';
	clock_gettime(CLOCK_REALTIME, &now);
	settled = nanoseconds(&now) - nanoseconds(&known.st_mtim) > SETTLED;
	uint64_t h = hash(UINT64_C(0xcbf29ce484222325), text, len);
	h = hash(h, &known.st_ino, sizeof known.st_ino);
	h = hash(h, &known.st_mtim, sizeof known.st_mtim);
	if (h == known_hash)
		return;
	known_hash = h;
	count_anew(h);
	parse(text);
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Under the lock. */
static void look(void)
{
	struct stat now;

	if (*control == '\0')
		return;
	if (stat(control, &now) != 0) {
		rule_count = 0;
		known_hash = 0;
		settled = false;
	} else if (!settled || !same(&now, &known)) {
		read_again();
	}
}

/* ---- which rules apply ---- */

static bool concerns(const struct rule *r, const struct call *c, bool after)
{
	const struct action *a = r->action;

	if ((after ? a->after == NULL : a->before == NULL) || (r->fn != FN_ANY && r->fn != c->fn))
		return false;
	if (a->fn != FN_ANY && a->fn != c->fn && a->fn2 != c->fn)
		return false;
	if (r->octets != 0 && (c->fn != FN_C_Sign || c->in_len != r->octets))
		return false;
	return a->fits == NULL || a->fits(c);
}

static bool drawn(unsigned index, uint64_t nth, uint64_t pct)
{
	uint64_t x = (nth + 1) * UINT64_C(0x9e3779b97f4a7c15) + index;

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return (x ^ x >> 31) % 100 < pct;
}

/* The count of a rule never passes its limit, whichever processes claim it. */
static bool claim(unsigned index, uint64_t *nth)
{
	const struct rule *r = &rules[index];
	uint64_t seen = state->seen[index]++;
	uint64_t applied = state->applied[index];

	if (seen < r->skip || !drawn(index, seen, r->pct))
		return false;
	do
		if (r->count != 0 && applied >= r->count)
			return false;
	while (!atomic_compare_exchange_weak(&state->applied[index], &applied, applied + 1));
	*nth = applied;
	return true;
}

unsigned rules_claim(const struct call *c, bool after, struct applied out[RULES_MAX])
{
	unsigned n = 0;

	pthread_mutex_lock(&lock);
	if (!after)
		look();
	for (unsigned i = 0; i < rule_count; i++)
		if (concerns(&rules[i], c, after) && claim(i, &out[n].nth)) {
			out[n].action = rules[i].action;
			out[n].value = rules[i].value;
			out[n++].line = rules[i].line;
		}
	pthread_mutex_unlock(&lock);
	return n;
}

bool rule_stands(uint64_t line)
{
	bool stands = false;

	pthread_mutex_lock(&lock);
	look();
	for (unsigned i = 0; i < rule_count; i++)
		stands |= rules[i].line == line;
	pthread_mutex_unlock(&lock);
	return stands;
}

uint64_t wrong_pins(void)
{
	return state->wrong_pins;
}

void wrong_pin(void)
{
	state->wrong_pins++;
}

void wrong_pins_forget(void)
{
	state->wrong_pins = 0;
}
