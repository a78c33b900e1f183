defmodule Palladion.Request do
  @moduledoc false
  # The only place that submits, receives and cancels. The caller's process does it all: it
  # encodes, waits for one message, and decides what follows an error.
  #
  # After a call returns, no message of it exists or will: a request is either claimed by its
  # answer, which is then received, or cancelled, which keeps its answer away.

  import Palladion.Error, only: [is_ours: 1]

  alias Palladion.{Cluster, ConnectionError, Error, Native, Pending, Prepared, RequestOptions}
  alias Palladion.Encoder.Values
  alias Palladion.Result

  # Rounds of preparing, and of connections lost before anything was sent, for one request.
  @max_rounds 32

  @doc false
  def query(name, statement, values, options) do
    with_cluster(name, fn entry ->
      {timeout, native} = RequestOptions.build(entry, options)
      operation = operation(statement, values, native)
      entry |> run(operation, deadline(timeout), 1) |> result(operation, timeout)
    end)
  end

  @doc false
  def prepare(name, statement, options) do
    with_cluster(name, fn entry ->
      {timeout, _native} = RequestOptions.build(entry, options)

      operation = {:prepare, statement, nil}

      case run(entry, operation, deadline(timeout), 1) do
        {:ok, {:prepared, id, bind, columns}} ->
          prepared = %Prepared{
            cluster: entry.name,
            id: id,
            statement: statement,
            bind: bind,
            columns: columns
          }

          {:ok, prepared}

        {:error, error} ->
          {:error, exception(error, operation, timeout)}
      end
    end)
  end

  @doc false
  # Returns with the request on its way, unless it first needed a connection or a preparation.
  def submit(name, statement, values, options) do
    with_cluster(name, fn entry ->
      {timeout, native} = RequestOptions.build(entry, options)
      operation = operation(statement, values, native)
      submit_until_sent(entry, operation, deadline(timeout), timeout, 1)
    end)
  end

  defp submit_until_sent(entry, operation, deadline, timeout, round) do
    ref = make_ref()

    case native_submit(operation, entry.handle, ref) do
      {:ok, request} ->
        retry = {entry, operation, timeout, round}
        {:ok, %Pending{ref: ref, request: request, deadline: deadline, retry: retry}}

      {:error, error} ->
        case remedy(entry, operation, error, deadline, round) do
          :retry ->
            submit_until_sent(entry, operation, deadline, timeout, round + 1)

          {:retry, operation} ->
            submit_until_sent(entry, operation, deadline, timeout, round + 1)

          {:error, error} ->
            {:error, exception(error, operation, timeout)}
        end
    end
  end

  @doc false
  def await(%Pending{ref: ref, request: request, retry: retry} = pending, timeout) do
    {entry, operation, full_timeout, round} = retry
    deadline = earlier(pending.deadline, deadline(timeout))
    timeout = if deadline == pending.deadline, do: full_timeout, else: timeout

    if Native.is_over(request) do
      {:error, ConnectionError.from_native({:already_awaited, %{}})}
    else
      reply = receive_until(ref, request, deadline)

      entry
      |> settle(operation, reply, deadline, round)
      |> result(operation, timeout)
    end
  end

  defp receive_until(ref, request, deadline) do
    receive do
      {^ref, reply} ->
        # Noted, so that a second `await` doesn't wait for it.
        Native.cancel(request)
        reply
    after
      remaining(deadline) ->
        case Native.cancel(request) do
          :too_late -> receive(do: ({^ref, reply} -> reply))
          sent -> {:error, {:timeout, %{sent: sent == :sent}}}
        end
    end
  end

  @doc false
  def cancel(%Pending{ref: ref, request: request}) do
    case Native.cancel(request) do
      # Already answered: the answer is there, or just about to be.
      :too_late -> receive(do: ({^ref, _reply} -> :ok))
      _cancelled -> :ok
    end
  end

  @doc false
  def await_ready(name, timeout) do
    with_cluster(name, fn entry ->
      case call(entry, :wait_ready, deadline(timeout)) do
        :ok ->
          :ok

        {:error, error} ->
          {:error, exception(explain_timeout(error, entry), :wait_ready, timeout)}
      end
    end)
  end

  @doc false
  def reconnect(name, timeout) do
    with_cluster(name, fn entry ->
      case call(entry, :reconnect, deadline(timeout)) do
        :ok -> :ok
        {:error, error} -> {:error, exception(error, :reconnect, timeout)}
      end
    end)
  end

  @doc false
  def status(name) do
    with {:ok, status} <- ask(name, &Native.cluster_status/1) do
      last_error = status.last_error && ConnectionError.from_native(status.last_error)
      {:ok, %{status | last_error: last_error}}
    end
  end

  @doc false
  def stats(name), do: ask(name, &Native.cluster_stats/1)

  # Something that the handle answers at once.
  defp ask(name, fun) do
    with_cluster(name, fn entry ->
      case fun.(entry.handle) do
        {:ok, answer} -> {:ok, answer}
        {:error, error} -> {:error, exception(error, :ask, nil)}
      end
    end)
  end

  defp with_cluster(name, fun) do
    case Cluster.fetch(name) do
      {:ok, entry} ->
        fun.(entry)

      :error ->
        {:error, ConnectionError.from_native({:unknown_cluster, %{name: inspect(name)}})}
    end
  end

  # An attempt, and what follows from its outcome.
  defp run(entry, operation, deadline, round) do
    reply = call(entry, operation, deadline)
    settle(entry, operation, reply, deadline, round)
  end

  defp settle(entry, operation, reply, deadline, round) do
    case reply do
      {:ok, _result} ->
        reply

      {:error, error} ->
        case remedy(entry, operation, error, deadline, round) do
          :retry -> run(entry, operation, deadline, round + 1)
          {:retry, operation} -> run(entry, operation, deadline, round + 1)
          {:error, _error} = final -> final
        end
    end
  end

  # `make_ref` stands in the function that receives on it, so that the messages that were in
  # the mailbox before are not looked at.
  defp call(entry, operation, deadline) do
    ref = make_ref()

    case native_submit(operation, entry.handle, ref) do
      {:ok, request} ->
        receive do
          {^ref, reply} -> reply
        after
          remaining(deadline) ->
            case Native.cancel(request) do
              # The answer was first: it's certain to be there, or just about to.
              :too_late -> receive(do: ({^ref, reply} -> reply))
              sent -> {:error, {:timeout, %{sent: sent == :sent}}}
            end
        end

      {:error, _error} = refused ->
        refused
    end
  end

  defp native_submit({:execute, key, values, native, _statement}, handle, ref) do
    with :dirty <- Native.submit_execute(handle, ref, key, values, native) do
      Native.submit_execute_dirty(handle, ref, key, values, native)
    end
  end

  defp native_submit({:query, statement, native}, handle, ref) do
    with :dirty <- Native.submit_query(handle, ref, statement, native) do
      Native.submit_query_dirty(handle, ref, statement, native)
    end
  end

  defp native_submit({:prepare, statement, node}, handle, ref) do
    with :dirty <- Native.submit_prepare(handle, ref, statement, node) do
      Native.submit_prepare_dirty(handle, ref, statement, node)
    end
  end

  defp native_submit(:wait_ready, handle, ref), do: Native.wait_ready(handle, ref)
  defp native_submit(:reconnect, handle, ref), do: Native.cluster_reconnect(handle, ref)

  defp operation(%Prepared{} = prepared, values, native) do
    {:execute, {:id, prepared.id}, values, native, prepared.statement}
  end

  defp operation(statement, [], native), do: {:query, statement, native}

  defp operation(statement, values, native) do
    {:execute, {:text, statement}, values, native, statement}
  end

  # What can be done about an error: another attempt, after what it needed, or nothing.
  defp remedy(_entry, _operation, error, _deadline, round) when round >= @max_rounds do
    {:error, error}
  end

  defp remedy(entry, operation, error, deadline, _round) do
    case {error, Error.unprepared(error)} do
      {_error, {:ok, node}} when elem(operation, 0) == :execute ->
        prepare_again(entry, operation, node, deadline)

      {{:bad_value, %{problem: "wrong_type"}}, _} when elem(operation, 0) == :execute ->
        encode_structs(operation, error)

      {{:no_connection, _fields}, _} ->
        wait_for_connection(entry, error, deadline)

      {{_kind, %{sent: false}}, _} when elem(error, 0) != :timeout ->
        :retry

      _ ->
        {:error, error}
    end
  end

  # A value that the native library does not know may be a struct that encodes itself.
  defp encode_structs(operation, error) do
    case Values.expand(elem(operation, 2)) do
      {:ok, values} -> {:retry, put_elem(operation, 2, values)}
      :unchanged -> {:error, error}
    end
  end

  defp prepare_again(
         entry,
         {:execute, key, _values, _native, statement} = operation,
         node,
         deadline
       ) do
    with {:ok, {:prepared, id, _bind, _columns}} <-
           run(entry, {:prepare, statement, node}, deadline, 1) do
      # The id is another one where the keyspace in use is.
      key = if elem(key, 0) == :id, do: {:id, id}, else: key
      {:retry, put_elem(operation, 1, key)}
    end
  end

  # In the caller, with nothing encoded yet; bounded by the handle.
  defp wait_for_connection(entry, error, deadline) do
    case call(entry, :wait_ready, deadline) do
      :ok -> :retry
      {:error, {:timeout, _fields}} -> {:error, explain_timeout(error, entry)}
      {:error, _error} = final -> final
    end
  end

  # Waiting for a connection in vain says why there is none.
  defp explain_timeout({kind, fields}, entry) when kind in [:timeout, :no_connection] do
    case Native.cluster_status(entry.handle) do
      {:ok, %{last_error: nil}} -> {:no_connection, fields}
      {:ok, %{last_error: last}} -> {:no_connection, Map.put(fields, :last_error, last)}
      {:error, _closed} -> {kind, fields}
    end
  end

  defp explain_timeout(error, _entry), do: error

  defp result({:ok, native}, _operation, _timeout), do: {:ok, Result.from_native(native)}

  defp result({:error, error}, operation, timeout),
    do: {:error, exception(error, operation, timeout)}

  defp exception({kind, _fields} = error, operation, _timeout) when is_ours(kind) do
    Error.from_native(error, statement(operation))
  end

  defp exception({:timeout, fields}, _operation, timeout) do
    ConnectionError.from_native({:timeout, Map.put_new(fields, :timeout, timeout)})
  end

  defp exception(error, _operation, _timeout), do: ConnectionError.from_native(error)

  defp statement({:query, statement, _native}) when is_binary(statement), do: statement
  defp statement({:prepare, statement, _node}) when is_binary(statement), do: statement
  defp statement({:execute, _key, _values, _native, statement}), do: statement
  defp statement(_other), do: ""

  defp deadline(:infinity), do: :infinity

  # `receive` takes no longer one, and would say so only after the request has been sent.
  defp deadline(timeout) when is_integer(timeout) and timeout in 0..0xFFFFFFFF do
    System.monotonic_time(:millisecond) + timeout
  end

  defp deadline(_other) do
    raise ArgumentError, "a timeout must be 0 to 4,294,967,295 ms or :infinity"
  end

  defp remaining(:infinity), do: :infinity
  defp remaining(deadline), do: max(deadline - System.monotonic_time(:millisecond), 0)

  defp earlier(:infinity, other), do: other
  defp earlier(one, :infinity), do: one
  defp earlier(one, other), do: min(one, other)
end
