#include <string.h>

#include "list.h"

const char export_names[] = "time,chain,record,type,id,attempt,key,client,role,algorithm,expiry,"
			    "reason,field,detail,reference,peer,count";

static void text_cell(struct buf *out, const struct octets *o)
{
	buf_u8(out, ',');
	if (o->len == 0)
		return;
	buf_u8(out, '"');
	if (memchr("=+-@\t\r", o->at[0], 6))
		buf_u8(out, '\'');
	for (size_t i = 0; i < o->len; i++) {
		if (o->at[i] == '"')
			buf_u8(out, '"');
		buf_u8(out, o->at[i]);
	}
	buf_u8(out, '"');
}

static void number_cell(struct buf *out, int64_t n)
{
	buf_u8(out, ',');
	if (n != RECORD_NONE)
		buf_printf(out, "%lld", (long long)n);
}

static void time_cell(struct buf *out, int64_t t)
{
	char text[21];

	if (t == RECORD_NONE)
		return;
	time_text(text, t);
	buf_text(out, text);
}

void export_row(struct buf *out, const struct record *r)
{
	struct octets type = octets_text(record_type_name(r->type));

	time_cell(out, r->time);
	text_cell(out, &r->chain);
	number_cell(out, r->idx);
	text_cell(out, &type);
	text_cell(out, &r->id);
	number_cell(out, r->attempt);
	text_cell(out, &r->key);
	text_cell(out, &r->client);
	text_cell(out, &r->role);
	text_cell(out, &r->algorithm);
	buf_u8(out, ',');
	time_cell(out, r->expiry);
	text_cell(out, &r->reason);
	text_cell(out, &r->field);
	text_cell(out, &r->detail);
	text_cell(out, &r->reference);
	text_cell(out, &r->peer);
	number_cell(out, r->count);
}
