defmodule Palladion.Integration.TopologyTest do
  @moduledoc """
  A cluster finds its nodes and follows them, whatever happens to them and to what is told of them.
  """

  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.ConnectionError
  alias Palladion.Test.Testkit

  @moduletag :capture_log

  # Long enough that whatever was noticed was noticed by an event.
  @never [debounce: 10, refresh_interval: 86_400_000]

  describe "from one contact point" do
    test "all nodes are found, connected to, and take turns" do
      server = Testkit.start_cluster!(nodes: 5, rack: ["r1", "r2"])
      name = follow!(server, pool: [size: 2])
      assert serving(name) == server.nodes

      for {node, there} <- Enum.zip(nodes(name), Testkit.nodes(server)) do
        assert %{distance: :local, state: :up, connections: 2, preference: 0} = node
        assert node.port == server.port
        assert node.schema_version == "00000000-0000-4000-8000-000000000000"

        for key <- [:rack, :datacenter, :release_version],
            do: assert(Map.fetch!(node, key) == Map.fetch!(there, key))
      end

      # One more: the control connection.
      Testkit.wait(server, open: 11)
    end

    test "its data center is the local one, and the log says so" do
      server = Testkit.start_cluster!(nodes: 4, datacenter: ["dc1", "dc2"], tls: false)
      level = Logger.level()
      Logger.configure(level: :info)
      on_exit(fn -> Logger.configure(level: level) end)
      log = capture_log(fn -> send(self(), follow!(server)) end)
      assert_received name
      assert serving(name) == ["127.0.0.1", "127.0.0.3"]
      assert log =~ ~s(the local datacenter is "dc1", that of 127.0.0.1:#{server.port})
      assert for(n <- nodes(name), do: n.distance) == [:local, :ignored, :local, :ignored]
    end

    test "another data center is used if that is the local one" do
      server = Testkit.start_cluster!(nodes: 4, datacenter: ["dc1", "dc2"], tls: false)
      name = follow!(server, local_datacenter: "dc2")
      assert serving(name) == ["127.0.0.2", "127.0.0.4"]
      assert %{open: 1} = Testkit.wait(server, node: "127.0.0.1", open: 1)
      # The control connection, which went to the contact point.
      assert control(name) == "127.0.0.1"
    end

    test "a misspelt data center is told with those there are" do
      server = Testkit.start_cluster!(nodes: 4, datacenter: ["eu-west", "us"], tls: false)

      log =
        capture_log(fn ->
          name = start_cluster!(server, hurried(local_datacenter: "eu_west"))
          await_nodes(name, server)

          for answer <- [
                Palladion.query(name, "SELECT numbers(1)", [], timeout: 50),
                Palladion.await_ready(name, 50)
              ] do
            assert {:error, %ConnectionError{reason: :no_local_nodes} = error} = answer
            assert Exception.message(error) =~ "eu-west"
          end
        end)

      assert log =~ ~s(local_datacenter: no node is in "eu_west"; there are "eu-west", "us")
      assert log =~ ~s(did you mean "eu-west"?)
    end
  end

  test "remote nodes take requests only while no local node can" do
    server = Testkit.start_cluster!(nodes: 6, datacenter: ["dc1", "dc2", "dc2"], tls: false)

    name =
      follow!(server, local_datacenter: "dc1", load_balancing: {:round_robin, remote_nodes: 1})

    assert serving(name) == ["127.0.0.1", "127.0.0.4"]
    assert [%{address: "127.0.0.2"}] = for(n <- nodes(name), n.distance == :remote, do: n)

    Testkit.node_down(server, "127.0.0.1")
    eventually("one local node is left", fn -> serving(name) == ["127.0.0.4"] end)
    Testkit.node_down(server, "127.0.0.4")
    eventually("a remote node serves", fn -> serving(name) == ["127.0.0.2"] end)
    Testkit.node_up(server, "127.0.0.1")
    eventually("the local one serves again", fn -> serving(name) == ["127.0.0.1"] end)
  end

  describe "events tell" do
    setup do
      server = Testkit.start_cluster!(nodes: 3, tls: false)
      %{server: server, name: follow!(server, topology: @never)}
    end

    test "of nodes that come and go", %{server: server, name: name} do
      added = Testkit.add_node(server)
      eventually("it takes requests", fn -> added.address in serving(name) end)
      await_nodes(name, server)

      Testkit.remove_node(server, added)
      eventually("it takes none", fn -> added.address not in serving(name) end)
      await_nodes(name, server)
      Testkit.wait(server, open: 4)
    end

    test "of a node that moves, which stays the same node", %{server: server, name: name} do
      Testkit.move_node(server, "127.0.0.3", "127.0.0.33")
      await_nodes(name, server)
      await_connections(name)
      assert serving(name) == ["127.0.0.1", "127.0.0.2", "127.0.0.33"]
      assert length(nodes(name)) == 3
    end

    test "of a node that takes another's address", %{server: server, name: name} do
      Testkit.remove_node(server, "127.0.0.3", event: false)
      Testkit.add_node(server, address: "127.0.0.3", host_id: 77)
      await_nodes(name, server)
      await_connections(name)
      assert serving(name) == server.nodes
    end

    test "of a move of tokens, and nothing changes", %{server: server, name: name} do
      before = nodes(name)

      for change <- ["MOVED_NODE", "NEW_NODE"] do
        node = "127.0.0.2:#{server.port}"
        Testkit.event(server, kind: :topology, change: change, node: node)
      end

      Testkit.event(server, kind: :topology, change: "REMOVED_NODE", node: "10.9.9.9:9042")
      queries = Testkit.counters(server)[:query]
      eventually("it was read again", fn -> Testkit.counters(server)[:query] >= queries + 2 end)
      assert nodes(name) == before
    end
  end

  test "a node that is up again is tried at once, however long the pause is" do
    server = Testkit.start_cluster!(nodes: 2, tls: false)
    name = follow!(server, reconnect: [min: 60_000, max: 60_000], topology: @never)
    Testkit.node_down(server, "127.0.0.2")
    eventually("it is down", fn -> state(name, "127.0.0.2") == :down end)
    assert serving(name) == ["127.0.0.1"]
    Testkit.node_up(server, "127.0.0.2")
    await_connections(name)
    assert serving(name) == server.nodes
  end

  test "a node that hangs gets no requests, and gets them again when it answers" do
    server = Testkit.start_cluster!(nodes: 3, tls: false)

    name =
      follow!(server,
        heartbeat_interval: 50,
        heartbeat_timeout: 50,
        login_timeout: 200,
        topology: @never
      )

    Testkit.hang_node(server, "127.0.0.2")
    eventually("it is down", fn -> state(name, "127.0.0.2") == :down end)
    assert serving(name) == ["127.0.0.1", "127.0.0.3"]
    Testkit.resume_node(server, "127.0.0.2")
    await_connections(name)
    assert serving(name) == server.nodes
  end

  test "what no event told of is found when the list is read anyway" do
    server = Testkit.start_cluster!(nodes: 3, tls: false)
    name = follow!(server, topology: [refresh_interval: 100])
    Testkit.add_node(server, event: false)
    Testkit.remove_node(server, "127.0.0.2", event: false)
    Testkit.move_node(server, "127.0.0.3", "127.0.0.33", event: false)
    await_nodes(name, server)
    await_connections(name)
    assert serving(name) == ["127.0.0.1", "127.0.0.33", "127.0.0.4"]

    Testkit.node_down(server, "127.0.0.4", event: false)
    eventually("it is down", fn -> state(name, "127.0.0.4") == :down end)
    Testkit.node_up(server, "127.0.0.4", event: false)
    await_connections(name)
  end

  describe "the control connection" do
    test "goes to another node when its own is lost, which may be the contact point" do
      server = Testkit.start_cluster!(nodes: 3, tls: false)
      name = follow!(server, topology: @never)
      assert control(name) == "127.0.0.1"
      Testkit.remove_node(server, "127.0.0.1")
      eventually("another has it", fn -> control(name) in ["127.0.0.2", "127.0.0.3"] end)
      await_nodes(name, server)

      # Still followed.
      Testkit.add_node(server)
      await_nodes(name, server)
      await_connections(name)
      assert serving(name) == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
    end

    test "leaves a node that hangs" do
      server = Testkit.start_cluster!(nodes: 3, tls: false)
      name = follow!(server, heartbeat_interval: 50, heartbeat_timeout: 50, login_timeout: 200)
      Testkit.hang_node(server, control(name))
      eventually("another has it", fn -> control(name) in ["127.0.0.2", "127.0.0.3"] end)
      Testkit.add_node(server)
      await_nodes(name, server)
    end

    test "finds a cluster of which only the contact point came back" do
      server = Testkit.start_cluster!(nodes: 3, tls: false)
      name = follow!(server, topology: @never)
      # Without a word: with all of them gone there is nobody left to say it.
      for node <- server.nodes, do: Testkit.node_down(server, node, event: false)

      eventually("all is lost", fn -> match?({:ok, %{phase: :disconnected}}, status(name)) end)
      assert length(nodes(name)) == 3
      assert {:error, %ConnectionError{}} = Palladion.query(name, "SELECT 1", [], timeout: 50)

      # What was a cluster of three is one of other nodes, but for the contact point's address.
      for node <- tl(server.nodes), do: Testkit.remove_node(server, node, event: false)
      Testkit.add_node(server, address: "127.0.0.9", event: false)
      Testkit.node_up(server, "127.0.0.1", event: false)
      await_nodes(name, server)
      await_connections(name)
      assert serving(name) == ["127.0.0.1", "127.0.0.9"]
    end
  end

  defp status(name), do: Palladion.status(name)

  describe "what servers announce" do
    test "is read from system.peers where there is no system.peers_v2" do
      server = Testkit.start_cluster!(nodes: 3, tls: false, peers_v2: false)
      name = follow!(server, topology: @never)
      assert serving(name) == server.nodes
      added = Testkit.add_node(server)
      await_nodes(name, server)
      await_connections(name)
      assert added.address in serving(name)
    end

    for peers_v2 <- [true, false] do
      test "may be no address to connect to, then it is that of the node (#{peers_v2})" do
        nodes = [[], [rpc_address: "0.0.0.0"], [null: "rpc_address,native_address"]]

        server = Testkit.start_cluster!(nodes: nodes, tls: false, peers_v2: unquote(peers_v2))

        name = ready_cluster!(server, hurried([]))
        eventually("two are there", fn -> match?([_, _ | _], used(name)) end)
        await_connections(name)
        assert "127.0.0.2" in serving(name)
        assert "127.0.0.1" in serving(name)
      end
    end

    test "may be the address of another, and each place is connected to once" do
      server = Testkit.start_cluster!(nodes: [[], [], [rpc_address: "127.0.0.2"]], tls: false)

      log =
        capture_log(fn ->
          name = ready_cluster!(server, hurried([]))
          eventually("two are there", fn -> length(nodes(name)) == 2 end)
          await_connections(name)
          assert serving(name) == ["127.0.0.1", "127.0.0.2"]
          Testkit.wait(server, open: 3)
        end)

      assert log =~ "127.0.0.2"
    end

    for column <- ["host_id", "data_center", "rack", "schema_version", "release_version"] do
      test "may lack #{column}, which costs no more than that node" do
        server = Testkit.start_cluster!(nodes: [[], [null: unquote(column)], []], tls: false)
        name = ready_cluster!(server, hurried([]))
        eventually("the others serve", fn -> "127.0.0.3" in serving(name) end)
        assert "127.0.0.1" in serving(name)
        if unquote(column) == "host_id", do: assert(length(nodes(name)) == 2)
      end
    end
  end

  test "events of a kind to come, or of none, cost nothing" do
    server = Testkit.start_cluster!(nodes: 3, tls: false)
    name = follow!(server, topology: @never)
    pids = pids(name)
    opened = stat(name, :connections_opened)

    text = fn text -> <<byte_size(text)::16, text::binary>> end
    address = fn bytes -> <<byte_size(bytes), bytes::binary, 9042::32>> end

    for body <- [
          "",
          <<255, 255>>,
          text.("CLIENT_ROUTES_CHANGE"),
          text.("STATUS_CHANGE"),
          text.("STATUS_CHANGE") <> text.("SIDEWAYS") <> address.(<<127, 0, 0, 2>>),
          text.("STATUS_CHANGE") <> text.("DOWN") <> address.(<<1, 2, 3>>),
          text.("STATUS_CHANGE") <> text.(<<0xFF, 0xFE>>) <> address.(<<127, 0, 0, 2>>),
          text.("TOPOLOGY_CHANGE") <> text.("NEW_NODE") <> <<200>>,
          text.("SCHEMA_CHANGE") <> text.("MELTED") <> text.("TABLE") <> text.("a"),
          text.("SCHEMA_CHANGE") <> text.("UPDATED") <> text.("UNIVERSE") <> text.("a"),
          :binary.copy(<<0>>, 100_000)
        ],
        do: Testkit.event(server, kind: :raw, body: body)

    node = "127.0.0.2:#{server.port}"
    for _ <- 1..200, do: Testkit.event(server, kind: :status, change: "UP", node: node)
    Testkit.event(server, kind: :status, change: "DOWN", node: "[::1]:9042")

    # It still follows, over the same connection and with the same processes.
    Testkit.add_node(server)
    await_nodes(name, server)
    await_connections(name)
    assert stat(name, :connections_opened) == opened + 1
    assert stat(name, :control_connections_opened) == 1
    assert pids(name) == pids
  end
end
