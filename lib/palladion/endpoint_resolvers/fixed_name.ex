defmodule Palladion.EndpointResolvers.FixedName do
  @moduledoc """
  Announced addresses, and one name that every node's certificate carries:
  `endpoint_resolver: {:fixed_name, "db.example"}`.

      iex> node = %Palladion.Node{address: "10.0.0.1", port: 9042}
      iex> {:ok, endpoint} = Palladion.EndpointResolvers.FixedName.resolve(node, "db.example")
      iex> {endpoint.address, endpoint.verified_name}
      {"10.0.0.1", "db.example"}

  A certificate that all nodes share can't tell one node from another. It still proves that
  the other side belongs to the cluster.
  """

  @behaviour Palladion.EndpointResolver

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Host, Options}
  alias Palladion.Endpoint

  @doc "The announced address and port with `name`, a host name or IP address. No errors."
  @impl true
  @spec resolve(Palladion.Node.t(), name :: String.t()) :: {:ok, Endpoint.t()}
  def resolve(node, name) do
    {:ok, %Endpoint{address: node.address, port: node.port, verified_name: name}}
  end

  @doc false
  def check(name, path) do
    case Host.parse(name) do
      {:ok, name, _kind} ->
        {name, []}

      {:error, text} ->
        message = "needs a name, {:fixed_name, \"db.example\"}, and #{Options.show(name)} #{text}"
        {name, [problem(path, :invalid_value, message)]}
    end
  end
end
