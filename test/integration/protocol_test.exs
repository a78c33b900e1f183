defmodule Palladion.Integration.ProtocolTest do
  @moduledoc "The versions of the protocol on a real server: what is spoken, and what only newer ones can say."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Error
  alias Palladion.Test.Cassandra

  @moduletag :cassandra

  @select "SELECT id, name FROM versions.t WHERE id = ?"

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, timeout: 30_000))
    :ok = Palladion.await_ready(__MODULE__, 30_000)
    keyspace!(__MODULE__, "versions")
    create = "CREATE TABLE IF NOT EXISTS versions.t (id int PRIMARY KEY, name text)"
    Palladion.query!(__MODULE__, create)
    Palladion.query!(__MODULE__, "INSERT INTO versions.t (id, name) VALUES (0, 'zero')")
    %{server: server}
  end

  defp cluster!(server, version, more \\ []) do
    protocol = if version, do: [version: version], else: []
    ready_cluster!(server, [protocol: protocol, timeout: 30_000] ++ more)
  end

  defp connections(name) do
    {:ok, status} = Palladion.status(name)
    [status.control | Enum.flat_map(status.endpoints, & &1.connections)]
  end

  # What the server says of the connections of an application, asked by another cluster.
  defp clients(application) do
    for client <- Palladion.query!(__MODULE__, "SELECT * FROM system_views.clients").rows,
        client["client_options"]["APPLICATION_NAME"] == application,
        do: client["protocol_version"]
  end

  describe "what is spoken is what the server says:" do
    @describetag :managed_server
    @describetag needs_cassandra_5: "clients that tell their options"

    for version <- [3, 4, 5] do
      test "version #{version}, as told", %{server: server} do
        speaks(server, unquote(version), unquote(version))
      end
    end

    @tag needs_v5: "the newest of all"
    test "the newest, where nothing is told", %{server: server} do
      speaks(server, nil, 5)
    end
  end

  defp speaks(server, asked, spoken) do
    application = "versions #{System.unique_integer([:positive])}"
    name = cluster!(server, asked, application_name: application, pool: [size: 3])

    eventually("all connections are there", fn -> length(connections(name)) == 4 end)
    assert Enum.map(connections(name), & &1.protocol_version) == List.duplicate(spoken, 4)
    assert clients(application) == List.duplicate(spoken, 4)
    assert Palladion.query!(name, @select, [0]).rows == [%{"id" => 0, "name" => "zero"}]
  end

  describe "what only a newer version has is not sent" do
    for {version, feature, needs, options} <- [
          {3, "a keyspace per request", 5, [keyspace: "versions"]},
          {4, "a keyspace per request", 5, [keyspace: "versions"]},
          {3, "now_in_seconds", 5, [now_in_seconds: 1_000]},
          {4, "now_in_seconds", 5, [now_in_seconds: 1_000]},
          {3, "a custom payload", 4, [custom_payload: %{"for" => "the handler"}]}
        ] do
      test "with version #{version}: #{feature}", %{server: server} do
        options = unquote(Macro.escape(options))
        name = cluster!(server, unquote(version))
        select = "SELECT id FROM versions.t WHERE id = 0"
        update = "UPDATE versions.t SET name = ? WHERE id = 1"
        prepared = Palladion.prepare!(name, @select)

        answers = [
          Palladion.query(name, select, [], options),
          Palladion.query(name, @select, [0], options),
          Palladion.batch(name, [select, {update, ["one"]}], options)
        ]

        # No version executes it in another keyspace than its own.
        executed =
          if options[:keyspace], do: [], else: [Palladion.execute(name, prepared, [0], options)]

        for answer <- answers ++ executed do
          assert {:error, %Error{reason: :unsupported, code: nil} = error} = answer

          assert %{feature: unquote(feature), needs: unquote(needs), version: unquote(version)} =
                   error.details

          assert Exception.message(error) =~
                   "#{unquote(feature)} needs version #{unquote(needs)} of the native protocol, " <>
                     "and version #{unquote(version)} is spoken"
        end

        # The connection is as it was.
        assert Palladion.query!(name, @select, [0]).num_rows == 1
      end
    end

    for version <- [3, 4] do
      test "with version #{version}: a statement prepared for a keyspace", %{server: server} do
        name = cluster!(server, unquote(version))

        assert {:error,
                %Error{reason: :unsupported, details: %{needs: 5, version: unquote(version)}}} =
                 Palladion.prepare(name, "SELECT id FROM t", keyspace: "versions")
      end
    end

    test "with version 3: values that are unset", %{server: server} do
      name = cluster!(server, 3)
      insert = "INSERT INTO versions.t (id, name) VALUES (?, ?)"

      assert {:error, %Error{reason: :unsupported, details: details}} =
               Palladion.query(name, insert, [2, :unset])

      assert details == %{feature: "an unset value", needs: 4, version: 3}

      assert {:error, %Error{reason: :unsupported, details: of_batch}} =
               Palladion.batch(name, [{insert, [2, "two"]}, {insert, [3, :unset]}])

      assert of_batch == Map.put(details, :statement, 1)

      # Null is another thing.
      assert {:ok, _} = Palladion.query(name, insert, [2, nil])
      assert Palladion.query!(name, @select, [2]).rows == [%{"id" => 2, "name" => nil}]
      assert Palladion.query!(name, @select, [3]).rows == []
    end
  end

  test "each version that has them carries them", %{server: server} do
    for version <- [4, 5] do
      name = cluster!(server, version)
      insert = "INSERT INTO versions.t (id, name) VALUES (?, ?)"
      Palladion.query!(name, insert, [version * 10, "as it was"])
      Palladion.query!(name, insert, [version * 10, :unset])
      assert [%{"name" => "as it was"}] = Palladion.query!(name, @select, [version * 10]).rows
      payload = %{"for" => "the handler"}
      # Cassandra's own handler takes no notice of it.
      assert %{custom_payload: none} =
               Palladion.query!(name, @select, [0], custom_payload: payload)

      assert none == %{}
    end
  end

  @tag needs_v5: "a keyspace for one request"
  test "version 5 has keyspaces for one request", %{server: server} do
    name = cluster!(server, 5)
    options = [keyspace: "versions", now_in_seconds: 1_000]

    assert [%{"name" => "zero"}] =
             Palladion.query!(name, "SELECT name FROM t WHERE id = 0", [], options).rows

    assert [%{"name" => "zero"}] =
             Palladion.query!(name, "SELECT name FROM t WHERE id = ?", [0], options).rows
  end

  test "clusters of different versions are beside each other", %{server: server} do
    names = for version <- [3, 4, 5, nil], do: cluster!(server, version)

    for _ <- 1..20, name <- names do
      assert Palladion.query!(name, @select, [0]).rows == [%{"id" => 0, "name" => "zero"}]
    end
  end
end
