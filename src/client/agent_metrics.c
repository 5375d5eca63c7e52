#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

static int64_t not_after(const struct agent_item *i)
{
	return i->in.expiry;
}

static int64_t renew_after(const struct agent_item *i)
{
	return i->in.renew_at;
}

static int64_t certificate_not_after(const struct agent_item *i)
{
	return i->in.certificate_not_after;
}

static int64_t valid(const struct agent_item *i)
{
	return i->in.verifies;
}

static int64_t renewals(const struct agent_item *i)
{
	return (int64_t)i->renewals_total;
}

static int64_t failures(const struct agent_item *i)
{
	return (int64_t)i->failures_total;
}

static int64_t in_a_row(const struct agent_item *i)
{
	return i->failures;
}

static int64_t reload_pending(const struct agent_item *i)
{
	return reload_is_due(i->folder);
}

static int64_t ledger_alarm(const struct agent_item *i)
{
	return i->witness.alarm_since != 0;
}

static int64_t ledger_checked(const struct agent_item *i)
{
	return i->witness.checked_at;
}

static int64_t ledger_size(const struct agent_item *i)
{
	return (int64_t)i->witness.size;
}

static const struct family {
	const char *name, *type, *help;
	int64_t (*value)(const struct agent_item *i);
} families[] = {
	{"dcsign_agent_not_after_seconds", "gauge",
		"When the credential in place ends, seconds since the epoch; 0: there is none.",
		not_after},
	{"dcsign_agent_renew_after_seconds", "gauge",
		"When it is to be renewed, seconds since the epoch.", renew_after},
	{"dcsign_agent_certificate_not_after_seconds", "gauge",
		"When its delegation certificate ends, seconds since the epoch.",
		certificate_not_after},
	{"dcsign_agent_valid", "gauge", "1 when the credential in place verifies now.", valid},
	{"dcsign_agent_renewals_total", "counter", "Renewals done since the agent's start.",
		renewals},
	{"dcsign_agent_failures_total", "counter", "Renewals failed since the agent's start.",
		failures},
	{"dcsign_agent_failures_in_a_row", "gauge", "Failed attempts at the renewal that is due.",
		in_a_row},
	{"dcsign_agent_reload_pending", "gauge",
		"1 while the server has not been told of the newest credential.", reload_pending},
	{"dcsign_agent_ledger_alarm", "gauge",
		"1 when the service's ledger was rewritten, forked or put back, until .ledger is "
		"removed.",
		ledger_alarm},
	{"dcsign_agent_ledger_checked_seconds", "gauge",
		"When the ledger last proved that it goes on, seconds since the epoch; 0: never.",
		ledger_checked},
	{"dcsign_agent_ledger_size_records", "gauge",
		"The most records that a signed head of the ledger covered.", ledger_size},
};

static void put_all(
	struct buf *out, const struct agent_config *config, const struct agent_item *items)
{
	size_t i, k;

	for (i = 0; i < sizeof families / sizeof families[0]; i++) {
		const struct family *f = &families[i];
		buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, f->type);
		for (k = 0; k < config->credential_count; k++)
			if (items[k].folder >= 0)
				buf_printf(out, "%s{credential=\"%s\"} %" PRId64 "\n", f->name,
					items[k].c->section.name, f->value(&items[k]));
	}
	buf_text(out, "# HELP dcsign_agent_service_clock_offset_seconds The service's clock less "
		      "this machine's.\n"
		      "# TYPE dcsign_agent_service_clock_offset_seconds gauge\n");
	for (k = 0; k < config->service_count; k++)
		buf_printf(out,
			"dcsign_agent_service_clock_offset_seconds{service=\"%s\"} %" PRId64 "\n",
			config->services[k].section.name, config->services[k].clock_offset);
	buf_printf(out,
		"# HELP dcsign_agent_last_run_timestamp_seconds When this was written.\n"
		"# TYPE dcsign_agent_last_run_timestamp_seconds gauge\n"
		"dcsign_agent_last_run_timestamp_seconds %" PRId64 "\n",
		(int64_t)time(NULL));
}

/* The collector reads every *.prom: the file that is being written is called otherwise. */
static bool write_file(const char *path, const struct buf *text)
{
	char next[4096];
	int fd, n = snprintf(next, sizeof next, "%s.next", path);
	bool ok;

	if (n < 0 || (size_t)n >= sizeof next) {
		errno = ENAMETOOLONG;
		return false;
	}
	unlink(next);
	fd = open(next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	ok = fd >= 0 && write(fd, text->octets, text->len) == (ssize_t)text->len;
	if (fd >= 0)
		close(fd);
	return ok && rename(next, path) == 0;
}

void agent_metrics(const struct agent_config *config, const struct agent_item *items)
{
	static bool said;
	struct buf text = BUF_INIT(1u << 24);

	if (!config->metrics)
		return;
	put_all(&text, config, items);
	if (!text.err && write_file(config->metrics, &text)) {
		said = false;
	} else if (!said) {
		LOG(LOG_LEVEL_ERROR, "the metrics can't be written", LS("file", config->metrics),
			LS("detail", strerror(errno)));
		said = true;
	}
	buf_free(&text);
}
