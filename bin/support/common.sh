# shellcheck shell=bash disable=SC2034
# What the scripts in bin/ share: where things are. Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# What is fetched or built once for all checkouts: Cassandra's jars, test certificates, cargo-deny, cargo-fuzz.
cache=${PALLADION_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/palladion}

# Both are where their installers put them, which not every shell's PATH knows.
PATH=$cache/tools/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

# Elixir warns about, and prints names wrongly in, a locale without UTF-8.
[ -n "${LC_ALL:-${LC_CTYPE:-${LANG:-}}}" ] || export LANG=C.UTF-8

# Hex is not needed, and where it is installed it would want its packages fetched first.
export MIX_ARCHIVES=$root/_build/no-archives

say() { echo "$*" >&2; }
die() { say "bin/$(basename "$0"): $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

quietly() { # COMMAND...: what it says is only of interest when it fails
  local output code=0
  output=$("$@" 2>&1) || code=$?
  [ "$code" = 0 ] || say "$output"
  return "$code"
}
