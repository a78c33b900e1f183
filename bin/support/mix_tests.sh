#!/usr/bin/env bash
# `mix test` in two VMs at a time, for the tests wait more than they compute: one has the files that ask for a single Cassandra, so
# that shared nodes are started once, the other has the rest. Those of real clusters, whose nodes must answer in time, come after
# them, alone. Called by bin/test.
set -euo pipefail

# shellcheck source=bin/support/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

main() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  cd "$root"
  local servers others code=0
  # A file on the wrong side costs time, and nothing else: either side can start what it needs.
  mapfile -t servers < <(tests -l)
  mapfile -t others < <(tests -L)
  mix compile
  log=$(mktemp)
  mix test --no-compile "${others[@]}" >"$log" 2>&1 &
  child=$!
  mix test --no-compile "${servers[@]}" || code=$?
  wait "$child" || code=$?
  child=''
  say "the other ${#others[@]} files:"
  cat "$log"
  say "those of real clusters:"
  mix test --no-compile test/integration/cluster_*_test.exs || code=$?
  exit "$code"
}

tests() { # -l|-L: the files with a match, or without
  find test -name '*_test.exs' ! -path 'test/integration/cluster_*' \
    -exec grep "$1" -E 'Cassandra\.server|SeedServers|RoundTrips' {} + | sort
}

log='' child=''
# shellcheck disable=SC2317 # called by trap
clean_up() {
  trap '' INT TERM
  [ -z "$child" ] || { kill "$child"; wait "$child"; } 2>/dev/null || true
  [ -z "$log" ] || rm -f "$log"
}

main
