defmodule Palladion.Cluster.NodeTableTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster.NodeTable
  alias Palladion.Node

  import Palladion.Test.Topology, only: [id: 1]

  setup do: %{table: NodeTable.new()}

  defp peer(n, datacenter \\ "dc1"),
    do: %Node{host_id: id(n), address: "10.0.0.#{n}", datacenter: datacenter}

  defp key(n), do: Node.id(id(n))

  test "nodes are found by their ids", %{table: table} do
    NodeTable.put(table, [peer(1), peer(2)], [])
    assert NodeTable.get(table, key(1)) == peer(1)
    assert NodeTable.get(table, key(3)) == nil
    assert NodeTable.get(table, nil) == nil
    assert Enum.sort(NodeTable.all(table)) == [{key(1), peer(1)}, {key(2), peer(2)}]
  end

  test "nodes are replaced, and those that were removed are gone", %{table: table} do
    NodeTable.put(table, [peer(1), peer(2)], [])
    NodeTable.put(table, [peer(1, "dc2")], [peer(2)])
    assert NodeTable.all(table) == [{key(1), peer(1, "dc2")}]
    assert NodeTable.get(table, key(2)) == nil
  end

  test "nodes that were neither put nor removed stay", %{table: table} do
    NodeTable.put(table, [peer(1)], [])
    NodeTable.put(table, [peer(2)], [peer(3)])
    assert length(NodeTable.all(table)) == 2
  end

  test "logins are known until the cluster has stopped", %{table: table} do
    assert NodeTable.auth(table) == nil
    NodeTable.put_auth(table, %{auth: nil, version: 1})
    assert NodeTable.auth(table) == %{auth: nil, version: 1}
    :ets.delete(table)
    assert NodeTable.auth(table) == nil
  end

  test "datacenters are named once, in order", %{table: table} do
    assert NodeTable.datacenters(table) == []
    NodeTable.put(table, [peer(1, "west"), peer(2, "east"), peer(3, "west")], [])
    assert NodeTable.datacenters(table) == ["east", "west"]
  end

  test "the local datacenter is no node", %{table: table} do
    assert NodeTable.local_datacenter(table) == nil
    NodeTable.put_local_datacenter(table, "dc1")
    NodeTable.put_local_datacenter(table, "dc2")
    assert NodeTable.local_datacenter(table) == "dc2"
    assert NodeTable.all(table) == []
  end

  test "a node is down until it is said to be up", %{table: table} do
    NodeTable.put(table, [peer(1), peer(2)], [])
    refute NodeTable.down?(table, key(1))

    for _ <- 1..2, do: NodeTable.put_down(table, peer(1), true)
    assert NodeTable.down?(table, key(1))
    refute NodeTable.down?(table, key(2))
    # It is no other node for that.
    assert length(NodeTable.all(table)) == 2
    assert NodeTable.get(table, key(1)) == peer(1)

    for _ <- 1..2, do: NodeTable.put_down(table, peer(1), false)
    refute NodeTable.down?(table, key(1))
  end

  test "a node that was removed is not down when it comes again", %{table: table} do
    NodeTable.put(table, [peer(1), peer(2)], [])
    for n <- 1..2, do: NodeTable.put_down(table, peer(n), true)
    NodeTable.put(table, [peer(2)], [peer(1)])
    NodeTable.put(table, [peer(1)], [])
    refute NodeTable.down?(table, key(1))
    # Reading its row says nothing about that.
    assert NodeTable.down?(table, key(2))
  end

  test "a node is lost until it is connected to, removed or ignored", %{table: table} do
    local = for n <- 1..3, do: %{peer(n) | distance: :local}
    NodeTable.put(table, local, [])
    for n <- 1..3, do: NodeTable.put_lost(table, key(n), true)
    assert Enum.map(1..4, &NodeTable.lost?(table, key(&1))) == [true, true, true, false]

    NodeTable.put_lost(table, key(1), false)
    refute NodeTable.lost?(table, key(1))
    NodeTable.put(table, [peer(2)], [peer(3)])
    refute NodeTable.lost?(table, key(2))
    refute NodeTable.lost?(table, key(3))
  end

  test "what is known of certificates is kept, and is no node", %{table: table} do
    assert NodeTable.certificates(table) == nil
    for told <- [%{}, %{key: 1}], do: NodeTable.put_certificates(table, %{told: told})
    assert NodeTable.certificates(table) == %{told: %{key: 1}}
    assert NodeTable.all(table) == []
  end

  test "any process of the cluster may write, and what it wrote outlives it", %{table: table} do
    task = Task.async(fn -> NodeTable.put(table, [peer(1)], []) end)
    Task.await(task)
    assert NodeTable.get(table, key(1)) == peer(1)
  end

  describe "a name" do
    test "is that of a process while it lives", %{table: table} do
      name = {table, :tasks}
      via = {:via, NodeTable, name}
      assert NodeTable.whereis_name(name) == :undefined
      {:ok, agent} = Agent.start_link(fn -> 7 end)
      assert NodeTable.register_name(name, agent) == :yes
      assert NodeTable.register_name(name, self()) == :no
      assert GenServer.whereis(via) == agent
      assert Agent.get(via, & &1) == 7
      assert NodeTable.all(table) == []

      Agent.stop(agent)
      assert GenServer.whereis(via) == nil
      assert NodeTable.register_name(name, self()) == :yes
      assert NodeTable.send(name, :hello) == self()
      assert_received :hello

      NodeTable.unregister_name(name)
      assert NodeTable.whereis_name(name) == :undefined
      assert catch_exit(NodeTable.send(name, :hello)) == {:badarg, {name, :hello}}
    end

    test "serves a supervisor of tasks, also after it was restarted", %{table: table} do
      via = {:via, NodeTable, {table, :tasks}}
      {:ok, supervisor} = Task.Supervisor.start_link(name: via)
      Process.unlink(supervisor)
      assert Task.await(Task.Supervisor.async_nolink(via, fn -> 7 end)) == 7
      monitor = Process.monitor(supervisor)
      Process.exit(supervisor, :kill)
      assert_receive {:DOWN, ^monitor, :process, _pid, :killed}
      start_supervised!({Task.Supervisor, name: via})
      assert Task.await(Task.Supervisor.async_nolink(via, fn -> 8 end)) == 8
    end

    test "is nobody's where the table is gone", %{table: table} do
      :ets.delete(table)
      assert NodeTable.whereis_name({table, :tasks}) == :undefined
    end
  end

  test "whoever asks a cluster that was stopped finds nothing", %{table: table} do
    NodeTable.put(table, [peer(1)], [])
    :ets.delete(table)
    assert NodeTable.get(table, key(1)) == nil
    assert NodeTable.all(table) == []
    assert NodeTable.datacenters(table) == []
    refute NodeTable.down?(table, key(1))
    refute NodeTable.lost?(table, key(1))
  end
end
