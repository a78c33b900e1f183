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

  ## The name without the place

  Where only the name is another one, `tls: [verify_hostname: …]` says it, and wins over the
  resolver. It is one of

  | value | name to verify |
  |---|---|
  | `"db.example"`, `"10.0.0.1"` | this one for all; an IP address must be among the certificate's IP addresses |
  | `"node-{host_id}.example"` | made of `{address}`, `{port}`, `{host_id}`, `{datacenter}` and `{rack}` |
  | `%{"10.0.0.1" => "db1.example"}` | what the map says of the node; of others, the resolver |
  | a function, or `{module, function, arguments}` | what it returns |
  | `false` | none: the chain alone is verified |

  A key of the map is a host id, or a host with or without `:port`: the address that the node
  announces, the host that is dialled, or the contact point's name. What says most comes first.

  A function gets the `Palladion.Node` with its endpoint and returns a name, `{:ok, name}`, `nil`
  for the resolver's, or `{:error, reason}`. It runs as resolvers do and its errors have the same
  consequences. It can't return `false`, for the check is turned off for all nodes or for none.

  All of this holds for contact points as well. What is known of them are `address`, which is the
  host as it stands in `contact_points:`, and `port`:

    * a template that needs more is not applied to them, and they keep their own name
    * a map has them by `"host"` or `"host:port"`
    * a function is asked for them when the cluster starts, with a node that has nothing else. If
      it fails then, that is a `Palladion.ConfigError`.

  The variables of a template are what a server says of itself. So one that has more than
  `{address}` must end with a dot and a domain, as in `"{rack}.db.example"`; else a server could
  name itself so that a certificate of its own will do. Take a domain that is yours: with
  `"{rack}.com"` it still could.

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
