defmodule Palladion.Request.Retry do
  @moduledoc false
  # Asks the retry policy what follows an error, and waits as long as it says.

  alias Palladion.{ConnectionError, Error, RetryPolicy}
  alias Palladion.Request.Report

  import Palladion.Error, only: [is_ours: 1]

  # Errors that another attempt would only repeat, or that leave no time for one.
  @final [
    :timeout,
    :bad_value,
    :bad_statement,
    :bad_argument,
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
    statement = statement(operation)
    exception = exception(error, statement)

    asked = %{
      attempt: attempt,
      idempotent: idempotent?(operation, statement, context.attempts.idempotent),
      statement: statement
    }

    with {:retry, which, delay} <- RetryPolicy.decide(context.attempts.retry, exception, asked),
         true <- in_time?(context.deadline, delay) do
      Report.retry(context, which, exception, attempt, fields[:node])
      if delay > 0, do: Process.sleep(delay)
      {:retry, route(operation, which, fields[:node])}
    else
      _give_up -> :give_up
    end
  end

  defp idempotent?({:prepare, _statement, _route}, _text, _said), do: true
  defp idempotent?(_operation, text, said), do: RetryPolicy.idempotent?(text, said)

  defp in_time?(:infinity, _delay), do: true
  defp in_time?(deadline, delay), do: System.monotonic_time(:millisecond) + delay < deadline

  defp route(operation, which, node) do
    route =
      case {which, node} do
        {_which, nil} -> nil
        {:same, node} -> {:first, node}
        {:next, node} -> {:avoid, node}
      end

    case operation do
      {:prepare, statement, _route} -> {:prepare, statement, route}
      {:query, statement, native} -> {:query, statement, put_route(native, route)}
      execute -> put_elem(execute, 3, put_route(elem(execute, 3), route))
    end
  end

  # The last of what `RequestOptions.build/2` makes.
  defp put_route(native, route), do: put_elem(native, tuple_size(native) - 1, route)

  defp exception({kind, _fields} = error, statement) when is_ours(kind),
    do: Error.from_native(error, statement)

  defp exception(error, _statement), do: ConnectionError.from_native(error)

  defp statement({:execute, _key, _values, _native, statement}), do: statement
  defp statement(operation), do: elem(operation, 1)
end
