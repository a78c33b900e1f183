defmodule Palladion.Telemetry.Span do
  @moduledoc false
  # The events of one request, from its beginning to its end. The caller makes one only where
  # `:telemetry` is there, for the statement is looked at.

  alias Palladion.{Error, Statement, Telemetry}

  @enforce_keys [:kind, :begin, :slow_after, :metadata]
  defstruct [:kind, :begin, :slow_after, :metadata]

  @type t :: %__MODULE__{
          kind: :query | :prepare,
          begin: integer(),
          slow_after: non_neg_integer() | nil,
          metadata: map()
        }

  @doc false
  # `base` has `cluster` and `statement`, and what there is of `keyspace` (in use),
  # `parameterised?`, `batch_size`, `consistency`, `page_size`, `idempotent` and `slow_after`
  # (in ms). With an `analysis` of it, the statement is shown as it is.
  @spec start(:query | :prepare, map()) :: t()
  def start(kind, %{cluster: cluster, statement: statement} = base) do
    {shown, analysis} = describe(base)

    metadata = %{
      telemetry_span_context: make_ref(),
      cluster: cluster,
      statement: shown,
      operation: analysis.operation,
      collection: analysis.collection,
      keyspace: analysis.keyspace || Map.get(base, :keyspace),
      summary: analysis.summary,
      parameterised?: parameterised?(base, statement),
      batch_size: Map.get(base, :batch_size),
      consistency: Map.get(base, :consistency),
      page_size: Map.get(base, :page_size),
      idempotent: Map.get(base, :idempotent)
    }

    begin = System.monotonic_time()
    measurements = %{system_time: System.system_time(), monotonic_time: begin}
    Telemetry.emit(name(kind, :start), measurements, metadata)

    %__MODULE__{
      kind: kind,
      begin: begin,
      slow_after: Map.get(base, :slow_after),
      metadata: metadata
    }
  end

  defp describe(%{statement: shown, analysis: analysis}), do: {shown, analysis}

  defp describe(%{statement: statement}),
    do: {Statement.obfuscate(statement), Statement.analyse(statement)}

  # Who only prepares binds nothing yet.
  defp parameterised?(%{parameterised?: known}, _statement), do: known
  defp parameterised?(_base, statement), do: Statement.markers?(statement)

  @doc false
  # `extra` has `error` if there is one, or `cancelled?: true`, and what is known of `attempts`,
  # `speculative`, `returned_rows`, `node`, `datacenter`, `address` and `port`.
  @spec stop(t(), map()) :: :ok
  def stop(%__MODULE__{} = span, extra) do
    now = System.monotonic_time()
    duration = now - span.begin
    error = Map.get(extra, :error)
    {result, reason} = outcome(extra)

    metadata =
      Map.merge(span.metadata, %{
        result: result,
        error: error,
        reason: reason,
        status_code: status_code(error),
        attempts: Map.get(extra, :attempts),
        speculative: Map.get(extra, :speculative, 0),
        returned_rows: Map.get(extra, :returned_rows),
        node: Map.get(extra, :node),
        datacenter: Map.get(extra, :datacenter),
        address: Map.get(extra, :address),
        port: Map.get(extra, :port)
      })

    Telemetry.emit(
      name(span.kind, :stop),
      %{duration: duration, monotonic_time: now},
      metadata
    )

    if is_integer(span.slow_after), do: slow(span, duration, metadata), else: :ok
  end

  # Nothing has failed where nobody wanted the answer any more: no error, and nothing to be logged.
  defp outcome(%{cancelled?: true}), do: {:cancelled, :cancelled}
  defp outcome(%{error: error}) when error != nil, do: {:error, reason(error)}
  defp outcome(_extra), do: {:ok, nil}

  defp slow(span, duration, metadata) do
    threshold = System.convert_time_unit(span.slow_after, :millisecond, :native)

    if duration >= threshold do
      measurements = %{duration: duration, threshold: threshold}
      Telemetry.emit([:palladion, :query, :slow], measurements, metadata)
    else
      :ok
    end
  end

  @doc false
  # `extra` has `decision`, `attempt`, `error`, and what is known of the node as in `stop/2`.
  @spec retry(t(), map()) :: :ok
  def retry(%__MODULE__{metadata: metadata}, %{error: error} = extra) do
    metadata =
      metadata
      |> Map.drop([:parameterised?, :batch_size, :consistency, :page_size, :idempotent])
      |> Map.merge(extra)
      |> Map.put(:reason, reason(error))

    Telemetry.execute([:query, :retry], %{system_time: System.system_time()}, metadata)
  end

  @doc false
  # What the server warns of, at the node of `place`.
  @spec warnings(t(), [String.t(), ...], map()) :: :ok
  def warnings(%__MODULE__{metadata: metadata}, warnings, place) do
    metadata =
      metadata
      |> Map.drop([:parameterised?, :batch_size, :consistency, :page_size, :idempotent])
      |> Map.merge(place)
      |> Map.put(:warnings, Enum.map(warnings, &Error.warning/1))

    Telemetry.execute([:query, :warnings], %{count: length(warnings)}, metadata)
  end

  @doc false
  # What was raised may hold a bound value, and so may the arguments in the stack trace: only
  # names are told. The caller raises the whole again.
  @spec exception(t(), :error | :exit | :throw, term(), Exception.stacktrace()) :: :ok
  def exception(%__MODULE__{} = span, kind, reason, stacktrace) do
    now = System.monotonic_time()

    metadata =
      Map.merge(span.metadata, %{
        kind: kind,
        reason: name_of(reason),
        stacktrace: Enum.map(stacktrace, &without_arguments/1)
      })

    Telemetry.emit(
      name(span.kind, :exception),
      %{duration: now - span.begin, monotonic_time: now},
      metadata
    )
  end

  defp name_of(%module{}), do: module
  defp name_of(reason) when is_atom(reason), do: reason

  defp name_of(reason) when is_tuple(reason) and tuple_size(reason) > 0,
    do: name_of(elem(reason, 0))

  defp name_of(_other), do: nil

  defp without_arguments({module, function, arguments, location}) when is_list(arguments),
    do: {module, function, length(arguments), location(location)}

  defp without_arguments({function, arguments, location}) when is_list(arguments),
    do: {function, length(arguments), location(location)}

  defp without_arguments({module, function, arity, location}),
    do: {module, function, arity, location(location)}

  defp without_arguments({function, arity, location}), do: {function, arity, location(location)}

  # OTP adds what it knows about a failed argument.
  defp location(location), do: Keyword.take(location, [:file, :line])

  defp name(:query, :start), do: [:palladion, :query, :start]
  defp name(:query, :stop), do: [:palladion, :query, :stop]
  defp name(:query, :exception), do: [:palladion, :query, :exception]
  defp name(:prepare, :start), do: [:palladion, :prepare, :start]
  defp name(:prepare, :stop), do: [:palladion, :prepare, :stop]
  defp name(:prepare, :exception), do: [:palladion, :prepare, :exception]

  defp reason(%{reason: reason}), do: reason
  defp reason(_none), do: nil

  defp status_code(%{code: code}), do: code
  defp status_code(_none), do: nil
end
