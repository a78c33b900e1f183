defmodule Palladion.Test.Python do
  @moduledoc """
  Independent clients to compare with: the Python driver, and Amazon's plugin for it, each in an environment of its own that
  `bin/setup --test` makes in the cache. Tests with them carry the tags `:python` and `:python_sigv4`; `test/test_helper.exs`
  asks `exclude/0`.
  """

  @dir Path.expand("../python", __DIR__)

  # What each needs, as bin/setup knows it.
  @requirements [python: "requirements.txt", python_sigv4: "requirements-sigv4.txt"]

  @doc "The tags to exclude. A missing Python is told loudly."
  @spec exclude() :: [atom]
  def exclude do
    for {tag, requirements} <- @requirements, not File.exists?(python(requirements)) do
      IO.puts(:stderr, """

      ************************************************************************
      The comparison with an independent client is LEFT OUT: there is no
      #{python(requirements)}
      bin/setup --test makes it, where there is Python 3 with venv.
      ************************************************************************
      """)

      tag
    end
  end

  @doc """
  Has Amazon's plugin answer challenges: lists of region, access key id, secret, session token or `-`, Unix time in ms, and
  challenge in hexadecimal digits. Gives the responses, likewise.
  """
  @spec sign!([[term]]) :: [String.t()]
  def sign!(orders), do: run!("requirements-sigv4.txt", "sigv4_plugin.py", [], orders, [])

  @doc """
  Has the client carry out orders, as lists of columns; gives the lines that it printed.
  """
  @spec run!(Palladion.Test.Cassandra.server(), [[term]]) :: [String.t()]
  def run!(server, orders) do
    arguments = [server.host, to_string(server.port), server.cacertfile || ""]

    login = [
      {"PALLADION_TEST_USER", server.username},
      {"PALLADION_TEST_PASSWORD", server.password}
    ]

    run!("requirements.txt", "independent_client.py", arguments, orders, login)
  end

  defp run!(requirements, script, arguments, orders, env) do
    name = "palladion-orders-#{System.pid()}-#{System.unique_integer([:positive])}"
    file = Path.join(System.tmp_dir!(), name)
    lines = for order <- orders, do: [Enum.map_intersperse(order, "\t", &to_string/1), "\n"]
    File.write!(file, lines)
    command = [Path.join(@dir, script)] ++ arguments ++ [file]
    {output, status} = System.cmd(python(requirements), command, env: env)
    File.rm!(file)
    if status != 0, do: raise("#{script} failed; standard error has the reason")
    String.split(output, "\n", trim: true)
  end

  # As bin/support/common.sh and bin/setup say it.
  defp python(requirements) do
    requirement = [@dir, requirements] |> Path.join() |> File.read!() |> String.trim()
    environment = "python-" <> String.replace(requirement, "==", "-")
    Path.join([cache(), environment, "bin", "python"])
  end

  defp cache do
    System.get_env("PALLADION_CACHE") ||
      Path.join(System.get_env("XDG_CACHE_HOME") || Path.expand("~/.cache"), "palladion")
  end
end
