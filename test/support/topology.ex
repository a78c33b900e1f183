defmodule Palladion.Test.Topology do
  @moduledoc """
  A topology's state in tests: nodes of the addresses 10.0.0.1 to 10.0.0.9, and whole refreshes as one step.
  """

  import ExUnit.Assertions

  alias Palladion.Cluster.Topology.State
  alias Palladion.Endpoint

  @control %{
    endpoint: "db1:9042",
    address: "10.0.0.1",
    port: 9042,
    names: [],
    contact_point: true
  }

  @doc "What control_opened says."
  def control(more \\ %{}), do: Map.merge(@control, more)

  @doc "What is told of a control connection that opened or closed."
  def told(event) do
    {:telemetry, [:control, event], %{}, Map.take(@control, [:endpoint, :address, :port])}
  end

  def id(n), do: "0000000#{n}-0000-4000-8000-00000000000#{n}"

  def row(n, more \\ %{}) do
    address = {10, 0, 0, n}

    %{
      "host_id" => id(n),
      "data_center" => "dc1",
      "rack" => "r",
      "peer" => address,
      "rpc_address" => address
    }
    |> Map.merge(more)
  end

  def rows(numbers), do: Enum.map(numbers, &row/1)

  @doc "A state that knows nothing yet."
  def new(more \\ %{}) do
    %{
      debounce: 1_000,
      refresh_interval: 300_000,
      size: 2,
      remote_size: 1,
      local_datacenter: nil,
      seed: 1
    }
    |> Map.merge(more)
    |> State.new()
  end

  @doc "A state that read the nodes of these numbers, at 0."
  def ready(numbers, more \\ %{}) do
    {state, _actions} = State.handle(new(more), {:adopted, @control}, 0)
    {state, _actions} = answer(state, rows(numbers))
    state
  end

  @doc "The state in a new refresh."
  def refresh(state, now \\ 0) do
    {state, actions} = State.handle(state, {:control_opened, @control}, now)
    assert [{:query, _, :local}, {:query, _, :peers_v2}] = only(actions, :query)
    state
  end

  @doc "Answers both queries, of which the local one has the first row, and goes on to the end."
  def answer(state, [local | peers], now \\ 0) do
    generation = state.generation
    {state, []} = State.handle(state, {:answer, generation, :local, {:ok, [local]}}, now)
    step(state, {:answer, generation, state.peers, {:ok, peers}}, now)
  end

  @doc "Answers both queries, and returns the nodes to resolve."
  def read(state, numbers, now \\ 0) do
    [local | peers] = rows(numbers)
    generation = state.generation
    {state, []} = State.handle(state, {:answer, generation, :local, {:ok, [local]}}, now)
    peers = {:answer, generation, state.peers, {:ok, peers}}
    {state, actions} = State.handle(state, peers, now)
    assert [{:resolve, ^generation, nodes}] = only(actions, :resolve)
    {state, nodes}
  end

  @doc "An event, with all that it brings about: endpoints as announced, and all nodes local."
  def step(state, event, now) do
    {state, actions} = State.handle(state, event, now)

    Enum.reduce(actions, {state, actions}, fn action, {state, done} ->
      case follow(action) do
        nil ->
          {state, done}

        event ->
          {state, more} = step(state, event, now)
          {state, done ++ more}
      end
    end)
  end

  defp follow({:resolve, generation, nodes}), do: {:resolved, generation, resolved(nodes)}

  defp follow({:rank, generation, nodes, _local}),
    do: {:ranked, generation, {:ok, Map.new(nodes, &{&1.host_id, :local})}}

  defp follow(_other), do: nil

  @doc "The endpoints of the nodes, as they are announced."
  def resolved(nodes) do
    Map.new(nodes, &{&1.host_id, {:ok, %Endpoint{address: &1.address, port: &1.port}}})
  end

  def only(actions, kind), do: Enum.filter(actions, &(elem(&1, 0) == kind))
  def logs(actions), do: for({:log, level, text} <- actions, do: {level, text})

  @doc "The hosts of each list that the native library gets."
  def applied(actions), do: for({:apply, nodes} <- actions, do: Enum.map(nodes, & &1.host))

  def addresses(state), do: state.nodes |> Map.values() |> Enum.map(& &1.address) |> Enum.sort()
end
