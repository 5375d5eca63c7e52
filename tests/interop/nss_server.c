/*
 * A small TLS 1.3 server on NSS that authenticates itself with the delegated credential (RFC 9345)
 * of a folder that dcsign agent keeps, for tests. NSS's own selfserv has no option for one. NSS
 * wants a private key beside the certificate: it gets a fresh one that does not belong to it, so a
 * client that does not ask for a delegated credential gets no handshake.
 *
 * usage: nss_server --set DIR
 *
 * Reads the set at the start and at each SIGHUP, opening DIR/.current once. Prints `port N` once it
 * listens, `loaded SET` for each set, and a line per connection. Each connection has a thread of
 * its own, which echoes what it gets and closes after what begins with "bye".
 */
#include "settings.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cert.h>
#include <keyhi.h>
#include <nspr.h>
#include <nss.h>
#include <nssb64.h>
#include <pk11pub.h>
#include <secerr.h>
#include <ssl.h>
#include <sslproto.h>

#define CHAIN_MAX 8
#define TEXT_MAX  65536

static volatile sig_atomic_t told;
static PRFileDesc *model; /* what each connection is made after */
static SECKEYPrivateKey *nobodys_key;

static void die(const char *what, const char *name)
{
	fprintf(stderr, "nss_server: %s: %s: %s\n", what, name,
		PR_ErrorToName(PR_GetError()) ? PR_ErrorToName(PR_GetError()) : "");
	exit(1);
}

static void on_hup(int number)
{
	(void)number;
	told = 1;
}

static size_t read_file(const char *set, const char *name, char text[TEXT_MAX])
{
	char path[PATH_MAX + 32];
	FILE *f;
	size_t n;
	snprintf(path, sizeof path, "%s/%s", set, name);
	f = fopen(path, "rb");
	if (!f)
		die("can't read", path);
	n = fread(text, 1, TEXT_MAX - 1, f);
	fclose(f);
	text[n] = 0;
	return n;
}

/* The next PEM block, of any label; *at moves behind it. NULL: no further one. */
static SECItem *next_block(char **at)
{
	char *begin = strstr(*at, "-----BEGIN "), *end;
	SECItem *der;
	begin = begin ? strchr(begin, '\n') : NULL;
	end = begin ? strstr(begin, "-----END ") : NULL;
	if (!end)
		return NULL;
	der = NSSBase64_DecodeBuffer(NULL, NULL, begin, (unsigned)(end - begin));
	*at = end + 1;
	return der;
}

static SECKEYPrivateKey *read_key(const char *set)
{
	char text[TEXT_MAX], *at = text;
	PK11SlotInfo *slot = PK11_GetInternalSlot();
	SECKEYPrivateKey *key = NULL;
	SECItem *der;
	read_file(set, "key.pem", text);
	der = next_block(&at);
	if (!der || PK11_ImportDERPrivateKeyInfoAndReturnKey(slot, der, NULL, NULL, PR_FALSE,
			    PR_FALSE, KU_ALL, &key, NULL) != SECSuccess)
		die("no private key in", set);
	SECITEM_ZfreeItem(der, PR_TRUE);
	PK11_FreeSlot(slot);
	return key;
}

static void make_nobodys_key(void)
{
	const SECOidData *curve = SECOID_FindOIDByTag(SEC_OID_ANSIX962_EC_PRIME256V1);
	unsigned char oid[16] = {SEC_ASN1_OBJECT_ID};
	SECItem parameters = {siBuffer, oid, 2};
	PK11SlotInfo *slot = PK11_GetInternalSlot();
	SECKEYPublicKey *public_key = NULL;

	oid[1] = (unsigned char)curve->oid.len;
	memcpy(oid + 2, curve->oid.data, curve->oid.len);
	parameters.len += curve->oid.len;
	nobodys_key = PK11_GenerateKeyPair(
		slot, CKM_EC_KEY_PAIR_GEN, &parameters, &public_key, PR_FALSE, PR_TRUE, NULL);
	if (!nobodys_key)
		die("can't make a key", "NSS");
	SECKEY_DestroyPublicKey(public_key);
	PK11_FreeSlot(slot);
}

static PRFileDesc *make_model(void)
{
	const SSLVersionRange tls13 = {SSL_LIBRARY_VERSION_TLS_1_3, SSL_LIBRARY_VERSION_TLS_1_3};
	PRFileDesc *tcp = PR_NewTCPSocket(), *fd = tcp ? SSL_ImportFD(NULL, tcp) : NULL;
	if (!fd || SSL_OptionSet(fd, SSL_SECURITY, PR_TRUE) != SECSuccess ||
		SSL_OptionSet(fd, SSL_HANDSHAKE_AS_SERVER, PR_TRUE) != SECSuccess ||
		SSL_OptionSet(fd, SSL_NO_CACHE, PR_TRUE) != SECSuccess ||
		SSL_VersionRangeSet(fd, &tls13) != SECSuccess)
		die("no TLS 1.3", "NSS");
	return fd;
}

static void load_set(const char *folder)
{
	char current[PATH_MAX], set[PATH_MAX], text[TEXT_MAX], *at = text;
	static char dc[TEXT_MAX];
	SECItem chain[CHAIN_MAX], *der, credential = {siBuffer, (unsigned char *)dc, 0};
	CERTCertificateList list = {chain, 0, NULL};
	SSLExtraServerCertData extra = {
		.authType = ssl_auth_null, .certChain = &list, .delegCred = &credential};
	PRFileDesc *fresh = make_model();
	CERTCertificate *leaf;

	snprintf(current, sizeof current, "%s/.current", folder);
	if (!realpath(current, set))
		die("no set in", folder);
	credential.len = (unsigned)read_file(set, "credential.dc", dc);
	extra.delegCredPrivKey = read_key(set);
	read_file(set, "chain.pem", text);
	while (list.len < CHAIN_MAX && (der = next_block(&at)) != NULL)
		chain[list.len++] = *der;
	leaf = list.len ? CERT_NewTempCertificate(
				  CERT_GetDefaultCertDB(), &chain[0], NULL, PR_FALSE, PR_TRUE)
			: NULL;
	if (!leaf ||
		SSL_ConfigServerCert(fresh, leaf, nobodys_key, &extra, sizeof extra) != SECSuccess)
		die("the set is refused", set);
	CERT_DestroyCertificate(leaf);
	if (model)
		PR_Close(model);
	model = fresh;
	printf("loaded %s\n", strrchr(set, '/') + 1);
	fflush(stdout);
}

struct connection {
	PRFileDesc *fd;
	unsigned number;
};

static void serve(void *closure)
{
	static const char reply[] = "dcsign test server: hello\n";
	struct connection *c = closure;
	SSLPreliminaryChannelInfo info;
	char part[4096];
	PRInt32 n = -1;

	if (SSL_ForceHandshake(c->fd) == SECSuccess &&
		PR_Send(c->fd, reply, sizeof reply - 1, 0, PR_INTERVAL_NO_TIMEOUT) > 0)
		while ((n = PR_Recv(c->fd, part, sizeof part, 0, PR_INTERVAL_NO_TIMEOUT)) > 0) {
			PR_Send(c->fd, part, n, 0, PR_INTERVAL_NO_TIMEOUT);
			if (n >= 3 && memcmp(part, "bye", 3) == 0)
				break;
		}
	if (n < 0)
		printf("connection %u: handshake failed: %s\n", c->number,
			PR_ErrorToName(PR_GetError()));
	else if (SSL_GetPreliminaryChannelInfo(c->fd, &info, sizeof info) == SECSuccess)
		printf("connection %u: signed with 0x%04x\n", c->number,
			(unsigned)info.signatureScheme);
	fflush(stdout);
	PR_Close(c->fd);
	free(c);
}

/* False when nobody came for a while. */
static bool accept_one(PRFileDesc *listener, unsigned number)
{
	PRFileDesc *tcp = PR_Accept(listener, NULL, PR_MillisecondsToInterval(100));
	struct connection *c = tcp ? malloc(sizeof *c) : NULL;

	if (!c)
		return false;
	c->number = number;
	c->fd = SSL_ImportFD(model, tcp);
	if (!c->fd || SSL_ResetHandshake(c->fd, PR_TRUE) != SECSuccess ||
		!PR_CreateThread(PR_USER_THREAD, serve, c, PR_PRIORITY_NORMAL, PR_GLOBAL_THREAD,
			PR_UNJOINABLE_THREAD, 0))
		die("can't serve", "a connection");
	return true;
}

int main(int argc, char **argv)
{
	PRNetAddr address;
	PRFileDesc *listener = PR_NewTCPSocket();
	unsigned number = 1;

	if (argc != 3 || strcmp(argv[1], "--set") != 0) {
		fprintf(stderr, "usage: nss_server --set DIR\n");
		return 2;
	}
	signal(SIGHUP, on_hup);
	signal(SIGPIPE, SIG_IGN);
	if (NSS_NoDB_Init(NULL) != SECSuccess || NSS_SetDomesticPolicy() != SECSuccess)
		die("no start of", "NSS");
	make_nobodys_key();
	load_set(argv[2]);
	PR_InitializeNetAddr(PR_IpAddrLoopback, 0, &address);
	if (PR_Bind(listener, &address) != PR_SUCCESS || PR_Listen(listener, 64) != PR_SUCCESS ||
		PR_GetSockName(listener, &address) != PR_SUCCESS)
		die("can't listen", "127.0.0.1");
	printf("port %u\n", (unsigned)PR_ntohs(address.inet.port));
	fflush(stdout);
	for (;;) {
		if (told) {
			told = 0;
			load_set(argv[2]);
		}
		number += accept_one(listener, number);
	}
}
