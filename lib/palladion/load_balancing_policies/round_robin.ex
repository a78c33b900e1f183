defmodule Palladion.LoadBalancingPolicies.RoundRobin do
  @moduledoc """
  The nodes of the local data center take turns: `load_balancing: :round_robin`, the default.

  Which one is local says `local_datacenter:`; without it, it's that of the first contact point
  reached.

  ## Options

    * `:remote_nodes` – how many nodes of each other data center to hold connections to, as
      `:remote` (default 0). They take requests only while no local node has a connection. The
      choice is the same everywhere and at any time: the first by host id.

  ## What LOCAL means then

  `LOCAL_ONE`, `LOCAL_QUORUM` and `LOCAL_SERIAL` mean the data center of the node that a request
  was sent to. With `remote_nodes:`, requests that fail over to another data center are answered
  by its replicas: a `LOCAL_QUORUM` read there needn't see what a `LOCAL_QUORUM` write here has
  written a moment ago, and a conditional update with `LOCAL_SERIAL` isn't serial with those
  here. That's why the default is 0, and such a failure is better met where it's known what may
  be stale.

      iex> nodes = [
      ...>   %Palladion.Node{host_id: "a", datacenter: "eu"},
      ...>   %Palladion.Node{host_id: "c", datacenter: "us"},
      ...>   %Palladion.Node{host_id: "b", datacenter: "us"}
      ...> ]
      iex> context = %{local_datacenter: "eu", options: [remote_nodes: 1]}
      iex> Palladion.LoadBalancingPolicies.RoundRobin.distances(nodes, context)
      %{"a" => :local, "b" => :remote}
  """

  @behaviour Palladion.LoadBalancingPolicy

  @doc """
  Local nodes, and of each other data center as many as `remote_nodes:` says.

  Where no local data center is known, all nodes are `:local`.
  """
  @impl true
  @spec distances([Palladion.Node.t()], Palladion.LoadBalancingPolicy.context()) ::
          %{String.t() => :local | :remote}
  def distances(nodes, %{local_datacenter: nil}), do: Map.new(nodes, &{&1.host_id, :local})

  def distances(nodes, %{local_datacenter: local_datacenter, options: options}) do
    {local, others} = Enum.split_with(nodes, &(&1.datacenter == local_datacenter))

    others
    |> remote(Keyword.get(options, :remote_nodes, 0))
    |> Map.new(&{&1.host_id, :remote})
    |> Map.merge(Map.new(local, &{&1.host_id, :local}))
  end

  defp remote(nodes, count) do
    nodes
    |> Enum.group_by(& &1.datacenter)
    |> Enum.flat_map(fn {_datacenter, nodes} ->
      nodes |> Enum.sort_by(& &1.host_id) |> Enum.take(count)
    end)
  end
end
