/* A delegated credential: what is taken is built again to the same octets, and its signed octets
 * read back as the same fields. The input is also read as signed octets under a fixed certificate.
 */
#include <stdlib.h>
#include <string.h>

#include "dc.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static const uint8_t cert[] = "certificate";

static void insist(bool ok)
{
	if (!ok)
		abort();
}

static bool equal(const struct buf *b, const uint8_t *octets, size_t len)
{
	return b->err == ERR_OK && b->len == len && memcmp(b->octets, octets, len) == 0;
}

static void round_trip(const struct dc *dc, enum dc_role role)
{
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	struct dc back;
	enum dc_role role_back;

	insist(dc_build_tbs(&tbs, role, cert, sizeof cert, dc) == ERR_OK);
	insist(dc_parse_tbs(&back, &role_back, tbs.octets, tbs.len, cert, sizeof cert) == ERR_OK);
	insist(role_back == role && back.valid_time == dc->valid_time &&
		back.scheme == dc->scheme && back.algorithm == dc->algorithm &&
		back.spki_len == dc->spki_len && memcmp(back.spki, dc->spki, dc->spki_len) == 0);
	buf_free(&tbs);
}

static void whole(const uint8_t *octets, size_t len)
{
	struct buf again = BUF_INIT(DC_MAX);
	struct dc dc;

	if (dc_parse(&dc, octets, len) != ERR_OK)
		return;
	insist(dc_build(&again, &dc) == ERR_OK && equal(&again, octets, len));
	round_trip(&dc, DC_SERVER);
	round_trip(&dc, DC_CLIENT);
	buf_free(&again);
}

static void to_be_signed(const uint8_t *octets, size_t len)
{
	struct buf again = BUF_INIT(DC_TBS_MAX);
	struct dc dc;
	enum dc_role role;

	if (dc_parse_tbs(&dc, &role, octets, len, cert, sizeof cert) != ERR_OK)
		return;
	insist(dc_build_tbs(&again, role, cert, sizeof cert, &dc) == ERR_OK);
	insist(equal(&again, octets, len));
	buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	whole(octets, len);
	to_be_signed(octets, len);
	return 0;
}
