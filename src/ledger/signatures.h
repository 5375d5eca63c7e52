/* Signatures that are verified by a crew; what is wrong is said in the order in which they were
 * given. */
#ifndef DCSIGN_SIGNATURES_H
#define DCSIGN_SIGNATURES_H

#include "certificate.h"
#include "crew.h"

struct signatures;

/* bad: called for each one that does not verify, from signatures_put and signatures_end. NULL: no
 * memory. */
struct signatures *signatures_make(
	struct crew *crew, void (*bad)(void *arg, int64_t idx), void *arg);
/* Copies all but the key, which must stay until signatures_end. ERR_NOMEM. */
enum err signatures_put(struct signatures *s, int64_t idx, EVP_PKEY *key,
	const struct scheme *scheme, const struct buf *tbs, const uint8_t *signature, size_t len);
/* Waits for all of them. */
void signatures_end(struct signatures *s);
void signatures_free(struct signatures *s);

#endif
