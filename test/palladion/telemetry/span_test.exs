defmodule Palladion.Telemetry.SpanTest do
  use ExUnit.Case, async: true

  alias Palladion.{ConnectionError, Error}
  alias Palladion.Telemetry.Span
  alias Palladion.Test.TelemetryEvents

  @planted "correct horse battery"
  @base %{
    cluster: DB,
    statement: "SELECT a FROM shop.users WHERE b = ?",
    keyspace: "other",
    parameterised?: true,
    consistency: :local_quorum,
    page_size: 5_000,
    idempotent: true
  }

  test "begins with what is asked for" do
    [{event, measurements, metadata}] = TelemetryEvents.capture(fn -> start() end)
    assert event == [:palladion, :query, :start]
    assert_in_delta measurements.system_time, System.system_time(), 60 * second()
    assert_in_delta measurements.monotonic_time, System.monotonic_time(), 60 * second()

    assert %{
             cluster: DB,
             statement: "SELECT a FROM shop.users WHERE b = ?",
             operation: "SELECT",
             collection: "shop.users",
             keyspace: "shop",
             summary: "SELECT shop.users",
             parameterised?: true,
             batch_size: nil,
             consistency: :local_quorum,
             page_size: 5_000,
             idempotent: true
           } = metadata
  end

  test "begins with what is known of a statement already" do
    analysis = %{operation: "BATCH", collection: nil, keyspace: nil, summary: "BATCH"}
    base = Map.merge(@base, %{statement: "a; b", analysis: analysis, batch_size: 2})
    [{_, _, metadata}] = TelemetryEvents.capture(fn -> Span.start(:query, base) end)

    assert %{statement: "a; b", operation: "BATCH", keyspace: "other", batch_size: 2} = metadata
  end

  test "ends with what came of it, under the same context" do
    outcome = %{
      attempts: 2,
      returned_rows: 7,
      node: "3f1c",
      datacenter: "dc1",
      address: "10.0.0.1",
      port: 9042
    }

    [{_, _, started}, {event, measurements, metadata}] =
      TelemetryEvents.capture(fn -> start() |> Span.stop(outcome) end)

    assert event == [:palladion, :query, :stop]
    assert measurements.duration >= 0
    assert Map.take(metadata, Map.keys(outcome)) == outcome
    assert %{result: :ok, error: nil, reason: nil, status_code: nil, speculative: 0} = metadata
    assert Map.take(metadata, Map.keys(started)) == started
  end

  test "ends with the server's error, its reason and its code" do
    error = %Error{reason: :unavailable, code: 0x1000, message: "no"}
    metadata = stopped(%{error: error})

    assert %{result: :error, error: ^error, reason: :unavailable, status_code: 0x1000} = metadata
  end

  test "ends with an error that has no code" do
    error = %ConnectionError{reason: :timeout}
    assert %{result: :error, reason: :timeout, status_code: nil} = stopped(%{error: error})
  end

  test "ends without an error where it was cancelled" do
    assert %{result: :cancelled, error: nil, reason: :cancelled, status_code: nil} =
             stopped(%{cancelled?: true})
  end

  test "takes the keyspace in use where the statement names none" do
    assert %{keyspace: "other", collection: "users"} =
             stopped(%{}, %{@base | statement: "SELECT * FROM users"})
  end

  test "of a preparation has its own events, and finds bind markers by itself" do
    for {statement, marked?} <- [
          {"SELECT a FROM t WHERE b = :b", true},
          {"SELECT '?' FROM t", false}
        ] do
      events =
        TelemetryEvents.capture(fn ->
          :prepare |> Span.start(%{cluster: DB, statement: statement}) |> Span.stop(%{})
        end)

      assert [{[:palladion, :prepare, :start], _, started}, {[:palladion, :prepare, :stop], _, _}] =
               events

      assert started.parameterised? == marked?
    end
  end

  test "takes what is no statement, and a batch" do
    assert %{statement: nil, summary: nil} = stopped(%{}, %{@base | statement: :nonsense})

    assert %{statement: nil, batch_size: 3} =
             stopped(%{}, Map.merge(@base, %{statement: nil, batch_size: 3}))
  end

  describe "slow" do
    test "is told of what takes as long as the threshold" do
      events =
        TelemetryEvents.capture(fn -> start(%{slow_after: 0}) |> Span.stop(%{attempts: 1}) end)

      assert [_start, {_, _, stopped}, {event, measurements, metadata}] = events
      assert event == [:palladion, :query, :slow]
      assert %{duration: _, threshold: 0} = measurements
      assert metadata == stopped
    end

    test "is not told of what is quicker, or without a threshold" do
      for slow_after <- [60_000, nil, :infinity] do
        assert [_start, _stop] =
                 TelemetryEvents.capture(fn ->
                   start(%{slow_after: slow_after}) |> Span.stop(%{})
                 end)
      end
    end
  end

  test "tells of attempts that failed" do
    error = %Error{reason: :overloaded, code: 0x1001}

    [_start, {event, _measurements, metadata}] =
      TelemetryEvents.capture(fn ->
        Span.retry(start(), %{decision: :retry_next, attempt: 1, error: error, node: "3f1c"})
      end)

    assert event == [:palladion, :query, :retry]
    assert %{decision: :retry_next, attempt: 1, reason: :overloaded, address: nil} = metadata
  end

  describe "exceptions" do
    test "are told by name, without what they hold" do
      for {kind, reason, name} <- [
            {:error, %ArgumentError{message: @planted}, ArgumentError},
            {:error, :badarg, :badarg},
            {:error, {:badmatch, @planted}, :badmatch},
            {:error, {{:badkey, @planted}, @planted}, :badkey},
            {:throw, @planted, nil},
            {:exit, {:noproc, {GenServer, :call, [@planted]}}, :noproc}
          ] do
        metadata = raised(kind, reason, [])
        assert %{kind: ^kind, reason: ^name} = metadata
        refute inspect(metadata) =~ "horse"
      end
    end

    test "have a stack trace without arguments" do
      stacktrace = [
        {Map, :fetch!, [%{}, @planted], [error_info: %{cause: @planted}]},
        {fn -> @planted end, [@planted], []},
        {Enum, :map, 2, [file: ~c"lib/enum.ex", line: 7]}
      ]

      metadata = raised(:error, :badarg, stacktrace)

      assert [{Map, :fetch!, 2, []}, {_fun, 1, []}, {Enum, :map, 2, [_file, _line]}] =
               metadata.stacktrace

      refute inspect(metadata) =~ "horse"
    end

    defp raised(kind, reason, stacktrace) do
      [_start, {[:palladion, :query, :exception], _, metadata}] =
        TelemetryEvents.capture(fn -> start() |> Span.exception(kind, reason, stacktrace) end)

      metadata
    end
  end

  test "shows no password" do
    statement = "ALTER ROLE bob WITH PASSWORD = '#{@planted}'"

    events =
      TelemetryEvents.capture(fn ->
        start(%{statement: statement, slow_after: 0}) |> Span.stop(%{})
      end)

    assert length(events) == 3

    for {_, _, metadata} <- events do
      assert metadata.statement == "ALTER ROLE bob WITH PASSWORD = '***'"
      refute inspect(metadata) =~ "horse"
    end
  end

  # Of thousands the quickest, since the machine has other work: the bound is generous.
  test "costs a request little" do
    quickest =
      Enum.min(
        for _ <- 1..2_000 do
          begin = System.monotonic_time(:nanosecond)
          start()
          System.monotonic_time(:nanosecond) - begin
        end
      )

    assert quickest < 20_000
  end

  defp start(more \\ %{}), do: Span.start(:query, Map.merge(@base, more))

  defp stopped(extra, base \\ @base) do
    [_start, {_, _, metadata}] =
      TelemetryEvents.capture(fn -> :query |> Span.start(base) |> Span.stop(extra) end)

    metadata
  end

  defp second, do: System.convert_time_unit(1, :second, :native)
end
