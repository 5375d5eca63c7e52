# Every seeded bug of tests/faults/mutants applies to the tree, says which invariant it breaks, and
# names checks that exist. tests/INVARIANTS.md and tests/HSM.md name tests that exist, and those of Check
# stand in a case, too.
set -u
cd "$TOP_SRCDIR" || exit 99
failed=0
refuse()
{
	printf '%s: %s\n' "$1" "$2"
	failed=1
}

# A check of C has a source, another one is its own.
exists()
{
	[ -e "$1" ] || [ -e "$1.c" ]
}

command -v patch >/dev/null || { echo "skipped: there is no patch here" && exit 77; }
count=0
for file in tests/faults/mutants/*.patch; do
	count=$((count + 1))
	grep -q '^Bug: .' "$file" || refuse "$file" "does not say what the bug is"
	breaks=$(sed -n 's/^Breaks: //p' "$file")
	[ -n "$breaks" ] || refuse "$file" "does not say what it breaks"
	for invariant in $breaks; do
		grep -q "^## $invariant: " tests/INVARIANTS.md || refuse "$file" "there is no $invariant"
	done
	checks=$(sed -n 's/^Caught by: \([^ ]*\).*/\1/p' "$file")
	[ -n "$checks" ] || refuse "$file" "names no check"
	for check in $checks; do
		exists "$check" || refuse "$file" "there is no $check"
	done
	said=$(patch --dry-run -F0 -f -s -p1 -r - -i "$file" 2>&1) ||
		refuse "$file" "does not apply, make it anew: $said"
done
[ $count -ge 25 ] || refuse tests/faults/mutants "only $count patches"

# named FILE WORD: stands there; what Check runs in two lines at least: it is defined, and a case has it.
named()
{
	case $1 in
	*/check_*.c) [ "$(grep -cw -e "$2" "$1")" -ge 2 ] ;;
	*) grep -qF -e "$2" "$1" ;;
	esac
}

# A line of tests: "- `file`: `test`, `test` ...", perhaps with more of them in lines below it.
invariants=0
while IFS= read -r line; do
	case $line in
	'## I'[0-9]*)
		invariants=$((invariants + 1))
		[ "${line#"## I$invariants: "}" != "$line" ] || refuse "$line" "I$invariants should come here"
		;;
	'- `'*)
		mapfile -t words < <(grep -o '`[^`]*`' <<<"$line" | tr -d '`')
		[ -e "${words[0]}" ] || { refuse "${words[0]}" "a list of tests names it, it is not there" && continue; }
		for word in "${words[@]:1}"; do
			named "${words[0]}" "$word" || refuse "${words[0]}" "has no $word"
		done
		;;
	esac
done < <(cat tests/INVARIANTS.md tests/HSM.md | sed -e ':a' -e '$!N' -e 's/\n  `/ `/' -e 'ta' -e 'P' -e 'D')
[ $invariants -eq 19 ] || refuse tests/INVARIANTS.md "$invariants invariants, not 19"
[ $failed -eq 0 ] && echo "$count seeded bugs apply, $invariants invariants name their tests"
exit $failed
