defmodule Palladion.Integration.CompressionTest do
  @moduledoc "What is compressed, with each version of the protocol that has it: whatever its size, it arrives as it was."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Test.Cassandra

  @moduletag :cassandra
  @moduletag timeout: 240_000

  @slow [timeout: 60_000]
  # Less than 4 MiB, which is as much as the server takes at once; four of them are read at once.
  @long 2_500_000
  @rows 20_000

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, timeout: 60_000))
    :ok = Palladion.await_ready(__MODULE__, 30_000)

    keyspace!(__MODULE__, "compressed")

    for statement <- [
          "CREATE TABLE IF NOT EXISTS compressed.large (name text, n int, data blob, PRIMARY KEY (name, n))",
          "CREATE TABLE IF NOT EXISTS compressed.many (part int, n int, words text, PRIMARY KEY (part, n))"
        ],
        do: Palladion.query!(__MODULE__, statement, [], @slow)

    insert = "INSERT INTO compressed.many (part, n, words) VALUES (1, ?, ?)"

    for numbers <- Enum.chunk_every(1..@rows, 200) do
      inserts = for n <- numbers, do: {insert, [n, words(n)]}
      Palladion.batch!(__MODULE__, inserts, [type: :unlogged, idempotent: true] ++ @slow)
    end

    %{server: server}
  end

  defp words(n), do: "the words of the row with the number #{n}, and some that all rows have"

  for {version, compression} <- [{3, :lz4}, {3, :snappy}, {4, :lz4}, {4, :snappy}, {5, :lz4}] do
    describe "version #{version} with #{compression}:" do
      setup %{server: server} do
        version = unquote(version)
        compression = unquote(compression)
        protocol = [version: version, compression: compression]
        name = ready_cluster!(server, protocol: protocol, pool: [size: 2], timeout: 60_000)
        spoken!(name, version, to_string(compression))
        %{name: name}
      end

      test "values of 10 MB in all, of one byte again and again and of all by chance", context do
        for {what, data} <- [
              {"none", ""},
              {"one", "x"},
              {"zeros", :binary.copy(<<0>>, @long)},
              {"random", :crypto.strong_rand_bytes(@long)}
            ] do
          insert = "INSERT INTO compressed.large (name, n, data) VALUES (?, ?, ?)"
          options = [idempotent: true, retry: {:default, max_attempts: 10}] ++ @slow
          for n <- 1..4, do: Palladion.query!(context.name, insert, [what, n, data], options)

          select = "SELECT data FROM compressed.large WHERE name = ?"
          rows = Palladion.query!(context.name, select, [what], [rows: :lists] ++ options).rows
          # Compared here, for a difference would be shown in full.
          assert {what, rows == List.duplicate([data], 4)} == {what, true}
        end
      end

      test "pages of any size", %{name: name} do
        expected = for n <- 1..@rows, do: {n, words(n)}
        select = "SELECT n, words FROM compressed.many WHERE part = ?"

        for size <- [500, 5_000, :infinity] do
          options = [page_size: size, rows: :tuples] ++ @slow
          rows = name |> Palladion.stream(select, [1], options) |> Enum.to_list()
          assert {size, length(rows), rows == expected} == {size, @rows, true}
        end
      end

      test "many at a time", %{name: name} do
        select = "SELECT n, words FROM compressed.many WHERE part = 1 AND n = ?"

        1..2_000
        |> Task.async_stream(
          fn n ->
            assert Palladion.query!(name, select, [n], @slow).rows == [
                     %{"n" => n, "words" => words(n)}
                   ]
          end,
          max_concurrency: 64,
          timeout: :infinity
        )
        |> Stream.run()
      end
    end
  end

  defp spoken!(name, version, compression) do
    {:ok, status} = Palladion.status(name)

    for connection <- [status.control | Enum.flat_map(status.endpoints, & &1.connections)] do
      assert {connection.protocol_version, connection.compression} == {version, compression}
    end
  end
end
