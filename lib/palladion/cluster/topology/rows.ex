defmodule Palladion.Cluster.Topology.Rows do
  @moduledoc false
  # Rows of system.local and system.peers (or peers_v2) become nodes. What servers write there
  # differs by kind and version, and is incomplete while a node joins.

  alias Palladion.Cluster.Topology.Address
  alias Palladion.Node

  # Of Cassandra's peers_v2; of DSE; of all others, and of everybody's system.local.
  @addresses ["native_address", "native_transport_address", "rpc_address"]
  @ports ["native_port", "rpc_port"]

  @typedoc "Where the control connection goes to, and which addresses the contact points' names have"
  @type control :: %{
          required(:address) => String.t(),
          required(:port) => :inet.port_number(),
          optional(:names) => [{String.t(), String.t()}],
          optional(atom()) => term()
        }

  @typedoc "What is odd about the rows"
  @type note :: {:debug | :warning, String.t()}

  @doc false
  # The nodes in the order of their rows, the local one first. A host_id stands for one node,
  # and so does an address with its port: the first wins.
  @spec read([map()], [map()], control()) :: %{
          nodes: [Node.t()],
          local_datacenter: String.t() | nil,
          notes: [note()]
        }
  def read(local_rows, peer_rows, control) do
    control = cast(control)
    local = Enum.take(local_rows, 1)
    rows = Enum.map(local, &{:local, &1}) ++ Enum.map(peer_rows, &{:peer, &1})

    {nodes, notes} =
      rows
      |> Enum.map(fn {kind, row} -> node(kind, row, control) end)
      |> Enum.split_with(&is_struct/1)

    {nodes, conflicts} = distinct(nodes)
    datacenter = Enum.find_value(local, &text(&1, "data_center"))
    %{nodes: nodes, local_datacenter: datacenter, notes: notes ++ conflicts}
  end

  defp cast(control) do
    names =
      for {address, name} <- Map.get(control, :names, []),
          {:ok, tuple} <- [Address.cast(address)],
          # A contact point that is an address itself is no name to verify.
          Address.cast(name) == :error,
          do: {tuple, name}

    address =
      case Address.cast(control.address) do
        {:ok, tuple} -> tuple
        :error -> nil
      end

    # Of several names the first one stays.
    %{address: address, port: control.port, names: names |> Enum.reverse() |> Map.new()}
  end

  defp node(kind, row, control) do
    with {:host_id, host_id} when host_id != nil <- {:host_id, host_id(row)},
         {:datacenter, datacenter} when datacenter != nil <-
           {:datacenter, text(row, "data_center")},
         {:address, address} when address != nil <- {:address, address(kind, row, control)} do
      %Node{
        host_id: host_id,
        address: Address.text(address),
        port: port(row) || control.port,
        contact_point: control.names[address],
        datacenter: datacenter,
        rack: text(row, "rack"),
        release_version: text(row, "release_version"),
        schema_version: text(row, "schema_version")
      }
    else
      {missing, nil} -> skipped(kind, row, missing)
    end
  end

  # An address that isn't ours to dial is replaced: a node knows its peers by `peer`, and the
  # local node is where the control connection goes to.
  defp address(:local, row, control) do
    case announced(row, @addresses) do
      nil -> control.address
      address -> if foreign_loopback?(address, control), do: control.address, else: address
    end
  end

  defp address(:peer, row, control) do
    address = announced(row, @addresses ++ ["peer"])
    if address && not foreign_loopback?(address, control), do: address
  end

  defp announced(row, columns) do
    Enum.find_value(columns, fn column ->
      case Address.cast(row[column]) do
        {:ok, address} -> if not Address.any?(address), do: address
        :error -> nil
      end
    end)
  end

  # A loopback address is another machine's, unless the control connection goes to one, too.
  defp foreign_loopback?(address, control) do
    Address.loopback?(address) and
      not (control.address != nil and Address.loopback?(control.address))
  end

  defp port(row) do
    Enum.find_value(@ports, fn column ->
      port = row[column]
      if is_integer(port) and port in 1..65_535, do: port
    end)
  end

  defp host_id(row) do
    with <<a::binary-8, ?-, b::binary-4, ?-, c::binary-4, ?-, d::binary-4, ?-, e::binary-12>> = id <-
           row["host_id"],
         {:ok, _bytes} <- Base.decode16(a <> b <> c <> d <> e, case: :mixed) do
      String.downcase(id)
    else
      _not_a_uuid -> nil
    end
  end

  defp text(row, column) do
    case row[column] do
      text when is_binary(text) and text != "" -> text
      _ -> nil
    end
  end

  defp skipped(:local, _row, missing), do: {:debug, "the row of system.local has no #{missing}"}

  defp skipped(:peer, row, missing) do
    which =
      case Address.cast(row["peer"]) do
        {:ok, address} -> Address.text(address)
        :error -> "unknown"
      end

    {:debug, "the row of the peer #{which} is left out: it has no #{missing} to use"}
  end

  defp distinct(nodes) do
    {nodes, notes, _seen} =
      Enum.reduce(nodes, {[], [], %{}}, fn node, {nodes, notes, seen} ->
        id = node.host_id
        place = {node.address, node.port}

        case seen do
          # Some servers have the local node among the peers, too.
          %{^id => _first} -> {nodes, notes, seen}
          %{^place => first} -> {nodes, [conflict(node, first) | notes], seen}
          _new -> {[node | nodes], notes, Map.merge(seen, %{id => node, place => node})}
        end
      end)

    {Enum.reverse(nodes), Enum.reverse(notes)}
  end

  defp conflict(node, first) do
    {:warning,
     "#{node.address}:#{node.port} is announced by two nodes; #{first.host_id} is used, and " <>
       "#{node.host_id} is not"}
  end
end
