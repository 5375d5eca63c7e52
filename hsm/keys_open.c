#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "keys.h"
#include "pin.h"

#define OPEN_TRIES    5 /* another process that logs in hides a SoftHSM token for a moment */
#define OPEN_AGAIN_NS 50000000

static void append_encoded(char *uri, const char *name, const char *value)
{
	size_t n = strlen(uri);

	n += (size_t)snprintf(uri + n, URI_SIZE - n, "%s%s=", uri[n - 1] == ':' ? "" : ";", name);
	for (; *value != '\0' && n < URI_SIZE - 4; value++)
		if (isalnum((unsigned char)*value) || strchr("-._~", *value) != NULL)
			uri[n++] = *value;
		else
			n += (size_t)snprintf(
				uri + n, URI_SIZE - n, "%%%02X", (unsigned char)*value);
	uri[n] = '\0';
}

/* --id is hex; in a URI each octet is %XX. */
static void append_id(char *uri, const char *hex)
{
	size_t n = strlen(uri);

	n += (size_t)snprintf(uri + n, URI_SIZE - n, "%sid=", uri[n - 1] == ':' ? "" : ";");
	for (; isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]) &&
		n < URI_SIZE - 4;
		hex += 2)
		n += (size_t)snprintf(uri + n, URI_SIZE - n, "%%%.2s", hex);
	if (*hex != '\0')
		snprintf(uri + n, URI_SIZE - n, " "); /* refused when the URI is read */
}

/* The attributes of --uri that name the token: the rest names the key. */
static void split_uri(struct options *o)
{
	static const char *const of_token[] = {"token=", "serial=", "manufacturer=", "model="};
	const char *at = strncmp(o->uri, "pkcs11:", 7) == 0 ? o->uri + 7 : "";

	while (*at != '\0') {
		size_t len = strcspn(at, ";");

		for (size_t i = 0; i < sizeof of_token / sizeof *of_token; i++)
			if (strncmp(at, of_token[i], strlen(of_token[i])) == 0) {
				size_t n = strlen(o->token_uri);

				snprintf(o->token_uri + n, URI_SIZE - n, "%s%.*s",
					o->token_uri[n - 1] == ':' ? "" : ";", (int)len, at);
			}
		at += len + (at[len] == ';');
	}
	snprintf(o->key_uri, URI_SIZE, "%s", o->uri);
}

void keys_uris(struct options *o)
{
	snprintf(o->token_uri, URI_SIZE, "pkcs11:");
	snprintf(o->key_uri, URI_SIZE, "pkcs11:");
	if (o->uri != NULL)
		split_uri(o);
	if (o->token != NULL && strncmp(o->token, "pkcs11:", 7) == 0)
		snprintf(o->token_uri, URI_SIZE, "%s", o->token);
	else if (o->token != NULL)
		append_encoded(o->token_uri, "token", o->token);
	if (o->label != NULL)
		append_encoded(o->key_uri, "object", o->label);
	if (o->id != NULL)
		append_id(o->key_uri, o->id);
}

static enum err read_pin(struct pin *pin, const char *source, struct refusal *why)
{
	struct stat st;
	int fd;
	enum err e;

	if (source == NULL || strncmp(source, "file:", 5) != 0)
		return refuse(why, ERR_FORMAT, "pin", "--pin file:PATH names the file of the PIN");
	fd = open(source + 5, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		e = refuse(why, ERR_FORMAT, "pin", "%s: %s", source + 5, strerror(errno));
	} else if (st.st_mode & (S_IROTH | S_IWOTH)) {
		e = refuse(why, ERR_PIN, "pin", "%s: others can read it (chmod o-rw)", source + 5);
	} else {
		e = pin_read(pin, fd, why);
	}
	if (fd >= 0)
		close(fd);
	return e;
}

static enum err open_token(struct token **t, const struct options *o, struct refusal *why)
{
	const struct token_spec spec = {.module = o->module,
		.module_args = o->module_args,
		.uri = o->token_uri,
		.sessions = 1};
	const struct timespec again = {.tv_nsec = OPEN_AGAIN_NS};
	enum err e = token_open(t, &spec, why);

	for (int i = 1; e == ERR_TOKEN && o->while_running && i < OPEN_TRIES; i++) {
		nanosleep(&again, NULL);
		e = token_open(t, &spec, why);
	}
	return e;
}

/* One C_Login, that no signal to end cuts in two. A PIN that the service's process may not try
 * any more is not tried here, and one that is refused here not there. */
static enum err log_in(struct token *t, const struct options *o, struct refusal *why)
{
	const char *serial = token_facts(t)->serial;
	char folder[URI_SIZE];
	enum login_result result;
	sigset_t ends, before;
	struct pin pin;
	enum err e = read_pin(&pin, o->pin, why);

	if (e != ERR_OK)
		return e;
	snprintf(folder, sizeof folder, "%s/hsm", o->state);
	e = breaker_holds(folder, serial, &pin, why);
	if (e == ERR_OK) {
		sigemptyset(&ends);
		sigaddset(&ends, SIGINT);
		sigaddset(&ends, SIGTERM);
		sigaddset(&ends, SIGHUP);
		sigprocmask(SIG_BLOCK, &ends, &before);
		result = token_login(t, pin.text, why);
		if (result == LOGIN_REFUSED)
			breaker_leave(folder, serial, &pin);
		sigprocmask(SIG_SETMASK, &before, NULL);
		e = result == LOGIN_DONE ? ERR_OK : why->err;
	}
	pin_wipe(&pin);
	return e;
}

/* A person is here: COUNT_LOW is no obstacle, FINAL_TRY is unless told. */
enum err keys_open(struct token **t, const struct options *o, struct refusal *why)
{
	enum err e;

	*t = NULL;
	if (o->module == NULL)
		return refuse(why, ERR_FORMAT, "module", "--module PATH names the PKCS#11 module");
	e = token_uri_check(o->token_uri, why);
	if (e == ERR_OK)
		e = hazard_of_module(o->module, why);
	if (e == ERR_OK)
		e = open_token(t, o, why);
	if (e == ERR_OK && !o->while_running)
		e = hazard_of_others(why);
	if (e == ERR_OK)
		e = token_login_allowed(*t, o->final_try ? RISK_FINAL_TRY : RISK_COUNT_LOW, why);
	if (e == ERR_OK)
		e = log_in(*t, o, why);
	if (e != ERR_OK) {
		token_close(*t);
		*t = NULL;
	}
	return e;
}
