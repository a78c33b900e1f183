defmodule Bench.Topology do
  # What it takes to follow a cluster of many nodes: the work of the topology's process, and the
  # time until the table that requests are routed on is another one.

  alias Palladion.Cluster.Topology
  alias Palladion.Cluster.Topology.Callbacks
  alias Palladion.Native

  @refreshes 10
  @tables 20
  @limit_ms 60_000

  @doc "Starts a cluster, and gives one row of figures."
  def run(%{server: server}) do
    before = memory()
    begin = now()
    {:ok, supervisor} = Palladion.start_link(options(server))
    topology = process(supervisor)
    :erlang.trace_pattern({Native, :set_nodes, 2}, true, [])
    :erlang.trace(topology, true, [:running, :call, :monotonic_timestamp])

    # All in one go, for asking costs something too.
    {:ok, %{handle: handle}} = Palladion.Cluster.fetch(Bench.DB)
    tabled = poll(fn -> length(status(handle).endpoints) == server.nodes end)
    ready = poll(fn -> Enum.all?(status(handle).endpoints, &(&1.connections != [])) end)
    work = for _ <- 0..@refreshes, do: refresh(topology)
    :erlang.trace(topology, false, [:all])

    [%{worked: first, applied: applied} | others] = work
    {policy, applied_list} = policy(topology)
    tables = for n <- 1..@tables, do: table(handle, applied_list, n)

    %{
      nodes: server.nodes,
      connections: connections(handle),
      ready_ms: ms(ready - begin),
      start_work_ms: ms(first),
      start_table_ms: ms(tabled - applied),
      policy_ms: policy,
      refresh_work_ms: ms(median(Enum.map(others, & &1.worked))),
      table_ms: ms(median(tables)),
      table_longest_ms: ms(Enum.max(tables)),
      rss_mib: memory() - before
    }
  end

  # Every node has connections, whichever its data center.
  defp options(server) do
    [
      name: Bench.DB,
      contact_points: [{"localhost", server.port}],
      tls: [cacertfile: server.cacertfile, versions: [:"tlsv1.3"]],
      auth: [username: server.username, password: server.password],
      local_datacenter: "dc1",
      load_balancing: {:round_robin, remote_nodes: server.nodes},
      topology: [refresh_interval: 500]
    ]
  end

  defp process(supervisor) do
    Enum.find_value(Supervisor.which_children(supervisor), fn {id, pid, _, _} ->
      id == Topology && pid
    end)
  end

  # The time that the process runs until it waits for the next refresh, and when it had the nodes
  # applied, if it had.
  defp refresh(topology), do: refresh(topology, %{worked: 0, applied: nil, in: nil})

  defp refresh(topology, seen) do
    receive do
      {:trace_ts, ^topology, :in, _mfa, at} ->
        refresh(topology, %{seen | in: at})

      {:trace_ts, ^topology, :out, _mfa, at} ->
        refresh(topology, %{seen | worked: seen.worked + at - (seen.in || at)})

      {:trace_ts, ^topology, :call, _mfa, at} ->
        refresh(topology, %{seen | applied: at})
    after
      # Less than between two refreshes, and more than one takes.
      250 -> if seen.worked > 0, do: seen, else: refresh(topology, seen)
    end
  end

  # How long the policy alone takes, and what the native library got last.
  defp policy(topology) do
    %{policy: policy, core: core} = :sys.get_state(topology)
    nodes = Map.values(core.nodes)

    durations =
      for _ <- 1..20 do
        begin = now()
        {:ok, _distances} = Callbacks.distances(policy, nodes, core.local_datacenter)
        now() - begin
      end

    {ms(median(durations)), core.applied}
  end

  # From the order to the table that has it: the first node has another distance each time.
  defp table(handle, [node | others], n) do
    distance = if rem(n, 2) == 0, do: :local, else: :remote
    begin = now()
    {:ok, _} = Native.set_nodes(handle, [%{node | distance: distance} | others])

    poll(fn ->
      Enum.any?(status(handle).endpoints, &(&1.node == node.id and &1.distance == distance))
    end) - begin
  end

  defp poll(fun, until \\ nil) do
    until = until || now() + System.convert_time_unit(@limit_ms, :millisecond, :native)

    cond do
      fun.() -> now()
      now() < until -> poll(fun, until)
      true -> raise "the cluster is not ready after #{@limit_ms} ms"
    end
  end

  defp status(handle) do
    {:ok, status} = Native.cluster_status(handle)
    status
  end

  defp connections(handle) do
    handle
    |> status()
    |> Map.fetch!(:endpoints)
    |> Enum.map(&length(&1.connections))
    |> Enum.sum()
  end

  defp median(values), do: values |> Enum.sort() |> Enum.at(div(length(values), 2))

  defp now, do: System.monotonic_time()
  defp ms(native), do: System.convert_time_unit(native, :native, :microsecond) / 1_000

  # Of the whole client process.
  defp memory do
    [_, kib] = Regex.run(~r/VmRSS:\s+(\d+) kB/, File.read!("/proc/self/status"))
    String.to_integer(kib) / 1_024
  end
end
