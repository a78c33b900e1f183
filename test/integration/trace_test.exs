defmodule Palladion.Integration.TraceTest do
  @moduledoc "Traces as servers write them: late, in pieces, with the columns of their version."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{ConnectionError, Error, Trace}
  alias Palladion.Test.{Cassandra, TelemetryEvents, Testkit}
  alias Palladion.Trace.Event

  @moduletag :capture_log

  @id "5f6ad7a0-21b5-11ef-9b0f-1bd2a2f4a0c1"
  @sessions "SELECT * FROM system_traces.sessions WHERE session_id = #{@id}"
  @events "SELECT * FROM system_traces.events WHERE session_id = #{@id}"

  @columns "session_id uuid, client inet, command text, coordinator inet, duration int, " <>
             "parameters map<text, text>, request text, started_at timestamp"

  describe "a scripted server's trace" do
    setup do
      server = Testkit.start_server(tls: false)
      %{server: server, name: ready_cluster!(server, pool: [size: 1], shutdown_timeout: 200)}
    end

    defp session(server, duration, options \\ []) do
      row =
        "(#{@id}, '10.0.0.9', 'QUERY', '10.0.0.1', #{duration}, {'query': 'SELECT secret'}, " <>
          "'Execute CQL3 query', 1700000000123)"

      rows(server, @sessions, @columns, row, options)
    end

    defp rows(server, statement, columns, rows, options) do
      reaction = {:rows, columns: columns, rows: rows}
      :ok = Testkit.rule(server, [equals: statement, reaction: reaction] ++ options)
    end

    test "is waited for until it has its duration", %{server: server, name: name} do
      rows(server, @sessions, @columns, "", times: 3)
      session(server, "null", times: 3)
      session(server, 1479)

      # As before Cassandra 4.0: without ports.
      columns = "activity text, source inet, source_elapsed int, thread text"
      one = "('Parsing SELECT secret', '10.0.0.1', 215, 'Native-1')"
      rows(server, @events, columns, one <> ", ('done', '::1', null, null)", [])

      assert {:ok, trace} = Palladion.trace(name, @id)

      assert trace == %Trace{
               id: @id,
               request: "Execute CQL3 query",
               command: "QUERY",
               client: "10.0.0.9",
               coordinator: "10.0.0.1",
               coordinator_port: nil,
               started_at: ~U[2023-11-14 22:13:20.123Z],
               duration: 1479,
               parameters: %{"query" => "SELECT secret"},
               events: [
                 %Event{
                   activity: "Parsing SELECT secret",
                   source: "10.0.0.1",
                   elapsed: 215,
                   thread: "Native-1"
                 },
                 %Event{activity: "done", source: "::1"}
               ]
             }

      refute inspect(trace) =~ "secret"
      refute inspect(trace.events) =~ "secret"
      assert inspect(trace) =~ "1479"
    end

    test "that isn't there in time is an error", %{server: server, name: name} do
      rows(server, @sessions, @columns, "", [])
      assert {:error, %Error{} = error} = Palladion.trace(name, @id, timeout: 600)
      assert {error.reason, error.code} == {:trace_unavailable, nil}
      assert error.details == %{tracing_id: @id, begun: false, timeout: 600}
      assert Exception.message(error) == "the servers have no such trace after 600 ms"
      assert mailbox() == []
    end

    test "is waited for as the first of two options says", %{server: server, name: name} do
      rows(server, @sessions, @columns, "", [])

      assert {:error, %Error{details: %{timeout: 600}}} =
               Palladion.trace(name, @id, timeout: 600, timeout: 60)
    end

    test "that has no end in time is an error", %{server: server, name: name} do
      session(server, "null")
      assert {:error, %Error{} = error} = Palladion.trace(name, @id, timeout: 600)
      assert %{reason: :trace_unavailable, details: %{begun: true}} = error
      assert Exception.message(error) =~ "begun the trace, but not ended it, after 600 ms"
    end

    test "is asked for less and less often", %{server: server, name: name} do
      rows(server, @sessions, @columns, "", times: 10)
      rows(server, @sessions, @columns, "", [])
      before = Testkit.counters(server).query
      assert {:error, %Error{}} = Palladion.trace(name, @id, timeout: 1_000)
      # Others ask for the nodes now and then.
      assert (Testkit.counters(server).query - before) in 6..15
    end

    test "is not waited for longer where the server hangs", %{server: server, name: name} do
      rows(server, @sessions, @columns, "", times: 1)
      Testkit.rule(server, equals: @sessions, reaction: :never)

      events =
        TelemetryEvents.capture(fn ->
          assert {:error, %Error{reason: :trace_unavailable}} =
                   Palladion.trace(name, @id, timeout: 500)
        end)

      # The second question had what the first one left of it, and not the cluster's timeout.
      stops = for {[_, :query, :stop], _, metadata} <- events, do: metadata
      assert [%{result: :ok}, %{result: :error, error: error}] = stops
      assert %ConnectionError{reason: :timeout, details: %{timeout: left}} = error
      assert left in 0..500
    end

    test "has the errors of its statements", %{server: server, name: name} do
      refused = {:error, code: "0x2100", message: "no"}
      Testkit.rule(server, equals: @sessions, times: 1, reaction: refused)
      assert {:error, %Error{reason: :unauthorized}} = Palladion.trace(name, @id)
      Testkit.rule(server, equals: @sessions, times: 1, reaction: :never)

      assert {:error, %ConnectionError{reason: :timeout, details: %{timeout: 50}}} =
               Palladion.trace(name, @id, timeout: 50)

      session(server, 5)
      Testkit.rule(server, equals: @events, reaction: :never)

      assert {:error, %ConnectionError{reason: :timeout, details: %{timeout: 50}}} =
               Palladion.trace(name, @id, timeout: 50)

      assert {:error, %ConnectionError{reason: :unknown_cluster}} =
               Palladion.trace(:no_such_cluster, @id)
    end
  end

  test "what is no id, and no option, is raised" do
    for id <- [nil, "", "5f6ad7a0", @id <> " OR true", @id <> "\n", 7] do
      assert_raise ArgumentError, ~r/tracing: true/, fn -> Palladion.trace(:none, id) end
    end

    for {options, text} <- [
          {[timeuot: 5], ~r/unknown option :timeuot; did you mean :timeout/},
          {[page_size: 5], ~r/unknown option :page_size; known are: :timeout, :consistency/},
          {[consistency: :most], ~r/invalid value of the option :consistency/},
          {%{timeout: 5}, ~r/keyword list/},
          {[:timeout], ~r/keyword list/}
        ] do
      assert_raise ArgumentError, text, fn -> Palladion.trace(:none, @id, options) end
    end
  end

  describe "a real server's trace" do
    @describetag :cassandra

    setup do
      name = ready_cluster!(Cassandra.server(), timeout: 30_000)
      keyspace!(name, "traces")

      Palladion.query!(
        name,
        "CREATE TABLE IF NOT EXISTS traces.t (id int PRIMARY KEY, words text)"
      )

      %{name: name}
    end

    test "has what the nodes did", %{name: name} do
      result = Palladion.query!(name, "SELECT * FROM traces.t WHERE id = ?", [7], tracing: true)
      assert {:ok, %Trace{} = trace} = Palladion.trace(name, result.tracing_id)
      assert trace.id == result.tracing_id
      assert %{request: "Execute CQL3 prepared query", command: "QUERY"} = trace
      assert trace.client =~ ~r/\A[\d.:a-f]+\z/
      assert trace.parameters["query"] == "SELECT * FROM traces.t WHERE id = ?"
      assert DateTime.diff(DateTime.utc_now(), trace.started_at) in -5..60
      assert trace.duration > 0
      assert length(trace.events) > 2

      for event <- trace.events do
        assert event.activity != ""
        assert event.source == trace.coordinator
        assert event.source_port == trace.coordinator_port
        assert event.elapsed >= 0 and is_binary(event.thread)
      end

      {:ok, [node]} = Palladion.nodes(name)
      assert trace.coordinator == node.address
    end

    test "is of that request alone, and of a write too", %{name: name} do
      assert Palladion.query!(name, "SELECT * FROM traces.t WHERE id = 7").tracing_id == nil
      insert = "INSERT INTO traces.t (id, words) VALUES (1, 'x')"
      id = Palladion.query!(name, insert, [], tracing: true).tracing_id
      assert {:ok, trace} = Palladion.trace(name, id, consistency: :local_one)
      assert trace.parameters["query"] == insert
      assert Enum.any?(trace.events, &(&1.activity =~ "Parsing"))
    end

    test "of another id is unavailable", %{name: name} do
      assert {:error, %Error{reason: :trace_unavailable}} =
               Palladion.trace(name, @id, timeout: 300)
    end
  end
end
