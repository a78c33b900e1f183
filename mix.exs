unless Code.ensure_loaded?(Mix.Tasks.Compile.PalladionNif) do
  Code.require_file("mix/compile_nif.exs", __DIR__)
end

defmodule Palladion.MixProject do
  use Mix.Project

  # Cargo.toml has it too; test/mix/project_test.exs compares.
  @version "0.1.0"

  def project do
    [
      app: :palladion,
      version: @version,
      elixir: "~> 1.14",
      compilers: [:palladion_nif] ++ Mix.compilers(),
      elixirc_paths: elixirc_paths(Mix.env()),
      start_permanent: Mix.env() == :prod,
      deps: deps(),
      aliases: aliases(),
      name: "Palladion",
      description: "A secure connection service for Apache Cassandra and its relatives",
      package: package(),
      docs: docs()
    ]
  end

  def application do
    [
      mod: {Palladion.Application, []},
      extra_applications: [:logger, :crypto, :public_key, ssl: :optional]
    ]
  end

  defp elixirc_paths(:test), do: ["lib", "test/support"]
  defp elixirc_paths(_env), do: ["lib"]

  # None is needed, so the package builds without Hex. The optional ones are found at run
  # time; they stand here for their versions' sake.
  defp deps do
    if Code.ensure_loaded?(Hex) do
      [
        {:telemetry, "~> 1.0", optional: true},
        {:decimal, "~> 2.0", optional: true},
        {:ex_doc, "~> 0.34", only: :dev, runtime: false}
      ]
    else
      []
    end
  end

  defp aliases do
    [lint: ["format --check-formatted", "compile --warnings-as-errors"]]
  end

  defp package do
    [
      licenses: ["Apache-2.0"],
      links: %{},
      files: package_files()
    ]
  end

  # The testkit comes along because cargo reads the manifest of every workspace member.
  defp package_files do
    present([
      "lib",
      "mix",
      "mix.exs",
      "native/*/{Cargo.toml,build.rs,src}",
      "Cargo.toml",
      "Cargo.lock",
      "guides",
      "usage{,-rules.md}",
      "README.md",
      "CHANGELOG.md",
      "SECURITY.md",
      "LICENSE"
    ])
  end

  defp docs do
    [
      main: "readme",
      source_ref: "v#{@version}",
      extras: present(["README.md", "guides/*.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"]),
      groups_for_extras: [
        Logins: ["guides/authentication.md" | present(["guides/auth-*.md"])],
        Guides: ~r"guides/"
      ]
    ]
  end

  defp present(patterns) do
    for pattern <- patterns,
        path <- Path.wildcard(Path.join(__DIR__, pattern)),
        do: Path.relative_to(path, __DIR__)
  end
end
