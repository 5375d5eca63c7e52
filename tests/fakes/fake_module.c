#include "fake_module.h"

#include <string.h>

extern struct fake_module fake_module;
struct fake_module fake_module;
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out);

static CK_OBJECT_HANDLE found[FAKE_OBJECTS];
static CK_ULONG found_count, found_given;

static CK_RV called(enum fake_call which)
{
	unsigned n = fake_module.call[which].calls++, after = fake_module.call[which].after;
	unsigned many = fake_module.call[which].many;

	return n >= after && (many == 0 || n < after + many) ? fake_module.call[which].rv : CKR_OK;
}

static CK_RV initialize(void *args)
{
	(void)args;
	return called(FAKE_INITIALIZE);
}

static CK_RV finalize(void *reserved)
{
	(void)reserved;
	return CKR_OK;
}

static CK_RV get_info(CK_INFO *info)
{
	memset(info, 0, sizeof *info);
	info->cryptokiVersion.major = 2;
	info->cryptokiVersion.minor = 40;
	memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
	memset(info->libraryDescription, ' ', sizeof info->libraryDescription);
	return CKR_OK;
}

/* The last slot is empty. */
static CK_RV get_slot_list(unsigned char present, CK_SLOT_ID *out, CK_ULONG *count)
{
	CK_RV rv = called(FAKE_GET_SLOT_LIST);

	(void)present;
	for (CK_ULONG i = 0; rv == CKR_OK && out != NULL && i < *count; i++)
		out[i] = i;
	*count = fake_module.tokens + 1;
	return rv;
}

static CK_RV get_slot_info(CK_SLOT_ID slot, CK_SLOT_INFO *info)
{
	memset(info, 0, sizeof *info);
	memset(info->slotDescription, ' ', sizeof info->slotDescription);
	memset(info->manufacturerID, ' ', sizeof info->manufacturerID);
	info->flags = slot < fake_module.tokens ? CKF_TOKEN_PRESENT : 0;
	return CKR_OK;
}

static CK_RV get_token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
	*info = fake_module.token;
	info->label[0] = (unsigned char)('a' + slot);
	return called(FAKE_GET_TOKEN_INFO);
}

static CK_RV open_session(
	CK_SLOT_ID slot, CK_FLAGS flags, void *arg, CK_NOTIFY notify, CK_SESSION_HANDLE *out)
{
	static CK_SESSION_HANDLE last;
	CK_RV rv = called(FAKE_OPEN_SESSION);

	(void)slot;
	(void)flags;
	(void)arg;
	(void)notify;
	if (rv == CKR_OK) {
		*out = ++last;
		fake_module.open++;
	}
	return rv;
}

static CK_RV close_session(CK_SESSION_HANDLE session)
{
	(void)session;
	fake_module.open--;
	return called(FAKE_CLOSE_SESSION);
}

static CK_RV close_all_sessions(CK_SLOT_ID slot)
{
	(void)slot;
	return CKR_OK;
}

static CK_RV get_session_info(CK_SESSION_HANDLE session, CK_SESSION_INFO *info)
{
	(void)session;
	memset(info, 0, sizeof *info);
	info->state = fake_module.state;
	return called(FAKE_GET_SESSION_INFO);
}

static CK_RV login(CK_SESSION_HANDLE session, CK_USER_TYPE user, unsigned char *pin, CK_ULONG len)
{
	(void)session;
	(void)user;
	(void)pin;
	(void)len;
	fake_module.logins++;
	return called(FAKE_LOGIN);
}

static const struct fake_attribute *attribute_of(
	const struct fake_object *o, CK_ATTRIBUTE_TYPE type)
{
	for (CK_ULONG i = 0; i < o->count; i++)
		if (o->attribute[i].type == type)
			return &o->attribute[i];
	return NULL;
}

static CK_RV read_attribute(const struct fake_object *o, CK_ATTRIBUTE *out)
{
	const struct fake_attribute *a = attribute_of(o, out->type);
	CK_ULONG room = out->ulValueLen;

	out->ulValueLen = CK_UNAVAILABLE_INFORMATION;
	if (a == NULL)
		return CKR_ATTRIBUTE_TYPE_INVALID;
	if (a->rv != CKR_OK)
		return a->rv;
	if (a->len > room)
		return CKR_BUFFER_TOO_SMALL;
	memcpy(out->pValue, a->value, a->len);
	out->ulValueLen = a->told != 0 ? a->told : a->len;
	return CKR_OK;
}

static CK_RV get_attribute_value(
	CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *out, CK_ULONG count)
{
	CK_RV rv = called(FAKE_GET_ATTRIBUTE_VALUE);

	(void)session;
	if (rv == CKR_OK && (object == 0 || object > fake_module.objects))
		rv = CKR_OBJECT_HANDLE_INVALID;
	if (rv == CKR_OK && count > 1 && fake_module.one_at_a_time)
		rv = CKR_ATTRIBUTE_TYPE_INVALID;
	if (rv != CKR_OK)
		return rv;
	for (CK_ULONG i = 0; i < count; i++) {
		CK_RV one = read_attribute(&fake_module.object[object - 1], &out[i]);

		rv = rv == CKR_OK ? one : rv;
	}
	return rv;
}

static bool matches(const struct fake_object *o, const CK_ATTRIBUTE *template, CK_ULONG n)
{
	for (CK_ULONG i = 0; i < n; i++) {
		const struct fake_attribute *a = attribute_of(o, template[i].type);

		if (a == NULL || a->len != template[i].ulValueLen ||
			memcmp(a->value, template[i].pValue, a->len) != 0)
			return false;
	}
	return true;
}

static CK_RV find_objects_init(CK_SESSION_HANDLE session, CK_ATTRIBUTE *template, CK_ULONG n)
{
	(void)session;
	found_count = found_given = 0;
	for (CK_ULONG i = 0; i < fake_module.objects; i++)
		if (matches(&fake_module.object[i], template, n))
			found[found_count++] = i + 1;
	return called(FAKE_FIND_OBJECTS_INIT);
}

static CK_RV find_objects(
	CK_SESSION_HANDLE session, CK_OBJECT_HANDLE *out, CK_ULONG room, CK_ULONG *count)
{
	CK_ULONG most = fake_module.found_at_once;
	CK_RV rv = called(FAKE_FIND_OBJECTS);

	(void)session;
	*count = 0;
	while (rv == CKR_OK && *count < room && found_given < found_count &&
		(most == 0 || *count < most))
		out[(*count)++] = found[found_given++];
	return rv;
}

static CK_RV find_objects_final(CK_SESSION_HANDLE session)
{
	(void)session;
	return CKR_OK;
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key)
{
	(void)session;
	(void)mechanism;
	(void)key;
	return called(FAKE_SIGN_INIT);
}

static CK_RV sign(CK_SESSION_HANDLE session, unsigned char *data, CK_ULONG len, unsigned char *out,
	CK_ULONG *out_len)
{
	CK_RV rv = called(FAKE_SIGN);

	(void)session;
	(void)data;
	(void)len;
	if (rv == CKR_OK) {
		memset(out, 1, fake_module.signature_len);
		*out_len = fake_module.signature_len;
	}
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **out)
{
	static CK_FUNCTION_LIST list = {
		.version = {2, 40},
		.C_Initialize = initialize,
		.C_Finalize = finalize,
		.C_GetInfo = get_info,
		.C_GetFunctionList = C_GetFunctionList,
		.C_GetSlotList = get_slot_list,
		.C_GetSlotInfo = get_slot_info,
		.C_GetTokenInfo = get_token_info,
		.C_OpenSession = open_session,
		.C_CloseSession = close_session,
		.C_CloseAllSessions = close_all_sessions,
		.C_GetSessionInfo = get_session_info,
		.C_Login = login,
		.C_GetAttributeValue = get_attribute_value,
		.C_FindObjectsInit = find_objects_init,
		.C_FindObjects = find_objects,
		.C_FindObjectsFinal = find_objects_final,
		.C_SignInit = sign_init,
		.C_Sign = sign,
	};

	*out = &list;
	return called(FAKE_GET_FUNCTION_LIST);
}
