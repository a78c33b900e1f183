defmodule Palladion.LoadBalancingPolicies.AllNodes do
  @moduledoc """
  Every node takes requests, whatever its data center: `load_balancing: :all_nodes`.

  For clusters whose data centers stand close to each other. Requests with a consistency of
  `LOCAL_…` mean the data center of whichever node they were sent to.

      iex> nodes = [%Palladion.Node{host_id: "a", datacenter: "eu"}]
      iex> context = %{local_datacenter: "us", options: []}
      iex> Palladion.LoadBalancingPolicies.AllNodes.distances(nodes, context)
      %{"a" => :local}
  """

  @behaviour Palladion.LoadBalancingPolicy

  @doc "All nodes are `:local`. There are no options."
  @impl true
  @spec distances([Palladion.Node.t()], Palladion.LoadBalancingPolicy.context()) ::
          %{String.t() => :local}
  def distances(nodes, _context), do: Map.new(nodes, &{&1.host_id, :local})
end
