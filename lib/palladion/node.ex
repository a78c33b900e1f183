defmodule Palladion.Node do
  @moduledoc """
  A node of a cluster, as `Palladion.nodes/1` returns it and policies see it.

  What the node says of itself:

    * `host_id` - its UUID as text, which it keeps when its address changes
    * `address`, `port` - the IP address (as text) and port that it announces to clients
    * `datacenter`, `rack` - where it stands
    * `release_version` - of the server's software
    * `schema_version` - of the schema as it knows it, a UUID as text

  What the cluster makes of it:

    * `contact_point` - the host name in `contact_points:` that resolves to its address, or
      `nil`
    * `endpoint` - the `Palladion.Endpoint` that it is dialled at, or `nil` before the resolver
      has said so
    * `distance` - `:local` (takes requests), `:remote` (takes them while no local node can) or
      `:ignored` (no connections to it)
    * `preference` - 0 for the nodes that are asked first, then 1, and so on
    * `state` - `:up` (there are connections), `:connecting` (none yet), `:down` (lost, or
      could not be opened), or `nil` for one that is not connected to
    * `connections` - how many are open

  All that isn't known (yet) is `nil`.
  """

  defstruct [
    :host_id,
    :address,
    :port,
    :contact_point,
    :datacenter,
    :rack,
    :release_version,
    :schema_version,
    :endpoint,
    :state,
    distance: :ignored,
    preference: 0,
    connections: 0
  ]

  @typedoc "A node's UUID as text, in lower case"
  @type host_id :: String.t()

  @type distance :: :local | :remote | :ignored

  @typedoc "Among nodes of one distance, those of the lowest are asked first"
  @type preference :: 0..65_535

  @type t :: %__MODULE__{
          host_id: host_id() | nil,
          address: String.t() | nil,
          port: :inet.port_number() | nil,
          contact_point: String.t() | nil,
          datacenter: String.t() | nil,
          rack: String.t() | nil,
          release_version: String.t() | nil,
          schema_version: String.t() | nil,
          endpoint: Palladion.Endpoint.t() | nil,
          distance: distance(),
          preference: preference(),
          state: :up | :down | :connecting | nil,
          connections: non_neg_integer()
        }

  @doc false
  # The 16 bytes of a host id, as the native library has it.
  @spec id(host_id()) :: <<_::128>>
  def id(host_id), do: host_id |> String.replace("-", "") |> Base.decode16!(case: :mixed)

  @doc false
  # The text of such bytes.
  @spec host_id(<<_::128>> | nil) :: host_id() | nil
  def host_id(nil), do: nil

  def host_id(<<a::binary-4, b::binary-2, c::binary-2, d::binary-2, e::binary-6>>) do
    Enum.map_join([a, b, c, d, e], "-", &Base.encode16(&1, case: :lower))
  end

  @doc false
  # The `node` of an error's fields as text, if there is one.
  @spec put_host_id(map()) :: map()
  def put_host_id(%{node: <<_::128>> = id} = fields), do: %{fields | node: host_id(id)}
  def put_host_id(fields), do: Map.delete(fields, :node)
end
