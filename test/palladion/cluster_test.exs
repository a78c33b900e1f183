defmodule Palladion.ClusterTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster
  alias Palladion.Cluster.NodeTable

  @moduletag :capture_log

  test "a cluster that a registry names has its task supervisor, and no atom is made for it" do
    start_supervised!({Registry, keys: :unique, name: __MODULE__.Registry})

    name = start("a key")

    assert {:ok, %{table: table}} = Cluster.fetch(name)
    tasks = NodeTable.whereis_name({table, :tasks})
    assert Task.await(Task.Supervisor.async_nolink(tasks, fn -> 7 end)) == 7

    assert Process.info(tasks, :registered_name) in [[], {:registered_name, []}]
    pids = for {_id, pid, _type, _modules} <- Supervisor.which_children(name), do: pid
    assert tasks in pids

    # It is found by the same name after it was restarted.
    monitor = Process.monitor(tasks)
    Process.exit(tasks, :kill)
    assert_receive {:DOWN, ^monitor, :process, _pid, :killed}
    via = {:via, NodeTable, {table, :tasks}}
    assert again(fn -> GenServer.whereis(via) end) != tasks
  end

  # Nobody listens there.
  defp start(key) do
    name = {:via, Registry, {__MODULE__.Registry, key}}
    options = [name: name, contact_points: ["127.0.0.1:1"], tls: false]
    start_supervised!(Supervisor.child_spec({Palladion, options}, id: key))
    name
  end

  defp again(fun), do: fun.() || again(fun)
end
