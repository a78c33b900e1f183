defmodule Palladion.EndpointResolvers.Announced do
  @moduledoc """
  The address and port that the node announces: `endpoint_resolver: :announced`, the default.

  If the host name of a contact point resolves to that address, the certificate must be for
  this name, for it's what was configured for this very node. Otherwise it must carry the
  address.

      iex> node = %Palladion.Node{address: "10.0.0.1", port: 9042, contact_point: "db1.example"}
      iex> {:ok, endpoint} = Palladion.EndpointResolvers.Announced.resolve(node, [])
      iex> {endpoint.address, endpoint.verified_name}
      {"10.0.0.1", "db1.example"}
  """

  @behaviour Palladion.EndpointResolver

  alias Palladion.Endpoint

  @doc "The announced endpoint. There are no options and no errors."
  @impl true
  @spec resolve(Palladion.Node.t(), term()) :: {:ok, Endpoint.t()}
  def resolve(node, _options) do
    {:ok, %Endpoint{address: node.address, port: node.port, verified_name: node.contact_point}}
  end
end
