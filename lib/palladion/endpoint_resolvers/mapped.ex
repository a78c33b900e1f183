defmodule Palladion.EndpointResolvers.Mapped do
  @moduledoc """
  What a map says of each node:

      endpoint_resolver:
        {:map,
         %{
           "10.0.0.1" => "db1.example",
           "10.0.0.2:9042" => "db2.example:9142",
           "8d2c6b00-d6c1-41ee-8c3e-0242ac120002" => {"db3.example", 9142}
         }}

  A key is the address that a node announces, that address with its port, or the node's
  host id; where several fit, the host id comes first and the mere address last. A value is
  `"host"`, `"host:port"`, `{host, port}` or a `Palladion.Endpoint`. A host is dialled, and its
  certificate must be for it; without a port it's the announced one.

  Nodes that aren't in the map are taken as announced, as
  `Palladion.EndpointResolvers.Announced` does.

      iex> node = %Palladion.Node{address: "10.0.0.1", port: 9042}
      iex> Palladion.EndpointResolvers.Mapped.resolve(node, %{"10.0.0.1" => "db1.example"})
      {:ok, %Palladion.Endpoint{address: "db1.example", port: 9042}}
  """

  @behaviour Palladion.EndpointResolver

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.{Config, Endpoint}
  alias Palladion.Config.{NodeKey, Options}
  alias Palladion.EndpointResolvers.Announced

  @doc "The node's endpoint by the map. Errors: a text where a value is no endpoint."
  @impl true
  @spec resolve(Palladion.Node.t(), %{String.t() => term()}) ::
          {:ok, Endpoint.t()} | {:error, String.t()}
  def resolve(node, map) do
    keys = [node.host_id, NodeKey.at(node.address, node.port), node.address]

    case Enum.find(keys, &is_map_key(map, &1)) do
      nil -> Announced.resolve(node, [])
      key -> map |> Map.fetch!(key) |> Config.Endpoint.parse(node.port)
    end
  end

  @doc false
  # Gives the keys the spelling that nodes are found by.
  def check(map, path) when is_map(map) and not is_struct(map) do
    {pairs, problems} = Enum.map_reduce(map, [], &check_pair(&1, &2, path))
    {Map.new(pairs), Enum.reverse(problems)}
  end

  def check(_other, path) do
    message = "needs a map: {:map, %{\"10.0.0.1\" => \"db1.example\"}}"
    {%{}, [problem(path, :invalid_value, message)]}
  end

  defp check_pair({key, value}, problems, path) do
    # The port is that of nodes; any does for the check.
    case {key(key), Config.Endpoint.parse(value, 9042)} do
      {{:ok, key}, {:ok, _endpoint}} ->
        {{key, value}, problems}

      {:error, _} ->
        message =
          "#{Options.show(key)} is no key: a node is found by the IP address that it " <>
            "announces, by \"address:port\" or by its host id"

        {{key, value}, [problem(path, :invalid_value, message) | problems]}

      {{:ok, key}, {:error, text}} ->
        message = "the value of #{Options.show(key)} is no endpoint: #{text}"
        {{key, value}, [problem(path, :invalid_value, message) | problems]}
    end
  end

  # Nodes announce no names.
  defp key(given) do
    case NodeKey.parse(given) do
      {:ok, key, kind} when kind in [:host_id, :address] -> {:ok, key}
      _name_or_error -> :error
    end
  end
end
