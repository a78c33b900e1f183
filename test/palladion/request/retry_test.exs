defmodule Palladion.Request.RetryTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster.NodeTable
  alias Palladion.{Config, ConnectionError, Error, Node, RequestOptions}
  alias Palladion.Request.{Operation, Retry}
  alias Palladion.Telemetry.Span
  alias Palladion.Test.Policies
  alias Palladion.Test.TelemetryEvents

  @host_id "00000001-0000-4000-8000-00000000000a"
  @node <<0x0000000100004000800000000000000A::128>>
  @select "SELECT a FROM t WHERE b = 1"
  @insert "INSERT INTO t (a) VALUES (1)"
  @overloaded {:server, %{code: 0x1001, message: "busy", node: @node}}
  @lost {:connection_lost, %{endpoint: "db1:9042", sent: true, node: @node}}

  # The policy answers what it's told, or what a function of the error and the context says.
  defp context(answer, more \\ %{}) do
    table = NodeTable.new()

    NodeTable.put(
      table,
      [%Node{host_id: @host_id, address: "10.0.0.1", port: 9042, datacenter: "dc1"}],
      []
    )

    Map.merge(
      %{
        entry: %{name: DB, table: table},
        deadline: :infinity,
        attempts: %{retry: {Policies.Retry, answer}, idempotent: nil, timeout: nil},
        span: nil
      },
      more
    )
  end

  defp query(statement, native \\ native()), do: {:query, statement, native}

  defp batch(type), do: {:batch, type, [@insert, @insert], native(), [@insert, @insert]}

  # As a request without options has it.
  defp native do
    {:ok, config} = Config.parse(name: DB, contact_points: ["localhost"], tls: false)
    attempts = RequestOptions.attempts(config)
    entry = %{timeout: 5_000, consistency: 10, forms: 0, attempts: attempts, timestamp: nil}
    {_timeout, native, _attempts} = RequestOptions.build(entry, [])
    native
  end

  defp asked(operation, error, context \\ %{}, attempt \\ 1) do
    test = self()

    answer = fn exception, asked ->
      send(test, {:asked, exception, asked})
      :give_up
    end

    context = Map.update(context(answer), :attempts, %{}, &Map.merge(&1, context))
    assert Retry.decide(context, operation, error, attempt) == :give_up
    assert_received {:asked, exception, asked}
    {exception, Map.delete(asked, :options)}
  end

  describe "the policy is asked" do
    test "with the attempt, the text, and whether it may be executed twice" do
      for {operation, said, idempotent} <- [
            {query(@select), nil, true},
            {query(@insert), nil, false},
            {query(@insert), true, true},
            {query(@select), false, false},
            {{:execute, {:id, "id"}, [1], native(), @select, nil}, nil, true},
            {{:execute, {:text, @insert}, [1], native(), @insert, nil}, nil, false},
            # To prepare does nothing yet.
            {{:prepare, @insert, nil, nil}, nil, true},
            {{:prepare, @insert, nil, nil}, false, true},
            # No SELECT is in a batch, and counters are not counted twice.
            {batch(0), nil, false},
            {batch(1), true, true},
            {batch(2), true, false}
          ] do
        {_exception, asked} = asked(operation, @overloaded, %{idempotent: said}, 3)

        statement = Operation.statement(operation)
        assert statement in [@select, @insert]
        assert asked == %{attempt: 3, statement: statement, idempotent: idempotent}
      end
    end

    test "about errors as the caller would get them" do
      assert {%Error{reason: :overloaded, code: 0x1001, details: %{node: @host_id}}, _} =
               asked(query(@select), @overloaded)

      assert {%ConnectionError{reason: :connection_lost, endpoint: "db1:9042"} = lost, _} =
               asked(query(@select), @lost)

      assert lost.details == %{sent: true, node: @host_id}

      assert {%ConnectionError{reason: :attempt_timeout, details: %{timeout: 50}}, _} =
               asked(
                 query(@select),
                 {:attempt_timeout, %{sent: true, node: @node, timeout: 50}}
               )
    end

    test "about errors that quote no password" do
      statement = "ALTER ROLE bob WITH PASSWORD = 'correct horse'"
      quoted = {:server, %{code: 0x2000, message: "line 1:32 no viable ('correct horse')"}}
      {exception, _asked} = asked(query(statement), quoted)
      refute inspect(exception) =~ "horse"
    end

    test "about a connection that ended with the request, but not about a closed cluster" do
      assert {%ConnectionError{reason: :closed}, _} =
               asked(query(@select), {:closed, %{sent: true, endpoint: "db1:9042"}})

      assert Retry.decide(never(), query(@select), {:closed, %{}}, 1) == :give_up
    end

    test "about no error that another attempt would only repeat, or has no time for" do
      for kind <- [
            :timeout,
            :bad_value,
            :bad_statement,
            :bad_argument,
            :unsupported,
            :response_too_large,
            :unknown_cluster,
            :already_awaited,
            :overloaded,
            :too_many_waiters,
            :no_connection,
            :no_local_nodes
          ] do
        assert Retry.decide(never(), query(@select), {kind, %{node: @node}}, 1) == :give_up
      end
    end

    test "and what is wrong with the request itself is so later, too" do
      for error <- [
            {:bad_value, %{}},
            {:bad_argument, %{}},
            {:response_too_large, %{}},
            {:server, %{code: 0x000A}},
            {:server, %{code: 0x2000}},
            {:server, %{code: 0x2100}},
            {:server, %{code: 0x2200}},
            {:server, %{code: 0x2400}}
          ],
          do: assert(Retry.in_vain?(error))

      for error <- [
            {:timeout, %{sent: true}},
            {:closed, %{}},
            {:connection_lost, %{sent: true}},
            {:overloaded, %{}},
            {:server, %{code: 0x0000}},
            {:server, %{code: 0x1001}},
            {:server, %{code: 0x1200}},
            {:server, %{code: 0x2500}}
          ],
          do: refute(Retry.in_vain?(error))
    end

    @tag :capture_log
    test "and if it raises, or answers nonsense, the request gives up" do
      for answer <- [fn _error, _context -> raise "oh no" end, :perhaps] do
        assert Retry.decide(context(answer), query(@select), @lost, 1) == :give_up
      end
    end

    defp never, do: context(fn _error, _context -> flunk("it was asked") end)
  end

  describe "another attempt" do
    test "goes to the same node first, or to any but that" do
      for {answer, route} <- [retry_same: {:first, @node}, retry_next: {:avoid, @node}] do
        routed = put_elem(native(), 7, route)

        for {operation, again} <- [
              {query(@select), query(@select, routed)},
              {{:execute, {:id, "id"}, [1], native(), @select, nil},
               {:execute, {:id, "id"}, [1], routed, @select, nil}},
              {batch(1), {:batch, 1, [@insert, @insert], routed, [@insert, @insert]}},
              {{:prepare, @select, "ks", nil}, {:prepare, @select, "ks", route}}
            ] do
          assert Retry.decide(context(answer), operation, @overloaded, 1) == {:retry, again}
        end
      end
    end

    test "forgets where the one before it went to" do
      other = put_elem(native(), 7, {:avoid, <<7::128>>})

      assert {:retry, {:query, @select, routed}} =
               Retry.decide(context(:retry_same), query(@select, other), @lost, 2)

      assert elem(routed, 7) == {:first, @node}

      assert {:retry, {:prepare, @select, nil, {:avoid, @node}}} =
               Retry.decide(
                 context(:retry_next),
                 {:prepare, @select, nil, {:first, "x"}},
                 @lost,
                 2
               )
    end

    test "goes anywhere if it is not known which node failed" do
      lost = {:connection_lost, %{endpoint: "db1:9042", sent: true}}
      unknown = {:attempt_timeout, %{sent: false, node: nil, timeout: 5}}

      for answer <- [:retry_same, :retry_next], error <- [lost, unknown] do
        assert {:retry, {:query, @select, routed}} =
                 Retry.decide(context(answer), query(@select), error, 1)

        assert elem(routed, 7) == nil
        prepare = {:prepare, @select, nil, {:first, @node}}

        assert Retry.decide(context(answer), prepare, error, 1) ==
                 {:retry, {:prepare, @select, nil, nil}}
      end
    end

    test "has its route where options of the request stand before it" do
      native = native()
      assert tuple_size(native) == 8

      assert {:retry, {:query, @select, routed}} =
               Retry.decide(context(:retry_next), query(@select), @lost, 1)

      assert Tuple.delete_at(routed, 7) == Tuple.delete_at(native, 7)
    end
  end

  describe "time" do
    test "is waited for as the policy says" do
      begin = now()

      assert {:retry, _operation} =
               Retry.decide(context({:retry_next, 30}), query(@select), @lost, 1)

      assert now() - begin >= 30
    end

    test "that is over allows no other attempt" do
      for deadline <- [now() - 1, now()] do
        context = context(:retry_next, %{deadline: deadline})
        assert Retry.decide(context, query(@select), @lost, 1) == :give_up
      end
    end

    test "that would be over after the pause is not waited for" do
      context = context({:retry_same, 60_000}, %{deadline: now() + 30_000})
      begin = now()
      assert Retry.decide(context, query(@select), @lost, 1) == :give_up
      assert now() - begin < 10_000
    end

    test "that is left is enough" do
      context = context({:retry_same, 1}, %{deadline: now() + 30_000})
      assert {:retry, _operation} = Retry.decide(context, query(@select), @lost, 1)
    end

    defp now, do: System.monotonic_time(:millisecond)
  end

  describe "telemetry" do
    defp told(answer, error, more \\ %{}) do
      TelemetryEvents.capture(fn ->
        span = Span.start(:query, %{cluster: DB, statement: @select})
        context = context(answer, Map.merge(%{span: span}, more))
        Retry.decide(context, query(@select), error, 2)
      end)
    end

    test "tells of another attempt, its cause and its node" do
      assert [_start, {event, _, metadata}] = told({:retry_next, 1}, @overloaded)
      assert event == [:palladion, :query, :retry]

      assert %{
               cluster: DB,
               summary: "SELECT t",
               decision: :retry_next,
               attempt: 2,
               reason: :overloaded,
               error: %Error{code: 0x1001},
               node: @host_id,
               datacenter: "dc1",
               address: "10.0.0.1",
               port: 9042
             } = metadata
    end

    test "has no node where none is known" do
      assert [_start, {_, _, metadata}] =
               told(:retry_same, {:connection_lost, %{endpoint: "db1:9042", sent: true}})

      assert %{decision: :retry_same, node: nil, address: nil, datacenter: nil} = metadata
    end

    test "says nothing where there is no other attempt" do
      assert [_start] = told(:give_up, @overloaded)
      assert [_start] = told(:retry_next, @overloaded, %{deadline: now()})
      assert [_start] = told(:retry_next, {:bad_statement, %{detail: "no text"}})
    end

    test "is not there without the package" do
      events =
        TelemetryEvents.capture(fn ->
          assert {:retry, _} = Retry.decide(context(:retry_next), query(@select), @lost, 1)
        end)

      assert events == []
    end
  end
end
