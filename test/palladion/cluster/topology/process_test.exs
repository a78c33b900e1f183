defmodule Palladion.Cluster.Topology.ProcessTest do
  @moduledoc """
  The process itself, with a native library that the test plays.
  """

  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import Palladion.Test.Topology, only: [control: 0, control: 1, id: 1, rows: 1]
  import Palladion.Test.TopologyLibrary, except: [new: 0]

  alias Palladion.Cluster.NodeTable
  alias Palladion.{Endpoint, Node}
  alias Palladion.Test.{TelemetryEvents, TopologyLibrary}

  setup do: TopologyLibrary.new()

  test "the nodes are read, applied and stored", %{argument: argument, agent: agent, table: table} do
    open(agent)
    topology = start(argument)
    answer([1, 2])
    assert applied() == ["10.0.0.1", "10.0.0.2"]

    assert stored(table) == ["10.0.0.1", "10.0.0.2"]

    assert %Node{distance: :local, endpoint: %Endpoint{}} = NodeTable.get(table, Node.id(id(1)))
    assert NodeTable.local_datacenter(table) == "dc1"

    event(
      agent,
      topology,
      {:topology_change, %{change: "NEW_NODE", address: "10.0.0.3", port: 9042}}
    )

    answer([1, 3])
    assert applied() == ["10.0.0.1", "10.0.0.3"]
    assert stored(table) == ["10.0.0.1", "10.0.0.3"]
  end

  test "with a control connection that opens later", %{argument: argument, agent: agent} do
    topology = start(argument)
    assert_receive {:adopted, ^topology}
    refute_received {:query, _, _, _}
    open(agent)
    event(agent, topology, {:control_opened, control()})
    answer([1])
    assert applied() == ["10.0.0.1"]
  end

  test "with an older server", %{argument: argument, agent: agent} do
    open(agent)
    start(argument)

    answer(
      "SELECT * FROM system.peers_v2",
      {:error, {:server, %{code: 0x2200, message: "unconfigured table"}}}
    )

    answer("SELECT * FROM system.peers", {:ok, native(rows([2]))})
    answer("SELECT * FROM system.local WHERE key = 'local'", {:ok, native(rows([1]))})
    assert applied() == ["10.0.0.1", "10.0.0.2"]
  end

  test "a configured local datacenter is there from the start", %{
    argument: argument,
    table: table
  } do
    start(argument, %{local_datacenter: "dc9"})
    assert NodeTable.local_datacenter(table) == "dc9"
  end

  test "killed in any state, the next one goes on", %{
    argument: argument,
    agent: agent,
    table: table
  } do
    open(agent)
    first = start(argument)
    answer("SELECT * FROM system.peers_v2", {:ok, native(rows([2]))})
    assert_receive {:query, ^first, _, "SELECT * FROM system.local" <> _}
    Process.exit(first, :kill)

    assert_receive {:adopted, second} when second != first
    answer([1, 2])
    assert applied() == ["10.0.0.1", "10.0.0.2"]
    Process.exit(second, :kill)

    assert_receive {:adopted, third} when third != second and third != first
    assert stored(table) == ["10.0.0.1", "10.0.0.2"]
    # The whole list, even if nothing changed.
    answer([1, 2])
    assert applied() == ["10.0.0.1", "10.0.0.2"]
  end

  describe "events" do
    test "that were dropped cause a refresh, and the control connection is asked for again",
         %{argument: argument, agent: agent} do
      open(agent)
      topology = start(argument)
      answer([1])
      assert applied() == ["10.0.0.1"]

      log =
        capture_log(fn ->
          event(agent, topology, [], 7)
          answer([1, 2])
          assert applied() == ["10.0.0.1", "10.0.0.2"]
        end)

      assert log =~ "7 events of the topology dropped"

      # This time the connection was another one's.
      open(agent, control(%{address: "10.0.0.2"}))

      log =
        capture_log(fn ->
          event(agent, topology, [], 1)
          answer([1])
          assert applied() == ["10.0.0.1"]
        end)

      assert log =~ "1 events of the topology dropped"
    end

    test "that are too many to be taken at a time are all taken, in their order", %{
      argument: argument,
      agent: agent
    } do
      topology = start(argument)
      telemetry = TelemetryEvents.attach(only: topology)

      changes =
        for n <- 1..200,
            do: {:schema_change, schema_change(%{target: "TABLE", name: "t#{n}"})}

      # Told of once, so it takes the others by itself.
      event(agent, topology, changes)

      for n <- 1..200 do
        assert_receive {:telemetry, ^telemetry, [:palladion, :schema, :changed], _, changed}
        assert changed.name == "t#{n}"
      end

      :telemetry.detach(telemetry)
    end

    test "a node that came up is nudged", %{argument: argument, agent: agent} do
      open(agent)
      topology = start(argument)
      answer([1, 2])
      applied()
      event(agent, topology, {:status_change, %{change: "UP", address: "10.0.0.2", port: 9042}})
      id = Node.id(id(2))
      assert_receive {:nudge, ^id}
    end

    test "a node that went down is known to be, until it is up or gone", %{
      argument: argument,
      agent: agent,
      table: table
    } do
      status = fn n, change ->
        {:status_change, %{change: change, address: "10.0.0.#{n}", port: 9042}}
      end

      down = fn -> for n <- 1..3, NodeTable.down?(table, Node.id(id(n))), do: n end

      open(agent)
      # Nobody asks for a refresh before the test does.
      topology = start(argument, %{topology: %{debounce: 300_000, refresh_interval: 300_000}})
      answer([1, 2, 3])
      applied()

      event(agent, topology, [status.(2, "DOWN"), status.(3, "DOWN"), status.(9, "DOWN")])
      :sys.get_state(topology)
      assert down.() == [2, 3]

      event(agent, topology, status.(2, "UP"))
      :sys.get_state(topology)
      assert down.() == [3]

      event(agent, topology, {:control_opened, control()})
      answer([1, 2])
      applied()
      assert down.() == []
    end

    test "that are not understood are let pass, as is any message", %{
      argument: argument,
      agent: agent
    } do
      topology = start(argument)
      open(agent)

      for message <- [
            :hello,
            {make_ref(), :late},
            {:tick, make_ref()},
            {:DOWN, make_ref(), :process, self(), :x}
          ],
          do: send(topology, message)

      event(agent, topology, [
        {:unknown_event, %{type: "X"}},
        {:new_in_rust, %{}},
        {:control_opened, control()}
      ])

      answer([1])
      assert applied() == ["10.0.0.1"]
    end
  end

  describe "a list that the native library doesn't take" do
    test "is applied again soon, and as often as needed", %{
      argument: argument,
      agent: agent,
      table: table
    } do
      open(agent)
      refuse(agent, [{:overloaded, %{}}, {:overloaded, %{}}])

      log =
        capture_log(fn ->
          start(argument)

          # Nobody but the process itself asks for these.
          for _ <- 1..3 do
            answer([1, 2])
            assert applied() == ["10.0.0.1", "10.0.0.2"]
          end
        end)

      assert [_, _, _] = String.split(log, "the nodes can't be used: overloaded %{}")
      assert stored(table) == ["10.0.0.1", "10.0.0.2"]
    end

    test "because the cluster is closed is not applied again", %{argument: argument, agent: agent} do
      open(agent)
      refuse(agent, [{:closed, %{}}])
      topology = start(argument)

      log =
        capture_log(fn ->
          answer([1])
          assert applied() == ["10.0.0.1"]
          assert %{core: core} = :sys.get_state(topology)
          assert core.schedule.asked == nil
        end)

      refute log =~ "can't be used"
    end
  end

  describe "telemetry" do
    test "of a control connection's life is as declared, with the cluster's name", %{
      argument: argument,
      agent: agent
    } do
      topology = start(argument)
      telemetry = TelemetryEvents.attach(only: topology)
      cluster = argument.config.name

      # Those of a process that restarts have been told by the one before.
      open(agent)
      event(agent, topology, {:control_opened, control()})
      answer([1, 2])
      applied()
      peer = %{cluster: cluster, endpoint: "db1:9042", address: "10.0.0.1", port: 9042}
      assert {%{system_time: _}, ^peer} = told(telemetry, [:control, :opened])

      assert {%{nodes: 2}, refreshed} = told(telemetry, [:topology, :refreshed])
      assert refreshed == %{cluster: cluster}

      for n <- 1..2 do
        host_id = id(n)
        address = "10.0.0.#{n}"

        assert {_, %{cluster: ^cluster, host_id: ^host_id, address: ^address}} =
                 told(telemetry, [:node, :added])
      end

      event(agent, topology, [
        {:schema_change, schema_change(%{})},
        {:schema_change, schema_change(%{change: "RENAMED", target: "GALAXY", name: "g"})}
      ])

      assert {_, %{change: :dropped, target: :keyspace, keyspace: "shop", name: nil}} =
               told(telemetry, [:schema, :changed])

      assert {_, %{change: nil, target: nil, name: "g"}} = told(telemetry, [:schema, :changed])

      event(agent, topology, {:control_closed, %{}})
      assert {_, ^peer} = told(telemetry, [:control, :closed])

      # The same list is none that changed.
      event(agent, topology, {:control_opened, control()})
      answer([1, 2])
      assert {_, ^peer} = told(telemetry, [:control, :opened])
      assert {%{nodes: 2}, _} = told(telemetry, [:topology, :refreshed])
      :telemetry.detach(telemetry)
      refute_received {:telemetry, ^telemetry, _, _, _}
    end

    test "says nothing of a control connection that was there before the process", %{
      argument: argument,
      agent: agent
    } do
      open(agent)
      telemetry = TelemetryEvents.attach()
      cluster = argument.config.name
      start(argument)
      answer([1])
      applied()

      assert_receive {:telemetry, ^telemetry, [:palladion, :topology, :refreshed], _,
                      %{cluster: ^cluster}}

      :telemetry.detach(telemetry)

      refute_received {:telemetry, ^telemetry, [:palladion, :control, :opened], _,
                       %{cluster: ^cluster}}
    end

    defp told(telemetry, suffix) do
      event = [:palladion | suffix]
      assert_receive {:telemetry, ^telemetry, ^event, measurements, metadata}, 2_000
      TelemetryEvents.check!(event, measurements, metadata)
      {measurements, metadata}
    end
  end

  # As native/nif/src/events.rs makes it.
  defp schema_change(more),
    do: Map.merge(%{change: "DROPPED", target: "KEYSPACE", keyspace: "shop", name: nil}, more)
end
