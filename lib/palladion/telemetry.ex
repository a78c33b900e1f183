defmodule Palladion.Telemetry do
  @moduledoc """
  What Palladion tells of itself, as events of the package `:telemetry`.

  The package is optional: without it there are no events, and nothing else changes. With it, a
  handler is attached as to any other library:

      :telemetry.attach("my-queries", [:palladion, :query, :stop], &MyApp.Metrics.handle/4, nil)

  or, for lines in the log, `attach_default_logger/1`. Events of requests are emitted in the
  process that makes the request; a handler's time is the request's. All others come from a
  process of the cluster.

  An `{:error, _}` that a request returns is a `:stop` with `result: :error`; `:exception` is for
  what the call itself raises. A request that is cancelled, as the page that a stream left early had
  asked for, has `result: :cancelled`: it is no failure. One of `Palladion.submit/4` that is never
  awaited nor cancelled has no `:stop`; whose answer is there before it is awaited is never told as
  slow. One that changes the schema ends when the nodes agree on it, or don't in
  time. Bound values are in no event. Of statements about roles and users
  every literal but the name is replaced by `'***'`; so is what isn't recognised.

  The guide "Telemetry" maps them to OpenTelemetry.

  ## Events

  #{Palladion.Telemetry.Events.docs()}
  """

  alias Palladion.Telemetry.{Events, Log, Metrics}

  # Optional, and called only where it is loaded.
  @compile {:no_warn_undefined, :telemetry}

  @logger_id "palladion-default-logger"

  @typedoc "A measurement or a piece of metadata"
  @type field :: %{name: atom(), type: term(), meaning: String.t()}

  @typedoc "An event: its name, when it is emitted, and what it carries"
  @type event :: %{
          name: [atom(), ...],
          when: String.t(),
          measurements: [field()],
          metadata: [field()]
        }

  @doc """
  All events, as data: to attach a handler to them, or to check one.

      iex> event = hd(Palladion.Telemetry.events())
      iex> event.name
      [:palladion, :query, :start]
      iex> hd(event.measurements)
      %{name: :system_time, type: :integer, meaning: "`System.system_time/0`, native unit"}

  A handler for everything:

      names = Enum.map(Palladion.Telemetry.events(), & &1.name)
      :telemetry.attach_many("my-events", names, &MyApp.Events.handle/4, nil)
  """
  @spec events() :: [event(), ...]
  def events, do: Events.all()

  @doc """
  Metrics that are worth watching, as data for `Telemetry.Metrics`.

      iex> metric = hd(Palladion.Telemetry.metrics())
      iex> {metric.kind, metric.event_name, metric.measurement}
      {:summary, [:palladion, :query, :stop], :duration}

  Each is a map: `kind` is the function of `Telemetry.Metrics`, `name` its first argument, all
  else its options.

      for metric <- Palladion.Telemetry.metrics() do
        {kind, metric} = Map.pop!(metric, :kind)
        {name, options} = Map.pop!(metric, :name)
        apply(Telemetry.Metrics, kind, [name, Map.to_list(options)])
      end
  """
  @spec metrics() :: [map(), ...]
  def metrics, do: Metrics.all()

  @doc """
  Logs requests that failed, were slow or made the server warn, and retries, in a line each; and if it is asked to, what
  happens to nodes and connections.

      Palladion.Telemetry.attach_default_logger()
      Palladion.Telemetry.attach_default_logger(:debug)
      Palladion.Telemetry.attach_default_logger(only: [:requests, :nodes])

  Takes a level, or options:

    * `:level` – of all lines, an atom (default: `:warning` for what failed, was slow, was warned of
      or was lost, `:info` for the rest)
    * `:only` – a list of `:requests`, `:retries`, `:nodes`, `:connections` and `:tls` (default:
      `[:requests, :retries]`, for the cluster logs nodes and connections that failed itself,
      the same failure not more than once a minute, and certificates that expire)

  The text of a statement is logged only if its values are bound, as it may hold data otherwise;
  else its summary, such as `SELECT shop.users`.

  Returns `{:error, :already_exists}` if it is attached, `{:error, :not_available}` without the
  package `:telemetry`; raises `ArgumentError` for other options.
  """
  @spec attach_default_logger(Logger.level() | keyword()) ::
          :ok | {:error, :already_exists | :not_available}
  def attach_default_logger(options \\ []) do
    {events, config} = Log.options(options)

    if available?(),
      do: :telemetry.attach_many(@logger_id, events, &Log.handle/4, config),
      else: {:error, :not_available}
  end

  @doc """
  Takes the handler of `attach_default_logger/1` off.

      Palladion.Telemetry.detach_default_logger()

  Returns `{:error, :not_found}` if there is none.
  """
  @spec detach_default_logger() :: :ok | {:error, :not_found}
  def detach_default_logger do
    if available?(), do: :telemetry.detach(@logger_id), else: {:error, :not_found}
  end

  @doc """
  Whether the package `:telemetry` is there. A cluster looks once, when it starts.

      if Palladion.Telemetry.available?(), do: MyApp.Metrics.attach()
  """
  @spec available?() :: boolean()
  def available?, do: Code.ensure_loaded?(:telemetry)

  @doc false
  # For what is rare: the name without `:palladion`; metadata that is not given is `nil`.
  def execute(suffix, measurements, metadata) do
    event = [:palladion | suffix]
    emit(event, measurements, Map.merge(Events.empty(event), metadata))
  end

  @doc false
  # For requests: takes everything as it is. Whoever has attached a handler has loaded the
  # package, so nothing is searched for here.
  def emit(event, measurements, metadata) do
    if function_exported?(:telemetry, :execute, 3),
      do: :telemetry.execute(event, measurements, metadata),
      else: :ok
  end
end
