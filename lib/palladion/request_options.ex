defmodule Palladion.RequestOptions do
  @moduledoc false
  # The options of one request: the tuple in which the native library takes them, and what is
  # decided here between its attempts.

  alias Palladion.{Config, ConfigError}
  alias Palladion.Request.Batch

  # The numbers of the protocol's specification.
  @levels %{
    any: 0,
    one: 1,
    two: 2,
    three: 3,
    quorum: 4,
    all: 5,
    local_quorum: 6,
    each_quorum: 7,
    serial: 8,
    local_serial: 9,
    local_one: 10
  }
  @page_size 5_000
  @int32 -0x8000_0000..0x7FFF_FFFF
  # The least number of 64 bits is how servers say that there is none. They refuse to read it, and after two
  # in a row Cassandra closes the connection, with the requests of others on it.
  @micros -0x7FFF_FFFF_FFFF_FFFF..0x7FFF_FFFF_FFFF_FFFF
  # What a length of the protocol's two bytes can say.
  @longest_name 0xFFFF
  # Each with what it may be.
  @options [
    timeout: "0 to 4,294,967,295 ms or :infinity",
    consistency:
      ":any, :one, :two, :three, :quorum, :all, :local_quorum, :each_quorum, :serial, " <>
        ":local_serial or :local_one",
    serial_consistency: ":serial or :local_serial",
    page_size: "1 to 2,147,483,647 rows, or :infinity",
    paging_state: "the paging_state of a result",
    timestamp: "µs from -(2⁶³ - 1) to 2⁶³ - 1, :client or :server",
    keyspace: "a name as text",
    now_in_seconds: "an integer of 32 bits",
    custom_payload: "a map of binaries by names as text",
    tracing: "true or false",
    rows: ":maps, :atom_maps, :lists, :tuples or :columns",
    uuids: ":text or :binary",
    timestamps: ":datetime or :integer",
    idempotent: "true or false",
    retry: "as that of the configuration",
    attempt_timeout: "1 to 4,294,967,295 ms, or nil",
    type: ":logged, :unlogged or :counter"
  ]
  @keys Keyword.keys(@options)

  @batch_types Batch.types()

  # Bits of the number that says how rows and their values are wanted.
  @shapes %{maps: 0, atom_maps: 1, lists: 2, tuples: 3, columns: 4}
  @uuids %{text: 0, binary: 8}
  @timestamps %{datetime: 0, integer: 16}
  @decimal_package 32

  @level_names Map.new(@levels, fn {name, number} -> {number, name} end)

  @doc false
  def level(name), do: Map.fetch!(@levels, name)

  @doc false
  def level_name(number), do: Map.fetch!(@level_names, number)

  @doc false
  # The forms of values that are not a request's to choose.
  def fixed_forms do
    if Code.ensure_loaded?(Decimal), do: @decimal_package, else: 0
  end

  @doc false
  # What is decided between attempts, where a request has no option of it: a part of the entry.
  def attempts(%Config{retry: retry, timeouts: timeouts}) do
    %{idempotent: nil, retry: retry, timeout: timeouts.attempt}
  end

  @doc false
  # Who gives writes their time where a request doesn't say: a part of the entry.
  def timestamp(%Config{client_timestamps: true}), do: :client
  def timestamp(%Config{client_timestamps: false}), do: nil

  @doc false
  # `{timeout, native options, attempts}`, with the cluster's defaults. A timestamp of `:client` is
  # still to be made, see `put_timestamp/2`.
  def build(entry, []) do
    native = {entry.consistency, nil, @page_size, nil, entry.timestamp, entry.forms, nil, nil}
    {entry.timeout, native, entry.attempts}
  end

  def build(entry, options), do: build_of(entry, values(options))

  @doc false
  # Raises where `build/2` would, for what is asked later.
  @spec check([Palladion.option()]) :: :ok
  def check(options) do
    _values = values(options)
    :ok
  end

  defp values(options) do
    values = read(options)

    if is_map_key(values, :type),
      do: raise(ArgumentError, "the option :type is for Palladion.batch/3 alone"),
      else: values
  end

  # From the right: of one that is repeated the first counts, as `Keyword.get/2` has it.
  defp read(options) when is_list(options), do: List.foldr(options, %{}, &put/2)
  defp read(_other), do: no_options()

  @doc false
  # The same of a batch, with its type as a number before it.
  def build_batch(entry, options) do
    {type, values} = options |> read() |> Map.pop(:type, @batch_types.logged)
    {type, build_of(entry, values)}
  end

  defp build_of(entry, values) do
    native = {
      Map.get(values, :consistency, entry.consistency),
      Map.get(values, :serial_consistency),
      Map.get(values, :page_size, @page_size),
      Map.get(values, :paging_state),
      Map.get(values, :timestamp, entry.timestamp),
      forms(values, entry.forms),
      extra(values),
      # where to, as another attempt says
      nil
    }

    {Map.get(values, :timeout, entry.timeout), native, attempts(values, entry.attempts)}
  end

  @doc false
  # Native options of a request of our own, to a certain node.
  def at(entry, level, route), do: {level(level), nil, nil, nil, nil, entry.forms, nil, route}

  @doc false
  # Native options with the timestamp that `make` returns, where the client is to make one.
  def put_timestamp(native, make) when elem(native, 4) == :client,
    do: put_elem(native, 4, make.())

  def put_timestamp(native, _make), do: native

  @doc false
  # The keyspace of the request's own, of native options.
  def keyspace(native) do
    case elem(native, 6) do
      nil -> nil
      extra -> elem(extra, 0)
    end
  end

  # What few requests have.
  defp extra(values) do
    case {values[:keyspace], values[:now_in_seconds], Map.get(values, :custom_payload, []),
          Map.get(values, :tracing, false)} do
      {nil, nil, [], false} -> nil
      extra -> extra
    end
  end

  defp attempts(values, %{retry: retry, timeout: timeout}) do
    %{
      idempotent: Map.get(values, :idempotent),
      retry: Map.get(values, :retry, retry),
      timeout: Map.get(values, :attempt_timeout, timeout)
    }
  end

  defp forms(values, fixed) do
    fixed + Map.get(values, :rows, 0) + Map.get(values, :uuids, 0) +
      Map.get(values, :timestamps, 0)
  end

  defp put({:timeout, :infinity}, values), do: Map.put(values, :timeout, :infinity)

  # `receive` takes no longer one.
  defp put({:timeout, ms}, values) when is_integer(ms) and ms in 0..0xFFFFFFFF,
    do: Map.put(values, :timeout, ms)

  defp put({:consistency, name}, values) when is_map_key(@levels, name),
    do: Map.put(values, :consistency, level(name))

  defp put({:serial_consistency, name}, values) when name in [:serial, :local_serial],
    do: Map.put(values, :serial_consistency, level(name))

  defp put({:page_size, size}, values) when is_integer(size) and size in 1..0x7FFFFFFF,
    do: Map.put(values, :page_size, size)

  defp put({:page_size, :infinity}, values), do: Map.put(values, :page_size, nil)

  defp put({:paging_state, state}, values) when is_binary(state) or is_nil(state),
    do: Map.put(values, :paging_state, state)

  defp put({:timestamp, micros}, values)
       when is_integer(micros) and micros in @micros,
       do: Map.put(values, :timestamp, micros)

  defp put({:timestamp, :client}, values), do: Map.put(values, :timestamp, :client)
  defp put({:timestamp, :server}, values), do: Map.put(values, :timestamp, nil)

  defp put({:keyspace, keyspace}, values)
       when (is_binary(keyspace) and byte_size(keyspace) in 1..@longest_name) or is_nil(keyspace),
       do: Map.put(values, :keyspace, keyspace)

  defp put({:now_in_seconds, seconds}, values) when is_integer(seconds) and seconds in @int32,
    do: Map.put(values, :now_in_seconds, seconds)

  defp put({:custom_payload, %{} = payload}, values)
       when not is_struct(payload) and map_size(payload) <= @longest_name do
    payload = Map.to_list(payload)

    if Enum.all?(payload, &payload?/1),
      do: Map.put(values, :custom_payload, payload),
      else: invalid(:custom_payload)
  end

  defp put({:tracing, tracing}, values) when is_boolean(tracing),
    do: Map.put(values, :tracing, tracing)

  defp put({:type, type}, values) when is_map_key(@batch_types, type),
    do: Map.put(values, :type, Map.fetch!(@batch_types, type))

  defp put({:rows, shape}, values) when is_map_key(@shapes, shape),
    do: Map.put(values, :rows, Map.fetch!(@shapes, shape))

  defp put({:uuids, form}, values) when is_map_key(@uuids, form),
    do: Map.put(values, :uuids, Map.fetch!(@uuids, form))

  defp put({:timestamps, form}, values) when is_map_key(@timestamps, form),
    do: Map.put(values, :timestamps, Map.fetch!(@timestamps, form))

  defp put({:idempotent, idempotent}, values) when is_boolean(idempotent),
    do: Map.put(values, :idempotent, idempotent)

  defp put({:attempt_timeout, ms}, values)
       when (is_integer(ms) and ms in 1..0xFFFFFFFF) or is_nil(ms),
       do: Map.put(values, :attempt_timeout, ms)

  defp put({:retry, given}, values) do
    case Config.Retry.parse(given) do
      {retry, []} -> Map.put(values, :retry, retry)
      {_wrong, [problem | _]} -> raise ArgumentError, wrong(problem)
    end
  end

  defp put({key, _value}, _values) when key in @keys, do: invalid(key)

  defp put({key, _value}, _values) when is_atom(key) do
    raise ArgumentError,
          "unknown option #{inspect(key)}#{did_you_mean(key)}; known are: " <>
            Enum.map_join(@keys -- [:type], ", ", &inspect/1) <> "; of a batch :type, too"
  end

  defp put(_other, _values), do: no_options()

  defp no_options, do: raise(ArgumentError, "options must be a keyword list")

  defp payload?({name, value}),
    do: is_binary(name) and byte_size(name) <= @longest_name and is_binary(value)

  defp invalid(key) do
    raise ArgumentError,
          "invalid value of the option #{inspect(key)}: it must be #{Keyword.fetch!(@options, key)}"
  end

  defp wrong(problem), do: "#{ConfigError.format_path(problem.path)}: #{problem.message}"

  defp did_you_mean(key) do
    nearest = Enum.max_by(@keys, &String.jaro_distance(to_string(&1), to_string(key)))

    if String.jaro_distance(to_string(nearest), to_string(key)) > 0.75,
      do: ", did you mean #{inspect(nearest)}?",
      else: ""
  end
end
