/*
 * What stands behind each route. The client is known and may do this. True: x->reply is the answer;
 * false: it will be when x->resume is called.
 */
#ifndef DCSIGN_PAGES_H
#define DCSIGN_PAGES_H

#include "routes.h"

bool page_issue(struct exchange *x);
bool page_batch(struct exchange *x);
bool page_hold(struct exchange *x);
bool page_release(struct exchange *x);
bool page_keys(struct exchange *x);
bool page_credentials(struct exchange *x);
bool page_credential(struct exchange *x);
bool page_heads(struct exchange *x);
bool page_checkpoint(struct exchange *x);
bool page_proof(struct exchange *x);
bool page_consistency(struct exchange *x);
bool page_records(struct exchange *x);
bool page_whoami(struct exchange *x);
bool page_certificate(struct exchange *x);
bool page_openapi(struct exchange *x);
bool page_healthz(struct exchange *x);
bool page_readyz(struct exchange *x);
bool page_metrics(struct exchange *x);

#endif
