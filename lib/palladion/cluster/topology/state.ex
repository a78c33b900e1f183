defmodule Palladion.Cluster.Topology.State do
  @moduledoc false
  # What the topology of a cluster does, without doing it: events and the time go in, actions
  # come out. The time is in ms, of any clock that doesn't go backwards.
  #
  # A refresh has three stages: reading (both queries in flight), resolving (endpoints) and
  # ranking (distances). One refresh runs at a time, each with a generation of its own; answers
  # of any other generation are late, and dropped. A stage that takes too long is given up.

  alias Palladion.Cluster.Topology.{Nodes, Report, Rows, Schedule}
  alias Palladion.Node

  @read_limit_ms 10_000
  @callback_limit_ms 5_000

  # How kinds of servers say that they have no system.peers_v2: syntax error, unauthorized,
  # invalid.
  @no_such_table [0x2000, 0x2100, 0x2200]

  # Addresses that came up are remembered until the refresh that follows, and no more of them.
  @most_ups 1_000

  @enforce_keys [:config, :schedule]
  defstruct [
    :config,
    :schedule,
    :local_datacenter,
    # nil, or what control_opened said of the connection
    control: nil,
    peers: :peers_v2,
    generation: 0,
    # nil, or the running refresh with its stage
    refresh: nil,
    # by host_id, as the last refresh left them
    nodes: %{},
    # nil, or what the native library got last
    applied: nil,
    # nil, or what the policy was asked about last, if it answered
    ranked: nil,
    ups: MapSet.new(),
    report: %Report{},
    # when the last {:wake, at} comes
    wake: nil,
    actions: []
  ]

  @type t :: %__MODULE__{}

  @typedoc "`local_datacenter` is as configured; `known` is what an earlier process left"
  @type config :: %{
          required(:debounce) => non_neg_integer(),
          required(:refresh_interval) => pos_integer(),
          required(:size) => non_neg_integer(),
          required(:remote_size) => non_neg_integer(),
          required(:local_datacenter) => String.t() | nil,
          optional(:known) => %{nodes: [Node.t()], local_datacenter: String.t() | nil},
          optional(:seed) => integer()
        }

  @type generation :: pos_integer()
  @type table :: :local | :peers_v2 | :peers

  @typedoc "And all that `Native.take_events/2` returns, known or not"
  @type event ::
          {:adopted, Rows.control() | nil}
          | {:answer, generation(), table(), {:ok, [map()]} | {:error, {atom(), map()}}}
          | {:resolved, generation(), %{String.t() => {:ok, term()} | {:error, term()}}}
          | {:ranked, generation(), {:ok, Nodes.distances()} | {:error, String.t()}}
          | :tick
          | :not_applied
          | {native_event :: atom(), map()}

  @type action ::
          {:query, generation(), table()}
          | {:resolve, generation(), [Node.t()]}
          | {:rank, generation(), [Node.t()], local_datacenter :: String.t() | nil}
          | {:cancel, generation()}
          | {:local_datacenter, String.t()}
          | {:store, [Node.t()], removed :: [Node.t()]}
          | {:apply, [map()]}
          | {:nudge, Node.t()}
          | {:down, Node.t(), boolean()}
          | {:wake, at :: integer() | nil}
          | Report.action()

  @doc false
  @spec new(config()) :: t()
  def new(config) do
    known = Map.get(config, :known, %{nodes: [], local_datacenter: nil})

    %__MODULE__{
      config: config,
      schedule: Schedule.new(config),
      local_datacenter: config.local_datacenter || known.local_datacenter,
      nodes: Map.new(known.nodes, &{&1.host_id, &1})
    }
  end

  @doc false
  @spec handle(t(), event(), integer()) :: {t(), [action()]}
  def handle(state, event, now) do
    state = state |> on(event, now) |> read_if_due(now) |> set_wake()
    {%{state | actions: []}, Enum.reverse(state.actions)}
  end

  # The control connection. The same once more is said to who may have missed events.

  defp on(%{control: control} = state, {:adopted, control}, now), do: ask(state, now)
  defp on(state, {:adopted, nil}, _now), do: closed(state)
  defp on(state, {:adopted, control}, now), do: opened(state, control, now)

  # Adopted already, with what is under way.
  defp on(%{control: %{number: number}} = state, {:control_opened, %{number: number}}, _now),
    do: add(state, [Report.control(:opened, state.control)])

  defp on(state, {:control_opened, control}, now) do
    state |> opened(control, now) |> add([Report.control(:opened, control)])
  end

  defp on(state, {:control_closed, _fields}, _now), do: closed(state)

  # Answers, if the refresh still waits for them.

  defp on(state, {:answer, generation, table, answer}, now) do
    if waits?(state, :reading, generation), do: answered(state, table, answer, now), else: state
  end

  defp on(state, {:resolved, generation, results}, now) do
    if waits?(state, :resolving, generation), do: resolved(state, results, now), else: state
  end

  defp on(state, {:ranked, generation, answer}, now) do
    if waits?(state, :ranking, generation), do: ranked(state, answer, now), else: state
  end

  defp on(state, :tick, now) do
    state = %{state | wake: nil}
    if state.refresh && state.refresh.limit <= now, do: give_up(state, now), else: state
  end

  defp on(state, :not_applied, now), do: ask(%{state | applied: nil}, now)

  # What servers tell. It only causes refreshes, for events can be lost, repeated, late, and
  # about nodes that nobody knows.

  defp on(state, {:schema_change, fields}, _now), do: add(state, [Report.schema_change(fields)])

  defp on(state, {:status_change, %{change: "UP", address: address} = event}, now) do
    place = {address, Map.get(event, :port)}
    ups = if MapSet.size(state.ups) < @most_ups, do: MapSet.put(state.ups, place), else: state.ups

    %{state | ups: ups}
    |> add(state.nodes |> Nodes.at(place) |> nudges())
    |> said_down(place, false)
    |> ask(now)
  end

  defp on(state, {:status_change, %{change: "DOWN", address: address} = event}, now) do
    state |> said_down({address, Map.get(event, :port)}, true) |> ask(now)
  end

  defp on(state, _any_event, now), do: ask(state, now)

  defp waits?(%{refresh: %{stage: stage, generation: generation}}, stage, generation), do: true
  defp waits?(_state, _stage, _generation), do: false

  defp nudges(nodes), do: for(node <- nodes, node.distance != :ignored, do: {:nudge, node})

  # Connections tell the truth about nodes that have some; this is for the others.
  defp said_down(state, place, down?) do
    add(state, for(node <- Nodes.at(state.nodes, place), do: {:down, node, down?}))
  end

  defp opened(state, control, now) do
    schedule = Schedule.at_once(state.schedule, now)
    %{abandon(state) | control: control, peers: :peers_v2, schedule: schedule}
  end

  # What was read before is as good as it was; nothing more can be read.
  defp closed(state) do
    state = if match?(%{stage: :reading}, state.refresh), do: abandon(state), else: state

    state =
      if state.control, do: add(state, [Report.control(:closed, state.control)]), else: state

    %{state | control: nil, schedule: Schedule.clear(state.schedule)}
  end

  # Without a connection there is nobody to ask, and the next one is asked anyway.
  defp ask(%{control: nil} = state, _now), do: state
  defp ask(state, now), do: %{state | schedule: Schedule.ask(state.schedule, now)}

  # Reading

  defp read_if_due(%{refresh: nil} = state, now) do
    case due(state) do
      at when at != nil and at <= now -> read(state, now)
      _later -> state
    end
  end

  defp read_if_due(state, _now), do: state

  defp read(state, now) do
    generation = state.generation + 1
    limit = now + @read_limit_ms
    refresh = %{generation: generation, stage: :reading, limit: limit, rows: %{}}

    schedule = Schedule.clear(state.schedule)

    %{state | generation: generation, refresh: refresh, schedule: schedule}
    |> add([{:query, generation, :local}, {:query, generation, state.peers}])
  end

  defp answered(state, table, {:ok, rows}, now) do
    state = put_in(state.refresh.rows[table], rows)

    case state.refresh.rows do
      %{local: local, peers_v2: peers} -> read_all(state, local, peers, now)
      %{local: local, peers: peers} -> read_all(state, local, peers, now)
      _one_of_both -> state
    end
  end

  defp answered(state, :peers_v2, {:error, {:server, %{code: code}}}, _now)
       when code in @no_such_table do
    add(%{state | peers: :peers}, [{:query, state.refresh.generation, :peers}])
  end

  defp answered(state, _table, {:error, error}, now), do: failed(state, error, now)

  defp read_all(state, local, peers, now) do
    read = Rows.read(local, peers, state.control)
    names = Map.get(state.control, :names, [])

    state =
      state
      |> learn_datacenter(read.local_datacenter)
      |> report(&Report.notes(&1, read.notes))

    # In an order of their own: that of the rows depends on whom the control connection goes to.
    case Enum.sort_by(read.nodes, & &1.host_id) do
      [] -> failed(state, :no_nodes, now)
      nodes -> nodes |> Nodes.keep_names(state.nodes, names) |> then(&resolve(state, &1, now))
    end
  end

  # Kept from then on, whichever node the control connection goes to later.
  defp learn_datacenter(%{local_datacenter: nil} = state, datacenter) when datacenter != nil do
    log = Report.local_datacenter(datacenter, state.control)
    add(%{state | local_datacenter: datacenter}, [{:local_datacenter, datacenter}, log])
  end

  defp learn_datacenter(state, _datacenter), do: state

  # Resolving

  defp resolve(state, nodes, now) do
    generation = state.refresh.generation
    limit = now + @callback_limit_ms

    refresh = %{
      generation: generation,
      stage: :resolving,
      limit: limit,
      nodes: nodes,
      results: %{}
    }

    add(%{state | refresh: refresh}, [{:resolve, generation, nodes}])
  end

  # They come in parts, since one slow node must not cost all others theirs.
  defp resolved(%{refresh: refresh} = state, results, now) do
    refresh = %{refresh | results: Map.merge(refresh.results, results)}
    state = %{state | refresh: refresh}

    if Enum.all?(refresh.nodes, &is_map_key(refresh.results, &1.host_id)),
      do: resolved_all(state, now),
      else: state
  end

  defp resolved_all(%{refresh: refresh} = state, now) do
    {nodes, failed} = Nodes.with_endpoints(refresh.nodes, refresh.results, state.nodes)
    state = report(state, &Report.unresolved(&1, failed))
    question = {Nodes.without_distances(nodes), state.local_datacenter}
    complete? = failed == []

    cond do
      nodes == [] ->
        failed(state, :no_endpoints, now)

      state.ranked == question ->
        finish(state, Nodes.with_distances(nodes, Nodes.distances(state.nodes)), complete?, now)

      true ->
        refresh = %{
          generation: refresh.generation,
          stage: :ranking,
          limit: now + @callback_limit_ms,
          nodes: nodes,
          complete?: complete?
        }

        add(%{state | refresh: refresh}, [
          {:rank, refresh.generation, nodes, state.local_datacenter}
        ])
    end
  end

  # Ranking

  defp ranked(%{refresh: %{nodes: nodes} = refresh} = state, {:ok, distances}, now) do
    state = %{state | ranked: {Nodes.without_distances(nodes), state.local_datacenter}}
    finish(state, Nodes.with_distances(nodes, distances), refresh.complete?, now)
  end

  defp ranked(%{refresh: %{nodes: nodes} = refresh} = state, {:error, text}, now) do
    distances = Nodes.previous_distances(nodes, state.nodes, state.local_datacenter)

    # Asked again at the next refresh.
    %{state | ranked: nil}
    |> add([Report.policy_failed(text)])
    |> finish(Nodes.with_distances(nodes, distances), refresh.complete?, now)
  end

  # The end of a refresh

  defp finish(state, nodes, complete?, now) do
    old = state.nodes
    new = Map.new(nodes, &{&1.host_id, &1})
    changes = Nodes.changes(old, new)

    %{state | nodes: new, refresh: nil}
    |> add([Report.refreshed(map_size(new)) | Report.changes(changes, old == %{})])
    |> report(&Report.datacenters(&1, nodes, state.local_datacenter))
    |> store(old, changes.removed)
    |> apply_nodes()
    |> nudge_new(changes.added)
    |> schedule(complete?, now)
  end

  defp store(%{nodes: nodes, applied: applied} = state, nodes, _none) when applied != nil,
    do: state

  defp store(state, _old, removed), do: add(state, [{:store, Map.values(state.nodes), removed}])

  defp apply_nodes(state) do
    case Nodes.to_native(state.nodes, state.config) do
      applied when applied == state.applied -> state
      nodes -> add(%{state | applied: nodes}, [{:apply, nodes}])
    end
  end

  # What came up before the list had it. With another refresh asked for, it may yet come.
  defp nudge_new(state, added) do
    added = Map.new(added, &{&1.host_id, &1})
    up = Enum.flat_map(state.ups, &Nodes.at(added, &1))
    ups = if Schedule.asked?(state.schedule), do: state.ups, else: MapSet.new()
    add(%{state | ups: ups}, up |> Enum.uniq() |> nudges())
  end

  defp schedule(state, true = _complete?, now),
    do: %{state | schedule: Schedule.succeeded(state.schedule, now)}

  defp schedule(state, false, now),
    do: %{state | schedule: Schedule.failed(state.schedule, now)}

  # The list stays as it is.
  defp failed(state, error, now) do
    %{schedule: schedule} = state = state |> abandon() |> schedule(false, now)
    add(state, [Report.refresh_failed(error, schedule.failures, schedule.at - now)])
  end

  defp give_up(%{refresh: %{stage: :reading}} = state, now) do
    failed(state, {:timeout, %{timeout: @read_limit_ms}}, now)
  end

  defp give_up(%{refresh: %{stage: :resolving, generation: generation}} = state, now) do
    state |> add([{:cancel, generation}]) |> resolved_all(now)
  end

  defp give_up(%{refresh: %{stage: :ranking, generation: generation}} = state, now) do
    text = "it did not answer within #{@callback_limit_ms} ms"
    state |> add([{:cancel, generation}]) |> ranked({:error, text}, now)
  end

  defp abandon(%{refresh: nil} = state), do: state

  defp abandon(%{refresh: %{generation: generation}} = state) do
    add(%{state | refresh: nil}, [{:cancel, generation}])
  end

  # Time

  # There is one timer: whatever is due first sets it.
  defp set_wake(state) do
    case due(state) do
      at when at == state.wake -> state
      at -> add(%{state | wake: at}, [{:wake, at}])
    end
  end

  defp due(%{refresh: %{limit: limit}}), do: limit
  defp due(%{control: nil}), do: nil
  defp due(state), do: Schedule.due(state.schedule)

  defp report(state, fun) do
    {report, actions} = fun.(state.report)
    add(%{state | report: report}, actions)
  end

  defp add(state, actions), do: %{state | actions: Enum.reverse(actions, state.actions)}
end
