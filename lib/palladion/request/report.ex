defmodule Palladion.Request.Report do
  @moduledoc false
  # What a request tells as telemetry. Nothing of it is called where `:telemetry` is missing.

  alias Palladion.{Node, RequestOptions, Telemetry}
  alias Palladion.Cluster.NodeTable
  alias Palladion.Request.Operation
  alias Palladion.Telemetry.Span

  @doc false
  def start(entry, operation, attempts) do
    {kind, native, parameterised?} = parts(operation)

    Span.start(kind, %{
      cluster: entry.name,
      statement: Operation.statement(operation),
      keyspace: entry.keyspace,
      parameterised?: parameterised?,
      consistency: native && RequestOptions.level_name(elem(native, 0)),
      page_size: native && elem(native, 2),
      idempotent: attempts.idempotent,
      slow_after: entry.slow_query_threshold
    })
  end

  defp parts({:query, _statement, native}), do: {:query, native, false}
  defp parts({:prepare, _statement, _route}), do: {:prepare, nil, true}
  defp parts({:execute, _key, _values, native, _statement}), do: {:query, native, true}

  @doc false
  # `native` is the result as it crossed, which ends with the node.
  def stop(context, result, native, attempt) do
    place = place(context, elem(native, tuple_size(native) - 1))
    extra = %{attempts: attempt, returned_rows: if(result.kind == :rows, do: result.num_rows)}
    Span.stop(context.span, Map.merge(place, extra))
  end

  @doc false
  def failed(context, {kind, fields}, exception, attempt) do
    if kind == :overloaded do
      measurements = %{system_time: System.system_time()}
      %{cluster: cluster, summary: summary} = context.span.metadata
      metadata = %{cluster: cluster, summary: summary, reason: exception.reason}
      Telemetry.execute([:overload], measurements, metadata)
    end

    place = place(context, Map.get(fields, :node))
    Span.stop(context.span, Map.merge(place, %{attempts: attempt, error: exception}))
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
