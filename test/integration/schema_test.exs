defmodule Palladion.Integration.SchemaTest do
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{Error, Schema}
  alias Palladion.Schema.{Aggregate, Column, Function, Index, Keyspace, Table, Type, View}
  alias Palladion.Test.Cassandra

  @moduletag :cassandra
  @slow [timeout: 30_000]

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__))
    :ok = Palladion.await_ready(__MODULE__, 30_000)
    keyspace!(__MODULE__, "schemas")

    for statement <- [
          "CREATE TYPE IF NOT EXISTS schemas.address " <>
            "(street text, zip frozen<tuple<int, text>>, \"Lines\" list<text>)",
          """
          CREATE TABLE IF NOT EXISTS schemas."Orders" (
            shop int, "Region" text, at timestamp, id timeuuid, owner text static, area text static,
            to_address frozen<address>, tags map<text, frozen<list<int>>>, note text,
            PRIMARY KEY ((shop, "Region"), at, id)
          ) WITH CLUSTERING ORDER BY (at DESC, id ASC) AND comment = 'it''s all of them'
            AND gc_grace_seconds = 3600
          """,
          "CREATE TABLE IF NOT EXISTS schemas.counts (id int PRIMARY KEY, n counter)"
        ] do
      Palladion.query!(__MODULE__, statement, [], @slow)
    end

    :ok
  end

  defp orders do
    {:ok, schema} = Schema.read(__MODULE__, keyspace: "schemas")
    Schema.table(schema, "schemas", "Orders")
  end

  test "a table is as it was created" do
    table = orders()

    assert [
             %Column{name: "shop", type: "int", kind: :partition_key, position: 0},
             %Column{name: "Region", type: "text", kind: :partition_key, position: 1},
             %Column{name: "at", kind: :clustering, position: 0, clustering_order: :desc},
             %Column{name: "id", kind: :clustering, position: 1, clustering_order: :asc},
             %Column{name: "area", type: "text", kind: :static, position: nil},
             %Column{name: "owner", type: "text", kind: :static, clustering_order: nil},
             %Column{name: "note", type: "text", kind: :regular},
             %Column{name: "tags", type: "map<text, frozen<list<int>>>", kind: :regular},
             %Column{name: "to_address", type: "frozen<address>", kind: :regular}
           ] = table.columns

    assert Table.primary_key(table) == ["shop", "Region", "at", "id"]
    assert table.clustering_order == [{"at", :desc}, {"id", :asc}]
    assert table.options["comment"] == "it's all of them"
    assert table.options["gc_grace_seconds"] == 3600
    assert %{"class" => _, "min_threshold" => "4"} = table.options["compaction"]
    assert table.flags == ["compound"]
    assert table.id =~ ~r/^[0-9a-f]{8}-/
  end

  test "a keyspace has its replication, its types and its counters" do
    assert {:ok, %Schema{keyspaces: keyspaces}} = Schema.read(__MODULE__, keyspace: "schemas")
    assert %{"schemas" => keyspace} = keyspaces
    assert map_size(keyspaces) == 1
    assert %Keyspace{name: "schemas", durable_writes: true, virtual?: false} = keyspace
    assert %{"class" => class, "replication_factor" => "1"} = keyspace.replication
    assert class =~ "SimpleStrategy"
    assert "counter" in keyspace.tables["counts"].flags

    assert keyspace.types["address"] == %Type{
             keyspace: "schemas",
             name: "address",
             fields: [
               {"street", "text"},
               {"zip", "frozen<tuple<int, text>>"},
               {"Lines", "list<text>"}
             ]
           }
  end

  test "the system's keyspaces are there when asked for" do
    assert {:ok, users} = Schema.read(__MODULE__)
    assert {:ok, all} = Schema.read(__MODULE__, system: true)
    assert is_map_key(users.keyspaces, "schemas")
    refute is_map_key(users.keyspaces, "system")
    assert Schema.table(all, "system", "local").partition_key == ["key"]
    assert all.keyspaces["schemas"] == users.keyspaces["schemas"]

    assert {:ok, %{keyspaces: only}} = Schema.read(__MODULE__, keyspace: "system_schema")
    assert only == Map.take(all.keyspaces, ["system_schema"])
  end

  @tag :managed_server
  test "virtual keyspaces too" do
    assert {:ok, schema} = Schema.read(__MODULE__, keyspace: "system_views")
    assert %Keyspace{virtual?: true, replication: none} = schema.keyspaces["system_views"]
    assert none == %{}
    assert %Table{id: nil, columns: [_ | _]} = Schema.table(schema, "system_views", "clients")
  end

  test "the columns of every table are those of SELECT *, in its order" do
    assert {:ok, schema} = Schema.read(__MODULE__, system: true)

    for {keyspace, %{tables: tables}} <- schema.keyspaces, {name, table} <- tables do
      select = ~s(SELECT * FROM "#{keyspace}"."#{name}")
      prepared = Palladion.prepare!(__MODULE__, select, @slow)

      assert Enum.map(prepared.columns, &elem(&1, 0)) == Enum.map(table.columns, & &1.name)
    end
  end

  test "a keyspace that isn't there is an error that knows a better name" do
    for {name, suggestion} <- [{"Schemas", "schemas"}, {"shemas", "schemas"}] do
      assert {:error, %Error{reason: :invalid, code: nil} = error} =
               Schema.read(__MODULE__, keyspace: name)

      assert error.details == %{keyspace: name}

      assert Exception.message(error) ==
               ~s(there is no keyspace "#{name}", did you mean "#{suggestion}"?)
    end

    assert {:error, error} = Schema.read(__MODULE__, keyspace: "x' OR '")
    assert Exception.message(error) == ~s(there is no keyspace "x' OR '")
  end

  @tag :managed_server
  @tag needs_cassandra_5: "storage-attached indexes"
  test "indexes, of both kinds" do
    for statement <- [
          ~s|CREATE INDEX IF NOT EXISTS orders_tags ON schemas."Orders" (keys(tags))|,
          "CREATE CUSTOM INDEX IF NOT EXISTS orders_note ON schemas.\"Orders\" (note) " <>
            "USING 'StorageAttachedIndex' WITH OPTIONS = {'case_sensitive': 'false'}"
        ] do
      Palladion.query!(__MODULE__, statement, [], @slow)
    end

    assert [
             %Index{
               keyspace: "schemas",
               table: "Orders",
               name: "orders_note",
               kind: "CUSTOM",
               target: "note",
               options: %{"class_name" => "StorageAttachedIndex", "case_sensitive" => "false"}
             },
             %Index{name: "orders_tags", kind: "COMPOSITES", target: "keys(tags)"}
           ] = orders().indexes
  end

  @tag :managed_server
  test "views, functions and aggregates" do
    for statement <- [
          """
          CREATE MATERIALIZED VIEW IF NOT EXISTS schemas.by_note AS
            SELECT shop, "Region", at, id, note FROM schemas."Orders"
            WHERE note IS NOT NULL AND shop IS NOT NULL AND "Region" IS NOT NULL
              AND at IS NOT NULL AND id IS NOT NULL
            PRIMARY KEY (note, at, shop, "Region", id)
            WITH CLUSTERING ORDER BY (at DESC, shop ASC, "Region" ASC, id ASC)
          """,
          """
          CREATE FUNCTION IF NOT EXISTS schemas.plus (a int, b int)
            RETURNS NULL ON NULL INPUT RETURNS int LANGUAGE java AS 'return a + b;'
          """,
          """
          CREATE FUNCTION IF NOT EXISTS schemas.plus (a double, b double)
            CALLED ON NULL INPUT RETURNS double LANGUAGE java AS 'return a;'
          """,
          "CREATE AGGREGATE IF NOT EXISTS schemas.total (int) SFUNC plus STYPE int INITCOND 7"
        ] do
      Palladion.query!(__MODULE__, statement, [], @slow)
    end

    assert {:ok, schema} = Schema.read(__MODULE__, keyspace: "schemas")
    keyspace = Schema.keyspace(schema, "schemas")
    orders = keyspace.tables["Orders"]

    assert %View{base_table: "Orders", include_all_columns: false} =
             view = keyspace.views["by_note"]

    assert view.base_table_id == orders.id
    assert view.where =~ "note IS NOT NULL"
    assert view.partition_key == ["note"]
    assert view.clustering_key == ["at", "shop", "Region", "id"]
    assert hd(view.clustering_order) == {"at", :desc}
    assert Enum.map(view.columns, & &1.name) == ["note", "at", "shop", "Region", "id"]
    refute is_map_key(keyspace.tables, "by_note")

    assert keyspace.functions |> Map.keys() |> Enum.sort() ==
             [{"plus", ["double", "double"]}, {"plus", ["int", "int"]}]

    assert %Function{
             arguments: [{"a", "int"}, {"b", "int"}],
             return_type: "int",
             language: "java",
             body: "return a + b;",
             called_on_null_input: false
           } = keyspace.functions[{"plus", ["int", "int"]}]

    assert keyspace.functions[{"plus", ["double", "double"]}].called_on_null_input

    assert %Aggregate{
             state_function: "plus",
             state_type: "int",
             final_function: nil,
             initial_condition: "7",
             return_type: "int"
           } = keyspace.aggregates[{"total", ["int"]}]
  end

  @rounds 4

  test "reading goes on while another creates and drops" do
    keyspace!(__MODULE__, "schemas_changing")
    expected = orders()
    changing = Task.async(fn -> for _ <- 1..@rounds, do: create_and_drop() end)

    read_until_done(changing, fn ->
      assert {:ok, schema} = Schema.read(__MODULE__)
      assert Schema.table(schema, "schemas", "Orders") == expected
      complete!(schema)

      assert {:ok, schema} = Schema.read(__MODULE__, keyspace: "schemas_changing")
      complete!(schema)
    end)

    assert mailbox() == []
  end

  defp read_until_done(task, read) do
    read.()
    Task.yield(task, 0) || read_until_done(task, read)
  end

  # The table is there in full or not at all.
  defp complete!(schema) do
    for {"t", table} <- schema.keyspaces["schemas_changing"].tables do
      assert Enum.map(table.columns, & &1.name) == ["a", "b", "c"]
      assert Table.primary_key(table) == ["a", "b"]
    end
  end

  defp create_and_drop do
    for statement <- [
          "CREATE TABLE IF NOT EXISTS schemas_changing.t (a int, b int, c int, PRIMARY KEY (a, b))",
          "CREATE INDEX IF NOT EXISTS t_c ON schemas_changing.t (c)",
          "DROP TABLE IF EXISTS schemas_changing.t"
        ],
        do: Palladion.query!(__MODULE__, statement, [], @slow)
  end
end
