defmodule Palladion.Request.Retry do
  @moduledoc false
  # Asks the retry policy what follows an error, and waits as long as it says.

  alias Palladion.{Error, RetryPolicy}
  alias Palladion.Request.{Batch, Operation, Report}

  # What is wrong with the request itself, whenever it is sent.
  @in_vain [:bad_value, :bad_statement, :bad_argument, :unsupported, :response_too_large]

  # And errors that another attempt now would only repeat, or that leave no time for one.
  @final @in_vain ++
           [
             :timeout,
             :unknown_cluster,
             :already_awaited,
             :overloaded,
             :too_many_waiters,
             :no_connection,
             :no_local_nodes
           ]

  # The same in the server's words: a message that it can't read, and from the syntax on what it checks
  # before it begins.
  @protocol_error 0x000A
  @checked 0x2000..0x24FF

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

  @doc false
  # Whether the same request would end in the same way later, too. A cluster that has closed may be started again.
  @spec in_vain?({atom(), map()}) :: boolean()
  def in_vain?({:server, %{code: code}}), do: code == @protocol_error or code in @checked
  def in_vain?({kind, _fields}), do: kind in @in_vain

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
