defmodule Palladion.Request.SchemaAgreement do
  @moduledoc false
  # After a schema statement: waits until all nodes that are up have the new schema, as the node
  # that changed it knows: another might not have heard of the change yet, and find all agreed. Of
  # Amazon Keyspaces, until it says that it has done what it was told.

  alias Palladion.Node
  alias Palladion.Cluster.NodeTable
  alias Palladion.Schema.{Agreement, Status}

  @local "SELECT host_id, schema_version FROM system.local WHERE key = 'local'"
  @peers_v2 "SELECT host_id, schema_version, native_address FROM system.peers_v2"
  @peers "SELECT host_id, schema_version, rpc_address FROM system.peers"

  @typedoc "Runs a statement: at the node that changed the schema, or at any"
  @type ask :: (map(), String.t(), :there | :anywhere -> {:ok, [map()]} | {:error, term()})

  @doc false
  # Whether the change was everywhere in time; `nil` if that was not to be waited for.
  @spec wait(map(), Status.change(), ask()) :: boolean() | nil
  def wait(%{entry: %{schema_agreement: nil}}, _change, _ask), do: nil

  def wait(%{entry: %{schema_agreement: options}} = context, change, ask) do
    now = System.monotonic_time(:millisecond)
    deadline = min(context.deadline, now + options.timeout)
    context = %{context | deadline: deadline, attempts: %{context.attempts | timeout: nil}}
    wait(options.by, context, change, ask)
  end

  defp wait(:nodes, %{entry: entry} = context, _change, ask) do
    fetch = fn ->
      with {:ok, local} <- ask.(context, @local, :there),
           {:ok, peers} <- peers(context, ask) do
        {:ok, {local, peers}}
      end
    end

    down? = fn host_id -> down?(entry.table, Node.id(host_id)) end
    Agreement.wait(fetch, down?, context.deadline, entry.schema_agreement.interval)
  end

  # Its addresses are no nodes, and all of them know the same.
  defp wait(:keyspaces, %{entry: entry} = context, change, ask) do
    case Status.question(change) do
      nil ->
        true

      question ->
        Agreement.poll(
          fn ->
            case ask.(context, question, :anywhere) do
              {:ok, rows} -> Status.reached?(change, rows)
              {:error, _error} -> false
            end
          end,
          context.deadline,
          entry.schema_agreement.interval
        )
    end
  end

  defp peers(context, ask) do
    with {:error, {:server, _no_such_table}} <- ask.(context, @peers_v2, :there),
         do: ask.(context, @peers, :there)
  end

  # One that is not connected to yet may be up all the same, and is waited for.
  defp down?(table, id), do: NodeTable.lost?(table, id) or NodeTable.down?(table, id)
end
