defmodule Palladion.RequestOptions do
  @moduledoc false
  # The options of one request: the tuple in which the native library takes them, and what is
  # decided here between its attempts.

  alias Palladion.{Config, ConfigError}

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
  @int64 -0x8000_0000_0000_0000..0x7FFF_FFFF_FFFF_FFFF
  @keys [
    :timeout,
    :consistency,
    :serial_consistency,
    :page_size,
    :paging_state,
    :timestamp,
    :rows,
    :uuids,
    :timestamps,
    :idempotent,
    :retry,
    :attempt_timeout
  ]

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
  # `{timeout, native options, attempts}`, with the cluster's defaults.
  def build(entry, []) do
    native = {entry.consistency, nil, @page_size, nil, nil, entry.forms, nil}
    {entry.timeout, native, entry.attempts}
  end

  def build(entry, options) do
    values = Enum.reduce(options, %{}, &put/2)

    native = {
      Map.get(values, :consistency, entry.consistency),
      Map.get(values, :serial_consistency),
      Map.get(values, :page_size, @page_size),
      Map.get(values, :paging_state),
      Map.get(values, :timestamp),
      forms(values, entry.forms),
      # where to, as another attempt says
      nil
    }

    {Map.get(values, :timeout, entry.timeout), native, attempts(values, entry.attempts)}
  end

  @doc false
  # Native options of a request of our own, to a certain node.
  def at(entry, level, route), do: {level(level), nil, nil, nil, nil, entry.forms, route}

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

  defp put({:timeout, ms}, values) when is_integer(ms) and ms >= 0,
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
       when is_integer(micros) and micros in @int64,
       do: Map.put(values, :timestamp, micros)

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

  defp put({key, _value}, _values) when key in @keys do
    raise ArgumentError, "invalid value of the option #{inspect(key)}; see Palladion.query/4"
  end

  defp put({key, _value}, _values) when is_atom(key) do
    raise ArgumentError,
          "unknown option #{inspect(key)}#{did_you_mean(key)}; known are: " <>
            Enum.map_join(@keys, ", ", &inspect/1)
  end

  defp put(_other, _values), do: raise(ArgumentError, "options must be a keyword list")

  defp wrong(problem), do: "#{ConfigError.format_path(problem.path)}: #{problem.message}"

  defp did_you_mean(key) do
    nearest = Enum.max_by(@keys, &String.jaro_distance(to_string(&1), to_string(key)))

    if String.jaro_distance(to_string(nearest), to_string(key)) > 0.75,
      do: ", did you mean #{inspect(nearest)}?",
      else: ""
  end
end
