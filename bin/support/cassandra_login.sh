# shellcheck shell=bash disable=SC2154
# A very small CQL client, for bin/cassandra; sourced, not run.
#
# Only an answered login shows that a node is ready: the port opens before the superuser exists. This says what it
# must in protocol v4, so that nothing has to be installed for it. An authenticator that takes the certificate doesn't look at the
# password that it gets all the same.

# Prints the addresses of the peers whose row is complete; fails if a login doesn't work.
peers() { # NAME
  ask "$1" 'SELECT JSON peer, native_address, host_id, data_center, rack, schema_version, tokens FROM system.peers_v2' |
    sed -n '/null/d; s/.*{"peer": "\([^"]*\)".*}.*/\1/p'
}

# Where a certificate is the login it needs a role. The first role that has one could be made by nobody, so nodes without the
# fallback begin with it.
know_identities() { # NAME...
  local name variant
  read -r variant _ < "$CASS_RUN/$1/node"
  case $variant in mtlsauth | mtlsfallback) ;; *) return 0 ;; esac
  if ! ask "$1" "CREATE ROLE app WITH LOGIN = true AND SUPERUSER = true" >/dev/null ||
    ! ask "$1" "ADD IDENTITY 'spiffe://test/client' TO ROLE 'app'" >/dev/null; then
    die "$1 did not take the identity of client.crt"
  fi
  [ "$variant" = mtlsauth ] || return 0
  end TERM "$@"
  for name in "$@"; do refuse_passwords "$name"; locked "$CASS_RUN/.lock" launch "$name"; done
  for name in "$@"; do await "$name"; done
}

# Prints what is text of a query's result.
ask() ( # NAME QUERY
  connect "$1" && call "$startup" '\x00\x01\x00\x0bCQL_VERSION\x00\x053.0.0' || exit
  if [ "$opcode" = "$authenticate" ]; then
    call "$auth_response" '\x00\x00\x00\x14\x00cassandra\x00cassandra' && [ "$opcode" = "$auth_success" ] || exit
  fi
  call "$run_query" "$(big_endian ${#2})$2\x00\x01\x00" && [ "$opcode" = "$result" ] || exit
  printf '%b' "$(printf '\\x%s' "${body[@]}")" | LC_ALL=C tr -c '[:print:]' '\n'
) 2>/dev/null

startup=01 authenticate=03 run_query=07 result=08 auth_response=0f auth_success=10

connect() { # NAME: sets in and out
  local variant host port certs
  read -r variant host port _ < "$CASS_RUN/$1/node"
  if [ "$variant" = plain ] || optional_tls "$1"; then
    exec {in}<>"/dev/tcp/$host/$port"; out=$in
  else
    certs=$(certs_of "$1")
    coproc openssl s_client -quiet -connect "$host:$port" -CAfile "$certs/ca.crt" -verify_return_error \
      -cert "$certs/client.crt" -key "$certs/client.key"
    # shellcheck disable=SC2064 # the pid of now
    trap "kill $COPROC_PID" EXIT
    exec {in}<&"${COPROC[0]}" {out}>&"${COPROC[1]}"
  fi
}

call() { # OPCODE BODY: sets opcode and body, as hex bytes
  local header length
  # shellcheck disable=SC2059 # the escapes are the format
  length=$(big_endian "$(printf "$2" | wc -c)")
  # shellcheck disable=SC2059
  printf "\x04\x00\x00\x01\x$1$length$2" >&"$out" || return
  read -ra header <<<"$(receive 9)"
  [ "${#header[@]}" = 9 ] || return
  opcode=${header[4]}
  read -ra body <<<"$(receive $((16#${header[5]}${header[6]}${header[7]}${header[8]})))"
}

big_endian() { printf '%08x' "$1" | sed 's/../\\x&/g'; }

receive() { timeout 10 dd bs=1 count="$1" status=none <&"$in" | od -An -v -tx1 | tr '\n' ' '; }
