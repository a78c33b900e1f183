defmodule Palladion.Integration.SchemaReadsTest do
  @moduledoc """
  How the schema is asked for, of servers that answer in their own way.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{ConnectionError, Error, Schema}
  alias Palladion.Schema.{Table, Type}
  alias Palladion.Test.Testkit

  @moduletag :capture_log

  setup do
    server = Testkit.start_server(tls: false)
    %{server: server, name: ready_cluster!(server)}
  end

  @key "keyspace_name text, table_name text, column_name text, kind text, position int, type text"

  defp rows(server, contains, columns, rows, more \\ []) do
    {reaction, condition} = Keyword.split(more, [:paging_state])
    reaction = {:rows, [columns: columns, rows: rows] ++ reaction}
    Testkit.rule(server, [contains: contains, reaction: reaction] ++ condition)
  end

  defp refuse(server, contains, code) do
    reaction = {:error, code: code, message: "no"}
    Testkit.rule(server, contains: contains, reaction: reaction)
  end

  test "all questions are on their way before the first is answered", context do
    Testkit.rule(context.server, contains: "system_schema", reaction: :never)
    reader = Task.async(fn -> Schema.read(context.name, timeout: 1_000) end)
    Testkit.wait(context.server, query: {:min, 8})

    assert {:error, %ConnectionError{reason: :timeout, details: %{timeout: 1_000}}} =
             Task.await(reader)
  end

  test "there is one deadline for all, and nothing arrives after it", context do
    Testkit.rule(context.server, contains: "system_schema.columns", delay: 300, reaction: :void)
    assert {:error, %ConnectionError{reason: :timeout}} = Schema.read(context.name, timeout: 50)
    assert {:error, %ConnectionError{reason: :timeout}} = Schema.read(context.name, timeout: 0)

    eventually("no answer is under way", fn ->
      {:ok, status} = Palladion.status(context.name)
      status.orphans == 0 and status.in_flight == 0
    end)

    assert mailbox() == []
  end

  test "further pages are asked for", context do
    %{server: server, name: name} = context
    keyspaces = "system_schema.keyspaces"
    rows(server, keyspaces, "keyspace_name text", "('a'), ('b')", paging_state: <<1>>, times: 1)
    rows(server, keyspaces, "keyspace_name text", "('c')", paging_state: <<2>>, times: 1)
    rows(server, keyspaces, "keyspace_name text", "('d')")

    assert {:ok, schema} = Schema.read(name)
    assert Map.keys(schema.keyspaces) == ["a", "b", "c", "d"]
  end

  test "a server needs no more than keyspaces, tables and columns", context do
    %{server: server, name: name} = context
    rows(server, "system_schema.keyspaces", "keyspace_name text", "('shop')")
    rows(server, "system_schema.tables", "keyspace_name text, table_name text", "('shop', 't')")

    rows(
      server,
      "system_schema.columns",
      @key,
      "('shop', 't', 'id', 'partition_key', 0, 'int')"
    )

    refuse(server, "system_virtual_schema.keyspaces", 0x2200)
    refuse(server, "system_virtual_schema", 0x2100)

    for table <- ~w(indexes views types functions aggregates),
        do: refuse(server, "system_schema.#{table}", 0x2200)

    assert {:ok, schema} = Schema.read(name, system: true)
    assert %Table{partition_key: ["id"], options: none} = Schema.table(schema, "shop", "t")
    assert none == %{}
  end

  test "what can't be read otherwise is an error", context do
    for {table, code, reason} <- [
          {"system_schema.tables", 0x2200, :invalid},
          {"system_schema.views", 0x2100, :unauthorized},
          {"system_virtual_schema.tables", 0x0000, :server_error}
        ] do
      Testkit.clear_rules(context.server)
      refuse(context.server, table, code)
      assert {:error, %Error{reason: ^reason}} = Schema.read(context.name, system: true)
    end

    assert mailbox() == []
  end

  test "a name is quoted", context do
    %{server: server, name: name} = context
    rows(server, "system_schema.keyspaces", "keyspace_name text", "('it''s')")
    asked = "SELECT * FROM system_schema.types WHERE keyspace_name = 'it''s'"
    columns = "keyspace_name text, type_name text"
    reaction = {:rows, columns: columns, rows: "('it''s', 'address')"}
    Testkit.rule(server, equals: asked, reaction: reaction)

    assert {:ok, schema} = Schema.read(name, keyspace: "it's")
    assert %{"address" => %Type{fields: []}} = schema.keyspaces["it's"].types
  end

  test "the first of an option that is repeated counts", %{server: server, name: name} do
    rows(server, "system_schema.keyspaces", "keyspace_name text", "('shop')")
    assert {:ok, schema} = Schema.read(name, keyspace: "shop", keyspace: "none")
    assert Map.keys(schema.keyspaces) == ["shop"]
  end
end
