#!/usr/bin/env bash
# The package, by exactly the files that Hex would put into it, as the dependency of a project: it compiles and runs. Called by
# bin/test. The copy stays, in _build/package, so that cargo finds it again.
set -euo pipefail

# shellcheck source=bin/support/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

export MIX_ENV=prod
export PALLADION_NIF_PROFILE=${PALLADION_NIF_PROFILE:-dev}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}

copy=$root/_build/package

main() {
  copy_package
  write_project
  cd "$copy/project"
  mix compile
  mix run --no-compile -e "$check"
}

copy_package() {
  rm -rf "$copy/palladion"
  mkdir -p "$copy/palladion"
  cd "$root"
  # Without Hex, as Hex expands them. With the files' times, for cargo looks at those.
  # The build of the tests is there already.
  MIX_ENV="test" mix run --no-compile --no-start --no-deps-check -e '
    for path <- Mix.Project.config()[:package][:files],
        file <- [path | Path.wildcard(path <> "/**", match_dot: true)],
        File.regular?(file),
        do: IO.puts(file)
  ' > "$copy/files"
  tar -cf - -T "$copy/files" | tar -xpf - -C "$copy/palladion"
  say "$(wc -l < "$copy/files") files"
}

write_project() {
  mkdir -p "$copy/project/lib"
  cat > "$copy/project/mix.exs" <<'E'
defmodule Project.MixProject do
  use Mix.Project
  def project, do: [app: :project, version: "0.1.0", deps: [{:palladion, path: "../palladion"}]]
  def application, do: [extra_applications: [:logger]]
end
E
}

# Nothing listens on port 1: the native library says so.
check='
  {:error, %Palladion.ConnectionError{reason: :no_connection, details: %{last_error: last_error}}} =
    Palladion.start_link(
      name: Project.DB,
      contact_points: ["127.0.0.1:1"],
      tls: [cacerts: :public_key.cacerts_get()],
      auth: [username: "user", password: "password"],
      sync_connect: 1_000
    )

  {:connection_refused, %{endpoint: "127.0.0.1:1"}} = last_error
  IO.puts("palladion #{Application.spec(:palladion, :vsn)} runs")
'

main
