#include "settings.h"

#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>

#include "peer.h"
#include "run_suite.h"

static gnutls_x509_privkey_t key;

static gnutls_x509_crt_t begin(const char *cn)
{
	gnutls_x509_crt_t c;
	static const uint8_t serial[] = {0x00, 0xab, 0xcd};

	if (key == NULL) {
		ck_assert_int_eq(gnutls_x509_privkey_init(&key), 0);
		ck_assert_int_eq(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA,
					 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0),
			0);
	}
	ck_assert_int_eq(gnutls_x509_crt_init(&c), 0);
	gnutls_x509_crt_set_version(c, 3);
	gnutls_x509_crt_set_key(c, key);
	gnutls_x509_crt_set_serial(c, serial, sizeof serial);
	gnutls_x509_crt_set_activation_time(c, 1000000000);
	gnutls_x509_crt_set_expiration_time(c, 2000000000);
	gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, cn, (unsigned)strlen(cn));
	return c;
}

static void add(
	gnutls_x509_crt_t c, gnutls_x509_subject_alt_name_t type, const char *name, size_t len)
{
	ck_assert_int_eq(gnutls_x509_crt_set_subject_alt_name(
				 c, type, name, (unsigned)len, GNUTLS_FSAN_APPEND),
		0);
}

/* Signs it and reads it back; the ~ of ~.evil becomes a NUL. */
static enum err read_back(struct peer *peer, gnutls_x509_crt_t c)
{
	gnutls_datum_t der;
	gnutls_x509_crt_t again;
	enum err err;

	ck_assert_int_eq(gnutls_x509_crt_sign2(c, c, key, GNUTLS_DIG_SHA256, 0), 0);
	ck_assert_int_eq(gnutls_x509_crt_export2(c, GNUTLS_X509_FMT_DER, &der), 0);
	uint8_t *mark = memmem(der.data, der.size, "~.evil", 6);

	if (mark != NULL) /* GnuTLS writes no NUL into a name */
		*mark = 0;
	gnutls_x509_crt_init(&again);
	ck_assert_int_eq(gnutls_x509_crt_import(again, &der, GNUTLS_X509_FMT_DER), 0);
	memset(peer, 0, sizeof *peer);
	err = peer_read(peer, again);
	gnutls_x509_crt_deinit(again);
	gnutls_x509_crt_deinit(c);
	gnutls_free(der.data);
	return err;
}

START_TEST(facts)
{
	gnutls_x509_crt_t c = begin("edge");
	struct peer peer;

	add(c, GNUTLS_SAN_URI, "spiffe://x/edge", 15);
	add(c, GNUTLS_SAN_DNSNAME, "edge.example", 12);
	ck_assert_int_eq(read_back(&peer, c), ERR_OK);
	ck_assert(peer.has_certificate);
	ck_assert_str_eq(peer.x509.serial, "abcd");
	ck_assert_str_eq(peer.x509.subject, "CN=edge");
	ck_assert_int_eq(peer.x509.not_before, 1000000000);
	ck_assert_int_eq(peer.x509.not_after, 2000000000);
	ck_assert_uint_eq(peer.name_count, 3);
	ck_assert_int_eq(peer.name[0].kind, MATCH_URI);
	ck_assert_str_eq(peer.name[0].value, "spiffe://x/edge");
	ck_assert_int_eq(peer.name[1].kind, MATCH_DNS);
	ck_assert_int_eq(peer.name[2].kind, MATCH_CN);
	peer_free(&peer);
}
END_TEST

START_TEST(bad_names)
{
	struct peer peer;
	gnutls_x509_crt_t c = begin("edge");
	char name[32];

	add(c, GNUTLS_SAN_URI, "spiffe://x/edge~.evil", 21);
	ck_assert_int_ne(read_back(&peer, c), ERR_OK);
	ck_assert_uint_eq(peer.name_count, 0);

	c = begin("edge");
	for (int i = 0; i < PEER_NAMES; i++) {
		snprintf(name, sizeof name, "spiffe://x/%d", i);
		add(c, GNUTLS_SAN_URI, name, strlen(name));
	}
	ck_assert_int_ne(read_back(&peer, c), ERR_OK); /* the CN is one too many */

	c = begin("edge");
	gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, "two", 3);
	ck_assert_int_eq(read_back(&peer, c), ERR_OK);
	ck_assert_uint_le(peer.name_count, 1);
	peer_free(&peer);
}
END_TEST

static struct config_match match[3];
static struct config_client client[3];
static struct config config = {.client = client, .client_count = 3};

static void set_clients(void)
{
	static char values[][16] = {"spiffe://x/a", "cn-b", "1000"};
	static const enum match_kind kinds[] = {MATCH_URI, MATCH_CN, MATCH_PEER_UID};

	for (int i = 0; i < 3; i++) {
		match[i].kind = kinds[i];
		match[i].value = values[i];
		snprintf(client[i].name, NAME_SIZE, "%c", 'a' + i);
		client[i].match = &match[i];
		client[i].match_count = 1;
	}
}

static struct peer peer_of(enum match_kind kind, const char *value)
{
	struct peer peer = {.has_certificate = true, .name_count = 1};

	peer.name[0].kind = kind;
	peer.name[0].value = (char *)(uintptr_t)value; /* not changed, not freed */
	return peer;
}

static const char *found(const struct peer *peer)
{
	struct peer_index *index;
	const struct config_client *c;
	bool ambiguous;

	ck_assert_int_eq(peer_index_make(&index, &config), ERR_OK);
	c = peer_client(index, peer, &ambiguous);
	ck_assert(c == NULL || !ambiguous);
	peer_index_free(index);
	return c != NULL ? c->name : ambiguous ? "several" : "none";
}

START_TEST(mapping)
{
	struct peer peer = peer_of(MATCH_URI, "spiffe://x/a");

	set_clients();
	ck_assert_str_eq(found(&peer), "a");
	peer = peer_of(MATCH_URI, "spiffe://x/A");
	ck_assert_str_eq(found(&peer), "none");
	peer = peer_of(MATCH_URI, "spiffe://x/ab");
	ck_assert_str_eq(found(&peer), "none");
	peer = peer_of(MATCH_DNS, "spiffe://x/a"); /* another kind of name */
	ck_assert_str_eq(found(&peer), "none");
	peer = peer_of(MATCH_CN, "cn-b");
	ck_assert_str_eq(found(&peer), "b");
	peer.name_count = 2;
	peer.name[1].kind = MATCH_URI;
	peer.name[1].value = match[0].value;
	ck_assert_str_eq(found(&peer), "several");
	peer = (struct peer){.uid = 1000};
	ck_assert_str_eq(found(&peer), "c");
	peer.uid = 10000;
	ck_assert_str_eq(found(&peer), "none");
	peer = (struct peer){.uid = 1000, .has_certificate = true}; /* came over TLS */
	ck_assert_str_eq(found(&peer), "none");
}
END_TEST

START_TEST(digests)
{
	struct peer peer = {.has_certificate = true};
	char text[65];

	set_clients();
	memset(peer.x509.sha256, 0x5a, SHA256_SIZE);
	memset(peer.x509.spki_sha256, 0xa5, SHA256_SIZE);
	hex_encode(text, peer.x509.sha256, SHA256_SIZE);
	match[0].kind = MATCH_SHA256;
	match[0].value = text;
	ck_assert_str_eq(found(&peer), "a");
	match[0].kind = MATCH_SPKI_SHA256;
	ck_assert_str_eq(found(&peer), "none");
	hex_encode(text, peer.x509.spki_sha256, SHA256_SIZE);
	ck_assert_str_eq(found(&peer), "a");
	peer.has_certificate = false;
	ck_assert_str_eq(found(&peer), "none");
}
END_TEST

#define MANY 1000
static const enum match_kind kinds[] = {MATCH_DNS, MATCH_URI, MATCH_CN};
static struct config_match all[MANY][3];
static struct config_client clients[MANY];

enum { NOBODY = -1, SEVERAL = -2 };

static long who(const struct peer_index *index, enum match_kind kind, const char *value)
{
	struct peer peer = peer_of(kind, value);
	bool ambiguous;
	const struct config_client *c = peer_client(index, &peer, &ambiguous);

	ck_assert(c == NULL || !ambiguous);
	return c != NULL ? c - clients : ambiguous ? SEVERAL : NOBODY;
}

static struct peer_index *index_of_many(void)
{
	const struct config many = {.client = clients, .client_count = MANY};
	struct peer_index *index;

	ck_assert_int_eq(peer_index_make(&index, &many), ERR_OK);
	return index;
}

/* Each of many is found, and so is that two want the same. */
START_TEST(many_clients)
{
	static char value[MANY][3][16];
	struct peer_index *index;

	for (int i = 0; i < MANY; i++) {
		for (int j = 0; j < 3; j++) {
			snprintf(value[i][j], sizeof(value[i][j]), "%d", (i * 7 + j) % MANY);
			all[i][j] = (struct config_match){kinds[j], value[i][j]};
		}
		clients[i].match = all[i];
		clients[i].match_count = 3;
	}
	index = index_of_many();
	for (int i = 0; i < MANY; i++)
		for (int j = 0; j < 3; j++)
			ck_assert_int_eq(who(index, kinds[j], value[i][j]), i);
	ck_assert_int_eq(who(index, MATCH_URI, "1000"), NOBODY);
	peer_index_free(index);

	all[3][0] = all[700][1];
	all[3][2] = all[500][2];
	index = index_of_many();
	ck_assert_int_eq(who(index, MATCH_URI, value[700][1]), SEVERAL);
	ck_assert_int_eq(who(index, MATCH_CN, value[500][2]), SEVERAL);
	ck_assert_int_eq(who(index, MATCH_CN, value[499][2]), 499);
	peer_index_free(index);

	all[700][1] = all[700][0];
	all[3][2] = all[3][0]; /* the same twice is one client */
	index = index_of_many();
	ck_assert_int_eq(who(index, MATCH_URI, value[700][1]), 3);
	ck_assert_int_eq(who(index, MATCH_DNS, value[700][0]), 700);
	peer_index_free(index);
}
END_TEST

RUN_SUITE("peer", facts, bad_names, mapping, digests, many_clients)
