defmodule Palladion.Request.SchemaAgreement do
  @moduledoc false
  # After a schema statement: waits until all nodes that are up have the new schema, as the node
  # that changed it knows: another might not have heard of the change yet, and find all agreed.

  alias Palladion.Node
  alias Palladion.Cluster.NodeTable
  alias Palladion.Schema.Agreement

  @local "SELECT host_id, schema_version FROM system.local WHERE key = 'local'"
  @peers_v2 "SELECT host_id, schema_version, native_address FROM system.peers_v2"
  @peers "SELECT host_id, schema_version, rpc_address FROM system.peers"

  @doc false
  # Whether they agreed in time; `nil` if that was not to be waited for. `ask` runs a statement on
  # the node that changed the schema.
  @spec wait(map(), (map(), String.t() -> {:ok, [map()]} | {:error, term()})) :: boolean() | nil
  def wait(%{entry: %{schema_agreement: nil}}, _ask), do: nil

  def wait(%{entry: %{schema_agreement: options} = entry} = context, ask) do
    now = System.monotonic_time(:millisecond)
    deadline = min(context.deadline, now + options.timeout)
    context = %{context | deadline: deadline, attempts: %{context.attempts | timeout: nil}}

    fetch = fn ->
      with {:ok, local} <- ask.(context, @local),
           {:ok, peers} <- peers(context, ask) do
        {:ok, {local, peers}}
      end
    end

    down? = fn host_id -> down?(entry.table, Node.id(host_id)) end
    Agreement.wait(fetch, down?, deadline, options.interval)
  end

  defp peers(context, ask) do
    with {:error, {:server, _no_such_table}} <- ask.(context, @peers_v2),
         do: ask.(context, @peers)
  end

  # One that is not connected to yet may be up all the same, and is waited for.
  defp down?(table, id), do: NodeTable.lost?(table, id) or NodeTable.down?(table, id)
end
