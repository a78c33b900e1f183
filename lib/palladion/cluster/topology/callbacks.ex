defmodule Palladion.Cluster.Topology.Callbacks do
  @moduledoc false
  # Calls of the modules that users write, so that nothing they do reaches the caller: answers
  # are checked, and what is raised, thrown or exited with becomes an error.

  alias Palladion.Cluster.Topology.Nodes
  alias Palladion.{Endpoint, EndpointResolver, EndpointResolvers, LoadBalancingPolicies, Node}
  alias Palladion.VerifiedName

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
  # Where to connect to for each of the nodes, and whom its certificate must be for.
  @spec resolve({module(), term()}, VerifiedName.t(), [Node.t()]) ::
          %{String.t() => {:ok, Endpoint.t()} | {:error, String.t()}}
  def resolve(resolver, verified_name, nodes) do
    Map.new(nodes, fn node -> {node.host_id, resolve_one(resolver, verified_name, node)} end)
  end

  defp resolve_one(resolver, verified_name, node) do
    with {:ok, endpoint} <-
           answer("endpoint_resolver", fn -> EndpointResolver.resolve(resolver, node) end),
         node = %{node | endpoint: endpoint},
         {:ok, name} <-
           answer("tls.verify_hostname", fn -> VerifiedName.of(verified_name, node) end) do
      {:ok, %{endpoint | verified_name: name || endpoint.verified_name}}
    end
  end

  defp answer(option, fun) do
    case guarded(fun) do
      {:ok, {:ok, answer}} -> {:ok, answer}
      {:ok, {:error, reason}} when is_binary(reason) -> {:error, "#{option}: #{reason}"}
      {:ok, {:error, reason}} -> {:error, "#{option}: #{show(reason)}"}
      {:error, text} -> {:error, "#{option}: #{text}"}
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

  @doc false
  @spec inline?({module(), term()}, VerifiedName.t()) :: boolean()
  def inline?(_resolver, {:function, _function}), do: false
  def inline?(resolver, _verified_name), do: inline?(resolver)

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
