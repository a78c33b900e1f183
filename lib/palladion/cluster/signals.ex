defmodule Palladion.Cluster.Signals do
  @moduledoc false
  # What the native library tells of nodes and connections, as telemetry. Which nodes are lost is
  # noted first, for whoever is told may look there.

  alias Palladion.{ConnectionError, Node, Telemetry}
  alias Palladion.Cluster.NodeTable

  # By the server, or by us because of what it is or said.
  @refusals [:bad_credentials, :unknown_authenticator, :mechanism_refused, :signature_refused] ++
              [:challenge_malformed, :server_not_authentic]

  @doc false
  @spec emit({atom(), map()}, %{cluster: Palladion.name(), table: NodeTable.t()}) :: :ok
  def emit({:connection_opened, info}, source) do
    peer = peer(info, source)
    tls = tls(info.tls)
    opened = Map.merge(tls, %{role: info.role, handshake: info.tls && info.tls.handshake})
    Telemetry.execute([:connection, :opened], duration(info), Map.merge(peer, opened))

    if info.authenticator do
      login = Map.take(info, [:authenticator, :mechanism])
      Telemetry.execute([:login, :stop], duration(info), Map.merge(peer, login))
    end

    pool(info, peer)
  end

  def emit({:handshake, %{error: nil} = info}, source) do
    kind = info.tls.handshake

    metadata = %{
      role: info.role,
      handshake: kind,
      resumed?: kind == :resumed,
      peer_not_after: info.tls.not_after
    }

    metadata = info |> peer(source) |> Map.merge(tls(info.tls)) |> Map.merge(metadata)
    Telemetry.execute([:handshake, :stop], duration(info), metadata)
  end

  def emit({:handshake, info}, source) do
    error = ConnectionError.from_native(info.error)
    failed = %{role: info.role, error: error, reason: error.reason}

    Telemetry.execute(
      [:handshake, :failed],
      duration(info),
      Map.merge(peer(info, source), failed)
    )
  end

  # Both have lived as long as they may, the one itself, the other what it descends from.
  def emit({:sessions, %{change: :lineage_expired} = info}, source),
    do: sessions(info, :expired, %{lineage?: true}, source)

  def emit({:sessions, %{change: :expired} = info}, source),
    do: sessions(info, :expired, %{lineage?: false}, source)

  def emit({:sessions, %{change: change} = info}, source)
      when change in [:stored, :evicted, :purged, :refused, :rejected],
      do: sessions(info, change, %{}, source)

  def emit({:connect_failed, fields}, source) do
    error = ConnectionError.from_native(fields.error)
    peer = fields |> Map.merge(%{endpoint: error.endpoint, address: error.details[:address]})
    peer = peer(peer, source)
    failed = Map.merge(peer, %{error: error, reason: error.reason})
    role = if fields.node, do: :pool, else: :control
    more = %{role: role, retry_in: fields.retry_in}
    Telemetry.execute([:connection, :failed], now(), Map.merge(failed, more))

    if error.reason in @refusals do
      login = %{authenticator: error.details[:class], mechanism: error.details[:mechanism]}
      Telemetry.execute([:login, :refused], now(), Map.merge(failed, login))
    end

    :ok
  end

  def emit({:connection_closed, info}, source) do
    # Without an error it was we who closed it.
    error = info.error && ConnectionError.from_native(info.error)
    peer = peer(info, source)
    closed = %{role: info.role, error: error, reason: error && error.reason}
    lived = duration(%{duration_us: info.lasted_us})
    Telemetry.execute([:connection, :closed], lived, Map.merge(peer, closed))
    pool(info, peer)
  end

  def emit({:credentials, %{error: nil} = info}, source) do
    metadata = %{cluster: source.cluster, expires_at: time(info.expires_at)}
    Telemetry.execute([:credentials, :fetched], now(), metadata)
  end

  def emit({:credentials, info}, source) do
    error = ConnectionError.from_native(info.error)
    metadata = %{cluster: source.cluster, error: error, reason: error.reason}
    Telemetry.execute([:credentials, :failed], now(), metadata)
  end

  def emit({kind, %{node: id}}, source) when kind in [:node_up, :node_down] do
    NodeTable.put_lost(source.table, id, kind == :node_down)
    event = if kind == :node_up, do: :up, else: :down
    node = NodeTable.get(source.table, id) || %Node{host_id: Node.host_id(id)}
    metadata = Map.take(node, [:host_id, :datacenter, :rack, :address, :port])
    Telemetry.execute([:node, event], now(), Map.put(metadata, :cluster, source.cluster))
  end

  def emit({:protocol_lowered, info}, source) do
    metadata = %{
      cluster: source.cluster,
      endpoint: info.endpoint,
      protocol_version: info.to,
      previous_protocol_version: info.from
    }

    Telemetry.execute([:protocol, :lowered], now(), metadata)
  end

  def emit(_other, _source), do: :ok

  defp sessions(info, change, more, source) do
    place = Map.take(info, [:endpoint, :verified_name])
    metadata = place |> Map.merge(more) |> Map.put(:cluster, source.cluster)
    Telemetry.execute([:session_cache, change], %{count: info.count}, metadata)
  end

  defp pool(%{role: :pool} = info, peer),
    do: Telemetry.execute([:pool, :changed], Map.take(info, [:open, :wanted]), peer)

  defp pool(_info, _peer), do: :ok

  defp peer(info, source) do
    {address, port} = split(info.address)
    node = info.node && NodeTable.get(source.table, info.node)

    %{
      cluster: source.cluster,
      endpoint: info.endpoint,
      address: address,
      port: port,
      node: Node.host_id(info.node),
      datacenter: node && node.datacenter
    }
  end

  # What is beyond all calendars is as good as never.
  defp time(nil), do: nil

  defp time(seconds) do
    case DateTime.from_unix(seconds) do
      {:ok, time} -> time
      {:error, _reason} -> nil
    end
  end

  # "10.0.0.1:9042" or "[::1]:9042"
  defp split(nil), do: {nil, nil}

  defp split(text) do
    [port | address] = text |> String.split(":") |> Enum.reverse()
    address = address |> Enum.reverse() |> Enum.join(":") |> String.trim("[")
    {String.trim(address, "]"), String.to_integer(port)}
  end

  @versions %{:"tlsv1.2" => "1.2", :"tlsv1.3" => "1.3"}

  defp tls(nil), do: %{}

  defp tls(tls) do
    %{
      tls_version: Map.get(@versions, tls.version),
      tls_cipher: tls.cipher,
      tls_group: tls.group,
      verified_name: tls.verified_name
    }
  end

  defp duration(%{duration_us: us}),
    do: %{duration: System.convert_time_unit(us, :microsecond, :native)}

  defp now, do: %{system_time: System.system_time()}
end
