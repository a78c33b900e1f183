defmodule Palladion.EndpointResolver do
  @moduledoc """
  Says where each node is dialled and whose name its certificate must carry.

  A node announces an address and no name. It may be one that can't be reached from here, and
  the certificate may be for a name. The option `endpoint_resolver:` is one of

  | value | endpoint |
  |---|---|
  | `:announced` (default) | `Palladion.EndpointResolvers.Announced`: the announced address; where a contact point's host name resolves to it, the certificate must be for that name |
  | `{:fixed_name, "db.example"}` | `Palladion.EndpointResolvers.FixedName`: the announced address, the same name for all |
  | `{:map, %{"10.0.0.1" => "db1.example"}}` | `Palladion.EndpointResolvers.Mapped`: what the map says of the node |
  | `{:template, "node-{host_id}.example"}` | `Palladion.EndpointResolvers.Template`: a name that is made of what is known of the node |
  | a function, or `{module, function, arguments}` | `Palladion.EndpointResolvers.Function`: what it returns |
  | `MyApp.Resolver`, `{MyApp.Resolver, options}` | what this module says, which has this behaviour |

  ## A module of your own

      defmodule MyApp.Resolver do
        @behaviour Palladion.EndpointResolver

        @impl true
        def resolve(node, domain) do
          name = "\#{node.rack}.\#{node.datacenter}.\#{domain}"
          {:ok, %Palladion.Endpoint{address: name, port: 9142}}
        end
      end

      endpoint_resolver: {MyApp.Resolver, "db.example"}

  It is asked for every node whenever the list of nodes is read: every
  `topology: [refresh_interval:]`, after events of the servers, and after the control connection
  was opened anew. That is in processes of its own and with a time limit, never on the way of a
  request. After an error, which is logged, a node that is known keeps the endpoint it had, and a
  new one is left out until the list is read again.

  It is not asked for contact points, of which no more than the name is known.

  ## Reverse DNS

  is never used, neither here nor elsewhere: whoever answers for an address block would choose
  the name that a certificate is checked against. Names come from the configuration alone.
  """

  alias Palladion.{Config, Endpoint, Node}

  @doc """
  The endpoint of a node.

  `options` are those of `endpoint_resolver: {module, options}`, or `[]`. A `port` of `nil` is
  the announced one. The error can be any term that is worth a log line.
  """
  @callback resolve(node :: Node.t(), options :: term()) ::
              {:ok, Endpoint.t()} | {:error, term()}

  @doc false
  # Asks, and checks the answer.
  @spec resolve({module(), term()}, Node.t()) :: {:ok, Endpoint.t()} | {:error, term()}
  def resolve({module, options}, %Node{} = node) do
    case module.resolve(node, options) do
      {:ok, %Endpoint{} = endpoint} -> Config.Endpoint.parse(endpoint, node.port)
      {:error, reason} -> {:error, reason}
      _other -> {:error, "#{inspect(module)}.resolve/2 returned neither an endpoint nor an error"}
    end
  end
end
