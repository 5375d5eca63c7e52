/* Merkle proofs and signed notes against tests/vectors/log.txt, which make_log.py made. */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint.h"
#include "merkle.h"
#include "run_suite.h"
#include "table.h"

#define LEAVES 70

static uint8_t leaves[LEAVES][SHA256_SIZE];
static unsigned asked; /* of the source */

static void leaves_make(void)
{
	char text[32];

	for (int i = 0; i < LEAVES; i++) {
		int len = snprintf(text, sizeof text, "record %d", i);

		merkle_leaf(text, (size_t)len, leaves[i]);
	}
}

/* A perfect subtree from its leaves alone. */
static enum err subtree(void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE])
{
	struct merkle m;

	(void)arg;
	asked++;
	merkle_init(&m);
	for (uint64_t i = index << level; i < (index + 1) << level; i++) {
		ck_assert_uint_lt(i, LEAVES);
		merkle_append(&m, leaves[i]);
	}
	merkle_root(&m, out);
	return ERR_OK;
}

static void frame(struct buf *b, const struct merkle_proof *p)
{
	buf_u8(b, (uint8_t)p->count);
	buf_put(b, p->hash, p->count * SHA256_SIZE);
}

static void expect_digest(const struct buf *b, const struct block *t, const char *field)
{
	uint8_t digest[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];

	sha256(b->octets, b->len, digest);
	hex_encode(hex, digest, sizeof digest);
	ck_assert_msg(strcmp(hex, block_get(t, field)) == 0, "%s: %s", block_get(t, "id"), field);
}

static void tree(const struct block *t)
{
	uint64_t size = (uint64_t)block_number(t, "size");
	struct buf b = BUF_INIT(1 << 20);
	struct merkle_proof p;
	uint8_t root[SHA256_SIZE], earlier[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];

	if (!*block_get(t, "inclusion_sha256"))
		return;
	ck_assert_int_eq(merkle_root_at(size, subtree, NULL, root), ERR_OK);
	hex_encode(hex, root, sizeof root);
	ck_assert_str_eq(hex, block_get(t, "root"));
	for (uint64_t i = 0; i < size; i++) {
		ck_assert_int_eq(merkle_inclusion(&p, i, size, subtree, NULL), ERR_OK);
		ck_assert(merkle_included(&p, i, size, leaves[i], root));
		frame(&b, &p);
	}
	expect_digest(&b, t, "inclusion_sha256");
	buf_reset(&b);
	for (uint64_t i = 1; i <= size; i++) {
		ck_assert_int_eq(merkle_consistency(&p, i, size, subtree, NULL), ERR_OK);
		ck_assert_int_eq(merkle_root_at(i, subtree, NULL, earlier), ERR_OK);
		ck_assert(merkle_consistent(&p, i, size, earlier, root));
		frame(&b, &p);
	}
	expect_digest(&b, t, "consistency_sha256");
	buf_free(&b);
}

START_TEST(proofs_are_those_of_the_vectors)
{
	leaves_make();
	ck_assert_uint_gt(table_each("log.txt", tree), LEAVES);
}
END_TEST

/* Any other place, size, hash or number of hashes is refused. */
static void inclusion_damage(uint64_t idx, uint64_t size)
{
	struct merkle_proof p, q;
	uint8_t root[SHA256_SIZE], leaf[SHA256_SIZE];

	ck_assert_int_eq(merkle_root_at(size, subtree, NULL, root), ERR_OK);
	ck_assert_int_eq(merkle_inclusion(&p, idx, size, subtree, NULL), ERR_OK);
	for (unsigned i = 0; i < p.count; i++) {
		q = p;
		q.hash[i][i % SHA256_SIZE] ^= 1;
		ck_assert(!merkle_included(&q, idx, size, leaves[idx], root));
	}
	memcpy(leaf, leaves[idx], sizeof leaf);
	leaf[31] ^= 1;
	ck_assert(!merkle_included(&p, idx, size, leaf, root));
	for (uint64_t other = 0; other <= size; other++)
		ck_assert(other == idx || !merkle_included(&p, other, size, leaves[idx], root));
	q = p;
	q.count++;
	memset(q.hash[p.count], 0, SHA256_SIZE);
	ck_assert(!merkle_included(&q, idx, size, leaves[idx], root));
	if (p.count) {
		q.count = p.count - 1;
		ck_assert(!merkle_included(&q, idx, size, leaves[idx], root));
	}
}

static void consistency_damage(uint64_t from, uint64_t size)
{
	struct merkle_proof p, q;
	uint8_t root[SHA256_SIZE], earlier[SHA256_SIZE];

	ck_assert_int_eq(merkle_root_at(size, subtree, NULL, root), ERR_OK);
	ck_assert_int_eq(merkle_root_at(from, subtree, NULL, earlier), ERR_OK);
	ck_assert_int_eq(merkle_consistency(&p, from, size, subtree, NULL), ERR_OK);
	for (unsigned i = 0; i < p.count; i++) {
		q = p;
		q.hash[i][i % SHA256_SIZE] ^= 1;
		ck_assert(!merkle_consistent(&q, from, size, earlier, root));
	}
	q = p;
	q.count++;
	memset(q.hash[p.count], 0, SHA256_SIZE);
	ck_assert(!merkle_consistent(&q, from, size, earlier, root));
	q.count = p.count ? p.count - 1 : 0;
	ck_assert(p.count == 0 || !merkle_consistent(&q, from, size, earlier, root));
	earlier[7] ^= 4;
	ck_assert(!merkle_consistent(&p, from, size, earlier, root));
	earlier[7] ^= 4;
	root[7] ^= 4;
	ck_assert(!merkle_consistent(&p, from, size, earlier, root));
	ck_assert(!merkle_consistent(&p, 0, size, earlier, root));
	ck_assert(!merkle_consistent(&p, size + 1, size, earlier, root));
}

START_TEST(damaged_proofs_are_refused)
{
	leaves_make();
	for (uint64_t size = 1; size <= 35; size++) {
		for (uint64_t i = 0; i < size; i++) {
			inclusion_damage(i, size);
			consistency_damage(i + 1, size);
		}
	}
}
END_TEST

START_TEST(what_is_not_in_the_tree_has_no_proof)
{
	struct merkle_proof p;
	uint8_t root[SHA256_SIZE];

	leaves_make();
	asked = 0;
	ck_assert_int_eq(merkle_inclusion(&p, 5, 5, subtree, NULL), ERR_NOT_FOUND);
	ck_assert_int_eq(merkle_consistency(&p, 0, 5, subtree, NULL), ERR_NOT_FOUND);
	ck_assert_int_eq(merkle_consistency(&p, 6, 5, subtree, NULL), ERR_NOT_FOUND);
	ck_assert_int_eq(merkle_root_at(0, subtree, NULL, root), ERR_NOT_FOUND);
	ck_assert_uint_eq(asked, 0);
}
END_TEST

static void see(void *arg, unsigned level, uint64_t index, const uint8_t hash[SHA256_SIZE])
{
	uint8_t want[SHA256_SIZE];

	ck_assert_int_eq(subtree(NULL, level, index, want), ERR_OK);
	ck_assert_int_eq(memcmp(want, hash, sizeof want), 0);
	++*(unsigned *)arg;
}

START_TEST(each_perfect_subtree_is_seen_once)
{
	struct merkle m;
	unsigned seen = 0;

	leaves_make();
	merkle_init(&m);
	for (int i = 0; i < 64; i++)
		merkle_append_seen(&m, leaves[i], see, &seen);
	ck_assert_uint_eq(seen, 127);
}
END_TEST

/* ---- notes ---- */

static void note(const struct block *t)
{
	struct buf want = block_octets(t, "note"), seed = block_octets(t, "seed"),
		   key = block_octets(t, "public"), root = block_octets(t, "root");
	struct buf got = BUF_INIT(CHECKPOINT_MAX);
	struct checkpoint c, back;
	uint8_t public_key[CHECKPOINT_KEY];
	char name[CHECKPOINT_ORIGIN_SIZE];
	const char *vkey = block_get(t, "vkey");

	if (!want.len)
		goto out;
	snprintf(c.origin, sizeof c.origin, "%s", block_get(t, "origin"));
	c.size = (uint64_t)block_number(t, "size");
	memcpy(c.root, root.octets, SHA256_SIZE);
	ck_assert_int_eq(checkpoint_sign(&got, &c, seed.octets), ERR_OK);
	ck_assert_uint_eq(got.len, want.len);
	ck_assert_int_eq(memcmp(got.octets, want.octets, got.len), 0);
	ck_assert_int_eq(checkpoint_vkey_read(vkey, strlen(vkey), name, public_key), ERR_OK);
	ck_assert_str_eq(name, c.origin);
	ck_assert_int_eq(memcmp(public_key, key.octets, sizeof public_key), 0);
	buf_reset(&got);
	checkpoint_vkey_write(&got, name, public_key);
	ck_assert_str_eq(buf_cstr(&got), vkey);
	ck_assert_int_eq(
		checkpoint_verify(&back, (const char *)want.octets, want.len, public_key), ERR_OK);
	ck_assert_str_eq(back.origin, c.origin);
	ck_assert_uint_eq(back.size, c.size);
	ck_assert_int_eq(memcmp(back.root, c.root, SHA256_SIZE), 0);
	/* any octet of the note changed */
	for (size_t i = 0; i < want.len; i++) {
		want.octets[i] ^= 1;
		ck_assert_msg(checkpoint_verify(&back, (const char *)want.octets, want.len,
				      public_key) != ERR_OK,
			"octet %zu", i);
		want.octets[i] ^= 1;
	}
	/* and of the verifier key */
	got.len = strlen(vkey);
	for (size_t i = 0; i < got.len; i++) {
		got.octets[i] ^= 1;
		ck_assert_int_eq(
			checkpoint_vkey_read((char *)got.octets, got.len, NULL, public_key),
			ERR_FORMAT);
		got.octets[i] ^= 1;
	}
out:
	buf_free(&want);
	buf_free(&seed);
	buf_free(&key);
	buf_free(&root);
	buf_free(&got);
}

START_TEST(notes_are_those_of_the_vectors)
{
	ck_assert_uint_eq(table_each("log.txt", note), LEAVES + 3);
}
END_TEST

static const struct checkpoint sample = {.origin = "dcsign.test/sign1/main", .size = 5};

static struct buf signed_by(const uint8_t seed[CHECKPOINT_KEY])
{
	struct buf b = BUF_INIT(2 * CHECKPOINT_MAX);

	ck_assert_int_eq(checkpoint_sign(&b, &sample, seed), ERR_OK);
	return b;
}

START_TEST(cosignatures_may_follow_and_a_second_one_of_the_key_may_not)
{
	uint8_t seed[CHECKPOINT_KEY], key[CHECKPOINT_KEY], other[CHECKPOINT_KEY];
	struct checkpoint c;

	ck_assert_int_eq(checkpoint_key_make(seed), ERR_OK);
	ck_assert_int_eq(checkpoint_key_make(other), ERR_OK);
	ck_assert_int_eq(checkpoint_key_public(seed, key), ERR_OK);

	struct buf b = signed_by(seed), second = signed_by(other);
	size_t one = b.len;

	buf_text(&b, "\xe2\x80\x94 witness.example AAAAAAAAAAAAAA==\n");
	ck_assert_int_eq(checkpoint_verify(&c, (char *)b.octets, b.len, key), ERR_OK);
	/* another key under the same name is somebody else's, too */
	const char *line = strstr(buf_cstr(&second), "\n\n") + 2;

	buf_text(&b, line);
	ck_assert_int_eq(checkpoint_verify(&c, (char *)b.octets, b.len, key), ERR_OK);
	ck_assert_uint_eq(checkpoint_length((char *)b.octets, b.len), b.len);
	line = strstr(buf_cstr(&b), "\n\n") + 2;

	struct buf twice = BUF_INIT(CHECKPOINT_MAX);

	buf_put(&twice, b.octets, one);
	buf_put(&twice, line, one - (size_t)(line - (const char *)b.octets));
	ck_assert_int_eq(
		checkpoint_verify(&c, (char *)twice.octets, twice.len, key), ERR_DC_SIGNATURE);
	ck_assert_int_eq(
		checkpoint_verify(&c, (char *)second.octets, second.len, key), ERR_DC_SIGNATURE);
	buf_free(&b);
	buf_free(&second);
	buf_free(&twice);
}
END_TEST

START_TEST(several_notes_in_one_text)
{
	uint8_t seed[CHECKPOINT_KEY] = {1};
	struct buf b = signed_by(seed);
	size_t one = b.len;

	ck_assert_int_eq(checkpoint_sign(&b, &sample, seed), ERR_OK);
	ck_assert_uint_eq(checkpoint_length((char *)b.octets, b.len), one);
	ck_assert_uint_eq(checkpoint_length((char *)b.octets + one, b.len - one), one);
	ck_assert_uint_eq(checkpoint_length("", 0), 0);
	ck_assert_uint_eq(checkpoint_length("a\n1\n", 4), 0);
	buf_free(&b);
}
END_TEST

START_TEST(an_origin_that_a_note_cannot_carry)
{
	static const char *const bad[] = {"", "a b", "a+b", "a\nb", "a\x01", "\xff"};
	uint8_t seed[CHECKPOINT_KEY] = {1};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		struct checkpoint c = {.size = 1};
		struct buf b = BUF_INIT(CHECKPOINT_MAX);

		strcpy(c.origin, bad[i]);
		ck_assert_int_eq(checkpoint_sign(&b, &c, seed), ERR_FORMAT);
		buf_free(&b);
	}
}
END_TEST

static const char *const forms[] = {
	"a\n1\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n", /* unsigned */
	"a\n01\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n\xe2\x80\x94 a AAAAAAA=\n",
	"a\n1\nR0dH\n\n\xe2\x80\x94 a AAAAAAA=\n",
	"a\n1\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n\xe2\x80\x94 a AAAA\n",
	"a\n1\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n\xe2\x80\x94 a AAAAAAA=",
	"a\n1\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n\xe2\x80\x94 a AAAAAAA=\nx\n",
	("a\n99999999999999999999\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n"
	 "\xe2\x80\x94 a AAAAAAA=\n"),
};

START_TEST(other_forms_are_refused)
{
	static const char good[] =
		"a\n1\nR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0dHR0c=\n\n\xe2\x80\x94 a AAAAAAA=\n";
	struct checkpoint c;

	ck_assert_int_eq(checkpoint_read(&c, good, strlen(good)), ERR_OK);
	ck_assert_uint_eq(c.size, 1);
	for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
		ck_assert_msg(checkpoint_read(&c, forms[i], strlen(forms[i])) == ERR_FORMAT,
			"form %zu", i);
}
END_TEST

/* Verifier keys that other software and services publish. */
static const char *const others[][2] = {
	{"PeterNeumann", "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"},
	{"EnochRoot", "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"},
	{"sum.golang.org", "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"},
};

START_TEST(keys_of_others_are_read)
{
	char name[CHECKPOINT_ORIGIN_SIZE], key[160];
	uint8_t octets[CHECKPOINT_KEY];
	struct buf out = BUF_INIT(CHECKPOINT_MAX);

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(key, sizeof(key), "%s", others[i][1]);
		ck_assert_int_eq(checkpoint_vkey_read(key, strlen(key), name, octets), ERR_OK);
		ck_assert_str_eq(name, others[i][0]);
		buf_reset(&out);
		checkpoint_vkey_write(&out, name, octets);
		ck_assert_str_eq(buf_cstr(&out), key);
		strchr(key, '+')[1] ^= 1; /* the id is bound to name and key */
		ck_assert_int_eq(checkpoint_vkey_read(key, strlen(key), name, octets), ERR_FORMAT);
	}
	buf_free(&out);
}
END_TEST

RUN_SUITE("log", proofs_are_those_of_the_vectors, damaged_proofs_are_refused,
	what_is_not_in_the_tree_has_no_proof, each_perfect_subtree_is_seen_once,
	notes_are_those_of_the_vectors, cosignatures_may_follow_and_a_second_one_of_the_key_may_not,
	several_notes_in_one_text, an_origin_that_a_note_cannot_carry, other_forms_are_refused,
	keys_of_others_are_read)
