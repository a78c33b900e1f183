defmodule Palladion.Test.TopologyWorld do
  @moduledoc """
  A cluster that changes at random, a control connection that comes and goes, and a topology that must keep up, on a
  clock of their own. The same seed gives the same world.

  While it is wild, events are lost, repeated and late, queries fail or are never answered, callbacks fail, lists are
  refused, and the topology's process crashes. Then it is calm: nothing changes or fails any more, and whatever was missed must be found.
  """

  alias Palladion.Cluster.Topology.State
  alias Palladion.{Endpoint, Node}

  @debounce 1_000
  @interval 60_000
  @wild_ms 40_000
  # A periodic refresh, one that was given up before it, and the longest pause.
  @calm_ms 2 * @interval + 60_000

  defstruct core: nil,
            life: 0,
            now: 0,
            wake: nil,
            queue: :gb_sets.new(),
            sequence: 0,
            nodes: %{},
            next_id: 1,
            has_peers_v2: true,
            server: :well,
            wild: true,
            # nil, or the host_id that it goes to; each connection has a number
            control: nil,
            connection: 0,
            applied: nil,
            store: %{},
            # when the last refresh began, unless another may follow at once
            refreshed_at: nil,
            steps: 0

  @doc "Lives through it all, and returns how it ended. Raises on the way if a rule is broken."
  def run(seed) do
    :rand.seed(:exsss, seed)
    world = %__MODULE__{has_peers_v2: chance(50)}
    world = Enum.reduce(1..Enum.random(1..5), world, fn _, world -> add_node(world) end)
    world = world |> start() |> later(0, {:world, :open}) |> later(0, {:world, :change})
    world = world |> play(@wild_ms) |> calm()
    play(world, world.now + @calm_ms)
  end

  @doc "What the topology has got to."
  def applied(world), do: MapSet.new(world.applied || [], &{&1.id, &1.host, &1.port})

  def stored(world) do
    MapSet.new(world.store, fn {id, node} -> {Node.id(id), node.address, node.port} end)
  end

  @doc "What it should have got to."
  def expected(world) do
    MapSet.new(world.nodes, fn {id, node} -> {Node.id(id), text(node.address), 9042} end)
  end

  # The clock: whatever comes first, the topology's timer included.

  defp play(world, until) do
    if world.steps > 50_000, do: raise("it goes on and on")

    case next(world) do
      {at, item, world} when at <= until ->
        world = %{world | now: max(at, world.now), steps: world.steps + 1}
        item |> happen(world) |> play(until)

      _later ->
        %{world | now: until}
    end
  end

  defp next(%{queue: queue, wake: wake} = world) do
    first = if :gb_sets.is_empty(queue), do: nil, else: :gb_sets.smallest(queue)

    case {first, wake} do
      {nil, nil} ->
        :nothing

      {{at, _, item} = first, wake} when wake == nil or at <= wake ->
        {at, item, %{world | queue: :gb_sets.delete(first, queue)}}

      {_, wake} ->
        {wake, :wake, %{world | wake: nil}}
    end
  end

  defp later(world, delay, item) do
    entry = {world.now + delay, world.sequence, item}
    %{world | queue: :gb_sets.add(entry, world.queue), sequence: world.sequence + 1}
  end

  defp happen(:wake, world), do: tell(world, :tick)
  defp happen({:deliver, life, event}, %{life: life} = world), do: tell(world, event)
  defp happen({:deliver, _earlier_life, _event}, world), do: world

  defp happen({:answer, life, connection, query}, world),
    do: answer(world, life, connection, query)

  defp happen({:world, :change}, %{wild: false} = world), do: world

  defp happen({:world, :change}, world) do
    world |> change(Enum.random(1..20)) |> later(between(0, 4_000), {:world, :change})
  end

  defp happen({:world, :open}, %{control: nil} = world) do
    {id, _node} = Enum.random(world.nodes)
    world = %{world | control: id, connection: world.connection + 1}
    tell(world, {:control_opened, control(world)})
  end

  defp happen({:world, :open}, world), do: world

  # The topology's process

  defp start(world) do
    core =
      State.new(%{
        debounce: @debounce,
        refresh_interval: @interval,
        size: 1,
        remote_size: 1,
        local_datacenter: nil,
        seed: between(1, 1_000_000),
        known: %{nodes: Map.values(world.store), local_datacenter: nil}
      })

    world = %{world | core: core, life: world.life + 1, wake: nil, applied: nil}
    tell(world, {:adopted, world.control && control(world)})
  end

  # As the process does it: what actions bring about at once follows when all of them are done.
  defp tell(world, {kind, _control} = event) when kind in [:control_opened, :adopted],
    do: tell_one(%{world | refreshed_at: nil}, event)

  defp tell(world, event), do: tell_one(world, event)

  defp tell_one(world, event) do
    world = tell_all(world, [event])

    if (world.core.refresh || world.core.control) && world.wake == nil,
      do: raise("nothing will ever happen again")

    if world.wake && world.wake > world.now + div(@interval * 11, 10),
      do: raise("the timer is late")

    world
  end

  # Only another connection is asked at once.
  defp refreshed(%{refreshed_at: at, now: now}) when at != nil and now - at < @debounce,
    do: raise("one refresh follows another too soon")

  defp refreshed(world), do: %{world | refreshed_at: world.now}

  defp tell_all(world, []), do: world

  defp tell_all(world, [event | events]) do
    {core, actions} = State.handle(world.core, event, world.now)
    if world.core.nodes != %{} and core.nodes == %{}, do: raise("the list is empty")

    {more, world} =
      Enum.flat_map_reduce(actions, %{world | core: core}, fn
        {:rank, generation, nodes, _local}, world -> {[rank(generation, nodes, world)], world}
        {:apply, nodes}, world -> apply_nodes(nodes, world)
        action, world -> {[], execute(action, world)}
      end)

    tell_all(world, more ++ events)
  end

  defp rank(generation, _nodes, %{wild: true}) when rem(generation, 10) == 0,
    do: {:ranked, generation, {:error, "it raised"}}

  defp rank(generation, nodes, _world) do
    {:ranked, generation,
     {:ok, Map.new(nodes, &{&1.host_id, Enum.random([:local, {:remote, 1}])})}}
  end

  defp apply_nodes(nodes, world) do
    if nodes == [], do: raise("an empty list is applied")
    if nodes != Enum.uniq_by(nodes, & &1.id), do: raise("a node is there twice")
    if nodes != Enum.uniq_by(nodes, &{&1.host, &1.port}), do: raise("a place is there twice")
    if nodes == world.applied, do: raise("the same list is applied again")

    # The driver is busy: it has what it had, and the topology must not rely on that.
    if world.wild and chance(5),
      do: {[:not_applied], %{world | applied: nil}},
      else: {[], %{world | applied: nodes}}
  end

  defp execute({:query, generation, table}, world) do
    world = if table == :local, do: refreshed(world), else: world
    query = {generation, table}

    cond do
      world.control == nil ->
        deliver(world, 0, answer_event(query, {:error, {:no_connection, %{}}}))

      world.wild and chance(5) ->
        world

      true ->
        later(world, delay(world, 300), {:answer, world.life, world.connection, query})
    end
  end

  defp execute({:resolve, generation, nodes}, world) do
    nodes
    |> Enum.chunk_every(between(1, 4))
    |> Enum.reduce(world, fn group, world ->
      results = Map.new(group, &{&1.host_id, resolve(&1, world)})

      if world.wild and chance(3),
        do: world,
        else: deliver(world, delay(world, 50), {:resolved, generation, results})
    end)
  end

  defp execute({:store, nodes, removed}, world) do
    store = Map.merge(world.store, Map.new(nodes, &{&1.host_id, &1}))
    %{world | store: Map.drop(store, Enum.map(removed, & &1.host_id))}
  end

  # Another timer takes the place of the one before.
  defp execute({:wake, at}, world), do: %{world | wake: at}

  # What is cancelled may have been answered already.
  defp execute({:cancel, _generation}, world), do: world
  defp execute({kind, _}, world) when kind in [:nudge, :local_datacenter], do: world
  defp execute({:log, _level, _text}, world), do: world
  defp execute({:telemetry, _event, _measurements, _metadata}, world), do: world
  defp execute({:down, %Node{}, _down?}, world), do: world

  defp resolve(node, world) do
    if world.wild and chance(5),
      do: {:error, "down"},
      else: {:ok, %Endpoint{address: node.address, port: node.port}}
  end

  # The server: an answer is of the time when the query arrives, and takes its way back.

  defp answer(world, life, connection, {_generation, table} = query) do
    reply =
      cond do
        connection != world.connection or world.control == nil ->
          {:error, {:connection_closed, %{}}}

        world.server == :overloaded ->
          {:error, {:server, %{code: 0x1001, message: "busy"}}}

        world.server == :empty ->
          {:ok, []}

        table == :peers_v2 and not world.has_peers_v2 ->
          {:error, {:server, %{code: 0x2200, message: "unknown"}}}

        true ->
          {:ok, rows(world, table)}
      end

    later(world, delay(world, 300), {:deliver, life, answer_event(query, reply)})
  end

  defp answer_event({generation, table}, reply), do: {:answer, generation, table, reply}

  defp rows(world, :local), do: [row(world.control, world.nodes[world.control])]

  defp rows(world, _peers),
    do: for({id, node} <- world.nodes, id != world.control, do: row(id, node))

  defp row(id, node) do
    %{
      "host_id" => if(node.complete, do: id),
      "data_center" => "dc1",
      "rack" => "r",
      "peer" => node.address,
      "rpc_address" => node.address,
      "native_address" => node.address
    }
  end

  defp control(world) do
    address = text(world.nodes[world.control].address)
    %{endpoint: "#{address}:9042", address: address, port: 9042, names: [], contact_point: true}
  end

  # What happens in the cluster

  defp change(world, n) when n in 1..3, do: add_node(world)

  defp change(world, n) when n in 4..6 do
    if map_size(world.nodes) > 1 do
      {id, node} = Enum.random(world.nodes)
      world = %{world | nodes: Map.delete(world.nodes, id)}
      world = if world.control == id, do: lose_control(world), else: world
      topology_event(world, "REMOVED_NODE", node)
    else
      world
    end
  end

  defp change(world, n) when n in 7..8 do
    {id, node} = Enum.random(world.nodes)
    node = %{node | address: free_address(world)}
    world = %{world | nodes: Map.put(world.nodes, id, node)}
    world = if world.control == id, do: lose_control(world), else: world
    topology_event(world, "MOVED_NODE", node)
  end

  # A machine is set up anew: another node at the same address.
  defp change(world, 9) do
    {id, node} = Enum.random(world.nodes)
    world = if world.control == id, do: lose_control(world), else: world
    {new_id, world} = new_id(world)
    nodes = world.nodes |> Map.delete(id) |> Map.put(new_id, node)
    status_event(%{world | nodes: nodes}, "UP", node)
  end

  defp change(world, 10) do
    {id, node} = Enum.random(world.nodes)
    %{world | nodes: Map.put(world.nodes, id, %{node | complete: not node.complete})}
  end

  defp change(world, n) when n in 11..12 do
    {_id, node} = Enum.random(world.nodes)
    world |> status_event("DOWN", node) |> status_event("UP", node)
  end

  defp change(world, 13), do: event(world, {:unknown_event, %{type: "NEW_THING"}})
  defp change(world, 14), do: topology_event(world, "REMOVED_NODE", %{address: {192, 168, 0, 1}})
  defp change(world, n) when n in 15..16, do: lose_control(world)

  defp change(world, n) when n in 17..18,
    do: %{world | server: Enum.random([:well, :well, :overloaded, :empty])}

  # Some were dropped, so it asks what is open.
  defp change(world, 19),
    do: tell(world, {:adopted, world.control && control(world)})

  defp change(world, 20), do: start(world)

  defp add_node(world) do
    node = %{address: free_address(world), complete: true}
    {id, world} = new_id(world)
    world = %{world | nodes: Map.put(world.nodes, id, node)}

    if world.core,
      do: world |> topology_event("NEW_NODE", node) |> status_event("UP", node),
      else: world
  end

  defp new_id(%{next_id: n} = world) do
    id = "#{n |> Integer.to_string() |> String.pad_leading(8, "0")}-0000-4000-8000-000000000000"
    {id, %{world | next_id: n + 1}}
  end

  defp free_address(world) do
    taken = MapSet.new(world.nodes, fn {_id, node} -> node.address end)
    1..40 |> Enum.map(&{10, 0, 0, &1}) |> Enum.reject(&(&1 in taken)) |> Enum.random()
  end

  defp lose_control(%{control: nil} = world), do: world

  # The driver finds out at once, and may need some time for another connection.
  defp lose_control(world) do
    %{world | control: nil}
    |> tell({:control_closed, %{}})
    |> later(between(0, 5_000), {:world, :open})
  end

  defp topology_event(world, change, node),
    do:
      event(world, {:topology_change, %{change: change, address: text(node.address), port: 9042}})

  defp status_event(world, change, node),
    do: event(world, {:status_change, %{change: change, address: text(node.address), port: 9042}})

  defp event(%{control: nil} = world, _event), do: world

  defp event(world, event) do
    times = Enum.random([0, 1, 1, 1, 2, 5])

    Enum.reduce(1..times//1, world, fn _, world ->
      deliver(world, between(0, 500), event)
    end)
  end

  defp calm(world) do
    nodes = Map.new(world.nodes, fn {id, node} -> {id, %{node | complete: true}} end)
    later(%{world | nodes: nodes, wild: false, server: :well}, 0, {:world, :open})
  end

  defp deliver(world, delay, event), do: later(world, delay, {:deliver, world.life, event})

  # Longer than what is waited for, now and then.
  defp delay(%{wild: true}, usual),
    do: if(chance(5), do: between(0, 20_000), else: between(0, usual))

  defp delay(_calm, usual), do: between(0, usual)

  defp chance(percent), do: :rand.uniform(100) <= percent
  defp between(from, to), do: from + :rand.uniform(to - from + 1) - 1
  defp text(address), do: address |> :inet.ntoa() |> List.to_string()
end
