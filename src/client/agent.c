#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "command.h"
#include "install.h"
#include "tool.h"

const char agent_help[] =
	"usage: dcsign agent -c FILE [--once]\n"
	"\n"
	"Keeps the delegated credentials of this machine fresh: makes their keys here, asks the\n"
	"service, verifies, switches key, credential and chain as one set, tells the server, and\n"
	"renews at half of the lifetime. It can be killed at any moment.\n"
	"\n"
	"  -c, --config FILE   which credentials, from whom, for whom: see dcsign-agent(1)\n"
	"  --once              do what is due now and end, for cron or a systemd timer\n"
	"\n"
	"Exit with --once: 0 every credential is in place and nothing is due, 1 the service "
	"refused,\n"
	"2 the configuration is wrong, 3 no service was reached, 4 something else failed,\n"
	"5 the service's ledger was rewritten, forked or put back: that stays so until .ledger in\n"
	"the credential's folder is removed.\n"
	"\n"
	"Example:\n"
	"  dcsign agent -c /etc/dcsign/agent.conf --once\n";

#define AGENT_ALARM	5   /* an exit code beside those of tool.h */
#define RETRY_MOST	300 /* seconds between attempts */
#define SLEEP_MOST	10
#define CHANGE_INTERVAL 600 /* the delegation certificate makes no second renewal before */

struct agent {
	struct agent_config *config;
	struct agent_item *items;
	bool once;
};

/* How loud: more and more the nearer the end, and loudest when there is nothing to serve with. */
static void complain(const struct agent_item *item, int64_t now, const struct refusal *why)
{
	int64_t left = item->in.expiry - now, all = item->in.expiry - item->in.issued_at;
	bool serves = item->in.verifies && left > 0;
	bool late = left < all / 4;
	const char *event = !serves ? "NO VALID CREDENTIAL, and the renewal failed: handshakes fail"
			    : left < all / 10 ? "RENEWAL FAILS, the credential ends very soon"
			    : late	      ? "renewal fails, the credential ends soon"
					      : "renewal failed, the credential in place serves on";

	LOG(!serves || late ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING, event,
		LS("credential", item->c->section.name), LN("left_s", serves ? left : 0),
		LN("attempt", item->failures), LN("next_in_s", item->try_mono - agent_mono()),
		LS("detail", why->detail[0] ? why->detail : err_text(why->err)));
}

/* 1 s doubling to 5 min, with jitter; never more than a tenth of what is left; never less than the
 * service asks for. */
static int64_t back_off(const struct agent_item *item, int64_t now, uint32_t retry_after)
{
	int64_t wait = INT64_C(1) << (item->failures < 9 ? item->failures : 9);
	int64_t left = item->in.verifies ? item->in.expiry - now : 0;

	wait = wait > RETRY_MOST ? RETRY_MOST : wait;
	if (left > 0 && wait > left / 10)
		wait = left / 10;
	wait = wait / 2 + agent_random(wait / 2);
	if (wait < retry_after)
		wait = retry_after < RETRY_MOST ? retry_after : RETRY_MOST;
	return wait > 0 ? wait : 1;
}

static int failed(struct agent_item *item, int code, const struct refusal *why)
{
	int64_t now = time(NULL);

	item->failures++;
	item->failures_total++;
	item->try_mono = agent_mono() + back_off(item, now, why->retry_after);
	complain(item, now, why);
	return code;
}

static int try_to_renew(struct agent_item *item, const char *because)
{
	char digest[2 * SHA256_SIZE + 1], until[21];
	struct refusal why;
	int code = agent_renew(item, &why);
	int64_t now = time(NULL);

	if (code != TOOL_OK)
		return failed(item, code, &why);
	item->renewals_total++;
	item->reload_mono = 0;
	installed_read(&item->in, item->folder, item->c, now);
	if (!item->in.usable) /* or it would be renewed again and again */
		return failed(item, TOOL_UNEXPECTED, &item->in.why);
	if (item->certificate_changed)
		item->changed_mono = agent_mono();
	item->certificate_changed = false;
	item->etag[0] = 0;
	item->failures = 0;
	item->try_mono = 0;
	time_text(until, item->in.expiry);
	hex_encode(digest, item->in.certificate_sha256, SHA256_SIZE);
	LOG(LOG_LEVEL_INFO, "credential renewed", LS("credential", item->c->section.name),
		LS("because", because), LS("id", item->in.id), LS("until", until),
		LN("renew_in_s", item->in.renew_at - now), LS("certificate_sha256", digest));
	return TOOL_OK;
}

static void check(struct agent_item *item, int64_t interval)
{
	struct refusal why = {0};
	int code = agent_check(item, &why);
	bool news = (code != TOOL_OK) != (item->check_failures != 0);

	item->check_mono = agent_mono() + interval - agent_random(interval / 10);
	item->check_failures = code == TOOL_OK ? 0 : item->check_failures + 1;
	if (code != TOOL_OK)
		LOG(news ? LOG_LEVEL_WARNING : LOG_LEVEL_DEBUG,
			"the service can't be asked for its certificate",
			LS("credential", item->c->section.name), LS("detail", why.detail));
	else if (news)
		LOG(LOG_LEVEL_INFO, "the service answers again",
			LS("credential", item->c->section.name));
	if (item->certificate_changed && item->changed_mono &&
		agent_mono() - item->changed_mono < CHANGE_INTERVAL) {
		LOG(LOG_LEVEL_WARNING,
			"the delegation certificate changed twice in a short time: do the "
			"service's nodes have the same?",
			LS("credential", item->c->section.name));
		item->try_mono = item->changed_mono + CHANGE_INTERVAL;
	}
}

static int reload(struct agent_item *item)
{
	struct refusal why = {0};
	enum err e = agent_reload(&item->c->reload, &why);

	if (!e)
		e = reload_mark(item->folder, false, &why);
	if (!e) {
		LOG(LOG_LEVEL_INFO, "server told of the new credential",
			LS("credential", item->c->section.name));
		item->reload_failures = 0;
		return TOOL_OK;
	}
	item->reload_failures++;
	item->reload_mono =
		agent_mono() +
		(item->reload_failures < 8 ? INT64_C(1) << item->reload_failures : RETRY_MOST);
	LOG(LOG_LEVEL_ERROR, "the server was not told of the new credential",
		LS("credential", item->c->section.name), LN("attempt", item->reload_failures),
		LS("detail", why.detail));
	return TOOL_UNEXPECTED;
}

/* Why a renewal is due now; NULL: it is not. */
static const char *due(const struct agent_item *item, int64_t now)
{
	if (!item->in.usable)
		return item->in.why.detail[0] ? item->in.why.detail : err_text(item->in.why.err);
	if (now >= item->in.renew_at)
		return "half of its lifetime is over";
	if (item->certificate_changed)
		return "the delegation certificate has changed";
	return NULL;
}

static int worse(int a, int b)
{
	static const int order[] = {[TOOL_OK] = 0,
		[TOOL_UNREACHABLE] = 1,
		[TOOL_REFUSED] = 2,
		[TOOL_UNEXPECTED] = 3,
		[TOOL_USAGE] = 4,
		[AGENT_ALARM] = 5};
	return order[a] > order[b] ? a : b;
}

static int step(struct agent *a, struct agent_item *item)
{
	int64_t now = time(NULL);
	char because[sizeof item->in.why.detail];
	int code = TOOL_OK, told;

	if (install_links(item->folder) != ERR_OK)
		LOG(LOG_LEVEL_ERROR, "a link to the set can't be made",
			LS("credential", item->c->section.name), LS("detail", strerror(errno)));
	installed_read(&item->in, item->folder, item->c, now);
	pending_settle(item->folder, item->in.spki_sha256);
	witness_load(&item->witness, item->folder);
	if (!due(item, now) && agent_mono() >= item->check_mono)
		check(item, a->config->check_interval);
	if (due(item, now) && agent_mono() >= item->try_mono) {
		snprintf(because, sizeof because, "%s", due(item, now));
		code = try_to_renew(item, because);
	}
	witness_remind(&item->witness, item->c);
	if (item->witness.alarm_since)
		code = AGENT_ALARM;
	if (!agent_reload_wanted(&item->c->reload) || !reload_is_due(item->folder) ||
		agent_mono() < item->reload_mono)
		return code;
	told = reload(item);
	return worse(code, told);
}

/* Seconds until something is due for this one. */
static int64_t rest(const struct agent_item *item)
{
	int64_t now = time(NULL), mono = agent_mono();
	int64_t next = due(item, now) ? item->try_mono - mono : item->in.renew_at - now;

	if (!due(item, now) && item->check_mono - mono < next)
		next = item->check_mono - mono;
	if (reload_is_due(item->folder) && item->reload_mono - mono < next)
		next = item->reload_mono - mono;
	return next;
}

static int round_of(struct agent *a)
{
	size_t i;
	int code = TOOL_OK;

	agent_clock_steps();
	for (i = 0; i < a->config->credential_count; i++)
		code = worse(
			code, a->items[i].folder < 0 ? TOOL_UNEXPECTED : step(a, &a->items[i]));
	agent_metrics(a->config, a->items);
	return code;
}

static _Noreturn void serve(struct agent *a)
{
	size_t i;
	for (;;) {
		int64_t wait = SLEEP_MOST;
		round_of(a);
		for (i = 0; i < a->config->credential_count; i++)
			if (rest(&a->items[i]) < wait)
				wait = rest(&a->items[i]);
		sleep(wait < 1 ? 1 : (unsigned)wait);
	}
}

/* Opens every folder; in the daemon each must open. */
static int open_all(struct agent *a)
{
	struct refusal why;
	size_t i;
	int code = TOOL_OK;

	for (i = 0; i < a->config->credential_count; i++) {
		struct agent_item *item = &a->items[i];
		item->c = &a->config->credentials[i];
		item->folder = agent_folder_open(item->c->output, &item->lock, &why);
		if (item->folder < 0)
			code = tool_fail("agent", TOOL_UNEXPECTED, "credential %s: %s",
				item->c->section.name, why.detail);
	}
	return a->once ? TOOL_OK : code;
}

static void close_all(struct agent *a)
{
	size_t i;
	for (i = 0; a->items && i < a->config->credential_count; i++)
		if (a->items[i].c && a->items[i].folder >= 0) {
			close(a->items[i].folder);
			close(a->items[i].lock);
		}
	free(a->items);
	agent_conf_free(a->config);
}

int command_agent(int argc, char **argv)
{
	const char *file = NULL;
	struct agent a = {0};
	const struct tool_option options[] = {
		{"config", &file, NULL, NULL, 'c'},
		{"once", NULL, &a.once, NULL, 0},
		{NULL, NULL, NULL, NULL, 0},
	};
	int code = tool_options(options, argc, argv, NULL, 0);

	if (code != TOOL_OK)
		return code;
	if (!file)
		return tool_usage("agent", "-c is missing: the configuration file");
	a.config = agent_conf_read(file);
	if (!a.config)
		return TOOL_USAGE;
	log_open("dcsign-agent", a.config->log_level, a.config->log_json);
	umask(022);
	a.items = calloc(a.config->credential_count, sizeof *a.items);
	code = a.items ? open_all(&a) : TOOL_UNEXPECTED;
	if (code == TOOL_OK && !a.once)
		serve(&a);
	if (code == TOOL_OK)
		code = round_of(&a);
	close_all(&a);
	return code;
}
