defmodule Palladion.Request.Report do
  @moduledoc false
  # What a request tells as telemetry. Nothing of it is called where `:telemetry` is missing.

  alias Palladion.{Node, RequestOptions, Telemetry}
  alias Palladion.Cluster.NodeTable
  alias Palladion.Request.{Batch, Operation}
  alias Palladion.Telemetry.Span

  @doc false
  def start(entry, operation, attempts) do
    {kind, parts} = parts(operation)

    base = %{
      cluster: entry.name,
      keyspace: Operation.keyspace(operation) || entry.keyspace,
      idempotent: attempts.idempotent,
      slow_after: entry.slow_query_threshold
    }

    Span.start(kind, Map.merge(base, parts))
  end

  defp parts({:query, _statement, native} = operation),
    do: {:query, query(operation, native, false)}

  defp parts({:execute, _key, _values, native, _statement, _keyspace} = operation),
    do: {:query, query(operation, native, true)}

  defp parts({:prepare, _statement, _keyspace, _route} = operation),
    do: {:prepare, %{statement: Operation.statement(operation), parameterised?: true}}

  # It has no pages.
  defp parts({:batch, _type, _statements, native, given}),
    do: {:query, Map.put(Batch.describe(given), :consistency, consistency(native))}

  defp query(operation, native, parameterised?) do
    %{
      statement: Operation.statement(operation),
      parameterised?: parameterised?,
      consistency: consistency(native),
      page_size: elem(native, 2)
    }
  end

  defp consistency(native), do: RequestOptions.level_name(elem(native, 0))

  @doc false
  # How long it took isn't known, so nobody is told that it was slow.
  def untimed(%{span: nil} = context), do: context
  def untimed(%{span: span} = context), do: %{context | span: %{span | slow_after: nil}}

  @doc false
  # `native` is the result as it crossed, which ends with the node.
  def stop(context, result, native, attempt) do
    extra = %{attempts: attempt, returned_rows: if(result.kind == :rows, do: result.num_rows)}
    answered(context, elem(native, tuple_size(native) - 1), result.warnings, extra)
  end

  @doc false
  # As `stop/4`, of a statement that was prepared.
  def prepared(%{span: nil}, _native, _attempt), do: :ok

  def prepared(context, {:prepared, _id, _bind, _columns, warnings, node}, attempt),
    do: answered(context, node, warnings, %{attempts: attempt})

  @doc false
  def failed(context, {kind, fields}, exception, attempt) do
    if kind == :overloaded do
      measurements = %{system_time: System.system_time()}
      %{cluster: cluster, summary: summary} = context.span.metadata
      metadata = %{cluster: cluster, summary: summary, reason: exception.reason}
      Telemetry.execute([:overload], measurements, metadata)
    end

    warnings = Map.get(exception.details, :warnings, [])
    answered(context, Map.get(fields, :node), warnings, %{attempts: attempt, error: exception})
  end

  # What the server warns of, and then the end.
  defp answered(context, node, warnings, extra) do
    place = place(context, node)
    if warnings != [], do: Span.warnings(context.span, warnings, place)
    Span.stop(context.span, Map.merge(place, extra))
  end

  @doc false
  def retry(%{span: nil}, _which, _exception, _attempt, _node), do: :ok

  def retry(context, which, exception, attempt, node) do
    place = place(context, node)
    decision = if which == :same, do: :retry_same, else: :retry_next
    extra = %{decision: decision, attempt: attempt, error: exception}
    Span.retry(context.span, Map.merge(place, extra))
  end

  defp place(_context, nil), do: %{}

  defp place(context, id) do
    case NodeTable.get(context.entry.table, id) do
      %Node{} = node ->
        %{
          node: node.host_id,
          datacenter: node.datacenter,
          address: node.address,
          port: node.port
        }

      nil ->
        %{node: Node.host_id(id)}
    end
  end
end
