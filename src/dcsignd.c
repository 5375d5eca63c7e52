/* dcsignd, the parent: reads the configuration, opens what its children need, bears them, and keeps
 * them alive. See PROCESSES.md and dcsignd(8). */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "log.h"
#include "memory.h"
#include "notify.h"
#include "parent.h"

static const char usage[] =
	"usage: dcsignd [-n] [-c FILE]\n"
	"Issues TLS Delegated Credentials (RFC 9345) with keys in HSMs. Stays in the foreground.\n"
	"  -c, --config FILE  the configuration (" SYSCONFDIR "/dcsign/dcsignd.conf)\n"
	"  -n, --check        check the configuration and the files that it names, then exit:\n"
	"                     0 if they are good, 78 if not\n"
	"  -h, --help         this\n"
	"  -V, --version      the version\n"
	"SIGHUP reads the configuration again; SIGTERM ends in order within 5 seconds.\n";

struct options {
	const char *path;
	bool check;
};

/* -1: go on; else the exit code. */
static int read_options(struct options *o, int argc, char **argv)
{
	static const struct option names[] = {{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'n'}, {"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
	int c;

	o->path = SYSCONFDIR "/dcsign/dcsignd.conf";
	while ((c = getopt_long(argc, argv, "c:nhV", names, NULL)) != -1)
		switch (c) {
		case 'c':
			o->path = optarg;
			break;
		case 'n':
			o->check = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		case 'V':
			puts(PACKAGE_STRING);
			return 0;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	if (optind == argc)
		return -1;
	fprintf(stderr, "dcsignd: '%s' is not an option\n%s", argv[optind], usage);
	return EXIT_USAGE;
}

/* What is not open would be given away as 0, 1 or 2. */
static bool standard_descriptors(void)
{
	int fd;

	do
		if ((fd = open("/dev/null", O_RDWR | O_CLOEXEC)) < 0)
			return false;
	while (fd <= STDERR_FILENO);
	close(fd);
	return true;
}

static int open_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCHLD);
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* SIGHUP. */
static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What was opened or given up at the start can't be changed any more. */
static bool fits(const struct parent *p, const struct config *c)
{
	const struct config *old = p->config;
	const char *option = NULL;

	if (strcmp(c->node, old->node) != 0)
		option = "node";
	else if (!same_text(c->origin, old->origin))
		option = "origin";
	else if (!same_text(c->state, old->state))
		option = "state";
	else if (!same_text(c->ledger, old->ledger))
		option = "ledger";
	else if (!same_text(c->monitor, old->monitor))
		option = "monitor";
	else if (c->single_user != old->single_user)
		option = "single_user";
	else if (!same_text(c->users.api, old->users.api) ||
		 !same_text(c->users.hsm, old->users.hsm) ||
		 !same_text(c->users.ledger, old->users.ledger))
		option = "users";
	else if (c->listen_count != old->listen_count)
		option = "listen";
	for (size_t i = 0; option == NULL && i < c->listen_count; i++)
		if (strcmp(c->listen[i].address, old->listen[i].address) != 0)
			option = "listen";
	if (option != NULL)
		parent_say("%s: '%s' can't be changed while dcsignd runs: restart it", p->path,
			option);
	return option == NULL;
}

static void adopt(struct parent *p, struct config *c, int bundle)
{
	config_unref(p->config);
	close(p->bundle);
	p->config = c;
	p->bundle = bundle;
	log_open("dcsignd", (enum log_level)c->log.level, c->log.json);
	if (!births_plan(p)) {
		p->exit_code = EXIT_TEMPORARY;
		return;
	}
	for (size_t i = 0; i < p->birth_count; i++)
		p->birth[i].stale = p->birth[i].pid > 0;
	p->reloading = true;
}

static void reload(struct parent *p)
{
	struct config *c;
	int bundle;

	p->hangup = false;
	watch_begin(p); /* before the files are read: what changes after this is seen */
	notify_reloading();
	if (prepare_config(p, &c, &bundle) == 0) {
		if (fits(p, c) && check_bundle(p, c, bundle) == 0) {
			adopt(p, c, bundle);
			watch_taken(p);
			return;
		}
		config_unref(c);
		close(bundle);
	}
	LOG(LOG_LEVEL_ERROR, "configuration refused: the one before stays in force",
		LS("file", p->path));
	notify_ready("serving; the newest configuration was refused");
}

/* The api closes its own: then new connections are refused at once, and a client asks elsewhere. */
static void close_listeners(struct parent *p)
{
	for (size_t i = 0; i < p->config->listen_count; i++) {
		close(p->listen[i]);
		p->listen[i] = -1;
	}
}

/* SIGTERM: those who hear strangers first, the evidence last. */
static void stop(struct parent *p)
{
	if (p->stopping != 0) {
		p->stop_until = parent_now();
		return;
	}
	LOG(LOG_LEVEL_INFO, "stopping");
	notify_stopping();
	p->stopping = ROLE_API;
	p->stop_until = parent_now() + p->drain_ms;
	close_listeners(p);
	births_signal(p, ROLE_API, SIGTERM);
}

static void go_on_stopping(struct parent *p)
{
	while (p->stopping <= ROLE_LEDGER && births_alive(p, p->stopping) == 0)
		births_signal(p, ++p->stopping, SIGTERM);
	if (p->stopping > ROLE_LEDGER) {
		p->exit_code = 0;
		return;
	}
	if (parent_now() < p->stop_until)
		return;
	LOG(LOG_LEVEL_ERROR, "killed what did not end in time",
		LN("processes", births_alive(p, ROLE_PARENT)));
	p->exit_code = EXIT_BROKEN;
}

static void read_signals(struct parent *p, int fd)
{
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGHUP)
			p->hangup = true;
		else if (info.ssi_signo != SIGCHLD)
			stop(p);
	}
	births_reap(p);
}

/* The loop. */
static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

struct timers {
	int64_t watch, alive;
};

static void tick(struct parent *p, struct timers *t)
{
	int64_t now = parent_now(), watchdog = notify_watchdog_ms();

	if (watchdog > 0 && now >= t->alive) {
		notify_alive();
		t->alive = now + watchdog;
	}
	if (now >= t->watch) {
		t->watch = now + p->watch_ms;
		p->hangup = p->hangup || watch_changed(p);
	}
	if (p->hangup && p->started && !p->reloading && p->stopping == 0)
		reload(p);
	births_due(p);
	births_update(p);
	decide_due(p);
	if (p->stopping != 0)
		go_on_stopping(p);
}

static int wait_ms(const struct parent *p, const struct timers *t)
{
	int64_t now = parent_now(), due = earlier(t->watch, births_wait(p));

	if (notify_watchdog_ms() > 0)
		due = earlier(due, t->alive);
	if (p->decision.asker >= 0)
		due = earlier(due, p->decision.until);
	if (p->stopping != 0)
		due = earlier(due, p->stop_until);
	return due <= now ? 0 : (int)(due - now);
}

static int run(struct parent *p, int signals)
{
	struct timers t = {.watch = parent_now() + p->watch_ms, .alive = parent_now()};
	struct pollfd *polled = NULL, *more;

	for (;;) {
		tick(p, &t);
		if (p->exit_code >= 0)
			break;
		more = realloc(polled, (p->birth_count + 2) * sizeof *polled);
		if (more == NULL) {
			p->exit_code = EXIT_TEMPORARY;
			break;
		}
		polled = more;
		polled[0] = (struct pollfd){.fd = signals, .events = POLLIN};
		polled[1] = (struct pollfd){.fd = decide_poll(p), .events = POLLIN};
		for (size_t i = 0; i < p->birth_count; i++)
			polled[i + 2] = (struct pollfd){p->birth[i].control, POLLIN, 0};
		if (poll(polled, p->birth_count + 2, wait_ms(p, &t)) <= 0)
			continue;
		for (size_t i = 0; i < p->birth_count; i++)
			if (polled[i + 2].revents != 0)
				births_hear(p, &p->birth[i]);
		if (polled[1].revents != 0)
			decide_hear(p);
		if (polled[0].revents != 0)
			read_signals(p, signals);
	}
	free(polled);
	births_signal(p, ROLE_PARENT, SIGKILL);
	return p->exit_code;
}

static int prepare(struct parent *p, bool check)
{
	int code;

	if ((code = prepare_config(p, &p->config, &p->bundle)) != 0)
		return code;
	log_open("dcsignd", (enum log_level)p->config->log.level, p->config->log.json);
	if ((code = prepare_users(p, p->config)) != 0)
		return code;
	if (check)
		return check_bundle(p, p->config, p->bundle);
	if ((code = prepare_state(p)) != 0 || (code = prepare_sockets(p)) != 0)
		return code;
	decide_open(p);
	if (geteuid() == 0 && sandbox_parent_capabilities() != ERR_OK) {
		parent_say("the capabilities can't be given up: %s", strerror(errno));
		return EXIT_BROKEN;
	}
	if (!p->separate)
		LOG(LOG_LEVEL_WARNING, "single_user: all processes share one user",
			LN("uid", geteuid()));
	watch_taken(p);
	return births_plan(p) ? 0 : EXIT_TEMPORARY;
}

static void release(struct parent *p)
{
	watch_end(p);
	for (size_t i = 0; i < p->birth_count; i++)
		if (p->birth[i].control >= 0)
			close(p->birth[i].control);
	free(p->birth);
	config_unref(p->config);
	for (size_t i = 0; p->environment != NULL && p->environment[i] != NULL; i++)
		free(p->environment[i]);
	free(p->environment);
	free(p->credentials);
	free(p->programs);
}

const int memory_exit = EXIT_TEMPORARY;

int main(int argc, char **argv)
{
	struct options o = {.check = false};
	struct parent p = {.bundle = -1,
		.lock = -1,
		.monitor = -1,
		.decision = {-1, -1, 0, 0},
		.exit_code = -1};
	int code, signals = -1;

	if (!standard_descriptors())
		return EXIT_BROKEN;
	if ((code = read_options(&o, argc, argv)) >= 0)
		return code;
	p.path = o.path;
	log_open("dcsignd", LOG_LEVEL_INFO, false);
	notify_open();
	if ((!o.check && (signals = open_signals()) < 0) || sandbox_common() != ERR_OK) {
		parent_say("the process can't be set up: %s", strerror(errno));
		return EXIT_BROKEN;
	}
	if ((code = prepare_environment(&p)) == 0)
		code = prepare(&p, o.check);
	if (code == 0 && !o.check)
		code = run(&p, signals);
	release(&p);
	return code;
}
