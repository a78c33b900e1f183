defmodule Palladion.Integration.SupervisionTest do
  @moduledoc """
  The processes below a cluster's supervisor are killed under traffic, and no query notices; the supervisor's own end closes
  everything. `bin/soak supervision` kills each process 100 times under 64 callers.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.Cluster.{Authenticators, Server, Topology}
  alias Palladion.ConnectionError
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log

  @kills String.to_integer(System.get_env("PALLADION_SOAK_SUPERVISION", "10"))
  @soak @kills > 10
  @callers if @soak, do: 64, else: 16
  # The supervisor allows 30 restarts in 5 s.
  @pause_ms if @soak, do: 180, else: 20
  @moduletag timeout: 60_000 + @kills * 2_000

  setup do
    server = Testkit.start_cluster!(nodes: 3, tls: false)
    %{server: server, name: follow!(server)}
  end

  # Callers that never stop asking, and check that the answers are theirs.

  defp start_traffic(name) do
    stop = :counters.new(2, [])
    callers = for caller <- 1..@callers, do: Task.async(fn -> ask(name, caller, 1, stop, []) end)
    {stop, callers}
  end

  defp ask(name, caller, n, stop, errors) do
    if :counters.get(stop, 1) > 0 do
      assert mailbox() == []
      errors
    else
      # Values, so that statements are prepared; many are new.
      statement = "SELECT echo(int, int) -- #{rem(n, 50)}"

      case Palladion.query(name, statement, [caller, n]) do
        {:ok, %{rows: [%{"c0" => ^caller, "c1" => ^n}]}} ->
          :counters.add(stop, 2, 1)
          ask(name, caller, n + 1, stop, errors)

        {:error, error} ->
          Process.sleep(1)
          ask(name, caller, n + 1, stop, [error | errors])
      end
    end
  end

  defp stop_traffic({stop, callers}) do
    :counters.add(stop, 1, 1)
    errors = callers |> Task.await_many(30_000) |> List.flatten()
    {:counters.get(stop, 2), errors}
  end

  defp answered(stop, more) do
    before = :counters.get(stop, 2)
    eventually("queries are answered", fn -> :counters.get(stop, 2) >= before + more end)
  end

  for {what, id} <- [
        {"the server process", Server},
        {"the topology process", Topology},
        {"the process that logins ask", Authenticators},
        {"the task supervisor", Task.Supervisor}
      ] do
    test "#{what} is killed #{@kills} times: no query fails, and the nodes are followed",
         context do
      %{server: server, name: name} = context
      id = unquote(id)
      {stop, _callers} = traffic = start_traffic(name)
      answered(stop, @callers)
      opened = stat(name, :connections_opened)
      others = Map.delete(pids(name), id)

      for _ <- 1..@kills do
        killed = Map.fetch!(pids(name), id)
        Process.exit(killed, :kill)

        eventually("another has its place", fn ->
          pid = pids(name)[id]
          is_pid(pid) and pid != killed
        end)

        answered(stop, @callers)
        Process.sleep(@pause_ms)
      end

      # Nothing was restarted beside it, and no connection was lost.
      assert Map.delete(pids(name), id) == others
      assert stat(name, :connections_opened) == opened
      assert stat(name, :control_connections_opened) == 1
      assert_followed(server, name)
      {ok, errors} = stop_traffic(traffic)
      assert errors == []
      assert ok > @kills * @callers
    end
  end

  test "all of them at once", %{server: server, name: name} do
    {stop, _callers} = traffic = start_traffic(name)

    for _ <- 1..min(@kills, 7) do
      before = pids(name)
      for {_id, pid} <- before, do: Process.exit(pid, :kill)

      eventually("others have their places", fn ->
        Enum.all?(pids(name), fn {id, pid} -> is_pid(pid) and pid != before[id] end)
      end)

      answered(stop, @callers)
      # Four restarts each.
      Process.sleep(@pause_ms * 4)
    end

    assert_followed(server, name)
    assert {_ok, []} = stop_traffic(traffic)
  end

  test "the process that logins ask is killed while they ask: no query fails, and all log in" do
    server = Testkit.start_cluster!(nodes: 3, user: "ann", password: "secret")
    # As long as a login needs, so that most kills hit some.
    credentials = fn _endpoint -> Process.sleep(20) && [username: "ann", password: "secret"] end
    name = follow!(server, auth: [credentials: credentials], pool: [size: 2])
    {stop, _callers} = traffic = start_traffic(name)
    again = Task.async(fn -> log_in_again(name, stop) end)

    for _ <- 1..@kills do
      killed = Map.fetch!(pids(name), Authenticators)
      Process.exit(killed, :kill)

      eventually("another has its place", fn ->
        pids(name)[Authenticators] not in [nil, killed]
      end)

      answered(stop, @callers)
      Process.sleep(@pause_ms)
    end

    assert {_ok, []} = stop_traffic(traffic)
    Task.await(again, 60_000)

    eventually("no attempt fails any more", fn ->
      match?({:ok, %{last_error: nil}}, Palladion.status(name))
    end)

    assert Palladion.reconnect(name) == :ok
    # What failed was never the server's to refuse.
    assert %{failed_logins: 0} = Testkit.counters(server)
  end

  # All connections, all the time; an error is that of a login that was cut off.
  defp log_in_again(name, stop) do
    if :counters.get(stop, 1) == 0 do
      Palladion.reconnect(name, 5_000)
      log_in_again(name, stop)
    end
  end

  # The list of nodes, and what is told of them.
  defp assert_followed(server, name) do
    id = TelemetryEvents.attach()
    %{address: address} = Testkit.add_node(server)
    await_nodes(name, server)
    await_connections(name)
    eventually("the new one serves", fn -> address in serving(name) end)
    assert_receive {:telemetry, ^id, [_, :node, :added], _, %{cluster: ^name}}, 5_000
    assert_receive {:telemetry, ^id, [_, :connection, :opened], _, %{cluster: ^name}}, 5_000
    Testkit.remove_node(server, address)
    await_nodes(name, server)
    assert_receive {:telemetry, ^id, [_, :node, :removed], _, %{cluster: ^name}}, 5_000
    :telemetry.detach(id)
    assert {:ok, nodes} = Palladion.nodes(name)
    assert Enum.all?(nodes, &(&1.state == :up))
  end

  test "what happened while the topology process was away is found", %{server: server, name: name} do
    :ok = Supervisor.terminate_child(name, Topology)
    # Others are told apart from those that were known.
    id = TelemetryEvents.attach()
    Testkit.add_node(server)
    Testkit.remove_node(server, "127.0.0.2")
    assert length(nodes(name)) == 3
    assert "127.0.0.1" in serving(name)
    {:ok, _pid} = Supervisor.restart_child(name, Topology)
    await_nodes(name, server)
    await_connections(name)
    assert_receive {:telemetry, ^id, [_, :node, :added], _, %{address: "127.0.0.4"}}, 5_000
    assert_receive {:telemetry, ^id, [_, :node, :removed], _, %{address: "127.0.0.2"}}, 5_000
    refute_received {:telemetry, ^id, [_, :node, :added], _, _}
    :telemetry.detach(id)
  end

  describe "the supervisor" do
    test "stopped with queries in flight: they have their answers, and all is closed", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "late", delay: 100, reaction: :builtin)

      late =
        for _ <- 1..50,
            do: Task.async(fn -> Palladion.query(name, "SELECT numbers(2) -- late") end)

      eventually("they are sent", fn -> in_flight(name) == 50 end)
      {us, :ok} = :timer.tc(fn -> stop_supervised(name) end)
      assert us < 5_000_000
      for task <- late, do: assert({:ok, %{num_rows: 2}} = Task.await(task))
      Testkit.wait(server, open: 0)
    end

    test "stopped with queries that get no answer: within shutdown_timeout", context do
      Testkit.rule(context.server, contains: "never", reaction: :never)
      name = follow!(context.server, shutdown_timeout: 300)
      stuck = for _ <- 1..50, do: Task.async(fn -> Palladion.query(name, "SELECT never") end)
      eventually("they are sent", fn -> in_flight(name) == 50 end)
      {us, :ok} = :timer.tc(fn -> stop_supervised(name) end)
      assert us in 250_000..5_000_000

      for task <- stuck do
        assert {:error, %ConnectionError{reason: reason}} = Task.await(task)
        assert reason in [:closed, :connection_closed]
      end

      # The other cluster's.
      Testkit.wait(context.server, open: 4)
    end

    test "stopped under traffic: each caller is told, and there is no message", context do
      {stop, _callers} = traffic = start_traffic(context.name)
      answered(stop, @callers)
      :ok = stop_supervised(context.name)
      Testkit.wait(context.server, open: 0)
      {_ok, errors} = stop_traffic(traffic)
      reasons = errors |> Enum.map(& &1.reason) |> Enum.uniq()
      assert reasons -- [:closed, :connection_closed, :no_connection] == []
    end

    test "killed brutally under traffic: all connections are closed", %{server: server} do
      Process.flag(:trap_exit, true)
      name = :"killed_#{System.unique_integer([:positive])}"
      {:ok, pid} = Palladion.start_link(options(server, hurried(name: name)))
      await_nodes(name, server)
      await_connections(name)
      {stop, _callers} = traffic = start_traffic(name)
      answered(stop, @callers)
      children = Map.values(pids(name))
      Process.exit(pid, :kill)
      assert_receive {:EXIT, ^pid, :killed}
      Testkit.wait(server, open: 4)
      {_ok, errors} = stop_traffic(traffic)
      reasons = errors |> Enum.map(& &1.reason) |> Enum.uniq()
      assert reasons -- [:closed, :connection_closed, :no_connection] == []
      eventually("no process is left", fn -> not Enum.any?(children, &Process.alive?/1) end)

      # Another can take its name.
      {:ok, pid} = Palladion.start_link(options(server, hurried(name: name)))
      :ok = Palladion.await_ready(name)
      Supervisor.stop(pid)
      Testkit.wait(server, open: 4)
    end

    test "gives up after too many restarts, and another begins anew", %{
      server: server,
      name: name
    } do
      before = Process.whereis(name)

      eventually("it has ended", fn ->
        for {_id, pid, _, _} when is_pid(pid) <- children(before), do: Process.exit(pid, :kill)
        not Process.alive?(before)
      end)

      eventually("another is there", fn -> Process.whereis(name) not in [nil, before] end)
      :ok = Palladion.await_ready(name)
      await_nodes(name, server)
      await_connections(name)
      Testkit.wait(server, open: 4)
      assert serving(name) == server.nodes
    end
  end

  defp children(supervisor) do
    Supervisor.which_children(supervisor)
  catch
    :exit, _ended -> []
  end

  defp in_flight(name) do
    {:ok, status} = Palladion.status(name)
    status.in_flight
  end

  test "what happens to one cluster is nothing to another", %{server: server, name: name} do
    other_server = Testkit.start_cluster!(nodes: 2)
    other = follow!(other_server, pool: [size: 2])
    {stop, _callers} = traffic = start_traffic(other)
    answered(stop, @callers)
    before = pids(other)

    for {_id, pid} <- pids(name), do: Process.exit(pid, :kill)
    for node <- server.nodes, do: Testkit.node_down(server, node)
    Testkit.rule(server, contains: "", reaction: :never)
    :ok = stop_supervised(name)
    answered(stop, @callers * 10)

    assert pids(other) == before
    assert stat(other, :connections_opened) == 4
    assert known(other) == there(other_server)
    assert {_ok, []} = stop_traffic(traffic)
    assert {:error, %ConnectionError{reason: :closed}} = Palladion.query(name, "SELECT 1")
  end
end
