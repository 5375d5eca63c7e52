# Reads every #include line and holds it against the plan: tests/rooms.txt.
set -u
cd "$TOP_SRCDIR" || exit 99
plan=tests/rooms.txt
declare -A step owner door
guests=() system=() generated=()
steps=0 failed=0

refuse()
{
	printf '%s: %s\n' "$1" "$2"
	failed=1
}

read_plan()
{
	local rule rest word words
	while read -r rule rest; do
		read -ra words <<<"$rest"
		case $rule in
		stairs) for word in "${words[@]}"; do step[$word]=$((++steps)); done ;;
		member) for word in "${words[@]:1}"; do owner[$word]=${words[0]}; done ;;
		door) door["${words[0]} ${words[1]}"]=1 ;;
		system) system+=("${words[@]}") ;;
		generated) generated+=("${words[@]}") ;;
		guest) guests+=("$rest") ;;
		esac
	done < <(grep -v '^#' $plan)
}

# The module that a file of src/ belongs to: the longest name of a stair that its own begins with.
module_of()
{
	local name=${1##*/}
	name=${name%.[ch]}
	module=${owner[$name]-}
	while [ -z "$module" ]; do
		[ -n "${step[$name]-}" ] && module=$name && return
		case $name in *_*) name=${name%_*} ;; *) return ;; esac
	done
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

check_foreign()
{
	local file=$1 header=$2 at=$3 guest words
	matches "$header" "${system[@]}" && return
	for guest in "${guests[@]}"; do
		read -ra words <<<"$guest"
		# shellcheck disable=SC2053
		[[ $file == ${words[0]} ]] && matches "$header" "${words[@]:1}" && return
	done
	refuse "$at" "<$header> is not a guest here"
}

check_own()
{
	local file=$1 header=$2 at=$3 room=${1%/*} target module from
	matches "$header" "${generated[@]}" && return
	case $header in *..*) refuse "$at" "\"$header\" climbs over a wall" && return ;; esac
	if [ -e "$room/$header" ]; then
		target=$room/$header
	elif [ -e "src/$header" ]; then
		target=src/$header
	elif [ "${room%%/*}" = tests ] && [ -e "$header" ]; then
		target=$header
	elif [ "${room%%/*}" = tests ]; then
		target=$(ls -d {api,hsm,src/ledger,src/client,tests}/"$header" 2>/dev/null | head -n 1)
	else
		target=
	fi
	[ -n "$target" ] || { refuse "$at" "\"$header\" is in no room that this one may see" && return; }
	if [ "${target%/*}" != "$room" ]; then
		[ "${room%%/*}" = tests ] || [ -n "${door["$room ${target%/*}"]-}" ] ||
			refuse "$at" "there is no door from $room to ${target%/*}"
		return
	fi
	[ "$room" = src ] || return
	module_of "$file"
	from=$module
	module_of "$target"
	[ -n "$from" ] || { refuse "$at" "the file belongs to no stair of $plan" && return; }
	[ -n "$module" ] || { refuse "$at" "\"$header\" belongs to no stair of $plan" && return; }
	[ "${step[$module]}" -le "${step[$from]}" ] ||
		refuse "$at" "\"$header\" is on a later stair than $from"
}

read_plan
lines=0
while IFS=: read -r file number text; do
	[[ $text =~ ^[[:space:]]*\#[[:space:]]*include[[:space:]]*([<\"])([^>\"]+) ]] || {
		refuse "$file:$number" "an include line that can't be read"
		continue
	}
	lines=$((lines + 1))
	if [ "${BASH_REMATCH[1]}" = '<' ]; then
		check_foreign "$file" "${BASH_REMATCH[2]}" "$file:$number"
	else
		check_own "$file" "${BASH_REMATCH[2]}" "$file:$number"
	fi
done < <(grep -nE '^[[:space:]]*#[[:space:]]*include' \
	$(find src hsm api tests -name '*.[ch]' | sort))
[ "$lines" -gt 0 ] || refuse "$plan" "no include lines found under $TOP_SRCDIR"
[ $failed = 0 ] && echo "$lines include lines keep to the plan"
exit $failed
