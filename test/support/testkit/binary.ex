defmodule Palladion.Test.Testkit.Binary do
  @moduledoc """
  Finds the binary `palladion-testkit`, and examples of the driver: under `CARGO_TARGET_DIR`, or
  else `target`, of the cargo profile `PALLADION_NIF_PROFILE`, or else `dev`.
  """

  @root Path.expand("../../..", __DIR__)

  @doc "Where it is; it is built where it is missing or older than its sources."
  @spec path!() :: Path.t()
  def path! do
    binary = Path.join([target(), profile_dir(), "palladion-testkit"])
    unless fresh?(binary, ["cql", "testkit"]), do: build!(~w(-p palladion-testkit))
    binary
  end

  @doc "Where an example of the driver is; it is built likewise."
  @spec example!(String.t()) :: Path.t()
  def example!(name) do
    binary = Path.join([target(), profile_dir(), "examples", name])

    unless fresh?(binary, ["cql", "driver"]),
      do: build!(~w(-p palladion-driver --example #{name}))

    binary
  end

  @doc "Where cargo builds."
  @spec target() :: Path.t()
  def target, do: Path.expand(System.get_env("CARGO_TARGET_DIR") || "target", @root)

  defp profile, do: System.get_env("PALLADION_NIF_PROFILE") || "dev"

  defp profile_dir do
    case profile() do
      "dev" -> "debug"
      profile -> profile
    end
  end

  # Whether it is there and not older than what it is made of.
  defp fresh?(binary, crates) do
    sources =
      for crate <- crates,
          files <- ["Cargo.toml", "{src,examples}/**/*.{rs,txt}"],
          path <- Path.wildcard(Path.join([@root, "native", crate, files])),
          do: path

    case File.stat(binary, time: :posix) do
      {:ok, %{mtime: built}} ->
        Enum.all?(sources, &(File.stat!(&1, time: :posix).mtime <= built))

      {:error, :enoent} ->
        false
    end
  end

  defp build!(what) do
    cargo = System.find_executable("cargo") || raise "cargo is needed to build #{inspect(what)}"
    arguments = ["build" | what] ++ ["--profile", profile()]

    case System.cmd(cargo, arguments, cd: @root, stderr_to_stdout: true) do
      {_, 0} -> :ok
      {output, _} -> raise "cargo #{Enum.join(arguments, " ")}:\n#{output}"
    end
  end
end
