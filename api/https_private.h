/* What https.c (sockets, connections) and https_exchange.c (requests, answers) share. */
#ifndef DCSIGN_HTTPS_PRIVATE_H
#define DCSIGN_HTTPS_PRIVATE_H

#include <microhttpd.h>

#include "https.h"
#include "session.h"

struct https {
	struct service *service;
	enum https_kind kind;
	size_t listen;
	unsigned connections;
	struct MHD_Daemon *daemon;
};

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_HELD, STAGE_ANSWERED };

struct client_connection {
	struct connection entry; /* the first member */
	struct https *https;
	struct MHD_Connection *mhd;

	struct session session;
	unsigned heads;	    /* request lines that libmicrohttpd has seen */
	int64_t head_began; /* when the first octet of the next head came; 0: not yet */
	int64_t pause;	    /* until when the next request waits */
	bool turned_away;   /* what was not read yet never will be */

	enum stage stage;
	struct exchange *x; /* that is under way; NULL: none */
};

/* A head has begun to come in: from now on its request has one deadline. */
void https_head_began(struct client_connection *c);
void https_end_exchange(struct client_connection *c);

/* For libmicrohttpd: MHD_OPTION_URI_LOG_CALLBACK, _NOTIFY_COMPLETED, MHD_AccessHandlerCallback. */
void *https_request_line(void *cls, const char *uri, struct MHD_Connection *mhd);
void https_completed(
	void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how);
enum MHD_Result https_request(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **context);

#endif
