defmodule Palladion.Cluster.Topology.CallbacksTest do
  @moduledoc """
  What users' modules can do to the process, with a native library that the test plays.
  """

  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import Palladion.Test.Topology, only: [control: 0, id: 1]
  import Palladion.Test.TopologyLibrary, except: [new: 0]

  alias Palladion.Cluster.Topology
  alias Palladion.Cluster.Topology.Callbacks
  alias Palladion.{Endpoint, EndpointResolvers, Node}
  alias Palladion.Test.Policies.{Balancing, Resolver}
  alias Palladion.Test.TopologyLibrary

  setup do: TopologyLibrary.new()

  describe "a policy" do
    test "can do what it likes", %{argument: argument, agent: agent, table: table} do
      for {policy, text} <- [
            {fn _, _ -> raise "oh no" end, "oh no"},
            {fn _, _ -> throw(:up) end, "it threw :up"},
            {fn _, _ -> exit(:early) end, "it exited with :early"},
            {fn _, _ -> Process.exit(self(), :kill) end, "its process ended: :killed"},
            {fn _, _ -> :rubbish end, "it answered :rubbish, which is no map"},
            {fn [node | _], _ -> %{node.host_id => :near} end, "it answered :near"},
            {fn [node | _], _ -> %{node.host_id => {:ignored, 1}} end,
             "it answered {:ignored, 1}"},
            {fn [node | _], _ -> %{node.host_id => {:local, -1}} end, "it answered {:local, -1}"}
          ] do
        open(agent)
        :ets.delete_all_objects(table)

        log =
          capture_log(fn ->
            topology = start(argument, %{load_balancing: {Balancing, policy}})
            answer([1, 2])
            assert applied() == ["10.0.0.1", "10.0.0.2"]
            assert Process.alive?(topology)
            stop_supervised!(Topology)
          end)

        assert log =~ "[error]"
        assert log =~ text
      end
    end

    test "gets the nodes, the local datacenter and its options", %{
      argument: argument,
      agent: agent
    } do
      test = self()

      policy = fn nodes, context ->
        send(test, {:asked, nodes, Map.delete(context, :options)})
        %{id(1) => {:remote, 3}}
      end

      open(agent)
      start(argument, %{load_balancing: {Balancing, policy}})
      answer([1, 2])

      assert_receive {:set_nodes,
                      [
                        %{distance: :remote, preference: 3, size: 1},
                        %{distance: :ignored, size: 0}
                      ]},
                     2_000

      assert_received {:asked, [%Node{}, %Node{}], %{local_datacenter: "dc1"}}
    end
  end

  describe "a resolver" do
    test "of ours that only computes is called in the process, and all others elsewhere" do
      for {module, inline?} <- [
            {EndpointResolvers.Announced, true},
            {EndpointResolvers.FixedName, true},
            {EndpointResolvers.Mapped, true},
            {EndpointResolvers.Template, true},
            # It calls what a user wrote.
            {EndpointResolvers.Function, false},
            {Resolver, false}
          ] do
        assert Callbacks.inline?({module, []}) == inline?, inspect(module)
        assert Callbacks.inline?({module, []}, {:template, "{rack}"}) == inline?
        refute Callbacks.inline?({module, []}, {:function, & &1.rack})
      end
    end

    test "of somebody else's runs elsewhere, and blocks nothing", %{
      argument: argument,
      agent: agent
    } do
      test = self()

      function = fn node ->
        send(test, {:resolving, node.address, self()})
        receive do: (:go -> {:ok, %Endpoint{address: "proxy", port: 1, sni: "n1.example"}})
      end

      for resolver <- [{Resolver, function}, {EndpointResolvers.Function, function}] do
        open(agent)
        topology = start(argument, %{endpoint_resolver: resolver})
        answer([1, 2])
        assert_receive {:resolving, "10.0.0.1", one}, 2_000
        assert_receive {:resolving, "10.0.0.2", two}, 2_000
        assert one != two and one != topology
        assert %{asked: asked} = :sys.get_state(topology)
        assert map_size(asked) == 2

        for pid <- [one, two], do: send(pid, :go)

        assert_receive {:set_nodes, [%{host: "proxy", sni: "n1.example"}, %{host: "proxy"}]},
                       2_000

        assert %{asked: none} = :sys.get_state(topology)
        assert none == %{}
        stop_supervised!(Topology)
      end
    end

    test "can do what it likes: its node is left out", %{
      argument: argument,
      agent: agent,
      table: table
    } do
      endpoint = %Endpoint{address: "a", port: 1}

      for {answer, text} <- [
            {fn -> raise "oh no" end, "oh no"},
            {fn -> throw(:up) end, "it threw :up"},
            {fn -> exit(:early) end, "it exited with :early"},
            {fn -> Process.exit(self(), :kill) end, "its process ended: :killed"},
            {fn -> {:error, :nxdomain} end, ":nxdomain"},
            {fn -> {:error, "no such name"} end,
             "which is left out: endpoint_resolver: no such name"},
            {fn -> :rubbish end, "returned neither an endpoint nor an error"},
            {fn -> {:ok, "10.0.0.1"} end, "returned neither an endpoint nor an error"},
            {fn -> {:ok, %{endpoint | port: 0}} end, "the endpoint's port 0 is not a number"},
            {fn -> {:ok, %{endpoint | address: nil}} end, "the endpoint's address nil "},
            {fn -> {:ok, %{endpoint | sni: "10.0.0.1"}} end, "sni 10.0.0.1 is no host name"}
          ] do
        function = fn
          %{address: "10.0.0.2"} -> answer.()
          node -> {:ok, %Endpoint{address: node.address, port: node.port}}
        end

        open(agent)
        :ets.delete_all_objects(table)

        log =
          capture_log(fn ->
            topology = start(argument, %{endpoint_resolver: {Resolver, function}})
            answer([1, 2])
            assert applied() == ["10.0.0.1"]
            assert Process.alive?(topology)
            stop_supervised!(Topology)
          end)

        assert log =~ "no endpoint for node 10.0.0.2:9042"
        assert log =~ text
      end
    end

    test "has its answers in one form", %{argument: argument, agent: agent} do
      open(agent)
      answer = {:ok, %Endpoint{address: {10, 9, 8, 7}, port: nil}}
      start(argument, %{endpoint_resolver: {Resolver, answer}})
      answer([1])
      assert_receive {:set_nodes, [%{host: "10.9.8.7", port: 9042}]}, 2_000
    end

    test "is ended by a new control connection", %{argument: argument, agent: agent} do
      test = self()

      function = fn _node ->
        send(test, {:resolving, self()})
        Process.sleep(:infinity)
      end

      open(agent)
      topology = start(argument, %{endpoint_resolver: {Resolver, function}})
      answer([1])
      assert_receive {:resolving, task}, 2_000
      monitor = Process.monitor(task)
      event(agent, topology, {:control_opened, control()})
      assert_receive {:DOWN, ^monitor, :process, ^task, :killed}, 2_000
      answer([1])
      assert_receive {:resolving, _task}, 2_000
    end

    test "waits while there is no task supervisor, and its nodes with it", %{
      argument: argument,
      agent: agent
    } do
      function = fn node -> {:ok, %Endpoint{address: node.address, port: node.port}} end
      open(agent)

      log =
        capture_log(fn ->
          argument = %{argument | tasks: :nobody}
          topology = start(argument, %{endpoint_resolver: {Resolver, function}})
          answer([1])
          :sys.get_state(topology)
          # Its answers may come a message later.
          :sys.get_state(topology)
        end)

      assert log =~ "there is no process for it"
      refute_received {:set_nodes, _}
    end
  end

  describe "the name to verify" do
    defp verify(rule, more \\ %{}),
      do: Map.merge(%{tls: %{verified_name: rule}}, more)

    test "wins over the resolver's, whose other answers stay", %{argument: argument, agent: agent} do
      endpoint = %Endpoint{address: "proxy", port: 1, verified_name: "proxy", sni: "n.example"}

      for {rule, names} <- [
            {{:template, "{address}.{rack}.example"},
             ["10.0.0.1.r.example", "10.0.0.2.r.example"]},
            {{:map, %{"10.0.0.2" => "db2.example"}}, ["proxy", "db2.example"]},
            {{:map, %{"proxy:1" => "db.example"}}, ["db.example", "db.example"]},
            {{:function, &if(&1.address == "10.0.0.1", do: "db1.example")},
             ["db1.example", "proxy"]},
            # These hold for contact points as well, and are not Elixir's to apply.
            {"db.example", ["proxy", "proxy"]},
            {false, ["proxy", "proxy"]}
          ] do
        open(agent)
        start(argument, verify(rule, %{endpoint_resolver: {Resolver, {:ok, endpoint}}}))
        answer([1, 2])
        assert_receive {:set_nodes, nodes}, 2_000
        assert Enum.map(nodes, & &1.verified_name) == names
        assert [%{host: "proxy", port: 1, sni: "n.example"}, _] = nodes
        stop_supervised!(Topology)
      end
    end

    test "is asked for elsewhere where a function says it, with the node's endpoint", %{
      argument: argument,
      agent: agent
    } do
      test = self()

      function = fn node ->
        send(test, {:naming, self(), node})
        receive do: (:go -> {:ok, "db1.example"})
      end

      open(agent)
      topology = start(argument, verify({:function, function}))
      answer([1])
      assert_receive {:naming, task, node}, 2_000
      assert task != topology
      assert %{rack: "r", endpoint: %Endpoint{address: "10.0.0.1", port: 9042}} = node
      assert %{asked: asked} = :sys.get_state(topology)
      assert map_size(asked) == 1
      send(task, :go)
      assert_receive {:set_nodes, [%{verified_name: "db1.example"}]}, 2_000
    end

    test "that a function fails to say: its node is left out", %{
      argument: argument,
      agent: agent,
      table: table
    } do
      for {answer, text} <- [
            {fn -> raise "oh no" end, "tls.verify_hostname: it raised %RuntimeError{"},
            {fn -> throw(:up) end, "tls.verify_hostname: it threw :up"},
            {fn -> exit(:early) end, "tls.verify_hostname: it exited with :early"},
            {fn -> Process.exit(self(), :kill) end, "its process ended: :killed"},
            {fn -> {:error, :nxdomain} end, "tls.verify_hostname: :nxdomain"},
            {fn -> false end, "tls.verify_hostname: false turns the check off"},
            {fn -> {:ok, false} end, "tls.verify_hostname: false turns the check off"},
            {fn -> "two words" end, "the name \"two words\" is not a host name"},
            {fn -> 17 end, "the name 17 is not a host name"}
          ] do
        function = fn
          %{address: "10.0.0.2"} -> answer.()
          _node -> nil
        end

        open(agent)
        :ets.delete_all_objects(table)

        log =
          capture_log(fn ->
            topology = start(argument, verify({:function, function}))
            answer([1, 2])
            assert applied() == ["10.0.0.1"]
            assert Process.alive?(topology)
            stop_supervised!(Topology)
          end)

        assert log =~ "no endpoint for node 10.0.0.2:9042"
        assert log =~ "which is left out: #{text}" or log =~ text
      end
    end

    test "that a function fails to say again: the node keeps the one it had", %{
      argument: argument,
      agent: agent
    } do
      test = self()

      function = fn _node ->
        send(test, {:naming, self()})
        receive do: ({:name, answer} -> answer)
      end

      open(agent)
      topology = start(argument, verify({:function, function}))

      name = fn answer ->
        answer([1])
        assert_receive {:naming, task}, 2_000
        send(task, {:name, answer})
      end

      name.("db1.example")
      assert_receive {:set_nodes, [%{verified_name: "db1.example"}]}, 2_000

      log =
        capture_log(fn ->
          event(agent, topology, {:control_opened, control()})
          name.({:error, :later})
          # Nobody but the process itself asks for this.
          name.("db2.example")
          assert_receive {:set_nodes, nodes}, 2_000
          assert [%{verified_name: "db2.example"}] = nodes
        end)

      assert log =~ "which keeps the endpoint that it had: tls.verify_hostname: :later"
    end
  end
end
