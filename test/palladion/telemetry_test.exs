defmodule Palladion.TelemetryTest do
  use ExUnit.Case, async: true

  alias Palladion.Telemetry
  alias Palladion.Test.{ChildVM, TelemetryChild, TelemetryEvents}

  doctest Telemetry

  @guide Path.expand("../../guides/telemetry.md", __DIR__)

  describe "events" do
    test "have names, reasons and fields of their own" do
      names = Enum.map(Telemetry.events(), & &1.name)
      assert names == Enum.uniq(names)

      for event <- Telemetry.events() do
        assert [:palladion | [_ | _]] = event.name
        assert event.when =~ ~r/^\S.*\S$/
        assert event.measurements != []
        fields = Enum.map(event.measurements ++ event.metadata, & &1.name)
        assert fields == Enum.uniq(fields), inspect(event.name)
        assert :cluster in fields
      end
    end

    test "of a request say when they were, and which it is" do
      for kind <- [:query, :prepare], suffix <- [:start, :stop, :exception] do
        event = Enum.find(Telemetry.events(), &(&1.name == [:palladion, kind, suffix]))
        assert :monotonic_time in Enum.map(event.measurements, & &1.name)
        assert :telemetry_span_context in Enum.map(event.metadata, & &1.name)
      end
    end

    test "are told with every key" do
      [{event, measurements, metadata}] =
        TelemetryEvents.capture(fn ->
          Telemetry.execute([:node, :up], %{system_time: 1}, %{cluster: DB, address: "::1"})
        end)

      assert event == [:palladion, :node, :up]
      assert measurements == %{system_time: 1}

      assert metadata ==
               %{cluster: DB, address: "::1", port: nil, host_id: nil, datacenter: nil, rack: nil}
    end

    test "are refused in tests if they aren't as declared" do
      good = %{cluster: DB, reason: :overloaded, summary: nil}
      event = [:palladion, :overload]
      assert TelemetryEvents.check!(event, %{system_time: 1}, good) == :ok

      for {event, measurements, metadata} <- [
            {[:palladion, :undeclared], %{system_time: 1}, good},
            {event, %{}, good},
            {event, %{system_time: nil}, good},
            {event, %{system_time: 1}, Map.delete(good, :summary)},
            {event, %{system_time: 1}, Map.put(good, :values, [1])},
            {event, %{system_time: 1}, %{good | summary: :select}}
          ] do
        assert_raise RuntimeError, fn ->
          TelemetryEvents.check!(event, measurements, metadata)
        end
      end
    end

    test "are all in the documentation and in the guide" do
      table = Telemetry.Events.docs()
      generated = ~r/(<!-- events: .*? -->\n\n)(.*)(\n<!-- end of events -->)/s

      for event <- Telemetry.events() do
        assert table =~ "| `#{inspect(event.name)}` |"
        for field <- event.measurements ++ event.metadata, do: assert(table =~ "`#{field.name}`")
      end

      if System.get_env("PALLADION_WRITE_GUIDES") do
        File.write!(@guide, String.replace(File.read!(@guide), generated, "\\1#{table}\\3"))
      end

      assert [_, _, ^table, _] = Regex.run(generated, File.read!(@guide)),
             "guides/telemetry.md is out of date; write it anew with " <>
               "PALLADION_WRITE_GUIDES=1 mix test #{Path.relative_to_cwd(__ENV__.file)}"
    end
  end

  describe "metrics" do
    test "are about events, measurements and metadata that there are" do
      for metric <- Telemetry.metrics() do
        event = Enum.find(Telemetry.events(), &(&1.name == metric.event_name))
        assert event, inspect(metric.event_name)
        assert metric.measurement in Enum.map(event.measurements, & &1.name)
        assert metric.tags -- Enum.map(event.metadata, & &1.name) == []
        assert metric.kind in [:counter, :sum, :last_value, :summary, :distribution]
      end
    end

    test "are told apart by kind and name" do
      keys = Enum.map(Telemetry.metrics(), &{&1.kind, &1.name})
      assert keys == Enum.uniq(keys)
    end
  end

  # The module can't be taken from under the other tests.
  test "without the package nothing happens" do
    vm = ChildVM.start(TelemetryChild, DB)

    assert ChildVM.receive(vm) == %{
             available?: false,
             execute: :ok,
             stop: :ok,
             retry: :ok,
             exception: :ok,
             attach: {:error, :not_available},
             detach: {:error, :not_found}
           }

    assert {0, _ms} = ChildVM.await_exit(vm)
    assert ChildVM.output(vm) == ""
  end

  describe "the guide" do
    # Only what the guide calls.
    defmodule OpenTelemetry.Tracer do
      defmacro start_span(name, options) do
        quote do
          send(self(), {:span, unquote(name), unquote(options)})
          :span
        end
      end
    end

    defmodule OpenTelemetry.Span do
      def set_status(:span, status), do: send(self(), {:status, status})
      def end_span(:span, time), do: send(self(), {:ended, time})
    end

    defmodule OpenTelemetry do
      def status(code, text), do: {code, text}
    end

    test "has a handler for OpenTelemetry that works" do
      code =
        ~r/```elixir\n(defmodule MyApp.CassandraTracing.*?)```/s
        |> Regex.run(File.read!(@guide), capture: :all_but_first)
        |> hd()
        |> String.replace("OpenTelemetry.", "Palladion.TelemetryTest.OpenTelemetry.")

      [{handler, _}] = Code.compile_string(code)
      on_exit(fn -> :telemetry.detach("cassandra-tracing") end)
      handler.attach()

      assert for(
               %{id: "cassandra-tracing"} = one <- :telemetry.list_handlers([]),
               do: one.event_name
             )
             |> Enum.sort() == [
               [:palladion, :prepare, :exception],
               [:palladion, :prepare, :stop],
               [:palladion, :query, :exception],
               [:palladion, :query, :stop]
             ]

      :telemetry.detach("cassandra-tracing")

      for {[:palladion, _kind, event] = name, measurements, metadata} <- spans(),
          event != :start do
        handler.handle(name, measurements, metadata, nil)
        assert_received {:span, "SELECT shop.users", %{kind: :client, attributes: attributes}}
        assert attributes[:"db.namespace"] == "shop"
        assert attributes[:"cassandra.consistency.level"] == "local_quorum"
        refute Map.has_key?(attributes, :"db.operation.batch.size")
        assert_received {:ended, _time}

        case event do
          :stop ->
            assert attributes[:"db.response.status_code"] == "4097"
            assert attributes[:"error.type"] == "overloaded"
            assert attributes[:"server.port"] == 9042
            assert_received {:status, {:error, ":overloaded"}}

          :exception ->
            assert attributes[:"error.type"] == "Elixir.ArgumentError"
            assert_received {:status, {:error, "ArgumentError"}}
        end
      end
    end

    defp spans do
      base = %{
        cluster: DB,
        statement: "SELECT a FROM shop.users WHERE b = ?",
        parameterised?: true,
        consistency: :local_quorum,
        page_size: 5_000
      }

      error = %Palladion.Error{reason: :overloaded, code: 0x1001, message: "full"}

      TelemetryEvents.capture(fn ->
        for kind <- [:query, :prepare] do
          span = Telemetry.Span.start(kind, base)
          Telemetry.Span.stop(span, %{error: error, address: "10.0.0.1", port: 9042})
          Telemetry.Span.exception(span, :error, %ArgumentError{}, [])
        end
      end)
    end
  end
end
