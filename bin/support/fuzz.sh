#!/usr/bin/env bash
# Gives the protocol's readers bytes that no server would send: each fuzz target of native/cql/fuzz for PALLADION_SOAK_FUZZ
# seconds. Called by bin/soak. What earlier runs have learnt stays in target/fuzz, and a run goes on from there.
set -euo pipefail

# shellcheck source=bin/support/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

cargo_fuzz=0.13.2
seconds=${PALLADION_SOAK_FUZZ:-600}
read -ra targets <<<"${PALLADION_FUZZ_TARGETS:-frames segments results types supported}"
fuzz=native/cql/fuzz
# Its own: another toolchain builds there.
work=${CARGO_TARGET_DIR:-$root/target}/fuzz

main() {
  cd "$root"
  have c++ || skip "libFuzzer needs a C++ compiler"
  find_toolchain
  install_cargo_fuzz
  cargo run --quiet --locked --package palladion-cql --example fuzz-seeds -- "$work/seeds"
  export CARGO_TARGET_DIR=$work
  [ -n "$toolchain" ] || export RUSTC_BOOTSTRAP=1
  say "==> fuzz: building (once some minutes) …"
  quietly cargo_fuzz build
  local target failed=()
  for target in "${targets[@]}"; do run "$target" || failed+=("$target"); done
  [ "${#failed[@]}" = 0 ] || die "found something: ${failed[*]}"
}

skip() { say "==> fuzz: SKIPPED, nothing was checked: $1"; exit 0; }

# Sanitizers are of nightly Rust; where there is none, the one there is may be talked into it.
find_toolchain() {
  toolchain=+nightly sanitizer=address
  if ! rustc +nightly --version >/dev/null 2>&1; then
    say "no nightly Rust here (rustup toolchain install nightly --profile minimal): it goes without"
    toolchain=
  fi
  can_build -Zsanitizer=address && return
  say "no address sanitizer here: only panics and assertions are found"
  sanitizer=none
  can_build -Cpasses=sancov-module || skip "neither a sanitizer nor coverage works with this Rust"
}

can_build() { # FLAG
  local probe code=0
  probe=$(mktemp)
  # shellcheck disable=SC2086 # no toolchain is no word
  { echo 'fn main() {}' | RUSTC_BOOTSTRAP=1 rustc $toolchain "$1" -o "$probe" - && "$probe"; } >/dev/null 2>&1 || code=$?
  rm -f "$probe"
  return "$code"
}

install_cargo_fuzz() {
  ! has_cargo_fuzz || return 0
  say "bin/soak: building cargo-fuzz $cargo_fuzz (once) …"
  mkdir -p "$cache/tools"
  (
    flock 9
    ! has_cargo_fuzz || exit 0
    build=$(mktemp -d)
    trap 'rm -rf "$build"' EXIT
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 CARGO_INCREMENTAL=0 \
      cargo install --quiet --locked --debug --root "$cache/tools" --target-dir "$build" "cargo-fuzz@$cargo_fuzz"
  ) 9>"$cache/tools.lock"
}

has_cargo_fuzz() { [ "$(cargo-fuzz --version 2>/dev/null)" = "cargo-fuzz $cargo_fuzz" ]; }

run() { # TARGET
  local corpus=$work/corpus/$1 log=$work/$1.log dictionary=$fuzz/$1.dict
  local options=(-max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=1024 -malloc_limit_mb=256
    -print_final_stats=1)
  [ ! -e "$dictionary" ] || options+=("-dict=$dictionary")
  mkdir -p "$corpus"
  say "==> fuzz $1: $seconds s"
  if ! cargo_fuzz run "$1" "$corpus" "$work/seeds/$1" -- "${options[@]}" >"$log" 2>&1; then
    grep -vE '^#[0-9]+|^Step ' "$log" | tail -n 60 >&2
    say "<== fuzz $1: FAILED; all of it is in $log. The bytes are in $fuzz/artifacts/$1; for each:"
    say "  CARGO_TARGET_DIR=$work cargo $toolchain fuzz run --fuzz-dir $fuzz --sanitizer $sanitizer $1 FILE"
    say "What it was becomes a test in native/cql/tests/fuzz.rs."
    return 1
  fi
  say "<== fuzz $1: $(executions "$log") inputs, coverage $(coverage INITED "$log") at first, $(coverage DONE "$log") at last"
}

cargo_fuzz() { # COMMAND ARGUMENT...
  local command=$1
  shift
  # shellcheck disable=SC2086 # no toolchain is no word
  cargo $toolchain fuzz "$command" --fuzz-dir "$fuzz" --sanitizer "$sanitizer" "$@"
}

executions() { sed -n 's/^stat::number_of_executed_units: *//p' "$1"; }
coverage() { sed -n "s/^#[0-9]*[[:space:]]*$1 *cov: *\([0-9]*\).*/\1/p" "$2" | tail -n 1; }

main "$@"
