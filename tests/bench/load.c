#define _GNU_SOURCE 1
/*
 * A load generator for an HTTP service behind mutual TLS 1.3, in one thread.
 *
 * Closed loop: each client sends its next request when it has its answer. Open loop (--rate): a
 * request is due every 1/RATE s whatever comes back, and its latency counts from when it was due,
 * so that a service that stalls can't hide it. Prints one line of JSON.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct options {
	unsigned port;
	const char *ca, *cert, *key, *method, *path, *bodies;
	unsigned clients;
	double seconds, warm_up, rate, linger;
	uint64_t most; /* requests; 0: as many as the time allows */
};

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void usage(void)
{
	fputs("usage: load --port N --ca FILE --cert FILE --key FILE [--method GET] [--path PATH]\n"
	      "	[--bodies FILE] [--clients N] [--seconds S] [--warm-up S] [--requests N]\n"
	      "	[--rate N] [--new-connection] [--linger S] [--count TEXT]\n"
	      "Sends requests to 127.0.0.1:PORT, whose certificate is for localhost. --bodies: a "
	      "body a\n"
	      "line, taken in turn. --linger: the connections stay open afterwards.\n",
		stderr);
	exit(2);
}

/* Where an option's value goes: one of these is set. */
struct target {
	const char *name;
	const char **text;
	double *number;
};

static void options_read(struct options *o, struct load *l, int argc, char **argv)
{
	double port = 0, clients = 1, most = 0, fresh = 0;
	const struct target targets[] = {{"--port", NULL, &port}, {"--ca", &o->ca, NULL},
		{"--cert", &o->cert, NULL}, {"--key", &o->key, NULL},
		{"--method", &o->method, NULL}, {"--path", &o->path, NULL},
		{"--bodies", &o->bodies, NULL}, {"--count", &l->count, NULL},
		{"--clients", NULL, &clients}, {"--requests", NULL, &most},
		{"--seconds", NULL, &o->seconds}, {"--warm-up", NULL, &o->warm_up},
		{"--rate", NULL, &o->rate}, {"--linger", NULL, &o->linger}, {NULL, NULL, NULL}};

	for (int i = 1; i < argc; i++) {
		const struct target *t = targets;

		if (strcmp(argv[i], "--new-connection") == 0) {
			fresh = 1;
			continue;
		}
		while (t->name && strcmp(t->name, argv[i]) != 0)
			t++;
		if (!t->name || ++i == argc)
			usage();
		if (t->text)
			*t->text = argv[i];
		else
			*t->number = strtod(argv[i], NULL);
	}
	l->fresh = fresh > 0;
	o->port = (unsigned)port;
	o->clients = (unsigned)clients;
	o->most = (uint64_t)most;
	if (o->port == 0 || o->port > 65535 || !o->ca || !o->cert || !o->key || o->clients == 0 ||
		(l->fresh && o->rate > 0))
		usage();
}

static void request_add(struct load *l, const struct options *o, const char *body)
{
	char *text = NULL;
	int len;

	if (body)
		len = asprintf(&text,
			"%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
			"Content-Length: %zu\r\n\r\n%s",
			o->method, o->path, strlen(body), body);
	else
		len = asprintf(
			&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n\r\n", o->method, o->path);
	l->request = realloc(l->request, (l->requests + 1) * sizeof(*l->request));
	l->request_len = realloc(l->request_len, (l->requests + 1) * sizeof(*l->request_len));
	if (len < 0 || !l->request || !l->request_len)
		die("memory");
	l->request[l->requests] = text;
	l->request_len[l->requests++] = (size_t)len;
}

static void requests_read(struct load *l, const struct options *o)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t len;
	FILE *f;

	if (!o->bodies) {
		request_add(l, o, NULL);
		return;
	}
	f = fopen(o->bodies, "re");
	if (!f)
		die(o->bodies);
	while ((len = getline(&line, &size, f)) > 0) {
		line[strcspn(line, "\n")] = '\0';
		request_add(l, o, line);
	}
	free(line);
	fclose(f);
	if (l->requests == 0) {
		errno = ENODATA;
		die(o->bodies);
	}
}

static void tls_make(struct load *l, const struct options *o)
{
	l->tls = SSL_CTX_new(TLS_client_method());
	if (!l->tls || SSL_CTX_set_min_proto_version(l->tls, TLS1_3_VERSION) != 1 ||
		SSL_CTX_load_verify_file(l->tls, o->ca) != 1 ||
		SSL_CTX_use_certificate_chain_file(l->tls, o->cert) != 1 ||
		SSL_CTX_use_PrivateKey_file(l->tls, o->key, SSL_FILETYPE_PEM) != 1) {
		errno = EINVAL;
		die("--ca, --cert or --key");
	}
	SSL_CTX_set_verify(l->tls, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_mode(
		l->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
}

/* Requests become due. */
struct pace {
	uint64_t begin_ns, end_ns; /* of the whole run */
	uint64_t step_ns;	   /* 0: closed loop */
	uint64_t asked, most;
	int timer;
};

static bool due(const struct pace *p, uint64_t now, uint64_t *since)
{
	if (now >= p->end_ns || (p->most != 0 && p->asked >= p->most))
		return false;
	*since = p->step_ns == 0 ? now : p->begin_ns + p->asked * p->step_ns;
	return *since <= now;
}

/* Gives free connections what is due. How many wait for an answer afterwards. */
static unsigned give(struct connection *c, unsigned clients, struct pace *p)
{
	unsigned busy = 0;
	uint64_t since;

	for (unsigned i = 0; i < clients; i++) {
		while (c[i].state == FREE && due(p, clock_ns(), &since)) {
			p->asked++;
			connection_ask(&c[i], since);
			connection_go(&c[i]);
		}
		if (c[i].state == BROKEN && clock_ns() < p->end_ns) {
			connection_close(&c[i]);
			connection_open(&c[i]);
		}
		busy += c[i].state == WRITING || c[i].state == READING;
	}
	return busy;
}

static void timer_set(const struct pace *p)
{
	uint64_t at = p->begin_ns + p->asked * p->step_ns;
	struct itimerspec t = {.it_value = {(time_t)(at / 1000000000u), (long)(at % 1000000000u)}};

	if (p->step_ns != 0)
		timerfd_settime(p->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static void turn(struct load *l, int wait_ms)
{
	struct epoll_event e[256];
	int n = epoll_wait(l->epoll, e, 256, wait_ms);

	for (int i = 0; i < n; i++) {
		if (e[i].data.ptr)
			connection_go(e[i].data.ptr);
	}
}

/* One after the other: a listener's queue is finite. */
static void connections_open(struct load *l, struct connection *c, unsigned count)
{
	uint64_t until = clock_ns() + 60 * 1000000000ull;

	for (unsigned i = 0; i < count; i++) {
		c[i] = (struct connection){.load = l, .fd = -1, .answer = malloc(ANSWER_MAX + 1)};
		if (!c[i].answer)
			die("memory");
		connection_open(&c[i]);
		while (c[i].state != FREE && c[i].state != BROKEN && clock_ns() < until)
			turn(l, 1000);
		if (c[i].state != FREE) {
			fprintf(stderr, "load: connection %u of %u could not be opened\n", i + 1,
				count);
			exit(1);
		}
	}
}

static void counts_clear(struct load *l)
{
	memset(l->status, 0, sizeof(l->status));
	memset(&l->latency, 0, sizeof(l->latency));
	memset(&l->handshake, 0, sizeof(l->handshake));
	l->counted = l->broken = 0;
}

/* Runs for some seconds, then until what was asked is answered (10 s at most). */
static double run(struct load *l, struct connection *c, const struct options *o, double seconds,
	uint64_t most)
{
	struct pace p = {.begin_ns = clock_ns(), .most = most};
	uint64_t last;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};

	p.end_ns = p.begin_ns + (uint64_t)(seconds * 1e9);
	p.step_ns = o->rate > 0 ? (uint64_t)(1e9 / o->rate) : 0;
	p.timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (p.timer < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, p.timer, &e) != 0)
		die("timer");
	last = p.begin_ns;
	for (;;) {
		unsigned busy = give(c, o->clients, &p);
		uint64_t now = clock_ns();
		bool over = now >= p.end_ns || (most != 0 && p.asked >= most);

		if (l->latency.count != 0 || busy != 0)
			last = now;
		if ((over && busy == 0) || now > p.end_ns + 10 * 1000000000ull)
			break;
		timer_set(&p);
		turn(l, 100);
	}
	close(p.timer);
	return (double)(last - p.begin_ns) / 1e9;
}

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static void print(const struct load *l, double seconds)
{
	const struct latency *t = &l->latency;
	const char *before = "";

	printf("{\"requests\":%llu,\"seconds\":%.4f,\"rate\":%.2f,\"counted\":%llu,\"broken\":%llu,"
	       "\"statuses\":{",
		(unsigned long long)t->count, seconds, (double)t->count / seconds,
		(unsigned long long)l->counted, (unsigned long long)l->broken);
	for (unsigned i = 0; i < LOAD_STATUSES; i++) {
		if (l->status[i] != 0) {
			printf("%s\"%u\":%llu", before, i, (unsigned long long)l->status[i]);
			before = ",";
		}
	}
	printf("},\"p50_ms\":%.4f,\"p90_ms\":%.4f,\"p99_ms\":%.4f,\"p999_ms\":%.4f,\"max_ms\":%.4f,"
	       "\"mean_ms\":%.4f,\"handshakes\":%llu,\"handshake_p50_ms\":%.4f}\n",
		ms(latency_quantile(t, 0.5)), ms(latency_quantile(t, 0.9)),
		ms(latency_quantile(t, 0.99)), ms(latency_quantile(t, 0.999)), ms(t->max_ns),
		t->count ? ms(t->sum_ns / t->count) : 0.0, (unsigned long long)l->handshake.count,
		ms(latency_quantile(&l->handshake, 0.5)));
}

int main(int argc, char **argv)
{
	struct options o = {.method = "GET", .path = "/", .clients = 1, .seconds = 5};
	static struct load l;
	struct connection *c;

	options_read(&o, &l, argc, argv);
	signal(SIGPIPE, SIG_IGN);
	l.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)o.port)};
	l.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l.epoll = epoll_create1(EPOLL_CLOEXEC);
	tls_make(&l, &o);
	requests_read(&l, &o);
	c = calloc(o.clients, sizeof(*c));
	if (l.epoll < 0 || !c)
		die("start");
	connections_open(&l, c, o.clients);
	if (o.warm_up > 0)
		run(&l, c, &o, o.warm_up, 0);
	counts_clear(&l);
	print(&l, run(&l, c, &o, o.seconds, o.most));
	fflush(stdout);
	usleep((useconds_t)(o.linger * 1e6));
	for (unsigned i = 0; i < o.clients; i++)
		connection_close(&c[i]);
	return 0;
}
