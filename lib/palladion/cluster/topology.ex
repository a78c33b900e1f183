defmodule Palladion.Cluster.Topology do
  @moduledoc false
  # Keeps the list of a cluster's nodes: which there are, where to connect to, how far each is.
  # It does what Topology.State decides, and holds nothing else but what is under way. If it
  # crashes, the connections stay; the next one adopts the control connection and asks again.

  use GenServer

  require Logger

  alias Palladion.Cluster.NodeTable
  alias Palladion.Cluster.Topology.{Callbacks, State}
  alias Palladion.{Native, Node, Result, Telemetry}

  @statements %{
    local: "SELECT * FROM system.local WHERE key = 'local'",
    peers_v2: "SELECT * FROM system.peers_v2",
    peers: "SELECT * FROM system.peers"
  }

  # One slow node delays those that share its task.
  @most_resolver_tasks 16

  @doc false
  # `table` is the ETS table of `Palladion.nodes/1` and `tasks` a task supervisor; both are the
  # cluster's and outlive this process. Tests have a `native` of their own.
  @spec start_link(%{
          required(:handle) => term(),
          required(:config) => Palladion.Config.t(),
          required(:table) => NodeTable.t(),
          required(:tasks) => Supervisor.supervisor(),
          optional(:native) => module()
        }) :: GenServer.on_start()
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init(%{handle: handle, config: config, table: table, tasks: tasks} = argument) do
    if config.local_datacenter,
      do: NodeTable.put_local_datacenter(table, config.local_datacenter)

    server = %{
      native: Map.get(argument, :native, Native),
      handle: handle,
      name: config.name,
      label: inspect(config.name),
      table: table,
      tasks: tasks,
      resolver: config.endpoint_resolver,
      verified_name: config.tls && config.tls.verified_name,
      policy: config.load_balancing,
      core: State.new(core_config(config, table)),
      # by the ref of their answer: the queries and the tasks under way
      queries: %{},
      asked: %{},
      timer: nil
    }

    {:ok, server, {:continue, :adopt}}
  end

  defp core_config(config, table) do
    %{
      debounce: config.topology.debounce,
      refresh_interval: config.topology.refresh_interval,
      size: config.pool.size,
      remote_size: config.pool.remote_size,
      local_datacenter: config.local_datacenter,
      known: known(table)
    }
  end

  # What the process before this one left.
  defp known(table) do
    nodes = for {_id, node} <- NodeTable.all(table), do: node
    %{nodes: nodes, local_datacenter: NodeTable.local_datacenter(table)}
  end

  @impl true
  def handle_continue(:adopt, server), do: {:noreply, server |> adopt() |> take_events()}

  @impl true
  def handle_info(:palladion_events, server), do: {:noreply, take_events(server)}

  def handle_info({:tick, timer}, %{timer: {timer, _reference}} = server) do
    {:noreply, run(%{server | timer: nil}, [:tick])}
  end

  def handle_info({ref, answer}, server) when is_map_key(server.queries, ref) do
    {%{generation: generation, table: table}, queries} = Map.pop!(server.queries, ref)
    {:noreply, run(%{server | queries: queries}, [{:answer, generation, table, rows(answer)}])}
  end

  def handle_info({ref, answer}, server) when is_map_key(server.asked, ref) do
    Process.demonitor(ref, [:flush])
    {%{answered: answered}, asked} = Map.pop!(server.asked, ref)
    {:noreply, run(%{server | asked: asked}, [answered.(answer)])}
  end

  def handle_info({:DOWN, ref, :process, _pid, reason}, server)
      when is_map_key(server.asked, ref) do
    {%{failed: failed}, asked} = Map.pop!(server.asked, ref)
    text = "its process ended: #{inspect(reason, limit: 10, printable_limit: 200)}"
    {:noreply, run(%{server | asked: asked}, [failed.(text)])}
  end

  # Answers that nobody waits for any more, timers that were set anew.
  def handle_info(_other, server), do: {:noreply, server}

  defp rows({:ok, native_result}), do: {:ok, Result.from_native(native_result).rows}
  defp rows({:error, error}), do: {:error, error}

  defp adopt(server) do
    case server.native.cluster_adopt(server.handle, :topology) do
      {:ok, control} -> run(server, [{:adopted, control}])
      {:error, _closed} -> server
    end
  end

  defp take_events(server) do
    case server.native.take_events(server.handle, :topology) do
      {:ok, {events, dropped, more?}} ->
        if more?, do: send(self(), :palladion_events)
        server |> run(events) |> missed(dropped)

      {:error, _closed} ->
        server
    end
  end

  defp missed(server, 0), do: server

  # What is said of the control connection may be among them. Whoever adopts takes what is there.
  defp missed(server, dropped) do
    log(server, :warning, "#{dropped} events of the topology dropped")
    send(self(), :palladion_events)
    adopt(server)
  end

  # What actions bring about at once follows when all of them are done.
  defp run(server, []), do: server

  defp run(server, [event | events]) do
    # Events were missed while there was no connection.
    if match?({:control_opened, _}, event), do: NodeTable.forget_down(server.table)
    {core, actions} = State.handle(server.core, event, System.monotonic_time(:millisecond))
    {more, server} = Enum.flat_map_reduce(actions, %{server | core: core}, &execute/2)
    run(server, more ++ events)
  end

  @spec execute(State.action(), map()) :: {[State.event()], map()}
  defp execute({:query, generation, table}, server) do
    ref = make_ref()

    case server.native.control_query(server.handle, ref, Map.fetch!(@statements, table)) do
      {:ok, request} ->
        query = %{generation: generation, table: table, request: request}
        {[], put_in(server.queries[ref], query)}

      {:error, error} ->
        {[{:answer, generation, table, {:error, error}}], server}
    end
  end

  defp execute({:resolve, generation, nodes}, server) do
    resolve = &Callbacks.resolve(server.resolver, server.verified_name, &1)

    if Callbacks.inline?(server.resolver, server.verified_name) do
      {[{:resolved, generation, resolve.(nodes)}], server}
    else
      nodes
      |> Enum.chunk_every(div(length(nodes) - 1, @most_resolver_tasks) + 1)
      |> Enum.flat_map_reduce(server, fn nodes, server ->
        start_task(server, generation, fn -> resolve.(nodes) end, %{
          answered: &{:resolved, generation, &1},
          failed: &{:resolved, generation, no_results(nodes, &1)}
        })
      end)
    end
  end

  defp execute({:rank, generation, nodes, local_datacenter}, %{policy: policy} = server) do
    ask = fn -> Callbacks.distances(policy, nodes, local_datacenter) end

    if Callbacks.inline?(policy) do
      {[{:ranked, generation, ask.()}], server}
    else
      start_task(server, generation, ask, %{
        answered: &{:ranked, generation, &1},
        failed: &{:ranked, generation, {:error, &1}}
      })
    end
  end

  defp execute({:cancel, generation}, server) do
    {gone, queries} = split(server.queries, generation)
    for {_ref, query} <- gone, do: server.native.cancel(query.request)

    {gone, asked} = split(server.asked, generation)
    for {_ref, question} <- gone, do: Task.shutdown(question.task, :brutal_kill)

    {[], %{server | queries: queries, asked: asked}}
  end

  defp execute({:local_datacenter, datacenter}, server) do
    NodeTable.put_local_datacenter(server.table, datacenter)
    {[], server}
  end

  defp execute({:store, nodes, removed}, server) do
    NodeTable.put(server.table, nodes, removed)
    {[], server}
  end

  defp execute({:apply, nodes}, server) do
    case server.native.set_nodes(server.handle, nodes) do
      {:ok, _} ->
        {[], server}

      {:error, {:closed, _}} ->
        {[], server}

      {:error, {kind, fields}} ->
        log(server, :error, "the nodes can't be used: #{kind} #{inspect(fields)}")
        {[:not_applied], server}
    end
  end

  defp execute({:nudge, node}, server) do
    server.native.nudge_node(server.handle, Node.id(node.host_id))
    {[], server}
  end

  defp execute({:down, node, down?}, server) do
    NodeTable.put_down(server.table, node, down?)
    {[], server}
  end

  defp execute({:wake, at}, server) do
    with {_timer, reference} <- server.timer,
         do: Process.cancel_timer(reference, async: true, info: false)

    {[], %{server | timer: at && start_timer(at)}}
  end

  defp execute({:log, level, text}, server) do
    log(server, level, text)
    {[], server}
  end

  defp execute({:telemetry, event, measurements, metadata}, server) do
    measurements = Map.put(measurements, :system_time, System.system_time())
    Telemetry.execute(event, measurements, Map.put(metadata, :cluster, server.name))
    {[], server}
  end

  defp split(under_way, generation) do
    {gone, kept} = Enum.split_with(under_way, fn {_ref, it} -> it.generation == generation end)
    {gone, Map.new(kept)}
  end

  # The name tells the timer that was set last from those before.
  defp start_timer(at) do
    timer = make_ref()
    delay = max(at - System.monotonic_time(:millisecond), 0)
    {timer, Process.send_after(self(), {:tick, timer}, delay)}
  end

  # `question` says which events follow from the answer, and from none.
  defp start_task(server, generation, fun, question) do
    task = Task.Supervisor.async_nolink(server.tasks, fun)
    question = Map.merge(question, %{generation: generation, task: task})
    {[], put_in(server.asked[task.ref], question)}
  catch
    # The task supervisor is just restarting.
    :exit, _reason -> {[question.failed.("there is no process for it")], server}
  end

  defp no_results(nodes, reason), do: Map.new(nodes, &{&1.host_id, {:error, reason}})

  defp log(server, level, text), do: Logger.log(level, "Palladion #{server.label}: #{text}")
end
