#!/usr/bin/env bash
# examples/erlang on a real server: it compiles without warnings, writes, reads and handles errors. Called by bin/test.
set -euo pipefail

# shellcheck source=bin/support/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=bin/support/example_server.sh
. "$(dirname "${BASH_SOURCE[0]}")/example_server.sh"

export MIX_ENV=prod
export PALLADION_NIF_PROFILE=${PALLADION_NIF_PROFILE:-dev}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export CASS_NAME=erlang-$$ CASS_PORT=0 CASS_OWNER_PID=$$

main() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  build=$(mktemp -d)
  cd "$root"
  mix compile --warnings-as-errors
  erlc -Wall -Werror -o "$build" examples/erlang/heroes.erl
  server
  ERL_LIBS=$(elixir -e 'IO.puts(Path.dirname(:code.lib_dir(:elixir)))'):$root/_build/prod/lib
  export ERL_LIBS
  printed=$(ERL_CRASH_DUMP_SECONDS=0 timeout 60 erl +Bd +pc unicode -noshell -pa "$build" -s heroes main -s init stop) || die "heroes failed: $printed"
  say "$printed"
  expect "Ἀχιλλεύς, 29 ships"
  expect "Ἕκτωρ"
  expect "server refused the request (invalid, code 0x2200):"
  expect "request not sent (bad_value):"
  expect "done"
}

expect() { # LINE: how it begins
  while read -r line; do
    case $line in "$1"*) return ;; esac
  done <<<"$printed"
  die "heroes did not print: $1"
}

build=''
# shellcheck disable=SC2317 # called by trap
clean_up() {
  trap '' INT TERM
  [ -z "$build" ] || rm -rf "$build"
  "$root/bin/cassandra" wipe "$CASS_NAME" 2>/dev/null || true
}

main
