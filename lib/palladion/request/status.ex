defmodule Palladion.Request.Status do
  @moduledoc false
  # What a cluster says of itself at once, without a request to a server: its state, its nodes, and what
  # it has counted; and with these why there is no connection.

  alias Palladion.{ConnectionError, Error, Native, Node}
  alias Palladion.Cluster.NodeTable

  @doc false
  @spec status(map()) :: {:ok, map()} | {:error, Exception.t()}
  def status(entry) do
    with {:ok, status} <- ask(entry, &Native.cluster_status/1) do
      endpoints = Enum.map(status.endpoints, &endpoint/1)
      control = status.control && connection(status.control)
      last_error = last_error(status.last_error)
      {:ok, %{status | endpoints: endpoints, control: control, last_error: last_error}}
    end
  end

  defp endpoint(endpoint) do
    %{
      endpoint
      | node: Node.host_id(endpoint.node),
        connections: Enum.map(endpoint.connections, &connection/1),
        last_error: last_error(endpoint.last_error)
    }
  end

  defp connection(connection), do: %{connection | node: Node.host_id(connection.node)}

  defp last_error(nil), do: nil
  defp last_error(error), do: ConnectionError.from_native(error)

  @doc false
  @spec nodes(map()) :: {:ok, [Node.t()]} | {:error, Exception.t()}
  def nodes(entry) do
    with {:ok, status} <- status(entry) do
      pools = Map.new(status.endpoints, &{&1.node, &1})
      all = NodeTable.all(entry.table)

      nodes = for {id, node} <- all, do: with_state(node, pools, NodeTable.lost?(entry.table, id))

      {:ok, Enum.sort_by(nodes, & &1.host_id)}
    end
  end

  defp with_state(node, pools, lost?) do
    case Map.fetch(pools, node.host_id) do
      {:ok, pool} ->
        %{node | state: state(pool, lost?), connections: length(pool.connections)}

      :error ->
        %{node | connections: 0}
    end
  end

  defp state(%{connections: [_ | _]}, _lost?), do: :up
  defp state(%{last_error: nil}, false), do: :connecting
  defp state(_pool, _lost?), do: :down

  @doc false
  @spec stats(map()) :: {:ok, map()} | {:error, Exception.t()}
  def stats(entry), do: ask(entry, &Native.cluster_stats/1)

  defp ask(entry, fun) do
    with {:error, error} <- fun.(entry.handle), do: {:error, Error.of_native(error)}
  end

  @doc false
  # Waiting for a connection in vain says why there is none.
  @spec explain_timeout({atom(), map()}, map()) :: {atom(), map()}
  def explain_timeout({kind, fields}, entry) when kind in [:timeout, :no_connection] do
    fields = Map.drop(fields, [:sent, :node])

    case Native.cluster_status(entry.handle) do
      {:ok, status} -> no_connection(fields, status, entry)
      {:error, _closed} -> {kind, fields}
    end
  end

  def explain_timeout(error, _entry), do: error

  defp no_connection(fields, %{endpoints: [], control: control}, entry) when control != nil do
    case NodeTable.datacenters(entry.table) do
      [] -> {:no_connection, fields}
      datacenters -> {:no_local_nodes, Map.put(fields, :datacenters, datacenters)}
    end
  end

  defp no_connection(fields, %{last_error: nil}, _entry), do: {:no_connection, fields}

  defp no_connection(fields, %{last_error: last}, _entry),
    do: {:no_connection, Map.put(fields, :last_error, last)}
end
