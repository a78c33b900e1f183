# shellcheck shell=bash disable=SC2154
# The integration tests once for each version of the protocol, compression and Cassandra: a combination is written as
# 5.0.9/v4/lz4, and is one run of mix test. Sourced by bin/test and bin/soak, not run.

matrix_log=$root/_build/matrix

# Where bytes of the protocol matter and a real server reads or writes them.
protocol_files() {
  local name
  for name in answers batch lwt query request_options stream types; do
    echo "test/integration/${name}_test.exs"
  done
}

# What there is: version 5 has no Snappy.
all_combinations() {
  local server version compression
  for server in 5.0.9 4.1.10; do
    for version in v3 v4 v5; do
      for compression in none lz4 snappy; do
        [ "$version/$compression" = v5/snappy ] || echo "$server/$version/$compression"
      done
    done
  done
}

# Those that bin/test has time for; the suite itself runs with v5 and without compression.
main_combinations() { printf '%s\n' 5.0.9/v3/none 5.0.9/v4/snappy 5.0.9/v4/lz4 5.0.9/v5/lz4 4.1.10/v5/none; }

# Each combination with all that it starts, or with one server for all of the same version: `shared`.
run_matrix() { # own|shared COMBINATIONS FILES...
  local servers=$1 combinations=$2 combination file failed=0 server='' rows=()
  shift 2
  for combination in $combinations; do known_combination "$combination"; done
  # Mix says nothing about files that there are not, as long as there is one.
  for file in "$@"; do
    case $file in --*) break ;; esac
    [ -e "$file" ] || die "there is no $file"
  done
  mkdir -p "$matrix_log"
  for combination in $combinations; do
    if [ "$servers" = shared ] && [ "$server" != "${combination%%/*}" ]; then
      server=${combination%%/*}
      share "$server"
    elif [ "$servers" = shared ]; then
      "$root/bin/cassandra" clear "$matrix_server"
    fi
    run_combination "$combination" "$@" || failed=$((failed + 1))
    rows+=("$row")
  done
  [ "$servers" != shared ] || "$root/bin/cassandra" wipe "$matrix_server"
  printf '\n%-18s %6s  %s\n' combination time result
  printf '%s\n' "${rows[@]}"
  [ "$failed" = 0 ]
}

known_combination() { # COMBINATION
  all_combinations | grep -qx "$1" || die "there is no combination $1; there are: $(all_combinations | paste -sd ' ')"
}

# Whoever stops a server or needs another kind is left out then.
share() { # VERSION
  local ready
  matrix_server=matrix-$$
  "$root/bin/cassandra" wipe "$matrix_server"
  # Roles are kept for a minute, or each request would read them.
  ready=$(CASS_VERSION=$1 CASS_AUTH_VALIDITY=60s CASS_NAME=$matrix_server CASS_PORT=0 CASS_OWNER_PID=$$ \
    "$root/bin/cassandra" start tls | tail -n 1)
  PALLADION_TEST_SERVER=localhost:$(field port "$ready")
  PALLADION_TEST_CA=$(field ca "$ready")
  export PALLADION_TEST_SERVER PALLADION_TEST_CA
}

field() { [[ $2 =~ \ $1=([^ ]*) ]] && echo "${BASH_REMATCH[1]}"; } # NAME LINE

run_combination() { # COMBINATION FILES...: sets row
  local server version compression log start=$SECONDS code=0 result
  IFS=/ read -r server version compression <<<"$1"
  [ "$compression" != none ] || compression=
  log=$matrix_log/$(tr / - <<<"$1").log
  say "--> $1"
  CASS_VERSION=$server PALLADION_TEST_PROTOCOL=${version#v} PALLADION_TEST_COMPRESSION=$compression \
    mix test "${@:2}" >"$log" 2>&1 || code=$?
  result=$(grep -E '^([0-9]+ (doctests?|properties), )*[0-9]+ tests?, ' "$log" | tail -n 1) ||
    { result="no test was run, see $log"; code=1; }
  row=$(printf '%-18s %4d s  %s' "$1" $((SECONDS - start)) "$result")
  say "<-- $row"
  [ "$code" = 0 ] || cat "$log" >&2
  return "$code"
}
