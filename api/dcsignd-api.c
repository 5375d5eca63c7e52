/*
 * dcsignd-api: speaks to strangers. Has no key but that of its TLS server, and no way to one: it
 * asks the hsm processes for credentials over channels, and reads the ledger.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "alarms.h"
#include "https.h"
#include "intake.h"
#include "linger.h"
#include "log.h"
#include "memory.h"
#include "metrics.h"

#define EXIT_BROKEN    70 /* malformed message, broken invariant */
#define EXIT_AGAIN     75 /* to be born again */
#define EXIT_CONFIG    78
#define TURN_MS	       100
#define LOOK_MS	       20   /* between two looks at deadlines of connections */
#define DRAIN_EXTRA_MS 1000 /* after the last deadline, for answers on their way */

struct api {
	struct service service;
	struct https **https;
	size_t https_count;
	int signals;
	uint8_t *in;	/* of the control channel */
	int64_t looked; /* monotonic_ms */
};

static enum err check(struct snapshot **out, struct config *config,
	const struct child_secrets *secrets, struct refusal *why)
{
	enum err err = limits_descriptors(config->limits.connections, why);

	if (err == ERR_OK)
		err = snapshot_make(out, config, secrets, time(NULL), why);
	return err;
}

/* --- a new configuration --- */

/* What is fixed for the life of this process: the sockets that it listens on. */
static enum err same_listeners(
	const struct config *now, const struct config *then, struct refusal *why)
{
	bool same = now->listen_count == then->listen_count &&
		    now->limits.connections == then->limits.connections;

	for (size_t i = 0; same && i < now->listen_count; i++)
		same = strcmp(now->listen[i].address, then->listen[i].address) == 0;
	if (same)
		return ERR_OK;
	return refuse(why, ERR_FORMAT, "listen",
		"addresses and limits.connections can't change while dcsignd runs: restart it");
}

static enum err take_snapshot(struct api *api, struct snapshot *s, struct refusal *why)
{
	alarms_log(s, time(NULL));
	if (rates_configure(api->service.rates, s->config) != ERR_OK)
		return refuse(why, ERR_NOMEM, "", "%s", err_text(ERR_NOMEM));
	signer_queue(api->service.signer, s->config->limits.queue);
	snapshot_publish(s);
	return ERR_OK;
}

static enum err reload(struct api *api, struct config *config, const struct child_secrets *secrets,
	struct refusal *why)
{
	struct snapshot *old = snapshot_current(), *fresh = NULL;
	enum err err = same_listeners(config, old->config, why);

	snapshot_unref(old);
	if (err == ERR_OK)
		err = check(&fresh, config, secrets, why);
	if (err == ERR_OK && (err = take_snapshot(api, fresh, why)) != ERR_OK)
		snapshot_unref(fresh);
	return err;
}

static enum err take_config(
	struct api *api, uint64_t serial, struct reader *body, int *fds, size_t fd_count)
{
	struct child_secrets secrets;
	struct config *config;
	struct refusal why = {.err = ERR_OK};

	if (child_take_config(&config, &secrets, body, fds, fd_count, peer_sha256) != ERR_OK)
		return ERR_FORMAT;
	(void)reload(api, config, &secrets, &why);
	child_secrets_close(&secrets);
	config_unref(config);
	LOG(why.err == ERR_OK ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
		why.err == ERR_OK ? "configuration taken" : "configuration refused",
		LS("reason", why.detail));
	return child_answer_config(serial, &why);
}

/* --- the control channel --- */

static enum err take_hello(struct api *api, struct reader *body, int *fds, size_t fd_count)
{
	struct msg_hello hello;

	if (msg_hello_read(&hello, body) != ERR_OK || fd_count != 1)
		return ERR_FORMAT;
	return signer_connect(api->service.signer, hello.role, hello.name, fds[0]);
}

/* ERR_CLOSED: the parent has gone. */
static enum err read_control(struct api *api)
{
	struct msg_head head;
	struct reader body;
	int fds[MSG_FDS];
	size_t len, count;
	enum err err = channel_receive(CHILD_CONTROL, api->in, MSG_MAX, &len, fds, &count, 0);

	if (err != ERR_OK)
		return err == ERR_TIMEOUT ? ERR_OK : err;
	err = msg_open(&head, &body, api->in, len);
	if (err == ERR_OK && head.type == MSG_CONFIG)
		return take_config(api, head.serial, &body, fds, count);
	if (err == ERR_OK && head.type == MSG_HELLO)
		err = take_hello(api, &body, fds, count);
	else
		err = ERR_FORMAT;
	for (size_t i = 0; err != ERR_OK && i < count; i++)
		close(fds[i]);
	return err;
}

/* --- life --- */

static enum err listen_on(struct api *api, enum https_kind kind, size_t index, int fd,
	unsigned connections, struct refusal *why)
{
	struct https_options options = {.service = &api->service,
		.kind = kind,
		.listen = index,
		.fd = fd,
		.connections = connections};

	if (fd < 0)
		return refuse(why, ERR_FORMAT, kind == HTTPS_MONITOR ? "monitor" : "listen",
			"no socket came with the configuration");
	if (https_start(&api->https[api->https_count], &options) != ERR_OK)
		return refuse(why, ERR_SYSTEM, kind == HTTPS_MONITOR ? "monitor" : "listen",
			"the HTTP server can't be started on its socket");
	api->https_count++;
	return ERR_OK;
}

/* The sockets are used from here on: their descriptors leave *secrets. */
static enum err listen_all(struct api *api, const struct config *config,
	struct child_secrets *secrets, struct refusal *why)
{
	enum err err = ERR_OK;
	int fd;

	api->https = calloc(config->listen_count + 1, sizeof(struct https *));
	if (api->https == NULL)
		return refuse(why, ERR_NOMEM, "listen", "%s", err_text(ERR_NOMEM));
	for (size_t i = 0; i < config->listen_count && err == ERR_OK; i++) {
		fd = dup(child_secret(secrets, "listen", i));
		err = listen_on(api, config->listen[i].is_unix ? HTTPS_UNIX : HTTPS_TLS, i, fd,
			config->limits.connections, why);
	}
	if (err == ERR_OK && config->monitor != NULL) {
		fd = dup(child_secret(secrets, "monitor", 0));
		err = listen_on(api, HTTPS_MONITOR, 0, fd, HTTPS_MONITOR_CONNECTIONS, why);
	}
	return err;
}

static enum err open_api(struct api *api)
{
	sigset_t taken;

	sigemptyset(&taken);
	sigaddset(&taken, SIGTERM);
	sigaddset(&taken, SIGINT);
	sigaddset(&taken, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &taken, NULL) != 0)
		return ERR_SYSTEM;
	sigdelset(&taken, SIGHUP);
	api->signals = signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK);
	api->in = malloc(MSG_MAX);
	api->service.signer = signer_new();
	api->service.rates = rates_new();
	api->service.connections = connections_new();
	if (api->signals < 0 || intake_open() != ERR_OK)
		return ERR_SYSTEM;
	return api->in != NULL && api->service.signer != NULL && api->service.rates != NULL &&
			       api->service.connections != NULL
		       ? ERR_OK
		       : ERR_NOMEM;
}

/* One turn of the main thread. ERR_CLOSED: a signal to stop, or the parent has gone. */
static void look_at_certificates(void)
{
	struct snapshot *s = snapshot_current();

	alarms_log(s, time(NULL));
	snapshot_unref(s);
}

static enum err turn(struct api *api)
{
	struct pollfd own[2] = {
		{.fd = CHILD_CONTROL, .events = POLLIN}, {.fd = api->signals, .events = POLLIN}};
	enum err err = signer_turn(api->service.signer, own, 2, TURN_MS);
	int64_t now = monotonic_ms();

	if (now - api->looked >= LOOK_MS) {
		api->looked = now;
		metrics_reaped(connections_reap(api->service.connections, now));
		linger_end(now);
		look_at_certificates();
	}
	if (err == ERR_OK && own[0].revents != 0)
		err = read_control(api);
	if (err == ERR_OK && own[1].revents != 0)
		err = ERR_CLOSED;
	return err;
}

/* Nothing new comes in but questions to the monitor; what is under way is answered. */
static enum err drain(struct api *api)
{
	struct snapshot *s = snapshot_current();
	int64_t until = monotonic_ms() + s->config->limits.request_deadline_ms + DRAIN_EXTRA_MS;
	enum err err = ERR_OK;

	snapshot_unref(s);
	LOG(LOG_LEVEL_INFO, "stopping", LN("requests", signer_waiting(api->service.signer)));
	api->service.stopping = true;
	for (size_t i = 0; i < api->https_count; i++)
		https_quiesce(api->https[i]); /* but the monitor, which says that it is so */
	while (err == ERR_OK && monotonic_ms() < until && api->service.in_progress > 0) {
		err = signer_turn(api->service.signer, NULL, 0, TURN_MS / 10);
		metrics_reaped(connections_reap(api->service.connections, monotonic_ms()));
	}
	return err;
}

static enum err serve(struct api *api)
{
	enum err err;

	do
		err = turn(api);
	while (err == ERR_OK);
	if (err == ERR_CLOSED)
		err = drain(api);
	return err == ERR_OK && signer_waiting(api->service.signer) > 0 ? ERR_INTERNAL : err;
}

static void close_api(struct api *api)
{
	for (size_t i = 0; i < api->https_count; i++)
		https_stop(api->https[i]);
	snapshot_publish(NULL);
	signer_free(api->service.signer);
	rates_free(api->service.rates);
	connections_free(api->service.connections);
	free(api->https);
	free(api->in);
	close(api->signals);
	intake_close();
}

/* Takes the first configuration into use and answers it. */
static enum err begin(struct api *api, struct config *config, struct child_secrets *secrets,
	uint64_t serial, bool check_only)
{
	struct snapshot *s = NULL;
	struct refusal why = {.err = ERR_OK};
	enum err err = check(&s, config, secrets, &why);

	if (err == ERR_OK && !check_only) {
		err = take_snapshot(api, s, &why);
		s = NULL;
		if (err == ERR_OK)
			err = listen_all(api, config, secrets, &why);
	}
	snapshot_unref(s);
	if (err != ERR_OK)
		LOG(LOG_LEVEL_ERROR, "configuration refused", LS("field", why.field),
			LS("reason", why.detail));
	(void)child_answer_config(serial, &why);
	return err;
}

/* Until a signal or a broken invariant. */
static int run(struct api *api, const struct config *config)
{
	enum err err = sandbox_limits(config->limits.connections + LIMITS_OWN_DESCRIPTORS, 0, 1);

	if (err == ERR_OK)
		err = sandbox_calls(SANDBOX_API);
	if (err == ERR_OK)
		err = child_ready();
	if (err == ERR_OK)
		err = serve(api);
	if (err != ERR_OK)
		_exit(EXIT_BROKEN); /* at once: connections that are held can't be closed */
	return 0;
}

const int memory_exit = EXIT_AGAIN;

int main(int argc, char **argv)
{
	bool check_only = argc == 2 && strcmp(argv[1], "-n") == 0;
	struct api api = {.signals = -1};
	struct child_secrets secrets;
	struct config *config;
	uint64_t serial = 0;
	int code = EXIT_CONFIG;

	log_open("dcsignd-api", LOG_LEVEL_INFO, false);
	if (child_start(&config, &secrets, &serial, peer_sha256) != ERR_OK)
		return EXIT_BROKEN;
	log_open("dcsignd-api", (enum log_level)config->log.level, config->log.json);
	tzset(); /* reads a file */
	if (open_api(&api) != ERR_OK || sandbox_files(SANDBOX_API, NULL) != ERR_OK)
		_exit(EXIT_BROKEN);
	metrics_start(time(NULL));
	if (begin(&api, config, &secrets, serial, check_only) == ERR_OK) {
		child_secrets_close(&secrets);
		code = check_only ? 0 : run(&api, config);
	}
	child_secrets_close(&secrets);
	config_unref(config);
	close_api(&api);
	return code;
}
