defmodule Palladion.Error do
  @moduledoc """
  A request that the server refused, or that was refused before it was sent.

    * `reason`: what went wrong, as an atom, see below
    * `code`: the server's error code, or `nil` for an error that is not the server's
    * `message`: what the server says, or what is wrong
    * `details`: the fields that the reason has

  Bound values never appear in it. Where a node is concerned, `details.node` is its host id. Of an
  error that the server sent, `details.tracing_id` is for `Palladion.trace/3`, if the request was traced
  (`tracing: true`), and `details.warnings` is a list of what the server warned of, if it did: statements
  that it quotes there are cut off.

  | reason | code | details |
  |---|---|---|
  | `:server_error` | `0x0000` | |
  | `:protocol_error` | `0x000A` | |
  | `:bad_credentials` | `0x0100` | |
  | `:unavailable` | `0x1000` | `consistency`, `required`, `alive` |
  | `:overloaded` | `0x1001` | |
  | `:is_bootstrapping` | `0x1002` | |
  | `:truncate_error` | `0x1003` | |
  | `:write_timeout` | `0x1100` | `consistency`, `received`, `required`, `write_type`, and `contentions` of a conditional update that others contended with |
  | `:read_timeout` | `0x1200` | `consistency`, `received`, `required`, `data_present` |
  | `:read_failure` | `0x1300` | as `:read_timeout`, and `failures`, with protocol v5 also `reasons` |
  | `:function_failure` | `0x1400` | `keyspace`, `function`, `argument_types` |
  | `:write_failure` | `0x1500` | as `:write_timeout`, and `failures`, with protocol v5 also `reasons` |
  | `:cdc_write_failure` | `0x1600` | |
  | `:cas_write_unknown` | `0x1700` | `consistency`, `received`, `required` |
  | `:syntax_error` | `0x2000` | |
  | `:unauthorized` | `0x2100` | |
  | `:invalid` | `0x2200`, or none if `Palladion.schema/2` finds no such keyspace | `keyspace`, without a code |
  | `:config_error` | `0x2300` | |
  | `:already_exists` | `0x2400` | `keyspace`, `table` |
  | `:unprepared` | `0x2500` | |
  | `:rate_limit_error` | the one that the server names | `operation` (`"read"`, `"write"` or `"unknown"`), `by_coordinator` |
  | `:unknown_code` | any other | |
  | `:unsupported` | | `feature`, `needs` (the first version of the protocol that has it), `version` (the one that is spoken) |
  | `:bad_value` | | `column`, `type`, `problem`, `path`, `index` |
  | `:bad_statement` | | |
  | `:bad_argument` | | |
  | `:decode_failed` | | |
  | `:response_too_large` | | `size`, `max` |
  | `:trace_unavailable` | | `tracing_id`, `begun`, `timeout` |

  An error about one statement of a `Palladion.batch/3` has its place in `details.statement`; the
  first is 0. `reasons` are pairs of a replica's address and the server's code of what failed there.

  The codes are those of section 9 of the native protocol's specification. `:rate_limit_error` is
  ScyllaDB's, of a partition that has more requests than its table allows. After
  `:cas_write_unknown` it isn't known whether a conditional update was applied.
  """

  alias Palladion.ConnectionError

  defexception [:reason, :code, :message, details: %{}]

  @type t :: %__MODULE__{
          reason: atom(),
          code: non_neg_integer() | nil,
          message: String.t(),
          details: map()
        }

  @reasons %{
    0x0000 => :server_error,
    0x000A => :protocol_error,
    0x0100 => :bad_credentials,
    0x1000 => :unavailable,
    0x1001 => :overloaded,
    0x1002 => :is_bootstrapping,
    0x1003 => :truncate_error,
    0x1100 => :write_timeout,
    0x1200 => :read_timeout,
    0x1300 => :read_failure,
    0x1400 => :function_failure,
    0x1500 => :write_failure,
    0x1600 => :cdc_write_failure,
    0x1700 => :cas_write_unknown,
    0x2000 => :syntax_error,
    0x2100 => :unauthorized,
    0x2200 => :invalid,
    0x2300 => :config_error,
    0x2400 => :already_exists,
    0x2500 => :unprepared
  }

  @unprepared 0x2500

  # Kinds that become this exception; all others are a `Palladion.ConnectionError`.
  @ours [:server, :bad_value, :bad_statement, :bad_argument, :unsupported, :decode_failed] ++
          [:response_too_large]

  @doc false
  # The exception of an error as it crosses from the native library.
  @spec of_native({atom(), map()}, String.t()) :: t() | ConnectionError.t()
  def of_native(error, statement \\ "")

  def of_native({kind, _fields} = error, statement) when kind in @ours,
    do: from_native(error, statement)

  def of_native(error, _statement), do: ConnectionError.from_native(error)

  # Servers quote the place of a syntax error: of a statement with a password that is dropped.
  defp from_native({:server, %{message: message} = fields}, statement) do
    if statement =~ ~r/password/i or message =~ ~r/password/i do
      fields = %{fields | message: without_quotes(message)}
      from_native({:server, warnings(fields, &without_quotes/1)})
    else
      from_native({:server, fields})
    end
  end

  defp from_native(error, _statement), do: from_native(error)

  defp without_quotes(message) do
    case String.split(message, ~r/[('"`]/, parts: 2) do
      [whole] -> whole
      [before, _quoted] -> before <> "(the rest is not shown, for it may quote a password)"
    end
  end

  defp warnings(fields, change), do: Map.replace_lazy(fields, :warnings, &Enum.map(&1, change))

  defp from_native({:server, fields}) do
    {code, fields} = Map.pop!(fields, :code)
    {message, details} = Map.pop(fields, :message, "")

    # The server chooses its code when the connection is opened.
    {rate_limit?, details} = Map.pop(details, :rate_limit, false)
    details = warnings(details, &warning/1)

    %__MODULE__{
      reason:
        if(rate_limit?, do: :rate_limit_error, else: Map.get(@reasons, code, :unknown_code)),
      code: code,
      message: message,
      details: Palladion.Node.put_host_id(details)
    }
  end

  defp from_native({:bad_value, fields}) do
    %__MODULE__{reason: :bad_value, message: bad_value(fields), details: fields}
  end

  defp from_native({:unsupported, %{feature: feature, needs: needs, version: version} = fields}) do
    message =
      "#{feature} needs version #{needs} of the native protocol, and version #{version} is spoken"

    %__MODULE__{reason: :unsupported, message: message, details: fields}
  end

  defp from_native({kind, fields}) do
    detail = Map.get(fields, :detail) || Map.get(fields, :argument) || ""
    %__MODULE__{reason: kind, message: to_string(detail), details: fields}
  end

  @doc false
  # Servers quote a statement that read too much, with the values that were bound.
  @spec warning(String.t()) :: String.t()
  def warning(text) do
    case String.split(text, "for query", parts: 2) do
      [before, _quoted] -> before <> "for a query that is not shown"
      [whole] -> whole
    end
  end

  @doc false
  # The node to prepare on, if that is what the error asks for.
  def unprepared({:server, %{code: @unprepared} = fields}), do: {:ok, fields[:node]}
  def unprepared({:not_prepared, _fields}), do: {:ok, nil}
  def unprepared(_error), do: :error

  @impl true
  def message(%__MODULE__{reason: :response_too_large, details: %{size: size, max: max}}) do
    "the server answered with #{size} bytes, more than the #{max} of protocol: " <>
      "[max_response_size:]; ask for less, for example with a smaller page_size:"
  end

  def message(%__MODULE__{reason: :decode_failed, message: message}) do
    "the server's answer can't be read, though the request may have been carried out: #{message}"
  end

  # Of what was read: no server has refused anything.
  def message(%__MODULE__{code: nil, reason: reason, message: message})
      when reason in [:invalid, :trace_unavailable],
      do: message

  def message(%__MODULE__{code: nil, reason: reason, message: message} = error) do
    "request not sent (#{reason})#{place(error)}: #{message}"
  end

  def message(%__MODULE__{code: code, reason: reason, message: message} = error) do
    code = code |> Integer.to_string(16) |> String.pad_leading(4, "0")
    "server refused the request (#{reason}, code 0x#{code})#{place(error)}: #{message}"
  end

  defp place(%{details: %{statement: index}}),
    do: ", statement #{index} of the batch (the first is 0)"

  defp place(_error), do: ""

  defp bad_value(%{problem: "wrong_count", expected: expected}) do
    "the statement has #{expected} bind markers, and the values are more, fewer, or no list or map"
  end

  defp bad_value(%{problem: "missing", column: column, type: type}) do
    "no value for the bind marker #{inspect(column)} of type #{type}"
  end

  defp bad_value(%{column: column, type: type, problem: problem, path: path}) do
    place = Enum.map_join(path, &", #{&1}")
    "value of #{inspect(column)}#{place}: #{explain(problem, type)}"
  end

  defp explain("wrong_type", type), do: "not a term that can be encoded as #{type}"
  defp explain("out_of_range", type), do: "out of the range of #{type}"
  defp explain("wrong_size", type), do: "too many or too few elements for #{type}"
  defp explain("unknown_field", type), do: "has a field that #{type} does not have"
  defp explain("null_in_collection", _type), do: "collections can't hold null"
  defp explain("too_long", type), do: "too long for #{type}"
end
