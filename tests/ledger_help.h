/* What the ledger's tests share: a delegation key made in memory, records that a writer sends. */
#ifndef LEDGER_HELP_H
#define LEDGER_HELP_H

#include <openssl/types.h>

#include "record.h"

#define HELP_NOW 1800000000 /* the clock of the tests */

/* Makes a folder that nobody else uses; ends the test when it can't. */
void help_folder(char path[64]);
void help_folder_remove(const char *path);

#define HELP_URL 256

/* Whether the ledgers of this run lie in the database whose socket's folder $DCSIGN_TEST_POSTGRES
 * names: tests/e2e_postgres_suites.sh runs the suites a second time so. */
bool help_postgres(void);
/* The URL of a ledger that is empty: a file of this name in the folder, or the database. */
void help_ledger(char url[HELP_URL], const char *folder, const char *name);
/* The same ledger for this role of the database: owner, node, auditor. */
void help_url(char url[HELP_URL], const char *role);
/* As the database's owner. */
void help_sql(const char *sql);

struct issuer {
	EVP_PKEY *key;
	uint8_t certificate[2048];
	size_t certificate_len;
	int64_t not_before;
	uint8_t certificate_sha256[SHA256_SIZE];
	uint8_t generation[SHA256_SIZE];
	struct buf certificates; /* the member of KEY-PROVED */
};

void issuer_make(struct issuer *i);
void issuer_free(struct issuer *i);

/* One credential's way: the records point into it. */
struct sample {
	char id[ID_SIZE];
	struct buf spki, tbs, dc;
	struct buf test_tbs, test_dc; /* of the self-test: valid_time 0 */
	uint8_t test_tbs_sha256[SHA256_SIZE], test_dc_sha256[SHA256_SIZE];
	uint8_t spki_sha256[SHA256_SIZE], tbs_sha256[SHA256_SIZE], dc_sha256[SHA256_SIZE];
	uint8_t request_sha256[SHA256_SIZE];
	struct record self_test, proved, authorised, issued, failed, unknown, refused;
};

/* Credential number n for key "www" and client "edge", really signed; expiry HELP_NOW + 3600. */
void sample_make(struct sample *s, const struct issuer *i, unsigned n);
void sample_free(struct sample *s);

/* START and CONFIG. */
void help_start(struct record *r, const struct issuer *i);
void help_config(struct record *r, const struct issuer *i);

#endif
