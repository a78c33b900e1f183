defmodule Palladion.Request do
  @moduledoc false
  # The only place that submits, receives and cancels. The caller's process does it all: it
  # encodes, waits for one message, and decides what follows an error.
  #
  # After a call returns, no message of it exists or will: a request is either claimed by its
  # answer, which is then received, or cancelled, which keeps its answer away.

  alias Palladion.{Cluster, ConnectionError, Error, Native, Pending, Prepared}
  alias Palladion.Request.{Operation, Remedy, Report, Retry, SchemaAgreement, Status}
  alias Palladion.{RequestOptions, Result}
  alias Palladion.Telemetry.Span

  @doc false
  def query(name, statement, values, options) do
    with_cluster(name, fn entry ->
      {timeout, native, attempts} = RequestOptions.build(entry, options)
      operation = Operation.new(statement, values, native, entry.timestamps)
      ask(entry, operation, timeout, attempts)
    end)
  end

  @doc false
  def batch(name, statements, options) do
    with_cluster(name, fn entry ->
      {type, {timeout, native, attempts}} = RequestOptions.build_batch(entry, options)
      operation = Operation.batch(statements, type, native, entry.timestamps)
      ask(entry, operation, timeout, attempts)
    end)
  end

  defp ask(entry, operation, timeout, attempts) do
    context = context(entry, operation, timeout, attempts)

    watched(context, fn ->
      context |> run(operation, 1, 1) |> finish(context, operation)
    end)
  end

  @doc false
  def prepare(name, statement, options) do
    with_cluster(name, fn entry ->
      {timeout, native, attempts} = RequestOptions.build(entry, options)
      keyspace = RequestOptions.keyspace(native)
      operation = {:prepare, statement, keyspace, nil}
      context = context(entry, operation, timeout, attempts)

      watched(context, fn ->
        case run(context, operation, 1, 1) do
          {:ok, {:prepared, id, bind, columns, _warnings, _node} = native, attempt} ->
            Report.prepared(context, native, attempt)

            prepared = %Prepared{
              cluster: entry.name,
              id: id,
              statement: statement,
              keyspace: keyspace,
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
      operation = Operation.new(statement, values, native, entry.timestamps)
      context = context(entry, operation, timeout, attempts)
      watched(context, fn -> submit_until_sent(context, operation, 1) end)
    end)
  end

  defp submit_until_sent(context, operation, round) do
    ref = make_ref()

    case refused(operation) || native_submit(operation, context.entry.handle, ref) do
      {:ok, request} ->
        {:ok, pending(context, operation, round, ref, request)}

      {:error, error} ->
        case remedy(context, operation, error, round) do
          {:retry, operation} -> submit_until_sent(context, operation, round + 1)
          {_error_or_final, error} -> failed(context, error, operation, 1)
        end
    end
  end

  @doc false
  # As `submit/4` where that waits for nothing. Else nothing was asked for, and nothing is told of it:
  # the caller has something better to do than to wait, and asks again.
  def prefetch(name, statement, values, options) do
    case Cluster.fetch(name) do
      {:ok, entry} ->
        {timeout, native, attempts} = RequestOptions.build(entry, options)
        operation = Operation.new(statement, values, native, entry.timestamps)
        submit_at_once(untold(entry, timeout, attempts), operation, 1)

      :error ->
        :not_now
    end
  end

  defp submit_at_once(context, operation, round) do
    ref = make_ref()

    case refused(operation) || native_submit(operation, context.entry.handle, ref) do
      {:ok, request} ->
        {:ok, context |> told(operation) |> pending(operation, round, ref, request)}

      {:error, error} ->
        case Remedy.of(operation, error, round) do
          {:retry, operation} -> submit_at_once(context, operation, round + 1)
          _it_takes_time -> :not_now
        end
    end
  end

  defp pending(context, operation, round, ref, request) do
    %Pending{
      owner: self(),
      ref: ref,
      request: request,
      until: attempt_deadline(context),
      retry: {context, operation, round}
    }
  end

  @doc false
  def await(%Pending{ref: ref, request: request, retry: retry} = pending, timeout) do
    must_be_own(pending)
    {context, operation, round} = retry
    context = shorten(context, timeout)

    if Native.is_over(request) do
      {:error, ConnectionError.from_native({:already_awaited, %{}})}
    else
      until = earlier(pending.until, context.deadline)

      watched(context, fn ->
        {context, reply} = receive_until(ref, request, until, context)
        context |> settle(operation, reply, round, 1) |> finish(context, operation)
      end)
    end
  end

  @doc false
  # As `await/2`, of what nobody has waited for so far. `{:missed, exception}` is what went wrong before, its time
  # among it, and could go well now: it is not tried again in what that has left of its time, for who wants the
  # answer from now on has all of it, and asks anew.
  @spec await_prefetched(Pending.t()) :: {:ok, Result.t()} | {:error | :missed, Exception.t()}
  def await_prefetched(%Pending{ref: ref, request: request, retry: retry} = pending) do
    must_be_own(pending)
    {context, operation, round} = retry
    until = earlier(pending.until, context.deadline)

    if Native.is_over(request) do
      {:missed, ConnectionError.from_native({:already_awaited, %{}})}
    else
      watched(context, fn ->
        case receive_at_once(ref, request, until, context) do
          {context, {:error, error}} ->
            missed(context, operation, error, round)

          {context, reply} ->
            context |> settle(operation, reply, round, 1) |> finish(context, operation)

          :not_yet ->
            {context, reply} = receive_until(ref, request, until, context)
            context |> settle(operation, reply, round, 1) |> finish(context, operation)
        end
      end)
    end
  end

  defp receive_at_once(ref, request, until, context) do
    receive do
      {^ref, reply} -> {Report.untimed(context), taken(request, reply)}
    after
      0 -> if remaining(until) == 0, do: {context, give_up(ref, request, context)}, else: :not_yet
    end
  end

  defp missed(context, operation, error, round) do
    cond do
      # No node's fault, such as a statement that is to be prepared again.
      Remedy.of(operation, error, round) != :none ->
        context = %{context | deadline: deadline(context.timeout)}
        context |> settle(operation, {:error, error}, round, 1) |> finish(context, operation)

      Retry.in_vain?(error) ->
        failed(context, error, operation, 1)

      true ->
        {:error, exception} = failed(context, error, operation, 1)
        {:missed, exception}
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

  # Of an answer that is there already nobody knows how long it took.
  defp receive_until(ref, request, until, context) do
    receive do
      {^ref, reply} -> {Report.untimed(context), taken(request, reply)}
    after
      0 ->
        receive do
          {^ref, reply} -> {context, taken(request, reply)}
        after
          remaining(until) -> {context, give_up(ref, request, context)}
        end
    end
  end

  # Noted, so that a second `await` doesn't wait for it.
  defp taken(request, reply) do
    Native.cancel(request)
    reply
  end

  @doc false
  def cancel(%Pending{ref: ref, request: request, retry: {context, _, _}} = pending) do
    must_be_own(pending)

    unless Native.is_over(request) do
      stopped(context, %{cancelled?: true, attempts: 1})
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
          {:error, exception(Status.explain_timeout(error, context.entry), :wait_ready, timeout)}
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
  def status(name), do: with_cluster(name, &Status.status/1)

  @doc false
  def nodes(name), do: with_cluster(name, &Status.nodes/1)

  @doc false
  def stats(name), do: with_cluster(name, &Status.stats/1)

  @doc false
  # How long a request may take where it doesn't say so itself.
  def timeout(name), do: with_cluster(name, &{:ok, &1.timeout})

  defp with_cluster(name, fun) do
    case Cluster.fetch(name) do
      {:ok, entry} ->
        fun.(entry)

      :error ->
        {:error, ConnectionError.from_native({:unknown_cluster, %{name: inspect(name)}})}
    end
  end

  # What the attempts of a request have in common.
  defp context(entry, operation, timeout, attempts),
    do: entry |> untold(timeout, attempts) |> told(operation)

  defp plain_context(entry, timeout), do: untold(entry, timeout, %{entry.attempts | timeout: nil})

  defp untold(entry, timeout, attempts) do
    %{
      entry: entry,
      deadline: deadline(timeout),
      timeout: timeout,
      attempts: attempts,
      span: nil
    }
  end

  defp told(%{entry: %{telemetry: false}} = context, _operation), do: context

  defp told(%{entry: entry, attempts: attempts} = context, operation),
    do: %{context | span: Report.start(entry, operation, attempts)}

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

    case refused(operation) || native_submit(operation, context.entry.handle, ref) do
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

  # Not around `native_submit/3`, with the reference: where `call/2` receives on it, the compiler would look at
  # all that is in the mailbox.
  defp refused(operation) do
    with error when error != nil <- Operation.refusal(operation), do: {:error, error}
  end

  defp native_submit({:execute, key, values, native, _statement, _keyspace}, handle, ref) do
    with :dirty <- Native.submit_execute(handle, ref, key, values, native) do
      Native.submit_execute_dirty(handle, ref, key, values, native)
    end
  end

  defp native_submit({:query, statement, native}, handle, ref) do
    with :dirty <- Native.submit_query(handle, ref, statement, native) do
      Native.submit_query_dirty(handle, ref, statement, native)
    end
  end

  defp native_submit({:batch, type, statements, native, _given}, handle, ref) do
    with :dirty <- Native.submit_batch(handle, ref, type, statements, native) do
      Native.submit_batch_dirty(handle, ref, type, statements, native)
    end
  end

  defp native_submit({:prepare, statement, keyspace, route}, handle, ref) do
    with :dirty <- Native.submit_prepare(handle, ref, statement, keyspace, route) do
      Native.submit_prepare_dirty(handle, ref, statement, keyspace, route)
    end
  end

  defp native_submit(:wait_ready, handle, ref), do: Native.wait_ready(handle, ref)
  defp native_submit(:reconnect, handle, ref), do: Native.cluster_reconnect(handle, ref)

  # What can be done about an error that is no node's fault: another round, after what it needed.
  # `:final` is an error that the retry policy has been asked about already.
  defp remedy(context, operation, error, round) do
    case Remedy.of(operation, error, round) do
      {:retry, operation} -> {:retry, operation}
      {:retry_in, ms, operation} -> pause(context, ms, operation)
      {:prepare, prepare, at} -> prepare_again(context, operation, prepare, at)
      :wait -> wait_for_connection(context, operation, error)
      :none -> {:error, error}
    end
  end

  defp pause(%{deadline: deadline}, ms, operation) do
    Process.sleep(earlier(ms, remaining(deadline)))
    {:retry, operation}
  end

  defp prepare_again(context, operation, prepare, at) do
    case run(%{context | span: nil}, prepare, 1, 1) do
      {:ok, {:prepared, id, _bind, _columns, _warnings, _node}, attempt} ->
        {:retry, Remedy.prepared(operation, prepare, at, id, attempt)}

      {:error, error, _attempt} ->
        {:final, error |> unsent() |> of_statement(at)}
    end
  end

  # As all errors about one statement of a batch.
  defp of_statement(error, nil), do: error
  defp of_statement({kind, fields}, at), do: {kind, Map.put(fields, :statement, at)}

  # What was sent was not the request itself.
  defp unsent({kind, %{sent: _} = fields}), do: {kind, %{fields | sent: false}}
  defp unsent(error), do: error

  # In the caller, with nothing encoded yet; bounded by the handle.
  defp wait_for_connection(context, operation, error) do
    case call(%{context | attempts: %{context.attempts | timeout: nil}}, :wait_ready) do
      :ok -> {:retry, operation}
      {:error, {:timeout, _fields}} -> {:error, Status.explain_timeout(error, context.entry)}
      {:error, _error} = final -> final
    end
  end

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
