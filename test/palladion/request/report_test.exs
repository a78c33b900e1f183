defmodule Palladion.Request.ReportTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster.NodeTable
  alias Palladion.{Config, ConnectionError, Node, RequestOptions, Result, Timestamps}
  alias Palladion.Request.{Operation, Report}
  alias Palladion.Test.TelemetryEvents

  @host_id "00000001-0000-4000-8000-00000000000a"
  @node <<0x0000000100004000800000000000000A::128>>
  @statement "SELECT a FROM shop.t WHERE b = ?"
  @delete "DELETE FROM shop.t WHERE a = ?"
  @place %{node: @host_id, datacenter: "dc1", address: "10.0.0.1", port: 9042}

  setup do
    table = NodeTable.new()

    node = %Node{host_id: @host_id, address: "10.0.0.1", port: 9042, datacenter: "dc1"}
    NodeTable.put(table, [node], [])

    {:ok, config} = Config.parse(name: DB, contact_points: ["localhost"], tls: false)

    entry = %{
      name: DB,
      timeout: 5_000,
      consistency: RequestOptions.level(:local_quorum),
      forms: 0,
      attempts: RequestOptions.attempts(config),
      timestamp: nil,
      keyspace: "other",
      slow_query_threshold: nil,
      table: table
    }

    {_timeout, native, attempts} = RequestOptions.build(entry, idempotent: true)
    %{entry: entry, native: native, attempts: attempts}
  end

  # What is told of an operation between its start and its end.
  defp told(%{entry: entry, attempts: attempts}, operation, fun) do
    TelemetryEvents.capture(fn ->
      fun.(%{entry: entry, span: Report.start(entry, operation, attempts)})
    end)
  end

  test "a query begins with its options", %{native: native} = test do
    assert [{[:palladion, :query, :start], _, metadata}] =
             told(test, {:query, @statement, native}, & &1)

    assert %{
             cluster: DB,
             statement: @statement,
             summary: "SELECT shop.t",
             keyspace: "shop",
             parameterised?: false,
             consistency: :local_quorum,
             page_size: 5_000,
             idempotent: true
           } = metadata
  end

  test "what is executed has values, and what is prepared no options", %{native: native} = test do
    execute = {:execute, {:id, "id"}, ["a value"], native, @statement, nil}
    assert [{_, _, executed}] = told(test, execute, & &1)
    assert %{parameterised?: true, consistency: :local_quorum} = executed
    refute inspect(executed) =~ "a value"

    assert [{[:palladion, :prepare, :start], _, prepared}] =
             told(test, {:prepare, @statement, nil, nil}, & &1)

    assert %{parameterised?: true, consistency: nil, page_size: nil} = prepared
  end

  test "what is no statement is told of all the same", %{native: native} = test do
    assert [{_, _, %{statement: "", summary: nil}}] = told(test, {:query, 7, native}, & &1)
  end

  test "a result ends it, with its rows and the node that answered", %{native: native} = test do
    for {result, rows} <- [
          {{:rows, ["a"], [%{"a" => 1}, %{"a" => 2}], 2, nil, %{}, [], nil, @node}, 2},
          {{:void, %{}, [], nil, @node}, nil}
        ] do
      assert [_start, {[:palladion, :query, :stop], _, metadata}] =
               told(test, {:query, @statement, native}, fn context ->
                 Report.stop(context, Result.from_native(result), result, 3)
               end)

      assert %{result: :ok, attempts: 3, returned_rows: ^rows} = metadata
      assert Map.take(metadata, Map.keys(@place)) == @place
    end
  end

  test "a batch begins with its size and what its statements have in common",
       %{native: native} = test do
    insert = "INSERT INTO shop.t (a, b) VALUES (?, ?)"
    given = [{insert, [1, "a value"]}, {insert, [2, "a value"]}, {@delete, [3]}]
    batch = Operation.batch(given, 1, native, Timestamps.new())

    assert [{[:palladion, :query, :start], _, metadata}] = told(test, batch, & &1)

    assert %{
             statement: insert <> "; " <> @delete,
             operation: "BATCH",
             collection: "shop.t",
             summary: "BATCH shop.t",
             keyspace: "shop",
             batch_size: 3,
             parameterised?: true,
             consistency: :local_quorum,
             page_size: nil
           } == Map.take(metadata, ~w(statement operation collection summary keyspace batch_size
                                       parameterised? consistency page_size)a)

    refute inspect(metadata) =~ "a value"
  end

  test "a keyspace of the request's own takes the place of the one in use", test do
    {_timeout, native, _attempts} = RequestOptions.build(test.entry, keyspace: "mine")

    for {operation, keyspace} <- [
          {{:query, "SELECT a FROM t", native}, "mine"},
          {{:query, @statement, native}, "shop"},
          {{:query, "SELECT a FROM t", test.native}, "other"},
          {{:prepare, "SELECT a FROM t", "mine", nil}, "mine"},
          {{:execute, {:id, "id"}, [], test.native, "SELECT a FROM t", "mine"}, "mine"}
        ] do
      assert [{_, _, %{keyspace: ^keyspace}}] = told(test, operation, & &1)
    end
  end

  test "what the server warns of is told before the end", %{native: native} = test do
    warnings = [
      "Unlogged batch covering 10 partitions",
      "Read 1 live rows and 2000 tombstone cells for query SELECT a FROM t WHERE b = 'a value'; token 5"
    ]

    result = {:void, %{}, warnings, nil, @node}

    assert [_start, {[:palladion, :query, :warnings], %{count: 2}, metadata}, _stop] =
             told(test, {:query, @statement, native}, fn context ->
               Report.stop(context, Result.from_native(result), result, 1)
             end)

    assert %{cluster: DB, summary: "SELECT shop.t", warnings: [first, second]} = metadata
    assert first == hd(warnings)
    assert second == "Read 1 live rows and 2000 tombstone cells for a query that is not shown"
    assert Map.take(metadata, Map.keys(@place)) == @place
  end

  test "a node that is not known any more has its id", %{native: native} = test do
    result = {:void, %{}, [], nil, <<7::128>>}

    assert [_start, {_, _, metadata}] =
             told(test, {:query, @statement, native}, fn context ->
               Report.stop(context, Result.from_native(result), result, 1)
             end)

    assert %{node: "00000000-0000-0000-0000-000000000007", address: nil} = metadata
  end

  test "an error ends it, with its node if there is one", %{native: native} = test do
    for {fields, place} <- [
          {%{sent: true, node: @node}, @place},
          {%{sent: true, node: nil}, %{node: nil, address: nil}},
          {%{sent: true}, %{node: nil, address: nil}}
        ] do
      assert [_start, {[:palladion, :query, :stop], _, metadata}] =
               failed(test, native, {:timeout, fields})

      assert %{result: :error, reason: :timeout, attempts: 2} = metadata
      assert Map.take(metadata, Map.keys(place)) == place
    end
  end

  test "a full queue is told of, with the request that found it full", %{native: native} = test do
    assert [_start, overload, {[:palladion, :query, :stop], _, %{reason: :overloaded}}] =
             failed(test, native, {:overloaded, %{}})

    assert {[:palladion, :overload], %{system_time: _}, metadata} = overload
    assert metadata == %{cluster: DB, summary: "SELECT shop.t", reason: :overloaded}
  end

  test "a server that is overloaded is no full queue", %{native: native} = test do
    exception = %Palladion.Error{reason: :overloaded, code: 0x1001}

    assert [_start, {[:palladion, :query, :stop], _, %{status_code: 0x1001}}] =
             failed(test, native, {:server, %{code: 0x1001, message: "busy"}}, exception)
  end

  defp failed(test, native, error, exception \\ nil) do
    exception = exception || ConnectionError.from_native(error)

    told(test, {:query, @statement, native}, &Report.failed(&1, error, exception, 2))
  end
end
