defmodule Palladion.Test.TelemetryEvents do
  @moduledoc """
  Events as a test sees them.

      events = TelemetryEvents.capture(fn -> Palladion.query!(DB, "SELECT * FROM t") end)
      assert [{[:palladion, :query, :start], _, _}, {[:palladion, :query, :stop], _, %{result: :ok}}] = events

  Every one is compared with what `Palladion.Telemetry.events/0` declares.
  """

  alias Palladion.Telemetry

  @doc "The events that a function's process emits, in order, each checked."
  def capture(fun) do
    id = attach(only: self())

    try do
      fun.()
    after
      :telemetry.detach(id)
    end

    take(id)
  end

  @doc """
  Sends all events, checked, to the caller as `{:telemetry, id, event, measurements, metadata}`, until `:telemetry.detach(id)`.

    * `only:` - a pid: those alone that are emitted there
  """
  def attach(options \\ []) do
    id = make_ref()
    names = Enum.map(Telemetry.events(), & &1.name)
    config = %{id: id, to: self(), only: options[:only]}
    :ok = :telemetry.attach_many(id, names, &__MODULE__.handle/4, config)
    id
  end

  @doc false
  def handle(event, measurements, metadata, config) do
    if config.only in [nil, self()] do
      send(config.to, {:telemetry, config.id, event, measurements, metadata})
    end
  end

  @doc "What `attach/1` has sent so far, in order, each checked."
  def take(id), do: received(id, [])

  defp received(id, events) do
    receive do
      {:telemetry, ^id, event, measurements, metadata} ->
        check!(event, measurements, metadata)
        received(id, [{event, measurements, metadata} | events])
    after
      0 -> Enum.reverse(events)
    end
  end

  @doc "Raises unless an event has exactly the declared keys, with values of their types."
  def check!(event, measurements, metadata) do
    declared =
      Enum.find(Telemetry.events(), &(&1.name == event)) ||
        raise "#{inspect(event)} is not declared"

    check_fields!(event, declared.measurements, measurements)
    check_fields!(event, declared.metadata, metadata)
  end

  defp check_fields!(event, fields, given) do
    names = fields |> Enum.map(& &1.name) |> Enum.sort()
    keys = given |> Map.keys() |> Enum.sort()

    if names != keys do
      raise "#{inspect(event)} lacks #{inspect(names -- keys)} and has #{inspect(keys -- names)} more"
    end

    for %{name: name, type: type} <- fields, not valid?(type, given[name]) do
      raise "#{inspect(event)}: #{name} is #{inspect(given[name])}, and not #{inspect(type)}"
    end

    :ok
  end

  defp valid?(:any, _value), do: true
  defp valid?({:maybe, type}, value), do: value == nil or valid?(type, value)
  defp valid?({:in, atoms}, value), do: value in atoms
  defp valid?(:atom, value), do: is_atom(value) and value != nil
  defp valid?(:boolean, value), do: is_boolean(value)
  defp valid?(:exception, value), do: is_exception(value)
  defp valid?(:integer, value), do: is_integer(value)
  defp valid?(:list, value), do: is_list(value)
  defp valid?(:reference, value), do: is_reference(value)
  defp valid?(:string, value), do: is_binary(value)
end
