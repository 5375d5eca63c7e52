# Reads the symbols of the pure modules' objects and of the linked programs, and holds them against
# the plan: tests/rooms.txt.
set -u
plan=$TOP_SRCDIR/tests/rooms.txt
cd "$TOP_BUILDDIR" || exit 99
failed=0

refuse()
{
	printf '%s: %s\n' "$1" "$2"
	failed=1
}

# The words of all rules of this name, one a line.
words()
{
	sed -n "s/^$1 //p" "$plan" | tr ' ' '\n'
}

matches()
{
	local text=$1 pattern
	shift
	for pattern in "$@"; do
		# shellcheck disable=SC2053
		[[ $text == $pattern ]] && return 0
	done
	return 1
}

# "module symbol" for each symbol with one of these nm letters, from the objects of libdcsign.a.
# An object belongs to the longest module name that its own begins with.
symbols_of_objects()
{
	nm -A src/libdcsign.a 2>/dev/null | awk -v letters="$1" '
		index(letters, $(NF - 1)) {
			split($1, at, ":")
			name = at[2]
			sub(/.*libdcsign_a-/, "", name)
			sub(/\.o$/, "", name)
			print name, $NF
		}'
}

check_pure()
{
	local module name symbol seen=" "
	mapfile -t pure < <(words pure)
	mapfile -t with < <(words pure_with)
	mapfile -t allowed < <(words pure_symbols)
	declare -A ours
	while read -r name symbol; do
		for module in "${pure[@]}" "${with[@]}"; do
			[[ $name == "$module" || $name == "$module"_* ]] || continue
			ours[$symbol]=1
			seen="$seen$module "
		done
	done < <(symbols_of_objects TDRBCV)
	while read -r name symbol; do
		for module in "${pure[@]}"; do
			[[ $name == "$module" || $name == "$module"_* ]] || continue
			[ -n "${ours[$symbol]-}" ] || matches "$symbol" "${allowed[@]}" ||
				refuse "src/$name.c" "$symbol in a pure module"
		done
	done < <(symbols_of_objects U)
	for module in "${pure[@]}"; do
		[[ $seen == *" $module "* ]] || refuse "$plan" "no object of the pure module $module"
	done
}

check_libraries()
{
	local program=$1 library
	shift
	while read -r library; do
		matches "$library" "${libraries[@]}" "$@" ||
			refuse "$program" "linked with $library"
	done < <(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
}

check_bans()
{
	local program=$1 name=$2 symbol
	mapfile -t banned < <(words "ban $name")
	[ "${#banned[@]}" -gt 0 ] || return
	while read -r symbol; do
		matches "${symbol%%@*}" "${banned[@]}" && refuse "$program" "${symbol%%@*} in this program"
	done < <({ nm "$program"; nm -D "$program"; } 2>/dev/null |
		awk '$(NF - 1) ~ /^[UuTtWwiV]$/ { print $NF }' | sort -u |
		grep -v '^__\(asan\|ubsan\|interceptor\|sanitizer\)')
}

check_program()
{
	local name=$1 source=$2 program
	shift 2
	[ -e "$TOP_SRCDIR/$source" ] || { echo "$name: no $source yet" && return; }
	program=$(find . -name "$name" -type f -perm -u+x ! -path '*/tests/*' ! -path './build-*/*' ! -path './fuzz-build/*' | head -n 1)
	[ -n "$program" ] || { refuse "$name" "not built, though there is $source" && return; }
	check_libraries "$program" "$@"
	check_bans "$program" "$name"
	programs=$((programs + 1))
}

programs=0
mapfile -t libraries < <(words libraries)
check_pure
while read -ra rule; do
	check_program "${rule[@]}"
done < <(sed -n 's/^program //p' "$plan")
[ $failed = 0 ] && echo "${#pure[@]} pure modules and $programs programs keep to the plan"
exit $failed
