/* p11fault.so: what it does to signatures, and what the witness says of them. */
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "p11checks.h"

#define S rig.session

static unsigned bits_that_differ(const CK_BYTE *a, const CK_BYTE *b, size_t len, unsigned *which)
{
	unsigned n = 0;

	for (unsigned bit = 0; bit < 8 * len; bit++)
		if (((a[bit / 8] ^ b[bit / 8]) & (0x80 >> bit % 8)) != 0) {
			*which = bit;
			n++;
		}
	return n;
}

START_TEST(flip_damages_the_bit_it_is_told)
{
	CK_BYTE sig[64], good[64];
	CK_ULONG len;
	unsigned which = 999;

	rules("C_Sign flip=77 count=1\n");
	ck_assert_uint_eq(rig_sign(&rig, S, 1, sig, &len), CKR_OK);
	ck_assert_uint_eq(len, 64);
	ck_assert(!rig_verify(&rig, 1, sig, len));
	memcpy(good, sig, sizeof good);
	good[77 / 8] ^= 0x80 >> 77 % 8;
	ck_assert(rig_verify(&rig, 1, good, len));
	ck_assert_uint_eq(bits_that_differ(sig, good, 64, &which), 1);
	ck_assert_uint_eq(which, 77);
	ck_assert_uint_eq(rig_sign(&rig, S, 1, sig, &len), CKR_OK);
	ck_assert(rig_verify(&rig, 1, sig, len));
}
END_TEST

START_TEST(flip_goes_through_all_bits)
{
	CK_BYTE sig[64];
	CK_ULONG len;

	rules("C_Sign flip\n");
	for (unsigned bit = 0; bit < 8 * 64; bit++) {
		ck_assert_uint_eq(rig_sign(&rig, S, 2, sig, &len), CKR_OK);
		ck_assert(!rig_verify(&rig, 2, sig, len));
		sig[bit / 8] ^= (CK_BYTE)(0x80 >> bit % 8);
		ck_assert(rig_verify(&rig, 2, sig, len));
	}
}
END_TEST

START_TEST(length_is_what_the_caller_is_told)
{
	static const struct {
		const char *rule;
		CK_ULONG len;
	} lengths[] = {{"C_Sign length=0\n", 0}, {"C_Sign length=1\n", 1},
		{"C_Sign length=63\n", 63}, {"C_Sign length=65\n", 65},
		{"C_Sign length=0xffffffffffffffff\n", ~0UL}};
	CK_BYTE sig[64];
	CK_ULONG len;

	for (unsigned i = 0; i < 5; i++) {
		rules(lengths[i].rule);
		ck_assert_uint_eq(rig_sign(&rig, S, 3, sig, &len), CKR_OK);
		ck_assert_uint_eq(len, lengths[i].len);
		ck_assert(rig_verify(&rig, 3, sig, 64));
	}
}
END_TEST

START_TEST(replay_gives_an_older_signature)
{
	CK_BYTE first[64], second[64];
	CK_ULONG len;

	rules("C_Sign replay\n");
	ck_assert_uint_eq(rig_sign(&rig, S, 4, first, &len), CKR_OK);
	ck_assert(rig_verify(&rig, 4, first, len)); /* there was none before */
	ck_assert_uint_eq(rig_sign(&rig, S, 5, second, &len), CKR_OK);
	ck_assert_mem_eq(first, second, 64);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_Sign ", " did=replay "), 1);
}
END_TEST

START_TEST(zero_and_too_big)
{
	static const CK_BYTE zero[32];
	CK_BYTE sig[64], ones[32];
	CK_ULONG len;

	memset(ones, 0xff, sizeof ones);
	rules("C_Sign zero-r\n");
	ck_assert_uint_eq(rig_sign(&rig, S, 6, sig, &len), CKR_OK);
	ck_assert_mem_eq(sig, zero, 32);
	ck_assert_mem_ne(sig + 32, zero, 32);
	rules("C_Sign zero-s\n");
	ck_assert_uint_eq(rig_sign(&rig, S, 6, sig, &len), CKR_OK);
	ck_assert_mem_ne(sig, zero, 32);
	ck_assert_mem_eq(sig + 32, zero, 32);
	rules("C_Sign big-r\n");
	ck_assert_uint_eq(rig_sign(&rig, S, 6, sig, &len), CKR_OK);
	ck_assert_mem_eq(sig, ones, 32);
	ck_assert_mem_ne(sig + 32, ones, 32);
	rules("C_Sign big-s\n");
	ck_assert_uint_eq(rig_sign(&rig, S, 6, sig, &len), CKR_OK);
	ck_assert_mem_ne(sig, ones, 32);
	ck_assert_mem_eq(sig + 32, ones, 32);
}
END_TEST

START_TEST(foreign_and_other_octets_of_every_kind)
{
	const struct rig_kind *k = &rig_kinds[_i];
	CK_OBJECT_HANDLE pair[2];
	CK_BYTE good[512], sig[512];
	CK_ULONG len;

	rig_generate(&rig, k, pair);
	ck_assert_uint_eq(rig_sign_kind(&rig, k, pair[1], 9, good, &len), CKR_OK);
	ck_assert_uint_eq(len, k->signature_len);
	ck_assert(rig_verify_kind(&rig, k, pair[0], 9, good, len));
	rules("C_Sign foreign\n");
	ck_assert_uint_eq(rig_sign_kind(&rig, k, pair[1], 9, sig, &len), CKR_OK);
	ck_assert_uint_eq(len, k->signature_len);
	ck_assert(!rig_verify_kind(&rig, k, pair[0], 9, sig, len));
	rules("C_Sign other-octets\n");
	ck_assert_uint_eq(rig_sign_kind(&rig, k, pair[1], 9, sig, &len), CKR_OK);
	ck_assert(!rig_verify_kind(&rig, k, pair[0], 9, sig, len));
	rules("C_Sign flip=0\n");
	ck_assert_uint_eq(rig_sign_kind(&rig, k, pair[1], 9, sig, &len), CKR_OK);
	ck_assert(!rig_verify_kind(&rig, k, pair[0], 9, sig, len));
	rules("C_Sign replay\n");
	ck_assert_uint_eq(rig_sign_kind(&rig, k, pair[1], 10, sig, &len), CKR_OK);
	ck_assert(!rig_verify_kind(&rig, k, pair[0], 10, sig, len));
	ck_assert(rig_verify_kind(&rig, k, pair[0], 9, sig, len));
}
END_TEST

static void hex(char *text, const CK_BYTE *octets, size_t len)
{
	for (size_t i = 0; i < len; i++)
		sprintf(text + 2 * i, "%02x", octets[i]);
}

START_TEST(the_witness_tells_what_was_signed)
{
	CK_BYTE sig[64], hash[32];
	char word[64], line[256], hash_text[65];
	CK_ULONG len, query = 0;
	CK_BYTE in[32] = {0};

	ck_assert_uint_eq(rig_sign(&rig, S, 0x5c, sig, &len), CKR_OK);
	snprintf(word, sizeof word, " s=%lu mech=0x1041 key=%lu ", S, rig.private_key);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_SignInit ", word), 1);
	strcpy(line, " in=");
	for (unsigned i = 0; i < 32; i++)
		strcat(line, "5c");
	ck_assert_uint_eq(rig_lines(&rig, line, " ev=begin "), 1);
	SHA256(sig, len, hash);
	hex(hash_text, hash, sizeof hash);
	snprintf(line + strlen(line), 100, " rv=0x0 len=64 sig=%s ", hash_text);
	ck_assert_uint_eq(rig_lines(&rig, line, word), 1);
	/* a question for the length */
	CK_MECHANISM m = {CKM_ECDSA, NULL, 0};
	ck_assert_uint_eq(rig.p11->C_SignInit(S, &m, rig.private_key), CKR_OK);
	ck_assert_uint_eq(rig.p11->C_Sign(S, in, 32, NULL, &query), CKR_OK);
	ck_assert_uint_eq(query, 64);
	ck_assert_uint_eq(rig_lines(&rig, " query=1 ", " rv=0x0 "), 1);
	/* a PIN was given in the set-up, and never written down */
	ck_assert_uint_ge(rig_lines(&rig, " fn=C_Login ", " rv=0x0 "), 1);
	ck_assert_ptr_null(strstr(rig_witness(&rig), RIG_PIN));
	char pin_hex[2 * sizeof RIG_PIN];
	hex(pin_hex, (const CK_BYTE *)RIG_PIN, sizeof RIG_PIN - 1);
	ck_assert_ptr_null(strstr(rig_witness(&rig), pin_hex));
}
END_TEST

START_TEST(long_messages_are_witnessed_whole)
{
	const struct rig_kind *k = &rig_kinds[2];
	CK_OBJECT_HANDLE pair[2];
	static char line[2 * 700 + 8];
	CK_BYTE sig[64];
	CK_ULONG len;

	rig_generate(&rig, k, pair);
	ck_assert_uint_eq(rig_sign_kind(&rig, k, pair[1], 0xa7, sig, &len), CKR_OK);
	strcpy(line, " in=");
	for (unsigned i = 0; i < 700; i++)
		strcat(line, "a7");
	strcat(line, " ");
	ck_assert_uint_eq(rig_lines(&rig, " mech=0x1057 ", line), 2);
}
END_TEST

TCase *checks_of_signatures(void)
{
	TCase *t = tcase_create("signatures");

	tcase_add_checked_fixture(t, rig_set_up, rig_tear_down);
	tcase_add_test(t, flip_damages_the_bit_it_is_told);
	tcase_add_test(t, flip_goes_through_all_bits);
	tcase_add_test(t, length_is_what_the_caller_is_told);
	tcase_add_test(t, replay_gives_an_older_signature);
	tcase_add_test(t, zero_and_too_big);
	tcase_add_loop_test(t, foreign_and_other_octets_of_every_kind, 0, (int)rig_kind_count);
	tcase_add_test(t, the_witness_tells_what_was_signed);
	tcase_add_test(t, long_messages_are_witnessed_whole);
	return t;
}
