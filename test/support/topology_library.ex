defmodule Palladion.Test.TopologyLibrary do
  @moduledoc """
  A native library that the test plays, for a topology's process: what the process asks for comes
  as messages to the test, and what there is to take is said before.
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [start_supervised!: 1]
  import Palladion.Test.Topology, only: [control: 0, rows: 1]

  alias Palladion.Cluster.{NodeTable, Topology}
  alias Palladion.EndpointResolvers.Announced
  alias Palladion.Test.Policies.Balancing

  # Events that are taken at a time.
  @taken 64

  # The functions of Palladion.Native. The handle is the test's pid and an agent.

  @doc false
  def cluster_adopt({test, agent}, :topology) do
    send(test, {:adopted, self()})
    {:ok, Agent.get(agent, & &1.control)}
  end

  @doc false
  def take_events({_test, agent}, :topology) do
    Agent.get_and_update(agent, fn state ->
      {events, rest} = Enum.split(state.events, @taken)
      {{:ok, {events, state.dropped, rest != []}}, %{state | events: rest, dropped: 0}}
    end)
  end

  @doc false
  def control_query({test, agent}, ref, statement) do
    case Agent.get(agent, & &1.control) do
      nil ->
        {:error, {:no_connection, %{}}}

      _control ->
        send(test, {:query, self(), ref, statement})
        {:ok, ref}
    end
  end

  @doc false
  def cancel(_request), do: :too_late

  @doc false
  def set_nodes({test, agent}, nodes) do
    send(test, {:set_nodes, nodes})

    Agent.get_and_update(agent, fn
      %{refusals: [error | refusals]} = state -> {{:error, error}, %{state | refusals: refusals}}
      state -> {{:ok, :ok}, state}
    end)
  end

  @doc false
  def nudge_node({test, _agent}, id) do
    send(test, {:nudge, id})
    {:ok, :ok}
  end

  # The test's part

  @doc "What a process needs, with a policy and a resolver that take everything as it is."
  def new do
    state = %{control: nil, events: [], dropped: 0, refusals: []}
    agent = start_supervised!({Agent, fn -> state end})
    tasks = start_supervised!(Task.Supervisor)
    table = NodeTable.new()

    config = %{
      name: :"topology_#{System.unique_integer([:positive])}",
      local_datacenter: nil,
      pool: %{size: 2, remote_size: 1},
      topology: %{debounce: 10, refresh_interval: 300_000},
      tls: nil,
      endpoint_resolver: {Announced, []},
      load_balancing: {Balancing, fn nodes, _ -> Map.new(nodes, &{&1.host_id, :local}) end}
    }

    argument = %{
      handle: {self(), agent},
      config: config,
      table: table,
      tasks: tasks,
      native: __MODULE__
    }

    %{argument: argument, agent: agent, table: table}
  end

  @doc "Starts the process, with these parts of the configuration."
  def start(argument, more \\ %{}) do
    argument = update_in(argument.config, &Map.merge(&1, more))
    start_supervised!({Topology, argument})
  end

  @doc "There is a control connection, without an event that says so."
  def open(agent, control \\ control()), do: Agent.update(agent, &%{&1 | control: control})

  @doc "The next lists of nodes are refused, each with an error."
  def refuse(agent, errors), do: Agent.update(agent, &%{&1 | refusals: errors})

  @doc "Events to take, after some that were dropped. The process is told once."
  def event(agent, topology, events, dropped \\ 0) do
    Agent.update(agent, &%{&1 | events: &1.events ++ List.wrap(events), dropped: dropped})
    send(topology, :palladion_events)
  end

  @doc "Answers both queries with the nodes of these numbers, or one with a reply."
  def answer(numbers) do
    [local | peers] = rows(numbers)
    answer("SELECT * FROM system.local WHERE key = 'local'", {:ok, native([local])})
    answer("SELECT * FROM system.peers_v2", {:ok, native(peers)})
  end

  def answer(statement, reply) do
    assert_receive {:query, topology, ref, ^statement}, 2_000
    send(topology, {ref, reply})
  end

  @doc "Rows as they cross: with the node at the end, which is none for the control connection."
  def native(rows), do: {:rows, [], rows, length(rows), nil, %{}, [], nil, nil}

  @doc "The hosts of the next list that is applied."
  def applied do
    assert_receive {:set_nodes, nodes}, 2_000
    Enum.map(nodes, & &1.host)
  end

  @doc "The addresses in the table."
  def stored(table),
    do: for({_id, node} <- NodeTable.all(table), do: node.address) |> Enum.sort()
end
