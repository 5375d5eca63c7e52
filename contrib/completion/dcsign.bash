# Bash completion for dcsign. Options are those that `dcsign help COMMAND` tells, so they are always
# this version's.

_dcsign()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local command=${COMP_WORDS[1]} program=${COMP_WORDS[0]} words=

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ] || { [ "$COMP_CWORD" -eq 2 ] && [ "$command" = help ]; }; then
		words=$("$program" help 2>/dev/null | sed -n 's/^  \([a-z]*\) .*/\1/p')
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
		return
	fi
	case "$previous" in
	--role) words='server client' ;;
	--format) words='raw pem hex json fizz' ;;
	--new-key | --algorithm)
		words='ecdsa_secp256r1_sha256 ecdsa_secp384r1_sha384 ecdsa_secp521r1_sha512'
		words="$words ed25519 rsa_pss_pss_sha256"
		;;
	--lifetime) words='1h 24h 7d' ;;
	--output | -o)
		mapfile -t COMPREPLY < <(compgen -d -- "$current")
		return
		;;
	--url | --key | --not-after | --not-before | --at | --reference | --idempotency-key) return ;;
	esac
	if [ -z "$words" ] && [ "$COMP_CWORD" -eq 2 ] && [ "${current#-}" = "$current" ]; then
		case "$command" in
		keys) words='generate csr list check reset-pin-breaker' ;;
		ledger) words='verify list live export prove report init archive accept-clock succeed' ;;
		esac
	fi
	if [ -z "$words" ] && [ "${current#-}" != "$current" ]; then
		words=$("$program" help "$command" 2>/dev/null | grep -oE -- '--[a-z][a-z-]*[a-z]' | sort -u)
	fi
	if [ -n "$words" ]; then
		mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
	else
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
	fi
}
complete -o filenames -F _dcsign dcsign
