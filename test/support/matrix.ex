defmodule Palladion.Test.Matrix do
  @moduledoc """
  What the integration tests speak, and with whom, by variables of the environment:

    * `PALLADION_TEST_PROTOCOL` - `3`, `4` or `5`; without it the newest that the server speaks
    * `PALLADION_TEST_COMPRESSION` - `lz4` or `snappy`; without it nothing is compressed
    * `CASS_VERSION` - the Cassandra that is started, or whose version the one of `PALLADION_TEST_SERVER` has

  `Palladion.Test.Clusters` has the first two as options of every cluster; those that a test gives win. What one of them can't
  admit has a tag with the reason, and `test/test_helper.exs` excludes it:

      @tag needs_v4: "values that are unset"
      @tag needs_v5: "a keyspace for one request"
      @tag needs_cassandra_5: "vectors"
      @tag needs_uncompressed: "it counts bytes"

  `bin/soak matrix` runs all combinations.
  """

  @doc "What is asked for, as options of `protocol:`."
  @spec protocol() :: keyword
  def protocol do
    for {name, value} <- [version: version(), compression: compression()],
        value,
        do: {name, value}
  end

  @doc "The tags to exclude."
  @spec exclude() :: [atom]
  def exclude do
    newest = version() || if(compression() == :snappy, do: 4, else: 5)

    for {tag, true} <- [
          needs_v4: newest < 4,
          needs_v5: newest < 5,
          needs_cassandra_5: not cassandra_5?(),
          needs_uncompressed: compression() != nil
        ],
        do: tag
  end

  @doc "Whether the server is Cassandra 5.0 or newer, if nothing says otherwise."
  @spec cassandra_5?() :: boolean
  def cassandra_5? do
    {major, _rest} = "CASS_VERSION" |> System.get_env("5.0") |> Integer.parse()
    major >= 5
  end

  defp version do
    case System.get_env("PALLADION_TEST_PROTOCOL", "") do
      "" -> nil
      version when version in ["3", "4", "5"] -> String.to_integer(version)
    end
  end

  defp compression do
    case System.get_env("PALLADION_TEST_COMPRESSION", "") do
      "" -> nil
      name when name in ["lz4", "snappy"] -> String.to_atom(name)
    end
  end
end
