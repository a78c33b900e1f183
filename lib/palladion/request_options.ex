defmodule Palladion.RequestOptions do
  @moduledoc false
  # The options of one request, and the tuple in which the native library takes them.

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
  @keys [
    :timeout,
    :consistency,
    :serial_consistency,
    :page_size,
    :paging_state,
    :timestamp,
    :rows,
    :uuids,
    :timestamps
  ]

  # Bits of the number that says how rows and their values are wanted.
  @shapes %{maps: 0, atom_maps: 1, lists: 2, tuples: 3, columns: 4}
  @uuids %{text: 0, binary: 8}
  @timestamps %{datetime: 0, integer: 16}
  @decimal_package 32

  @doc false
  def level(name), do: Map.fetch!(@levels, name)

  @doc false
  # The forms of values that are not a request's to choose.
  def fixed_forms do
    if Code.ensure_loaded?(Decimal), do: @decimal_package, else: 0
  end

  @doc false
  # `{timeout, native options}`, with the cluster's defaults.
  def build(entry, []) do
    {entry.timeout, {entry.consistency, nil, @page_size, nil, nil, entry.forms}}
  end

  def build(entry, options) do
    values = Enum.reduce(options, %{}, &put/2)

    native = {
      Map.get(values, :consistency, entry.consistency),
      Map.get(values, :serial_consistency),
      Map.get(values, :page_size, @page_size),
      Map.get(values, :paging_state),
      Map.get(values, :timestamp),
      forms(values, entry.forms)
    }

    {Map.get(values, :timeout, entry.timeout), native}
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

  defp put({:timestamp, micros}, values) when is_integer(micros),
    do: Map.put(values, :timestamp, micros)

  defp put({:rows, shape}, values) when is_map_key(@shapes, shape),
    do: Map.put(values, :rows, Map.fetch!(@shapes, shape))

  defp put({:uuids, form}, values) when is_map_key(@uuids, form),
    do: Map.put(values, :uuids, Map.fetch!(@uuids, form))

  defp put({:timestamps, form}, values) when is_map_key(@timestamps, form),
    do: Map.put(values, :timestamps, Map.fetch!(@timestamps, form))

  defp put({key, _value}, _values) when key in @keys do
    raise ArgumentError, "invalid value of the option #{inspect(key)}; see Palladion.query/4"
  end

  defp put({key, _value}, _values) when is_atom(key) do
    raise ArgumentError,
          "unknown option #{inspect(key)}#{did_you_mean(key)}; known are: " <>
            Enum.map_join(@keys, ", ", &inspect/1)
  end

  defp put(_other, _values), do: raise(ArgumentError, "options must be a keyword list")

  defp did_you_mean(key) do
    nearest = Enum.max_by(@keys, &String.jaro_distance(to_string(&1), to_string(key)))

    if String.jaro_distance(to_string(nearest), to_string(key)) > 0.75,
      do: ", did you mean #{inspect(nearest)}?",
      else: ""
  end
end
