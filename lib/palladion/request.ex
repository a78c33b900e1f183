defmodule Palladion.Request do
  @moduledoc false
  # The only place that submits, receives and cancels. The caller's process does it all: it
  # encodes, waits for one message, and decides what follows an error.
  #
  # After a call returns, no message of it exists or will: a request is either claimed by its
  # answer, which is then received, or cancelled, which keeps its answer away.

  alias Palladion.{Cluster, ConnectionError, Error, Native, Node, Pending, Prepared}
  alias Palladion.Cluster.NodeTable
  alias Palladion.Encoder.Values
  alias Palladion.Request.{Operation, Report, Retry, SchemaAgreement}
  alias Palladion.{RequestOptions, Result}
  alias Palladion.Telemetry.Span

  # Rounds of preparing, and of connections lost before anything was sent, for one request.
  @max_rounds 32

  @doc false
  def query(name, statement, values, options) do
    with_cluster(name, fn entry ->
      {timeout, native, attempts} = RequestOptions.build(entry, options)
      operation = Operation.new(statement, values, native)
      context = context(entry, operation, timeout, attempts)

      watched(context, fn ->
        context |> run(operation, 1, 1) |> finish(context, operation)
      end)
    end)
  end

  @doc false
  def prepare(name, statement, options) do
    with_cluster(name, fn entry ->
      {timeout, _native, attempts} = RequestOptions.build(entry, options)
      operation = {:prepare, statement, nil}
      context = context(entry, operation, timeout, attempts)

      watched(context, fn ->
        case run(context, operation, 1, 1) do
          {:ok, {:prepared, id, bind, columns}, attempt} ->
            stopped(context, %{attempts: attempt})

            prepared = %Prepared{
              cluster: entry.name,
              id: id,
              statement: statement,
              bind: bind,
              columns: columns
            }

            {:ok, prepared}

          {:error, error, attempt} ->
            failed(context, error, operation, attempt)
        end
      end)
    end)
  end

  @doc false
  # Returns with the request on its way, unless it first needed a connection or a preparation.
  def submit(name, statement, values, options) do
    with_cluster(name, fn entry ->
      {timeout, native, attempts} = RequestOptions.build(entry, options)
      operation = Operation.new(statement, values, native)
      context = context(entry, operation, timeout, attempts)
      watched(context, fn -> submit_until_sent(context, operation, 1) end)
    end)
  end

  defp submit_until_sent(context, operation, round) do
    ref = make_ref()

    case native_submit(operation, context.entry.handle, ref) do
      {:ok, request} ->
        until = attempt_deadline(context)

        {:ok,
         %Pending{
           owner: self(),
           ref: ref,
           request: request,
           until: until,
           retry: {context, operation, round}
         }}

      {:error, error} ->
        case remedy(context, operation, error, round) do
          {:retry, operation} -> submit_until_sent(context, operation, round + 1)
          {_error_or_final, error} -> failed(context, error, operation, 1)
        end
    end
  end

  @doc false
  def await(%Pending{ref: ref, request: request, retry: retry} = pending, timeout) do
    must_be_own(pending)
    {context, operation, round} = retry
    context = shorten(context, timeout)

    if Native.is_over(request) do
      {:error, ConnectionError.from_native({:already_awaited, %{}})}
    else
      watched(context, fn ->
        reply = receive_until(ref, request, earlier(pending.until, context.deadline), context)
        context |> settle(operation, reply, round, 1) |> finish(context, operation)
      end)
    end
  end

  # The answer is a message to the process that submitted: any other would wait in vain.
  defp must_be_own(%Pending{owner: owner}) when owner == self(), do: :ok

  defp must_be_own(%Pending{owner: owner}) do
    raise ArgumentError,
          "only the process that submitted a request can await or cancel it, and that is " <>
            "#{inspect(owner)}; submit it in the process that wants the answer, or send the answer on"
  end

  defp shorten(context, timeout) do
    deadline = deadline(timeout)

    if earlier(context.deadline, deadline) == context.deadline,
      do: context,
      else: %{context | deadline: deadline, timeout: timeout}
  end

  defp receive_until(ref, request, until, context) do
    receive do
      {^ref, reply} ->
        # Noted, so that a second `await` doesn't wait for it.
        Native.cancel(request)
        reply
    after
      remaining(until) -> give_up(ref, request, context)
    end
  end

  @doc false
  def cancel(%Pending{ref: ref, request: request, retry: {context, _, _}} = pending) do
    must_be_own(pending)

    unless Native.is_over(request) do
      stopped(context, %{error: ConnectionError.from_native({:cancelled, %{}}), attempts: 1})
    end

    case Native.cancel(request) do
      # Already answered: the answer is there, or just about to be.
      :too_late -> receive(do: ({^ref, _reply} -> :ok))
      _cancelled -> :ok
    end
  end

  @doc false
  def await_ready(name, timeout) do
    with_cluster(name, fn entry ->
      context = plain_context(entry, timeout)

      case call(context, :wait_ready) do
        :ok ->
          :ok

        {:error, error} ->
          {:error, exception(explain_timeout(error, context), :wait_ready, timeout)}
      end
    end)
  end

  @doc false
  def reconnect(name, timeout) do
    with_cluster(name, fn entry ->
      case call(plain_context(entry, timeout), :reconnect) do
        :ok -> :ok
        {:error, error} -> {:error, exception(error, :reconnect, timeout)}
      end
    end)
  end

  @doc false
  def status(name) do
    with {:ok, status} <- ask(name, &Native.cluster_status/1) do
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
  def nodes(name) do
    with_cluster(name, fn entry ->
      with {:ok, status} <- status(name) do
        pools = Map.new(status.endpoints, &{&1.node, &1})
        all = NodeTable.all(entry.table)

        nodes =
          for {id, node} <- all, do: with_state(node, pools, NodeTable.lost?(entry.table, id))

        {:ok, Enum.sort_by(nodes, & &1.host_id)}
      end
    end)
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

  # What the attempts of a request have in common.
  defp context(entry, operation, timeout, attempts) do
    %{
      entry: entry,
      deadline: deadline(timeout),
      timeout: timeout,
      attempts: attempts,
      span: if(entry.telemetry, do: Report.start(entry, operation, attempts))
    }
  end

  defp plain_context(entry, timeout) do
    attempts = %{entry.attempts | timeout: nil}

    %{
      entry: entry,
      deadline: deadline(timeout),
      timeout: timeout,
      attempts: attempts,
      span: nil
    }
  end

  # What is raised in it, as by an encoder of the user's, is told as well.
  defp watched(%{span: nil}, fun), do: fun.()

  defp watched(%{span: span}, fun) do
    fun.()
  catch
    kind, reason ->
      Span.exception(span, kind, reason, __STACKTRACE__)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  # An attempt, and what follows from its outcome. `round` counts all that is sent, `attempt` what
  # a node was given to do.
  defp run(context, operation, round, attempt) do
    reply = call(context, operation)
    settle(context, operation, reply, round, attempt)
  end

  defp settle(context, operation, reply, round, attempt) do
    case reply do
      {:ok, native} ->
        {:ok, native, attempt}

      {:error, error} ->
        case remedy(context, operation, error, round) do
          {:retry, operation} ->
            run(context, operation, round + 1, attempt)

          {:final, error} ->
            {:error, error, attempt}

          {:error, error} ->
            case Retry.decide(context, operation, error, attempt) do
              {:retry, operation} -> run(context, operation, round + 1, attempt + 1)
              :give_up -> {:error, error, attempt}
            end
        end
    end
  end

  # `make_ref` stands in the function that receives on it, so that the messages that were in
  # the mailbox before are not looked at.
  defp call(context, operation) do
    ref = make_ref()

    case native_submit(operation, context.entry.handle, ref) do
      {:ok, request} ->
        receive do
          {^ref, reply} -> reply
        after
          wait(context) -> give_up(ref, request, context)
        end

      {:error, _error} = refused ->
        refused
    end
  end

  defp give_up(ref, request, context) do
    case Native.cancel(request) do
      # The answer was first: it's certain to be there, or just about to.
      :too_late -> receive(do: ({^ref, reply} -> reply))
      sent -> {:error, no_answer(request, sent == :sent, context)}
    end
  end

  defp no_answer(request, sent?, %{attempts: %{timeout: timeout}} = context) do
    fields = %{sent: sent?, node: Native.request_node(request)}

    if timeout != nil and remaining(context.deadline) != 0,
      do: {:attempt_timeout, Map.put(fields, :timeout, timeout)},
      else: {:timeout, fields}
  end

  defp wait(%{attempts: %{timeout: nil}, deadline: deadline}), do: remaining(deadline)

  # Less than any atom is any number.
  defp wait(%{attempts: %{timeout: timeout}, deadline: deadline}),
    do: min(remaining(deadline), timeout)

  defp attempt_deadline(%{attempts: %{timeout: nil}}), do: :infinity
  defp attempt_deadline(%{attempts: %{timeout: timeout}}), do: deadline(timeout)

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

  defp native_submit({:prepare, statement, route}, handle, ref) do
    with :dirty <- Native.submit_prepare(handle, ref, statement, route) do
      Native.submit_prepare_dirty(handle, ref, statement, route)
    end
  end

  defp native_submit(:wait_ready, handle, ref), do: Native.wait_ready(handle, ref)
  defp native_submit(:reconnect, handle, ref), do: Native.cluster_reconnect(handle, ref)

  # What can be done about an error that is no node's fault: another round, after what it needed.
  # `:final` is an error that the retry policy has been asked about already.
  defp remedy(_context, _operation, error, round) when round >= @max_rounds, do: {:error, error}

  defp remedy(context, operation, error, _round) do
    case {error, Error.unprepared(error)} do
      {_error, {:ok, node}} when elem(operation, 0) == :execute ->
        prepare_again(context, operation, node)

      {{:bad_value, %{problem: "wrong_type"}}, _} when elem(operation, 0) == :execute ->
        encode_structs(operation, error)

      {{:no_connection, _fields}, _} ->
        wait_for_connection(context, operation, error)

      {{kind, %{sent: false}}, _} when kind not in [:timeout, :attempt_timeout] ->
        {:retry, operation}

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

  # Another node than the one that said so would not know better.
  defp prepare_again(context, {:execute, key, _values, _native, statement} = operation, node) do
    prepare = {:prepare, statement, node && {:first, node}}

    case run(%{context | span: nil}, prepare, 1, 1) do
      {:ok, {:prepared, id, _bind, _columns}, _attempt} ->
        # The id is another one where the keyspace in use is.
        key = if elem(key, 0) == :id, do: {:id, id}, else: key
        {:retry, put_elem(operation, 1, key)}

      {:error, error, _attempt} ->
        {:final, unsent(error)}
    end
  end

  # What was sent was not the request itself.
  defp unsent({kind, %{sent: _} = fields}), do: {kind, %{fields | sent: false}}
  defp unsent(error), do: error

  # In the caller, with nothing encoded yet; bounded by the handle.
  defp wait_for_connection(context, operation, error) do
    case call(%{context | attempts: %{context.attempts | timeout: nil}}, :wait_ready) do
      :ok -> {:retry, operation}
      {:error, {:timeout, _fields}} -> {:error, explain_timeout(error, context)}
      {:error, _error} = final -> final
    end
  end

  # Waiting for a connection in vain says why there is none.
  defp explain_timeout({kind, fields}, context) when kind in [:timeout, :no_connection] do
    fields = Map.drop(fields, [:sent, :node])

    case Native.cluster_status(context.entry.handle) do
      {:ok, status} -> no_connection(fields, status, context.entry)
      {:error, _closed} -> {kind, fields}
    end
  end

  defp explain_timeout(error, _context), do: error

  defp no_connection(fields, %{endpoints: [], control: control}, entry) when control != nil do
    case NodeTable.datacenters(entry.table) do
      [] -> {:no_connection, fields}
      datacenters -> {:no_local_nodes, Map.put(fields, :datacenters, datacenters)}
    end
  end

  defp no_connection(fields, %{last_error: nil}, _entry), do: {:no_connection, fields}

  defp no_connection(fields, %{last_error: last}, _entry),
    do: {:no_connection, Map.put(fields, :last_error, last)}

  # The end of a request

  defp finish({:ok, native, attempt}, context, _operation) do
    result = Result.from_native(native)

    result =
      if result.kind == :schema_change,
        do: %{result | schema_agreement: agreement(context, result, native)},
        else: result

    # Last, for the request takes until the nodes agree.
    if context.span, do: Report.stop(context, result, native, attempt)
    {:ok, result}
  end

  defp finish({:error, error, attempt}, context, operation) do
    failed(context, error, operation, attempt)
  end

  defp agreement(context, result, native) do
    node = coordinator(native)

    SchemaAgreement.wait(context, result.schema_change, fn context, statement, where ->
      with {:ok, native} <- call(context, {:query, statement, question(context, where, node)}) do
        # Another one, where that has gone, may not have heard of the change.
        if where == :anywhere or node == coordinator(native),
          do: {:ok, Result.from_native(native).rows},
          else: {:error, {:no_connection, %{}}}
      end
    end)
  end

  defp question(context, :there, node), do: RequestOptions.at(context.entry, :one, {:first, node})

  # Read by a majority, so that no replica answers that hasn't heard of the change.
  defp question(context, :anywhere, _node),
    do: RequestOptions.at(context.entry, :local_quorum, nil)

  defp coordinator(native), do: elem(native, tuple_size(native) - 1)

  defp failed(context, error, operation, attempt) do
    exception = exception(error, operation, context.timeout)
    if context.span, do: Report.failed(context, error, exception, attempt)
    {:error, exception}
  end

  defp stopped(%{span: nil}, _extra), do: :ok
  defp stopped(%{span: span}, extra), do: Span.stop(span, extra)

  defp exception({:timeout, fields}, _operation, timeout),
    do: Error.of_native({:timeout, Map.put_new(fields, :timeout, timeout)})

  defp exception(error, operation, _timeout),
    do: Error.of_native(error, Operation.statement(operation))

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
