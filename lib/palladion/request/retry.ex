defmodule Palladion.Request.Retry do
  @moduledoc false
  # Asks the retry policy what follows an error, and waits as long as it says.

  alias Palladion.{Error, RetryPolicy}
  alias Palladion.Request.{Batch, Operation, Report}

  # Errors that another attempt would only repeat, or that leave no time for one.
  @final [
    :timeout,
    :bad_value,
    :bad_statement,
    :bad_argument,
    :unsupported,
    :response_too_large,
    :unknown_cluster,
    :already_awaited,
    :overloaded,
    :too_many_waiters,
    :no_connection,
    :no_local_nodes
  ]

  @doc false
  # `{:retry, operation}` with the operation as it's sent then, or `:give_up`.
  @spec decide(map(), tuple(), {atom(), map()}, pos_integer()) :: {:retry, tuple()} | :give_up
  def decide(_context, _operation, {kind, _fields}, _attempt) when kind in @final, do: :give_up

  # The cluster, and not a connection that had the request.
  def decide(_context, _operation, {:closed, fields}, _attempt)
      when not is_map_key(fields, :sent),
      do: :give_up

  def decide(context, operation, {_kind, fields} = error, attempt) do
    statement = Operation.statement(operation)
    exception = Error.of_native(error, statement)

    asked = %{
      attempt: attempt,
      idempotent: idempotent?(operation, statement, context.attempts.idempotent),
      statement: statement
    }

    with {:retry, which, delay} <- RetryPolicy.decide(context.attempts.retry, exception, asked),
         true <- in_time?(context.deadline, delay) do
      Report.retry(context, which, exception, attempt, fields[:node])
      if delay > 0, do: Process.sleep(delay)
      {:retry, Operation.to(operation, route(which, fields[:node]))}
    else
      _give_up -> :give_up
    end
  end

  defp idempotent?({:prepare, _statement, _keyspace, _route}, _text, _said), do: true

  # None of its statements is a SELECT, and counters are never written twice.
  defp idempotent?({:batch, type, _statements, _native, _given}, _text, said),
    do: said == true and not Batch.counter?(type)

  defp idempotent?(_operation, text, said), do: RetryPolicy.idempotent?(text, said)

  defp in_time?(:infinity, _delay), do: true
  defp in_time?(deadline, delay), do: System.monotonic_time(:millisecond) + delay < deadline

  defp route(_which, nil), do: nil
  defp route(:same, node), do: {:first, node}
  defp route(:next, node), do: {:avoid, node}
end
