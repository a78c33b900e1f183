defmodule Palladion.Test.Python do
  @moduledoc """
  An independent client to compare with: the Python driver, in an environment of its own that `bin/setup --test` makes in
  the cache. Tests with it carry the tag `:python`; `test/test_helper.exs` asks `exclude/0`.
  """

  @dir Path.expand("../python", __DIR__)

  @doc "The tags to exclude. A missing Python is told loudly."
  @spec exclude() :: [atom]
  def exclude do
    if File.exists?(python()) do
      []
    else
      IO.puts(:stderr, """

      ************************************************************************
      The comparison with an independent client is LEFT OUT: there is no
      #{python()}
      bin/setup --test makes it, where there is Python 3 with venv.
      ************************************************************************
      """)

      [:python]
    end
  end

  @doc """
  Has the client carry out orders, as lists of columns; gives the lines that it printed.
  """
  @spec run!(Palladion.Test.Cassandra.server(), [[term]]) :: [String.t()]
  def run!(server, orders) do
    name = "palladion-orders-#{System.pid()}-#{System.unique_integer([:positive])}"
    file = Path.join(System.tmp_dir!(), name)
    lines = for order <- orders, do: [Enum.map_intersperse(order, "\t", &to_string/1), "\n"]
    File.write!(file, lines)
    script = Path.join(@dir, "independent_client.py")
    arguments = [script, server.host, to_string(server.port), server.cacertfile || "", file]

    login = [
      {"PALLADION_TEST_USER", server.username},
      {"PALLADION_TEST_PASSWORD", server.password}
    ]

    {output, status} = System.cmd(python(), arguments, env: login)
    File.rm!(file)
    if status != 0, do: raise("the Python driver failed; standard error has the reason")
    String.split(output, "\n", trim: true)
  end

  # As bin/support/common.sh and bin/setup say it.
  defp python do
    requirement = [@dir, "requirements.txt"] |> Path.join() |> File.read!() |> String.trim()
    environment = "python-" <> String.replace(requirement, "==", "-")
    Path.join([cache(), environment, "bin", "python"])
  end

  defp cache do
    System.get_env("PALLADION_CACHE") ||
      Path.join(System.get_env("XDG_CACHE_HOME") || Path.expand("~/.cache"), "palladion")
  end
end
