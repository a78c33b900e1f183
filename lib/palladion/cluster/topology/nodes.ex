defmodule Palladion.Cluster.Topology.Nodes do
  @moduledoc false
  # The list of a cluster's nodes: how it's completed by what callbacks answered, how two lists
  # differ, and what the native library gets of it. Known nodes are a map by host_id.

  alias Palladion.Cluster.Topology.Address
  alias Palladion.Node

  @type known :: %{String.t() => Node.t()}
  @type distances :: %{String.t() => distance() | {distance(), Node.preference()}}
  @type distance :: :local | :remote | :ignored

  @doc false
  # A contact point whose name could not be resolved this time keeps its node: else its
  # certificate would be checked for another name, and its connections replaced.
  @spec keep_names([Node.t()], known(), [{String.t(), String.t()}]) :: [Node.t()]
  def keep_names(nodes, known, names) do
    resolved = MapSet.new(names, fn {_address, name} -> name end)

    for node <- nodes do
      case known[node.host_id] do
        %{contact_point: name, address: address}
        when name != nil and address == node.address and node.contact_point == nil ->
          if name in resolved, do: node, else: %{node | contact_point: name}

        _other ->
          node
      end
    end
  end

  @doc false
  # Where the resolver failed, a node keeps the endpoint that it had, or is left out. So it is
  # when another node has come to be there.
  @spec with_endpoints([Node.t()], %{String.t() => {:ok, term()} | {:error, term()}}, known()) ::
          {[Node.t()], [{Node.t(), reason :: term()}]}
  def with_endpoints(nodes, results, known) do
    taken = for {_host_id, {:ok, endpoint}} <- results, into: MapSet.new(), do: endpoint

    answers =
      for node <- nodes do
        case Map.get(results, node.host_id, {:error, "no answer in time"}) do
          {:ok, endpoint} ->
            {%{node | endpoint: endpoint}, nil}

          {:error, reason} ->
            previous = known[node.host_id]
            kept = if previous && previous.endpoint not in taken, do: previous.endpoint
            {%{node | endpoint: kept}, reason}
        end
      end

    {for({%{endpoint: endpoint} = node, _} when endpoint != nil <- answers, do: node),
     for({node, reason} when reason != nil <- answers, do: {node, reason})}
  end

  @doc false
  @spec with_distances([Node.t()], distances()) :: [Node.t()]
  def with_distances(nodes, distances) do
    for node <- nodes do
      case Map.get(distances, node.host_id, :ignored) do
        {distance, preference} -> %{node | distance: distance, preference: preference}
        distance -> %{node | distance: distance, preference: 0}
      end
    end
  end

  @doc false
  @spec distances(known()) :: distances()
  def distances(known) do
    for {host_id, node} <- known, into: %{} do
      preferred =
        if node.distance == :ignored, do: :ignored, else: {node.distance, node.preference}

      {host_id, preferred}
    end
  end

  @doc false
  # For a policy that failed: what was said of the nodes before, and of new ones, what the default
  # would say. If that leaves none to connect to, those of the local datacenter.
  @spec previous_distances([Node.t()], known(), String.t() | nil) :: distances()
  def previous_distances(nodes, known, local_datacenter) do
    default = Map.new(nodes, &{&1.host_id, default_distance(&1, local_datacenter)})
    previous = known |> Map.take(Map.keys(default)) |> distances()
    distances = Map.merge(default, previous)

    if Enum.any?(distances, fn {_host_id, distance} -> distance != :ignored end),
      do: distances,
      else: default
  end

  defp default_distance(node, local_datacenter) do
    if local_datacenter in [nil, node.datacenter], do: :local, else: :ignored
  end

  @doc false
  # The same nodes, as far as a policy is concerned.
  @spec without_distances([Node.t()]) :: [Node.t()]
  def without_distances(nodes), do: Enum.map(nodes, &%{&1 | distance: :ignored, preference: 0})

  @doc false
  @spec changes(known(), known()) :: %{
          added: [Node.t()],
          removed: [Node.t()],
          moved: [{Node.t(), Node.t()}]
        }
  def changes(old, new) do
    %{
      added: Map.values(Map.drop(new, Map.keys(old))),
      removed: Map.values(Map.drop(old, Map.keys(new))),
      moved:
        for({id, node} <- new, before = old[id], place(node) != place(before), do: {before, node})
    }
  end

  defp place(node), do: {node.address, node.port, node.endpoint.address, node.endpoint.port}

  @doc false
  # The nodes that an event is about. Servers that don't announce ports send their own default.
  @spec at(known(), {address :: term(), port :: term()}) :: [Node.t()]
  def at(known, {address, port}) do
    address = Address.normal(address)
    there = for {_id, node} <- known, node.address == address, do: node

    case Enum.filter(there, &(&1.port == port)) do
      [] -> there
      exactly -> exactly
    end
  end

  @doc false
  # What `Native.set_nodes/2` takes.
  @spec to_native(known(), %{size: non_neg_integer(), remote_size: non_neg_integer()}) :: [map()]
  def to_native(nodes, sizes) do
    for {host_id, node} <- Enum.sort(nodes) do
      %{
        id: Node.id(host_id),
        host: node.endpoint.address,
        port: node.endpoint.port,
        verified_name: node.endpoint.verified_name,
        sni: node.endpoint.sni,
        datacenter: node.datacenter,
        rack: node.rack,
        distance: node.distance,
        preference: node.preference,
        size: size(node.distance, sizes)
      }
    end
  end

  defp size(:local, sizes), do: sizes.size
  defp size(:remote, sizes), do: sizes.remote_size
  defp size(:ignored, _sizes), do: 0
end
