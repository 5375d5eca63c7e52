#include "alarms.h"

#include <string.h>

#include "log.h"

#define DAY 86400

struct calling {
	int64_t now;
	void (*each)(void *arg, const struct alarm *alarm);
	void *arg;
};

static void look(const struct calling *c, const char *kind, const char *name, int64_t not_after)
{
	struct alarm alarm = {
		.kind = kind, .name = name, .not_after = not_after, .days = ALARM_DAYS};

	if (not_after - c->now >= ALARM_DAYS * (int64_t)DAY)
		return;
	if (not_after - c->now < ALARM_DAYS_CLOSE * (int64_t)DAY)
		alarm.days = ALARM_DAYS_CLOSE;
	c->each(c->arg, &alarm);
}

void alarms_each(const struct snapshot *s, int64_t now,
	void (*each)(void *arg, const struct alarm *alarm), void *arg)
{
	struct calling c = {.now = now, .each = each, .arg = arg};
	const struct config *config = s->config;
	const struct chain *chain = s->chain;

	for (size_t i = 0; i < config->key_count; i++) {
		int64_t last = INT64_MIN;

		for (size_t j = 0; j < config->key[i].certificate_count; j++, chain++)
			if (chain->leaf.not_after > last)
				last = chain->leaf.not_after;
		look(&c, "delegation", config->key[i].name, last);
	}
	for (size_t i = 0; i < config->listen_count; i++) {
		if (s->tls[i] == NULL)
			continue;
		look(&c, "server", config->listen[i].address, tls_certificate_not_after(s->tls[i]));
		look(&c, "client_ca", config->listen[i].address, tls_ca_not_after(s->tls[i]));
	}
}

static void log_one(void *arg, const struct alarm *alarm)
{
	char until[21];

	(void)arg;
	time_text(until, alarm->not_after);
	LOG(alarm->days == ALARM_DAYS_CLOSE ? LOG_LEVEL_ERROR : LOG_LEVEL_WARNING,
		"a certificate ends soon", LS("certificate", alarm->kind), LS("of", alarm->name),
		LS("not_after", until), LN("within_days", alarm->days));
}

void alarms_log(const struct snapshot *s, int64_t now)
{
	static const struct config *told;
	static int64_t day;

	if (day == now / DAY && told == s->config)
		return;
	told = s->config;
	day = now / DAY;
	alarms_each(s, now, log_one, NULL);
}
