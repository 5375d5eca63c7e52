#include "record_members.h"
#include "json.h"

#include <string.h>

#define T(type)	  (1u << RECORD_##type)
#define ALL	  (~0u)
#define NONE	  (0u)
#define ATTEMPT	  (T(AUTHORISED) | T(ISSUED) | T(FAILED) | T(LATE))
#define TESTED	  (T(SELF_TEST) | T(KEY_PROVED) | T(KEY_REFUSED))
#define REQUESTED (T(AUTHORISED) | T(REFUSED) | T(HELD) | T(RELEASED))
#define DECIDED	  (T(AUTHORISED) | T(REFUSED) | T(SELF_TEST))

#define MEMBER_(field, kind, must, may, ledgers)                                                   \
	{                                                                                          \
		"\"" #field "\":", sizeof(#field) + 2, kind, offsetof(struct record, field), must, \
			may, ledgers                                                               \
	}
#define MEMBER(field, kind, must, may) MEMBER_(field, kind, must, may, false)

const struct member record_members[RECORD_MEMBERS] = {
	MEMBER(algorithm, TEXT, T(AUTHORISED), T(REFUSED) | T(SELF_TEST)),
	MEMBER(attempt, INT, ATTEMPT, TESTED | T(UNKNOWN) | T(REFUSED)),
	MEMBER(boot_id, TEXT, T(START), T(CLOCK)),
	MEMBER(boottime, INT, T(START), T(CLOCK) | T(AUTHORISED)),
	MEMBER(by, TEXT, NONE, T(HELD) | T(RELEASED)),
	MEMBER(cert_not_before, INT, T(AUTHORISED), DECIDED),
	MEMBER(certificate_sha256, HEX, T(AUTHORISED) | T(SELF_TEST) | T(KEY_PROVED),
		T(REFUSED) | T(KEY_REFUSED)),
	MEMBER(certificates, BASE64, T(KEY_PROVED), T(KEY_REFUSED)),
	MEMBER_(chain, TEXT, ALL, NONE, true),
	MEMBER(client, TEXT, T(AUTHORISED), REQUESTED | T(FAILED)),
	MEMBER(client_serial, TEXT, NONE, REQUESTED),
	MEMBER(client_sha256, HEX, T(AUTHORISED), REQUESTED),
	MEMBER_(config, JSON, T(CONFIG), NONE, true),
	MEMBER(count, INT, NONE, T(REFUSED)),
	MEMBER(dc, BASE64, T(ISSUED) | T(LATE), T(KEY_PROVED)),
	MEMBER(dc_sha256, HEX, T(ISSUED) | T(LATE), T(KEY_PROVED)),
	MEMBER(detail, TEXT, NONE, ALL),
	MEMBER(drift_ms, INT, T(CLOCK), NONE),
	MEMBER(expiry, INT, T(AUTHORISED), DECIDED),
	MEMBER(field, TEXT, NONE, T(REFUSED) | T(KEY_REFUSED) | T(FAILED)),
	MEMBER(generation, HEX, T(START) | T(CONFIG) | T(AUTHORISED) | T(SELF_TEST) | T(KEY_PROVED),
		ALL),
	MEMBER(id, ID, ATTEMPT | T(UNKNOWN) | T(SELF_TEST) | T(KEY_PROVED),
		T(REFUSED) | T(KEY_REFUSED)),
	MEMBER(idempotency, TEXT, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER_(idx, INT, ALL, NONE, true),
	MEMBER(key, TEXT, T(AUTHORISED) | TESTED, REQUESTED | T(FAILED)),
	MEMBER(latest_expiry, INT, NONE, T(HELD) | T(RELEASED)),
	MEMBER(lifetime_asked, INT, T(AUTHORISED), T(REFUSED)),
	MEMBER(lifetime_granted, INT, T(AUTHORISED), T(REFUSED)),
	MEMBER(live, INT, NONE, T(HELD) | T(RELEASED)),
	MEMBER(node, TEXT, T(START), NONE),
	MEMBER(note, TEXT, T(CHECKPOINT), NONE),
	MEMBER(now, INT, T(AUTHORISED), DECIDED),
	MEMBER(peer, TEXT, T(AUTHORISED), REQUESTED),
	MEMBER(policy, TEXT, T(AUTHORISED), T(REFUSED)),
	MEMBER(possession, TEXT, T(AUTHORISED), T(REFUSED)),
	MEMBER(previous, TEXT, T(SUCCEEDED), NONE),
	MEMBER(public_key, TEXT, T(CHECKPOINT), NONE),
	MEMBER(reason, TEXT,
		T(REFUSED) | T(KEY_REFUSED) | T(FAILED) | T(HELD) | T(RELEASED) | T(SUCCEEDED),
		ALL),
	MEMBER(reference, TEXT, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER(request, TEXT, T(AUTHORISED), REQUESTED),
	MEMBER(request_sha256, HEX, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER(retry_of, ID, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER(role, TEXT, T(AUTHORISED), DECIDED),
	MEMBER(root, HEX, T(SUCCEEDED) | T(CHECKPOINT), NONE),
	MEMBER(shared, INT, NONE, T(ISSUED) | T(LATE)),
	MEMBER(signature_algorithm, TEXT, T(AUTHORISED), T(REFUSED) | TESTED),
	MEMBER(single_user, INT, NONE, T(START)),
	MEMBER(size, INT, T(SUCCEEDED) | T(CHECKPOINT), NONE),
	MEMBER(spki, BASE64, T(AUTHORISED), T(SELF_TEST)),
	MEMBER(spki_sha256, HEX, T(AUTHORISED), T(REFUSED) | TESTED),
	MEMBER(tbs_sha256, HEX, T(AUTHORISED) | T(SELF_TEST), NONE),
	MEMBER(time, INT, ALL, NONE),
	MEMBER(token, TEXT, T(START), NONE),
	MEMBER(type, TYPE, ALL, NONE),
	MEMBER(valid_time, INT, T(AUTHORISED), DECIDED),
	MEMBER(version, TEXT, T(START), NONE),
	MEMBER(weak, TEXT, NONE, T(KEY_PROVED) | T(KEY_REFUSED)),
	MEMBER(window_opens, INT, T(AUTHORISED), DECIDED),
};

_Static_assert(RECORD_MEMBERS <= 64, "a set of members is one uint64_t");
_Static_assert(RECORD_TYPES <= 32, "a set of types is one uint32_t");

const char *const record_type_names[RECORD_TYPES] = {
	[RECORD_START] = "START",
	[RECORD_STOP] = "STOP",
	[RECORD_CONFIG] = "CONFIG",
	[RECORD_KEY_PROVED] = "KEY-PROVED",
	[RECORD_KEY_REFUSED] = "KEY-REFUSED",
	[RECORD_SELF_TEST] = "SELF-TEST",
	[RECORD_AUTHORISED] = "AUTHORISED",
	[RECORD_ISSUED] = "ISSUED",
	[RECORD_FAILED] = "FAILED",
	[RECORD_UNKNOWN] = "UNKNOWN",
	[RECORD_LATE] = "LATE",
	[RECORD_REFUSED] = "REFUSED",
	[RECORD_HELD] = "HELD",
	[RECORD_RELEASED] = "RELEASED",
	[RECORD_CLOCK] = "CLOCK",
	[RECORD_CHECKPOINT] = "CHECKPOINT",
	[RECORD_SUCCEEDED] = "SUCCEEDED",
};

bool record_type_known(enum record_type type)
{
	return type > 0 && type < RECORD_TYPES;
}

static bool present(const struct record *r, const struct member *m)
{
	if (m->kind == TYPE)
		return true;
	if (m->kind == INT)
		return int_at(r, m) != RECORD_NONE;
	return octets_at(r, m)->len > 0;
}

/* Whether the record_members that are there are those that the type has. complete: the ledger's
 * own, too.
 */
bool record_members_fit(uint64_t set, enum record_type type, bool complete)
{
	uint32_t bit = 1u << type;

	for (size_t i = 0; i < RECORD_MEMBERS; i++) {
		const struct member *m = &record_members[i];
		bool is = set >> i & 1;

		if (is ? !((m->must | m->may) & bit) : (m->must & bit) && (complete || !m->ledgers))
			return false;
	}
	return true;
}

uint64_t record_members_present(const struct record *r)
{
	uint64_t set = 0;

	for (size_t i = 0; i < RECORD_MEMBERS; i++)
		set |= (uint64_t)present(r, &record_members[i]) << i;
	return set;
}

bool record_is_id(const struct octets *o)
{
	if (o->len != ID_SIZE - 1)
		return false;
	for (size_t i = 0; i < o->len; i++) {
		uint8_t c = o->at[i];

		if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
			return false;
	}
	return true;
}

bool record_value_fits(const struct member *m, const struct octets *o)
{
	return m->kind == TEXT	 ? utf8_valid(o->at, o->len)
	       : m->kind == ID	 ? record_is_id(o)
	       : m->kind == HEX	 ? o->len == SHA256_SIZE
	       : m->kind == JSON ? canon_object(o)
				 : true;
}
