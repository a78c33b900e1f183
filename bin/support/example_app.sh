#!/usr/bin/env bash
# examples/app as a release, on a real server: it starts, writes, reads, and ends well when it is told to. Called by bin/test.
set -euo pipefail

# shellcheck source=bin/support/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# shellcheck source=bin/support/example_server.sh
. "$(dirname "${BASH_SOURCE[0]}")/example_server.sh"

export MIX_ENV=prod
export PALLADION_NIF_PROFILE=${PALLADION_NIF_PROFILE:-dev}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}
export CASS_NAME=example-$$ CASS_PORT=0 CASS_OWNER_PID=$$

app=$root/examples/app
guestbook=$app/_build/prod/rel/guestbook/bin/guestbook

# Erlang's distribution, for rpc, on this machine only and with a name server of our own.
export RELEASE_DISTRIBUTION=name RELEASE_NODE=guestbook-$$@127.0.0.1
export ERL_EPMD_ADDRESS=127.0.0.1 ERL_EPMD_PORT=$((20000 + $$ % 12000))

main() {
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  cd "$app"
  mix compile --warnings-as-errors
  mix release --overwrite --quiet
  server
  start
  expect "writes" ':ok' "Guestbook.sign($$, \"Homer\", \"Sing, goddess\")"
  expect "reads" '[{"Homer", "Sing, goddess"}]' \
    "Guestbook.entries($$) |> Enum.map(&{&1[\"guest\"], &1[\"message\"]})"
  expect "has TLS" ':"tlsv1.3"' '{:ok, status} = Palladion.status(Guestbook.DB)
    hd(hd(status.endpoints).connections).tls.version'
  expect "examines its server" 'true' \
    "Palladion.Doctor.run_all(otp_app: :guestbook, name: Guestbook.DB) |> Palladion.Doctor.Report.ok?()"
  terminate
}

pid=''
start() {
  local end=$((SECONDS + 60))
  "$guestbook" start &
  pid=$!
  while [ "$SECONDS" -lt "$end" ]; do
    ! rpc '{:guestbook, _, _} = List.keyfind(Application.started_applications(), :guestbook, 0)' || return 0
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.5
  done
  die "the release did not start"
}

rpc() { "$guestbook" rpc "$1" >/dev/null 2>&1; }

expect() { # WHAT RESULT EXPRESSION
  local found
  found=$("$guestbook" rpc "IO.inspect(($3))") || die "the release: $1: rpc failed"
  [ "$found" = "$2" ] || die "the release: $1: got $found, not $2"
  say "the release $1"
}

terminate() {
  local begin=$SECONDS code=0
  kill -TERM "$pid"
  wait "$pid" || code=$?
  pid=''
  [ "$code" = 0 ] || die "the release ended with $code after a SIGTERM"
  [ $((SECONDS - begin)) -lt 5 ] || die "the release took $((SECONDS - begin)) s to end"
  say "the release ends with 0 on a SIGTERM"
}

# shellcheck disable=SC2317 # called by trap
clean_up() {
  trap '' INT TERM
  [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
  for epmd in "$app"/_build/prod/rel/guestbook/erts-*/bin/epmd; do "$epmd" -kill >/dev/null 2>&1 || true; done
  "$root/bin/cassandra" wipe "$CASS_NAME" 2>/dev/null || true
}

main
