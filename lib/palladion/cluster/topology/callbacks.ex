defmodule Palladion.Cluster.Topology.Callbacks do
  @moduledoc false
  # Calls of the modules that users write, so that nothing they do reaches the caller: answers
  # are checked, and what is raised, thrown or exited with becomes an error.

  alias Palladion.{Endpoint, EndpointResolver, EndpointResolvers, LoadBalancingPolicies, Node}
  alias Palladion.Cluster.Topology.Nodes

  @doc false
  # What the policy says of each node.
  @spec distances({module(), term()}, [Node.t()], String.t() | nil) ::
          {:ok, Nodes.distances()} | {:error, String.t()}
  def distances({module, options}, nodes, local_datacenter) do
    context = %{local_datacenter: local_datacenter, options: options}

    with {:ok, answer} <- guarded(fn -> module.distances(nodes, context) end) do
      check_distances(answer)
    end
  end

  defp check_distances(answer) when is_map(answer) and not is_struct(answer) do
    case Enum.reject(answer, fn {_host_id, distance} -> distance?(distance) end) do
      [] -> {:ok, answer}
      [{host_id, other} | _] -> {:error, "it answered #{show(other)} for #{show(host_id)}"}
    end
  end

  defp check_distances(other), do: {:error, "it answered #{show(other)}, which is no map"}

  defp distance?(distance) when distance in [:local, :remote, :ignored], do: true

  defp distance?({distance, preference}) when distance in [:local, :remote],
    do: is_integer(preference) and preference in 0..0xFFFF

  defp distance?(_other), do: false

  @doc false
  # Where to connect to for each of the nodes.
  @spec resolve({module(), term()}, [Node.t()]) ::
          %{String.t() => {:ok, Endpoint.t()} | {:error, String.t()}}
  def resolve({module, options}, nodes) do
    Map.new(nodes, fn node -> {node.host_id, resolve_one(module, options, node)} end)
  end

  defp resolve_one(module, options, node) do
    case guarded(fn -> EndpointResolver.resolve({module, options}, node) end) do
      {:ok, {:ok, endpoint}} -> {:ok, endpoint}
      {:ok, {:error, reason}} when is_binary(reason) -> {:error, reason}
      {:ok, {:error, reason}} -> {:error, show(reason)}
      {:error, text} -> {:error, text}
    end
  end

  @doc false
  # Ours compute; what others wrote may ask a network, and must be waited for elsewhere.
  @spec inline?({module(), term()}) :: boolean()
  def inline?({module, _options}) do
    module in [
      EndpointResolvers.Announced,
      EndpointResolvers.FixedName,
      EndpointResolvers.Mapped,
      EndpointResolvers.Template,
      LoadBalancingPolicies.AllNodes,
      LoadBalancingPolicies.RoundRobin
    ]
  end

  defp guarded(fun) do
    {:ok, fun.()}
  rescue
    exception -> {:error, "it raised #{show(exception)}"}
  catch
    :throw, value -> {:error, "it threw #{show(value)}"}
    :exit, reason -> {:error, "it exited with #{show(reason)}"}
  end

  defp show(term), do: inspect(term, limit: 10, printable_limit: 200)
end
