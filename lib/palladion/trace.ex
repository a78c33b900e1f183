defmodule Palladion.Trace do
  @moduledoc """
  What the nodes did for a request that was traced, as `Palladion.trace/3` reads it.

      result = Palladion.query!(MyApp.DB, "SELECT * FROM shop.users WHERE id = 7", [], tracing: true)
      {:ok, trace} = Palladion.trace(MyApp.DB, result.tracing_id)
      trace.duration
      #=> 1479
      for event <- trace.events, do: {event.source, event.elapsed, event.activity}
      #=> [{"10.0.0.1", 215, "Parsing SELECT * FROM shop.users WHERE id = 7"}, ...]

  Servers keep a trace for a day. It has the statement, and from some servers the bound values:
  `inspect/2` shows neither.
  """

  alias Palladion.Config.Options
  alias Palladion.RequestOptions
  alias Palladion.Trace.{Event, Reader}

  @derive {Inspect, only: [:id, :request, :command, :coordinator, :started_at, :duration]}
  defstruct [
    :id,
    :request,
    :command,
    :client,
    :coordinator,
    :coordinator_port,
    :started_at,
    :duration,
    parameters: %{},
    events: []
  ]

  @typedoc """
    * `id`: the `tracing_id` of the result
    * `request`: what was asked for, in the server's words
    * `command`: its kind, such as `"QUERY"`
    * `client`: the address that the request came from
    * `coordinator`, `coordinator_port`: the node that it went to, and its port for other nodes
      (`nil` before Cassandra 4.0)
    * `started_at`: when it arrived
    * `duration`: how long it took, in µs
    * `parameters`: what came with it, such as `"query"` and `"consistency_level"`
    * `events`: in the order of their times
  """
  @type t :: %__MODULE__{
          id: String.t(),
          request: String.t() | nil,
          command: String.t() | nil,
          client: String.t() | nil,
          coordinator: String.t() | nil,
          coordinator_port: :inet.port_number() | nil,
          started_at: DateTime.t() | nil,
          duration: non_neg_integer(),
          parameters: %{String.t() => String.t()},
          events: [Event.t()]
        }

  @typedoc """
  Options of `Palladion.trace/3`.

    * `:timeout` – how long to wait until it is there, in ms, or `:infinity` (default: the
      cluster's `timeout:`)
    * `:consistency` – of reading it (default `:one`). Each node writes its own events, in the background:
      some may be missing yet that a second look finds
  """
  @type option :: {:timeout, timeout()} | {:consistency, atom()}

  @defaults %{timeout: nil, consistency: :one}
  @keys [:timeout, :consistency]

  @doc false
  # What `Palladion.trace/3` does.
  @spec read(Palladion.name(), String.t(), [option()]) :: {:ok, t()} | Palladion.error()
  def read(name, id, options \\ []) do
    id = uuid!(id)
    options = build(options)

    with {:ok, session, events} <- Reader.read(name, id, options),
         do: {:ok, from_rows(id, session, events)}
  end

  # It becomes a part of a statement.
  defp uuid!(id) when is_binary(id) do
    if id =~ ~r/\A[[:xdigit:]]{8}(-[[:xdigit:]]{4}){3}-[[:xdigit:]]{12}\z/, do: id, else: no_id()
  end

  defp uuid!(_other), do: no_id()

  defp no_id do
    raise ArgumentError,
          "a tracing id is a UUID as text, as the tracing_id of a result of a request with " <>
            "tracing: true; without that option it is nil"
  end

  defp build(options) when is_list(options) do
    for option <- options, do: known!(option)
    :ok = RequestOptions.check(options)
    # From the right: of one that is repeated the first counts, as of all requests.
    List.foldr(options, @defaults, fn {key, value}, values -> %{values | key => value} end)
  end

  defp build(_other), do: raise(ArgumentError, "options must be a keyword list")

  defp known!({key, _value}) when key in @keys, do: :ok

  defp known!({key, _value}) when is_atom(key) do
    hint =
      Options.suggestion(key, @keys) || "known are: " <> Enum.map_join(@keys, ", ", &inspect/1)

    raise ArgumentError, "unknown option #{inspect(key)}; #{hint}"
  end

  defp known!(_other), do: raise(ArgumentError, "options must be a keyword list")

  defp from_rows(id, session, events) do
    %__MODULE__{
      id: id,
      request: session["request"],
      command: session["command"],
      client: Event.address(session["client"]),
      coordinator: Event.address(session["coordinator"]),
      coordinator_port: session["coordinator_port"],
      started_at: session["started_at"],
      duration: session["duration"],
      parameters: session["parameters"] || %{},
      events: Enum.map(events, &Event.from_row/1)
    }
  end
end
