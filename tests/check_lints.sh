# The lints themselves: clean in a scratch copy, and each planted violation found.
set -eu
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# lint SCRIPT: its exit code in $code, what it said in $scratch/said
lint()
{
	code=0
	TOP_SRCDIR=$scratch/tree TOP_BUILDDIR=$scratch/build bash "$scratch/tree/tests/$1" \
		>"$scratch/said" 2>&1 || code=$?
}

expect_clean()
{
	lint "$1"
	[ $code = 0 ] && return
	echo "$1 finds fault with the tree as it is (exit $code):"
	cat "$scratch/said"
	failed=1
}

# expect_caught SCRIPT TEXT WHAT
expect_caught()
{
	lint "$1"
	if [ $code = 0 ] || ! grep -qF -- "$2" "$scratch/said"; then
		echo "$1 (exit $code) did not see: $3"
		cat "$scratch/said"
		failed=1
	fi
}

copy_tree()
{
	rm -rf "$scratch/tree"
	mkdir -p "$scratch"/tree/{api,hsm,src/ledger,src/client,tests}
	(cd "$TOP_SRCDIR" && tar -cf - .clang-format \
		$(find src hsm api tests -name '*.[ch]' -o -name '*.sh' -o -name rooms.txt)) |
		tar -xf - -C "$scratch/tree"
	chmod -R u+w "$scratch/tree"
}

# plant_include FILE LINE TEXT: one line more in this file is refused with TEXT
plant_include()
{
	local file=$scratch/tree/$1
	[ ! -e "$file" ] || cp "$file" "$scratch/kept"
	echo "$2" >>"$file"
	expect_caught lint_includes.sh "$3" "$2 in $1"
	if ! grep -F "$3" "$scratch/said" | grep -q "^$1:"; then
		echo "lint_includes.sh does not name $1 for $2"
		failed=1
	fi
	if [ -e "$scratch/kept" ]; then mv "$scratch/kept" "$file"; else rm "$file"; fi
}

copy_tree
expect_clean lint_includes.sh
plant_include src/buf.c '#include "policy.h"' 'later stair'
plant_include src/dc.h '#include "record.h"' 'later stair'
plant_include src/certificate_rules.c '#include "policy.h"' 'later stair'
plant_include src/config_codec.c '#include "child.h"' 'later stair'
plant_include src/stray.c '#include "buf.h"' 'no stair'
plant_include api/planted.c '#include "issue.h"' 'no room'
plant_include api/planted.c '#include "../hsm/issue.h"' 'climbs'
plant_include api/planted.c '  #  include "../hsm/issue.h"' 'climbs'
plant_include hsm/issue.c '#include "store.h"' 'no room'
plant_include src/ledger/store.h '#include "token.h"' 'no room'
plant_include src/client/planted.c '#include "keyring.h"' 'no room'
plant_include src/policy.c '#include <openssl/evp.h>' 'not a guest'
plant_include src/policy.h '#include <jansson.h>' 'not a guest'
plant_include src/pubkey.h '#include <openssl/evp.h>' 'not a guest'
plant_include hsm/issue.c '#include <p11-kit/pkcs11.h>' 'not a guest'
plant_include api/planted.c '#include <openssl/ssl.h>' 'not a guest'
plant_include api/planted.c '#include <microhttpd.h>' 'not a guest'
plant_include src/ledger/state.c '#include <sqlite3.h>' 'not a guest'
plant_include src/buf.c '#include <some-new-library.h>' 'not a guest'
plant_include src/buf.c '#include MACRO' "can't be read"
expect_clean lint_includes.sh

# Small objects and programs in the place of the real ones.
cc=${CC:-cc}
pure=$(sed -n 's/^pure //p' "$TOP_SRCDIR/tests/rooms.txt")
mkdir -p "$scratch/build/src" "$scratch/build/o"
object()
{
	echo "$2" >"$scratch/o.c"
	$cc -c -ffreestanding -fno-builtin -o "$scratch/build/o/libdcsign_a-$1.o" "$scratch/o.c"
}
archive()
{
	rm -f "$scratch/build/src/libdcsign.a"
	ar cr "$scratch/build/src/libdcsign.a" "$scratch"/build/o/*.o
}
program()
{
	echo "$2" >"$scratch/p.c"
	shift 2
	$cc -o "$scratch/build/$name" "$scratch/p.c" "$@"
}
for module in $pure; do
	object "$module" "void buf_put(void); void $module(void); void $module(void) { buf_put(); }"
done
object buf 'void *malloc(unsigned long); void buf_put(void); void buf_put(void) { malloc(1); }'
object log 'void log_write(void); void log_write(void) {}'
object pubkey 'int pubkey_verify(void); int pubkey_verify(void) { return 1; }'
archive
sed -n 's/^program \([^ ]*\) \([^ ]*\).*/\1 \2/p' "$TOP_SRCDIR/tests/rooms.txt" >"$scratch/programs"
while read -r name source; do
	mkdir -p "$scratch/tree/${source%/*}"
	: >"$scratch/tree/$source"
	program "$name" 'int main(void) { return 0; }'
done <"$scratch/programs"
expect_clean lint_symbols.sh

for body in 'long time(long *); void f(void); void f(void) { time(0); }|time in a pure' \
	'void *malloc(unsigned long); void f(void); void f(void) { malloc(1); }|malloc in a pure' \
	'void log_write(void); void f(void); void f(void) { log_write(); }|log_write in a pure'; do
	object policy_planted "${body%|*}"
	archive
	expect_caught lint_symbols.sh "${body#*|}" "$body"
	rm "$scratch/build/o/libdcsign_a-policy_planted.o"
done
rm "$scratch/build/o/libdcsign_a-merkle.o"
archive
expect_caught lint_symbols.sh 'no object of the pure module merkle' 'a pure module without object'
object merkle 'void merkle(void); void merkle(void) {}'
archive

# plant_program NAME TEXT SOURCE [LIBRARY...]
plant_program()
{
	name=$1
	local text=$2 source=$3
	shift 3
	program "$name" "$source" -Wl,--no-as-needed "$@"
	expect_caught lint_symbols.sh "$text" "$name: $source $*"
	program "$name" 'int main(void) { return 0; }'
}
call='int main(void) { return EVP_sha256() != 0; }'
plant_program dcsignd-api 'linked with libcrypto' 'int main(void) { return 0; }' -lcrypto
plant_program dcsignd-api 'EVP_sha256 in this program' "void *EVP_sha256(void); $call" -lcrypto
plant_program dcsignd-api 'linked with libp11.so' 'int main(void) { return 0; }' -lp11
plant_program dcsignd-api 'linked with libsqlite3' 'int main(void) { return 0; }' -lsqlite3
plant_program dcsignd-api 'C_Sign in this program' 'int C_Sign(void) { return 0; } int main(void) { return C_Sign(); }'
plant_program dcsignd-api 'pubkey_verify in this program' \
	'int pubkey_verify(void); int main(void) { return pubkey_verify(); }' "$scratch/build/src/libdcsign.a"
plant_program dcsignd-api 'dlopen in this program' \
	'void *dlopen(const char *, int); int main(void) { return dlopen("x", 1) != 0; }' -ldl
plant_program dcsignd-hsm 'linked with libsqlite3' 'int main(void) { return 0; }' -lsqlite3
plant_program dcsignd-hsm 'linked with libmicrohttpd' 'int main(void) { return 0; }' -lmicrohttpd
plant_program dcsignd-hsm 'listen in this program' 'int listen(int, int); int main(void) { return listen(0, 0); }'
plant_program dcsignd 'linked with libcrypto' 'int main(void) { return 0; }' -lcrypto
plant_program dcsignd-ledger 'linked with libp11.so' 'int main(void) { return 0; }' -lp11
plant_program dcsign 'linked with libp11.so' 'int main(void) { return 0; }' -lp11
rm "$scratch/build/dcsignd-hsm"
expect_caught lint_symbols.sh 'dcsignd-hsm: not built' 'a program that is not built'

if command -v clang-format >/dev/null; then
	copy_tree
	find "$scratch/tree" -name '*.[ch]' -print0 | xargs -0 clang-format -i
	expect_clean lint_format.sh
	echo 'int  x ;' >>"$scratch/tree/src/buf.c"
	expect_caught lint_format.sh buf.c 'a badly formatted line'
fi
[ $failed = 0 ] && echo 'the lints see what they are there for'
exit $failed
