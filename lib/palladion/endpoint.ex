defmodule Palladion.Endpoint do
  @moduledoc """
  Where a node is dialled, and whom its certificate must be for.

    * `address` - the IP address or host name to connect to
    * `port` - its port, or `nil` for the one that the node announces
    * `verified_name` - the host name or IP address that the certificate must carry, or `nil`
      for the address itself
    * `sni` - the host name to ask the server for in the TLS handshake, or `nil` for the
      verified name

  A `Palladion.EndpointResolver` makes one of each node:

      %Palladion.Endpoint{address: "10.0.0.7", port: 9042, verified_name: "db.example"}

  Where the cluster has `tls: [verify_hostname:, server_name_indication:]`, those win over
  `verified_name` and `sni`; of a template, a map or a function in `verify_hostname:` the name that
  it has for this node.
  """

  @enforce_keys [:address]
  defstruct [:address, :port, :verified_name, :sni]

  @type t :: %__MODULE__{
          address: String.t(),
          port: :inet.port_number() | nil,
          verified_name: String.t() | nil,
          sni: String.t() | nil
        }
end
