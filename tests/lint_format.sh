# The C files are as clang-format makes them.
cd "$TOP_SRCDIR" || exit 99
if ! command -v clang-format >/dev/null; then
	echo "skipped: there is no clang-format here"
	exit 77
fi
find src hsm api tests -name '*.[ch]' -print0 | xargs -0 clang-format --dry-run --Werror
