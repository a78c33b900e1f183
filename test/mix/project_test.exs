defmodule Palladion.MixProjectTest do
  use ExUnit.Case, async: true

  @root Path.expand("../..", __DIR__)

  defp covered?(file, files) do
    Enum.any?(files, &(file == &1 or String.starts_with?(file, &1 <> "/")))
  end

  test "the version is the same in Elixir and Rust" do
    manifest = File.read!(Path.join(@root, "Cargo.toml"))
    [_, version] = Regex.run(~r/\[workspace\.package\]\s+version = "([^"]+)"/, manifest)
    assert Mix.Project.config()[:version] == version
  end

  test "the package has what the native library is built of" do
    files = Mix.Project.config()[:package][:files]

    needed =
      for pattern <- [
            "Cargo.{toml,lock}",
            "mix.exs",
            "mix/*.exs",
            "lib/**/*.ex",
            "native/*/Cargo.toml",
            "native/*/build.rs",
            "native/*/src/**/*.rs"
          ],
          path <- Path.wildcard(Path.join(@root, pattern)),
          do: Path.relative_to(path, @root)

    assert "native/nif/Cargo.toml" in needed
    assert Enum.reject(needed, &covered?(&1, files)) == []
  end

  test "the package has nothing else" do
    files = Mix.Project.config()[:package][:files]
    assert files == Enum.uniq(files)

    for unwanted <- ~w(test config target _build .git native/driver/tests priv examples bench) do
      refute covered?(unwanted, files)
    end

    assert Enum.all?(files, &File.exists?(Path.join(@root, &1)))
  end

  test "the configuration that users copy is one" do
    config = Config.Reader.read!(Path.join(@root, "config/runtime.exs"), env: :dev)

    options =
      Keyword.merge(config[:palladion][Palladion.Dev], name: Palladion.Dev, tls: false, auth: nil)

    assert {:ok, %{contact_points: [%{port: 9042} | _]}} = Palladion.Config.parse(options)
  end
end
