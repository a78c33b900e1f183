defmodule Palladion.Integration.ClusterSchemaTest do
  @moduledoc """
  The schema of three real nodes: changed with all of them agreeing, read, and followed when others change it.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters
  import Palladion.Test.RealCluster

  alias Palladion.Schema

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag :capture_log
  @moduletag timeout: 120_000

  setup_all do: prepare!()

  setup do
    [one, two, _three] = servers = servers()
    %{servers: servers, name: admin!([one, two])}
  end

  test "when a change returns all nodes have it", %{servers: servers, name: name} do
    nodes = for server <- servers, do: only!(server)
    version = "SELECT schema_version FROM system.local WHERE key = 'local'"

    for n <- 1..(3 * rounds()) do
      for statement <- [
            "CREATE TABLE lives.agreed_#{n} (id int PRIMARY KEY)",
            "DROP TABLE lives.agreed_#{n}"
          ] do
        assert %{schema_agreement: true} = Palladion.query!(name, statement)
        versions = for node <- nodes, do: Palladion.query!(node, version).rows
        assert [_same] = Enum.uniq(versions)
      end
    end
  end

  test "nodes and schema are as the servers have them", %{servers: servers, name: name} do
    [one, two, three] = for server <- servers, do: node_at(name, server)

    eventually("there are connections to the local ones", fn ->
      for(server <- servers, do: node_at(name, server).state) == [:up, :up, nil]
    end)

    assert %{datacenter: "dc1", rack: "r1", distance: :local} = one
    assert %{datacenter: "dc1", rack: "r2", distance: :local} = two
    assert %{datacenter: "dc2", rack: "r1", distance: :ignored, connections: 0} = three

    for {node, server} <- Enum.zip([one, two, three], servers) do
      assert node.port == server.port

      [%{"host_id" => host_id}] =
        Palladion.query!(only!(server), "SELECT host_id FROM system.local").rows

      assert node.host_id == host_id
    end

    assert {:ok, schema} = Palladion.schema(name, keyspace: "lives")
    assert Map.keys(schema.keyspaces) == ["lives"]
    assert %{"dc1" => "2", "dc2" => "1"} = schema.keyspaces["lives"].replication
    assert Schema.table(schema, "lives", "numbers").partition_key == ["id"]
  end

  test "what was prepared follows the changes that others make", %{servers: servers, name: name} do
    [_one, two, _three] = servers
    other = admin!([two])
    tell_of(name, [[:palladion, :schema, :changed]])

    change = fn target, name, statement ->
      assert %{schema_agreement: true} = Palladion.query!(other, statement)
      assert_receive {[:palladion, :schema, :changed], %{target: ^target, name: ^name}}, 30_000
    end

    suffix = System.unique_integer([:positive])
    {type, table} = {"point_#{suffix}", "points_#{suffix}"}
    change.(:type, type, "CREATE TYPE lives.#{type} (x int)")
    create = "CREATE TABLE lives.#{table} (id int PRIMARY KEY, p frozen<#{type}>, n int)"
    change.(:table, table, create)

    insert = "INSERT INTO lives.#{table} (id, p, n) VALUES (?, ?, ?)"
    prepared = Palladion.prepare!(name, insert)
    select = Palladion.prepare!(name, "SELECT * FROM lives.#{table} WHERE id = ?")
    for id <- 1..4, do: Palladion.execute!(name, prepared, [id, %{"x" => 1}, 1])
    for id <- 1..4, do: Palladion.query!(name, insert, [id, %{"x" => 1}, 1])
    assert [%{"p" => %{"x" => 1}}] = Palladion.execute!(name, select, [1]).rows

    # On all connections, so that both nodes are asked.
    change.(:type, type, "ALTER TYPE lives.#{type} ADD y text")
    point = %{"x" => 2, "y" => "new"}
    for id <- 1..4, do: Palladion.execute!(name, prepared, [id, point, 2])
    for id <- 5..8, do: Palladion.query!(name, insert, [id, point, 2])

    for id <- 1..8,
        do: assert([%{"p" => ^point}] = Palladion.execute!(name, select, [id]).rows)

    change.(:table, table, "ALTER TABLE lives.#{table} ADD note text")

    for _ <- 1..4,
        do: assert([%{"note" => nil, "n" => 2}] = Palladion.execute!(name, select, [1]).rows)

    change.(:table, table, "DROP TABLE lives.#{table}")
    change.(:table, table, String.replace(create, "n int", "n text"))
    for id <- 1..4, do: Palladion.execute!(name, prepared, [id, point, "a text"])
    for id <- 5..8, do: Palladion.query!(name, insert, [id, point, "a text"])
    for id <- 1..8, do: assert([%{"n" => "a text"}] = Palladion.execute!(name, select, [id]).rows)
  end
end
