defmodule Palladion.Integration.QueriesGuideTest do
  @moduledoc "Runs what stands in guides/queries.md, from its first line to its last."

  use ExUnit.Case, async: false

  import ExUnit.CaptureIO
  import Palladion.Test.Clusters

  alias Palladion.Test.{Cassandra, Guide}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag needs_v5: "it shows a keyspace for one request"

  test "every example does what it says" do
    server = Cassandra.server()
    {:ok, _} = start_supervised({Palladion, options(server, name: MyApp.DB, timeout: 60_000)})
    :ok = Palladion.await_ready(MyApp.DB, 60_000)
    Palladion.query!(MyApp.DB, "DROP KEYSPACE IF EXISTS shop")

    for block <- Guide.blocks("queries", "cql"),
        statement <- String.split(block, ";", trim: true),
        String.trim(statement) != "",
        do: Palladion.query!(MyApp.DB, statement)

    blocks = Guide.blocks("queries", "elixir")
    assert length(blocks) > 20

    printed =
      capture_io(fn ->
        Enum.reduce(blocks, [], fn block, bindings -> run(examples(block), bindings) end)
      end)

    assert printed =~ ~r/^\d+ µs  127\.0\.0\.1  \S/m
    assert mailbox() == []
  end

  # Code, and the value that stands behind it, if one does.
  defp examples(block) do
    for [_all, code | value] <- Regex.scan(~r/(.+?)(?:^#=> (.+?)$|\z)/ms, block),
        String.trim(code) != "",
        do: {code, List.first(value)}
  end

  defp run(examples, bindings) do
    Enum.reduce(examples, bindings, fn {code, expected}, bindings ->
      {value, bindings} = Code.eval_string(code, bindings)
      if expected, do: assert({value, []} == Code.eval_string(expected), code)
      bindings
    end)
  end
end
