defmodule Palladion.Integration.PoliciesTest do
  @moduledoc """
  Policies as they are configured, against nodes that count: resolvers, load balancing and reconnection. Retries are in
  `Palladion.Integration.RetriesTest`.
  """

  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.Endpoint
  alias Palladion.Test.Policies.{Balancing, Pauses, Resolver}
  alias Palladion.Test.Testkit

  @moduletag :capture_log

  describe "an endpoint resolver" do
    test "of a fixed name: every node's certificate is checked for it, and the server is asked for it" do
      server = Testkit.start_cluster!(nodes: 3, cert: ["localhost", "db.example"])
      name = follow!(server, endpoint_resolver: {:fixed_name, "db.example"})
      assert serving(name) == server.nodes
      assert Enum.sort(verified(name)) == List.duplicate("db.example", 3)

      assert Enum.sort(asked_for(server)) == [
               "db.example",
               "db.example",
               "db.example",
               "localhost"
             ]
    end

    test "of a name that no certificate has: nobody is connected to" do
      server = Testkit.start_cluster!(nodes: 2, cert: ["localhost", "nodes"])
      name = start_cluster!(server, hurried(endpoint_resolver: {:fixed_name, "db.example"}))
      await_nodes(name, server)

      eventually("they are refused", fn ->
        for(n <- nodes(name), do: n.state) == [:down, :down]
      end)

      assert {:error, %{reason: :no_connection, details: details}} =
               Palladion.query(name, "SELECT numbers(1)", [], timeout: 50)

      assert {:name_mismatch, _} = details.last_error
    end

    test "as announced: the contact point's name where it is one, else the address" do
      server = Testkit.start_cluster!(nodes: 2)
      name = follow!(server, endpoint_resolver: :announced)
      assert Enum.sort(verified(name)) == ["127.0.0.2", "localhost"]
      # There is no SNI for addresses.
      assert asked_for(server) |> Enum.uniq() |> Enum.sort() == [nil, "localhost"]
    end

    test "of a map: nodes are dialled there, by address, by address and port or by host id" do
      server =
        Testkit.start_cluster!(nodes: 4, cert: ["localhost", "nodes", "n1.example", "n2.example"])

      [first, second, third, _fourth] = Testkit.nodes(server)

      map = %{
        first.address => %Endpoint{address: first.address, verified_name: "n1.example"},
        "#{second.address}:#{server.port}" => %Endpoint{
          address: second.address,
          verified_name: "n2.example",
          sni: "gate.example"
        },
        third.host_id => {third.address, server.port}
      }

      name = follow!(server, endpoint_resolver: {:map, map})
      assert serving(name) == server.nodes
      assert Enum.sort(verified(name)) == ["127.0.0.3", "127.0.0.4", "n1.example", "n2.example"]

      assert Enum.sort(asked_for(server) -- [nil, nil]) == [
               "gate.example",
               "localhost",
               "n1.example"
             ]
    end

    test "of a template: made of what a node says of itself" do
      server = Testkit.start_cluster!(nodes: 2)
      name = follow!(server, endpoint_resolver: {:template, "{address}:{port}"})
      assert serving(name) == ["127.0.0.1", "127.0.0.2"]
      assert Enum.sort(verified(name)) == ["127.0.0.1", "127.0.0.2"]
    end

    test "of a template that makes no name of a node leaves this node out alone" do
      server = Testkit.start_cluster!(nodes: [[rack: "127"], [rack: "no such host"]], tls: false)
      resolver = {:template, "{address}.{rack}.example"}
      name = start_cluster!(server, hurried(endpoint_resolver: resolver))

      eventually("one node is known", fn ->
        for(n <- nodes(name), do: n.endpoint.address) == ["127.0.0.1.127.example"]
      end)
    end

    test "that moves a node to where it can be reached" do
      # Announced is where nobody listens: as behind a gateway.
      server = Testkit.start_cluster!(nodes: [[], [rpc_address: "127.9.9.9"]], tls: false)

      resolver = fn
        %{address: "127.9.9.9"} = node -> {:ok, %Endpoint{address: "127.0.0.2", port: node.port}}
        node -> {:ok, %Endpoint{address: node.address, port: node.port}}
      end

      name = ready_cluster!(server, hurried(endpoint_resolver: {Resolver, resolver}))
      eventually("both serve", fn -> serving(name) == server.nodes end)
      assert [%{address: "127.9.9.9", endpoint: %{address: "127.0.0.2"}}] = tl(nodes(name))
    end

    for {what, fun, text} <- [
          {"raises", quote(do: fn -> raise "oh no" end), "oh no"},
          {"answers nonsense", quote(do: fn -> {:somewhere, :else} end), "endpoint"},
          {"has none", quote(do: fn -> {:error, :no_tunnel} end), "no_tunnel"},
          {"is killed", quote(do: fn -> Process.exit(self(), :kill) end), "killed"}
        ] do
      test "that #{what} costs no more than its node" do
        server = Testkit.start_cluster!(nodes: 3, tls: false)
        fun = unquote(fun)

        resolver = fn node ->
          if node.address == "127.0.0.2", do: fun.(), else: {node.address, node.port}
        end

        log =
          capture_log(fn ->
            name = ready_cluster!(server, hurried(endpoint_resolver: resolver))
            eventually("the others serve", fn -> serving(name) == ["127.0.0.1", "127.0.0.3"] end)
          end)

        assert log =~ "no endpoint for node 127.0.0.2"
        assert log =~ unquote(text)
      end
    end

    test "that hangs costs no more than its node, and five seconds of the first list" do
      server = Testkit.start_cluster!(nodes: 3, tls: false)

      resolver = fn node ->
        if node.address == "127.0.0.2", do: Process.sleep(:infinity)
        node.address
      end

      log =
        capture_log(fn ->
          name = ready_cluster!(server, hurried(endpoint_resolver: resolver))
          assert serving(name) == ["127.0.0.1", "127.0.0.3"]
          assert Task.Supervisor.children(tasks(name)) == []
        end)

      assert log =~ "no answer in time"
    end
  end

  # The names that certificates were checked for, and those that servers were asked for.
  defp verified(name) do
    {:ok, status} = Palladion.status(name)
    for node <- status.endpoints, connection <- node.connections, do: connection.tls.verified_name
  end

  defp asked_for(server),
    do: for(connection <- Testkit.connections(server), do: connection.server_name)

  describe "a name to verify" do
    test "for each node: nodes are dialled as before, and servers are asked for it" do
      names = ["db.example", "a.example", "b.example"]
      server = Testkit.start_cluster!(nodes: [[rack: "a"], [rack: "b"]], cert: names)
      [first, _second] = Testkit.nodes(server)
      contact_point = "localhost:#{server.port}"

      by_rack = fn
        %{rack: nil} -> {:ok, "db.example"}
        %{rack: "a", endpoint: %{verified_name: "localhost"}} -> "a.example"
        %{rack: "b"} -> "b.example"
      end

      by_place = %{
        contact_point => "db.example",
        first.host_id => "a.example",
        "127.0.0.2" => "b.example"
      }

      for given <- [by_rack, by_place] do
        name = follow!(server, tls: tls(server, verify_hostname: given))
        assert serving(name) == server.nodes
        assert Enum.sort(verified(name)) == ["a.example", "b.example"]
        assert asked_for(server) |> Enum.uniq() |> Enum.sort() == Enum.sort(names)
        stop_supervised!(name)
      end
    end

    test "of a template that needs more than is known of a contact point: that keeps its own" do
      names = ["localhost", "a.example", "b.example"]
      server = Testkit.start_cluster!(nodes: [[rack: "a"], [rack: "b"]], cert: names)
      name = follow!(server, tls: tls(server, verify_hostname: "{rack}.example"))
      assert Enum.sort(verified(name)) == ["a.example", "b.example"]
      assert asked_for(server) |> Enum.uniq() |> Enum.sort() == Enum.sort(names)
    end

    test "can differ from the name that servers are asked for" do
      server = Testkit.start_cluster!(nodes: [[rack: "a"]], cert: ["localhost", "a.example"])
      tls = tls(server, verify_hostname: "{rack}.example", server_name_indication: "gate.example")
      name = follow!(server, tls: tls)
      assert verified(name) == ["a.example"]
      assert asked_for(server) |> Enum.uniq() == ["gate.example"]
    end

    test "that a node's certificate doesn't have leaves this node out alone" do
      names = ["localhost", "a.example"]
      server = Testkit.start_cluster!(nodes: [[rack: "a"], [rack: "b"]], cert: names)
      tls = tls(server, verify_hostname: "{rack}.example")
      name = ready_cluster!(server, hurried(tls: tls))
      await_connections(name, without: "127.0.0.2")
      assert serving(name) == ["127.0.0.1"]
      {:ok, %{endpoints: endpoints}} = Palladion.status(name)
      errors = for %{last_error: error} when error != nil <- endpoints, do: error.reason
      assert errors == [:name_mismatch]
    end

    defp tls(server, more), do: [cacertfile: server.cacertfile] ++ more
  end

  describe "a load-balancing policy" do
    test "of one's own: the nodes it prefers, then the others, and none of those it leaves out" do
      server = Testkit.start_cluster!(nodes: 4, rack: ["a", "b"], tls: false)

      near = fn nodes, _context ->
        for node <- nodes, node.address != "127.0.0.4", into: %{} do
          {node.host_id, {:local, if(node.rack == "b", do: 0, else: 1)}}
        end
      end

      name = follow!(server, load_balancing: {Balancing, near})
      assert serving(name) == ["127.0.0.2"]
      assert for(n <- nodes(name), do: n.preference) == [1, 0, 1, 0]
      Testkit.node_down(server, "127.0.0.2")
      eventually("the next serve", fn -> serving(name) == ["127.0.0.1", "127.0.0.3"] end)
      assert %{open: 0} = Testkit.counters(server, "127.0.0.4")
    end

    for {what, policy, text} <- [
          {"raises", quote(do: fn _, _ -> raise "oh no" end), "oh no"},
          {"exits", quote(do: fn _, _ -> exit(:early) end), "early"},
          {"is killed", quote(do: fn _, _ -> Process.exit(self(), :kill) end), "killed"},
          {"answers nonsense", quote(do: fn _, _ -> :near end), ":near"}
        ] do
      test "that #{what} leaves the nodes of the local datacenter, and they are followed" do
        server = Testkit.start_cluster!(nodes: 4, datacenter: ["dc1", "dc2"], tls: false)

        log =
          capture_log(fn ->
            name = follow!(server, load_balancing: {Balancing, unquote(policy)})
            assert serving(name) == ["127.0.0.1", "127.0.0.3"]
            Testkit.remove_node(server, "127.0.0.3")
            await_nodes(name, server)
            assert serving(name) == ["127.0.0.1"]
          end)

        assert log =~ "load_balancing: the policy failed"
        assert log =~ unquote(text)
      end
    end

    test "that hangs: requests go on, and after five seconds the list does" do
      server = Testkit.start_cluster!(nodes: 2, tls: false)
      hangs = :counters.new(1, [])

      policy = fn nodes, _context ->
        if :counters.get(hangs, 1) > 0, do: Process.sleep(:infinity)
        Map.new(nodes, &{&1.host_id, :local})
      end

      name = follow!(server, load_balancing: {Balancing, policy})
      :counters.add(hangs, 1, 1)
      Testkit.add_node(server)
      Testkit.remove_node(server, "127.0.0.2")
      eventually("it is asked", fn -> Task.Supervisor.children(tasks(name)) != [] end)
      assert serving(name) == ["127.0.0.1"]
      :counters.sub(hangs, 1, 1)
      # The new node is ignored until the policy is asked again.
      await_nodes(name, server)
      assert Task.Supervisor.children(tasks(name)) == []
      Testkit.add_node(server)
      await_nodes(name, server)
      eventually("all serve", fn -> length(serving(name)) == 3 end)
    end
  end

  describe "a reconnection policy" do
    test "of one's own says the pauses, and is told of failures in a row" do
      server = Testkit.start_cluster!(nodes: 2, tls: false)
      test = self()

      policy = fn failures ->
        send(test, {:asked, failures})
        20
      end

      name = follow!(server, reconnect: [policy: {Pauses, policy}, max: 60_000])
      Testkit.node_down(server, "127.0.0.2", event: false)
      for n <- 1..3, do: assert_receive({:asked, ^n}, 5_000)
      Testkit.node_up(server, "127.0.0.2", event: false)
      await_connections(name)
      assert serving(name) == server.nodes
    end

    for {what, policy, text} <- [
          {"raises", quote(do: fn _ -> raise "oh no" end), "oh no"},
          {"is killed", quote(do: fn _ -> Process.exit(self(), :kill) end), "killed"},
          {"answers nonsense", quote(do: fn _ -> :soon end), "answered :soon"},
          {"answers a negative number", quote(do: fn _ -> -1 end), "answered -1"}
        ] do
      test "that #{what}: the longest pause holds, and nothing else is hurt" do
        server = Testkit.start_cluster!(nodes: 2, tls: false)

        log =
          capture_log(fn ->
            name = follow!(server, reconnect: [policy: {Pauses, unquote(policy)}, max: 100])
            pids = pids(name)
            Testkit.node_down(server, "127.0.0.2", event: false)
            failures = stat(name, :connect_failures)
            eventually("it failed", fn -> stat(name, :connect_failures) > failures + 1 end)
            Testkit.node_up(server, "127.0.0.2", event: false)
            await_connections(name)
            assert pids(name) == pids
          end)

        assert log =~ "the reconnection policy Palladion.Test.Policies.Pauses"
        assert log =~ unquote(text)
      end
    end

    test "that hangs: the longest pause holds" do
      server = Testkit.start_cluster!(nodes: 2, tls: false)
      hang = fn _failures -> Process.sleep(:infinity) end
      name = follow!(server, reconnect: [policy: {Pauses, hang}, max: 100])
      Testkit.node_down(server, "127.0.0.2", event: false)
      failures = stat(name, :connect_failures)
      eventually("it failed", fn -> stat(name, :connect_failures) > failures + 2 end)
      Testkit.node_up(server, "127.0.0.2", event: false)
      await_connections(name)
      # They are ended with the cluster.
      assert Task.Supervisor.children(tasks(name)) != []
    end
  end
end
