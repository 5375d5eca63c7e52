#include "rebuild.h"

#include <stdlib.h>
#include <string.h>

#include "state.h"

void proved_free(struct proved *list)
{
	while (list) {
		struct proved *next = list->next;

		certificate_free(&list->certificate);
		free(list);
		list = next;
	}
}

const struct certificate *proved_find(const struct proved *list, const struct record *r)
{
	for (; list; list = list->next) {
		if (strlen(list->key) == r->key.len &&
			memcmp(list->key, r->key.at, r->key.len) == 0 &&
			memcmp(list->certificate.sha256, r->certificate_sha256.at, SHA256_SIZE) ==
				0)
			return &list->certificate;
	}
	return NULL;
}

static const char *proved_check(const struct proved *p, const struct record *r)
{
	const struct certificate *c = &p->certificate;

	if (memcmp(c->sha256, r->certificate_sha256.at, SHA256_SIZE) != 0)
		return "its certificate does not have the SHA-256 that it names";
	if (certificate_may_delegate(c, AS_VERIFIER, NULL))
		return "its certificate must not sign delegated credentials";
	return NULL;
}

const char *proved_add(struct proved **list, const struct record *r)
{
	struct reader in;

	reader_init(&in, r->certificates.at, r->certificates.len);

	size_t len = reader_u24(&in);
	const uint8_t *der = reader_take(&in, len);
	struct proved *p = calloc(1, sizeof(*p));
	const char *what;

	if (!p)
		return "there is no memory for its certificate";
	if (!der || certificate_read(&p->certificate, der, len) ||
		!state_text(p->key, sizeof(p->key), &r->key)) {
		free(p);
		return "its certificates can't be read";
	}
	what = proved_check(p, r);
	if (!what && proved_find(*list, r)) {
		certificate_free(&p->certificate);
		free(p);
		return NULL;
	}
	p->next = *list;
	*list = p;
	return what;
}

static const struct scheme *scheme_named(const struct octets *name)
{
	char text[64];

	return state_text(text, sizeof(text), name) ? scheme_by_name(text) : NULL;
}

static bool same_digest(const struct octets *digest, const void *octets, size_t len)
{
	uint8_t hash[SHA256_SIZE];

	sha256(octets, len, hash);
	return digest->len == SHA256_SIZE && memcmp(hash, digest->at, SHA256_SIZE) == 0;
}

/* The credential's fields as the record has them. */
static bool fields_of(struct dc *dc, enum dc_role *role, const struct record *r)
{
	const struct scheme *scheme = scheme_named(&r->algorithm);
	const struct scheme *algorithm = scheme_named(&r->signature_algorithm);
	char name[16];

	if (!scheme || !algorithm || !state_text(name, sizeof(name), &r->role) ||
		!dc_role_parse(name, role) || r->valid_time < 0 || r->valid_time > UINT32_MAX)
		return false;
	*dc = (struct dc){.valid_time = (uint32_t)r->valid_time,
		.scheme = scheme->code,
		.spki = r->spki.at,
		.spki_len = r->spki.len,
		.algorithm = algorithm->code};
	return true;
}

static bool times_fit(const struct record *r, const struct certificate *c)
{
	return r->cert_not_before == c->not_before &&
	       r->expiry == r->cert_not_before + r->valid_time && r->expiry < c->not_after &&
	       r->window_opens == dc_window_opens(c->not_before, r->expiry) &&
	       r->lifetime_granted == r->expiry - r->now;
}

const char *rebuild_authorised(const struct record *r, const struct certificate *c, struct buf *tbs)
{
	enum dc_role role;
	struct dc dc;

	if (!fields_of(&dc, &role, r))
		return "its role, algorithms or valid_time are none";
	if (!same_digest(&r->spki_sha256, r->spki.at, r->spki.len))
		return "spki_sha256 is not that of spki";
	if (!times_fit(r, c))
		return "its times do not follow from each other and from the certificate";
	if (dc_build_tbs(tbs, role, c->der, c->len, &dc))
		return "its fields make no delegated credential";
	if (!same_digest(&r->tbs_sha256, tbs->octets, tbs->len))
		return "tbs_sha256 is not that of the octets that its fields make";
	return NULL;
}

static bool same_fields(const struct dc *a, const struct dc *b)
{
	return a->valid_time == b->valid_time && a->scheme == b->scheme &&
	       a->algorithm == b->algorithm && a->spki_len == b->spki_len &&
	       memcmp(a->spki, b->spki, a->spki_len) == 0;
}

const char *rebuild_credential(const struct record *r, const struct record *authorised,
	const struct certificate *c, struct dc *dc, struct buf *tbs)
{
	enum dc_role role = DC_SERVER;
	struct dc want;

	if (!same_digest(&r->dc_sha256, r->dc.at, r->dc.len))
		return "dc_sha256 is not that of dc";
	if (dc_parse(dc, r->dc.at, r->dc.len))
		return "its dc is no delegated credential";
	if (authorised->type == RECORD_AUTHORISED &&
		(!fields_of(&want, &role, authorised) || !same_fields(dc, &want)))
		return "its credential has other fields than were authorised";
	if (dc_build_tbs(tbs, role, c->der, c->len, dc) ||
		!same_digest(&authorised->tbs_sha256, tbs->octets, tbs->len))
		return "its credential is not the one that was authorised";
	return NULL;
}
