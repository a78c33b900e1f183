defmodule Palladion.Integration.AttemptsTest do
  @moduledoc """
  What requests and batches carry, as a server saw it, at each of their attempts; and what it answers beside its rows.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Simulated

  alias Palladion.{Error, Result}
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log

  @echo "SELECT echo(int)"
  @void "INSERT void(int)"
  @write_timeout [code: "0x1100", message: "late", consistency: :quorum, received: 0, required: 1]

  setup_all do
    %{server: Testkit.start_cluster!(nodes: 3, tls: false)}
  end

  setup %{server: server} do
    Testkit.clear_rules(server)
    %{name: follow!(server, timeout: 5_000)}
  end

  describe "a custom payload" do
    @tag needs_v4: "a custom payload"
    test "goes to the server, and comes from it", %{server: server, name: name} do
      answered = %{"a" => <<0, 255>>, "none" => nil, "empty" => ""}
      Testkit.rule(server, contains: "(int)", reaction: :builtin, payload: answered)
      sent = [custom_payload: %{"to" => <<1, 2>>, "the" => "server"}]

      for call <- [
            fn -> Palladion.query(name, "INSERT void(int)", [], sent) end,
            fn -> Palladion.query(name, @echo, [1], sent) end,
            fn -> Palladion.batch(name, [{@void, [1]}], sent) end
          ] do
        assert {:ok, %Result{custom_payload: ^answered}} = call.()
        assert %{payload: %{"to" => <<1, 2>>, "the" => "server"}} = last(server)
      end

      Testkit.clear_rules(server)
      assert {:ok, %Result{custom_payload: empty}} = Palladion.query(name, @echo, [1])
      assert empty == %{}
      assert last(server).payload == %{}
    end

    @tag needs_v4: "a custom payload"
    test "may have many names, and is limited as a statement is", %{server: server, name: name} do
      many = Map.new(1..3_000, &{"#{&1}" <> String.duplicate("n", 200), ""})
      assert {:ok, _} = Palladion.query(name, "INSERT void(int)", [], custom_payload: many)
      assert last(server).payload == many

      long = String.duplicate("x", 60_000_000)
      options = [custom_payload: Map.new(1..5, &{"#{&1}", long})]

      for call <- [
            fn -> Palladion.query(name, @echo, [], options) end,
            fn -> Palladion.query(name, @echo, [1], options) end,
            fn -> Palladion.batch(name, [{@void, [1]}], options) end
          ] do
        assert {:error, %Error{reason: :bad_statement} = error} = call.()
        assert Exception.message(error) =~ "256 MiB"
      end
    end
  end

  @tag needs_v4: "warnings"
  test "a warning comes with any answer, and is told", %{server: server, name: name} do
    Testkit.rule(server, contains: "echo", reaction: :builtin, warnings: ["one", "two"])

    events =
      TelemetryEvents.capture(fn ->
        assert {:ok, %Result{warnings: ["one", "two"]}} = Palladion.query(name, @echo, [1])
      end)

    assert [_start, {[_, _, :warnings], %{count: 2}, %{warnings: ["one", "two"]}}, _stop] = events
  end

  @tag needs_v4: "warnings"
  test "a warning of a statement that is prepared is told, too", %{server: server, name: name} do
    Testkit.rule(server, opcode: :prepare, reaction: :builtin, warnings: ["one"])

    events =
      TelemetryEvents.capture(fn ->
        assert {:ok, _} = Palladion.prepare(name, "SELECT echo(int) -- warned of")
      end)

    assert [_start, {[_, _, :warnings], %{count: 1}, %{warnings: ["one"], node: node}}, stop] =
             events

    assert {_event, _measurements, %{node: ^node}} = stop
  end

  @tag needs_v4: "warnings"
  test "an error of the server has its trace and its warnings", %{server: server, name: name} do
    id = "00000000-0000-4000-8000-000000000007"
    error = {:error, @write_timeout ++ [write_type: "SIMPLE"]}
    warnings = ["Read 9 tombstones for query SELECT '#{id}'", "It is late"]
    rule = [contains: "void", tracing_id: id, warnings: warnings, reaction: error]
    Testkit.rule(server, rule)

    events =
      TelemetryEvents.capture(fn ->
        assert {:error, %Error{reason: :write_timeout, details: details}} =
                 Palladion.query(name, @void, [1], tracing: true)

        # A quoted statement may have values.
        shown = ["Read 9 tombstones for a query that is not shown", "It is late"]
        assert %{tracing_id: ^id, warnings: ^shown, received: 0} = details
        send(self(), {:shown, shown})
      end)

    assert_received {:shown, shown}
    assert [%{warnings: ^shown}] = for({[_, :query, :warnings], _, warned} <- events, do: warned)

    # Without either.
    Testkit.clear_rules(server)
    Testkit.rule(server, contains: "void", reaction: error)
    assert {:error, %Error{details: details}} = Palladion.query(name, @void, [1])
    refute is_map_key(details, :tracing_id) or is_map_key(details, :warnings)
  end

  test "options are on the wire as they were given", %{server: server, name: name} do
    options = [tracing: true, timestamp: 5, serial_consistency: :serial, consistency: :two]

    for call <- [
          fn -> Palladion.query(name, "INSERT void(int)", [], options) end,
          fn -> Palladion.query(name, @void, [1], options) end,
          fn -> Palladion.batch(name, [{@void, [1]}, {@void, [2]}], options) end
        ] do
      assert {:ok, %Result{tracing_id: id}} = call.()
      assert is_binary(id)

      assert %{tracing: true, timestamp: 5, consistency: :two, serial_consistency: :serial} =
               last(server)
    end
  end

  test "a batch has its type and statements", %{server: server, name: name} do
    for type <- [:logged, :unlogged, :counter] do
      assert {:ok, _} = Palladion.batch(name, [{@void, [1]}, "INSERT void(int)"], type: type)

      assert %{opcode: :batch, batch: ^type, statements: [%{values: 1}, %{values: 0}]} =
               last(server)
    end
  end

  describe "timestamps" do
    test "are the same for all attempts of a request", %{server: server, name: name} do
      for call <- [
            fn -> Palladion.query(name, @void, [1], idempotent: true) end,
            fn -> Palladion.batch(name, [{@void, [1]}, {@void, [2]}], idempotent: true) end
          ] do
        Palladion.query!(name, @void, [1])
        Testkit.clear_rules(server)
        overloaded = {:error, code: "0x1001", message: "busy"}
        Testkit.rule(server, contains: "void", times: 2, reaction: overloaded)
        assert {:ok, _} = call.()
        assert [one, two, three] = server |> writes() |> Enum.take(-3)
        assert %{timestamp: time} = one
        assert is_integer(time)
        assert %{timestamp: ^time} = two
        assert %{timestamp: ^time} = three
      end
    end

    test "are not sent with what reads, nor where the server has to make them", context do
      %{server: server, name: name} = context

      for {call, sent?} <- [
            {fn -> Palladion.query(name, @echo, [1]) end, false},
            {fn -> Palladion.query(name, @void, [1]) end, true},
            {fn -> Palladion.query(name, @void, [1], timestamp: :server) end, false},
            {fn -> Palladion.batch(name, [{@void, [1]}]) end, true},
            {fn -> Palladion.batch(name, [{@void, [1]}], timestamp: :server) end, false}
          ] do
        assert {:ok, _} = call.()
        assert is_integer(last(server).timestamp) == sent?
      end
    end
  end

  describe "a batch that failed" do
    for {type, write_type, again?} <- [
          {:logged, "BATCH_LOG", true},
          {:unlogged, "UNLOGGED_BATCH", true},
          # The server itself writes what is left of it.
          {:logged, "BATCH", false},
          {:counter, "COUNTER", false},
          # Not even where the server doesn't say what it was.
          {:counter, "SIMPLE", false}
        ] do
      test "as #{type} with #{write_type} is #{if again?, do: "", else: "not "}tried again",
           %{server: server, name: name} do
        late = {:error, @write_timeout ++ [write_type: unquote(write_type)]}
        statements = [{@void, [1]}, {@void, [2]}]

        for {idempotent, attempts} <- [{true, if(unquote(again?), do: 2, else: 1)}, {nil, 1}] do
          Testkit.clear_rules(server)
          Testkit.rule(server, opcode: :batch, times: 1, reaction: late)
          options = if idempotent, do: [idempotent: true], else: []
          options = [type: unquote(type)] ++ options

          events = TelemetryEvents.capture(fn -> Palladion.batch(name, statements, options) end)

          assert %{attempts: ^attempts, batch_size: 2} = stop(events)
        end
      end
    end

    test "before it was begun is tried again in any case", %{server: server, name: name} do
      unavailable =
        {:error, code: "0x1000", message: "no", consistency: :quorum, required: 2, alive: 1}

      for type <- [:logged, :unlogged, :counter] do
        Testkit.clear_rules(server)
        Testkit.rule(server, opcode: :batch, times: 1, reaction: unavailable)
        assert {:ok, _} = Palladion.batch(name, [{@void, [1]}], type: type)
      end
    end
  end

  describe "statements that every node has forgotten" do
    test "are prepared and executed where a request found that out", context do
      %{server: server, name: name} = context
      prepared = Palladion.prepare!(name, @echo)

      for statement <- [@echo, prepared] do
        Testkit.forget_prepared(server)
        assert {:ok, _} = Palladion.query(name, statement, [1])
        again = server |> Testkit.requests() |> Enum.take(-3)
        assert Enum.map(again, & &1.opcode) == [:execute, :prepare, :execute]
        assert again |> Enum.map(& &1.node) |> Enum.uniq() |> length() == 1
      end
    end

    test "are prepared again, one after the other, where the batch goes", context do
      %{server: server, name: name} = context
      statements = for n <- 1..20, do: {"INSERT void(int) -- #{n}", [n]}
      prepared = for {text, _} <- statements, do: Palladion.prepare!(name, text)
      assert {:ok, _} = Palladion.batch(name, statements)

      for batch <- [statements, Enum.zip(prepared, for(n <- 1..20, do: [n]))] do
        Testkit.forget_prepared(server)
        events = TelemetryEvents.capture(fn -> assert {:ok, _} = Palladion.batch(name, batch) end)
        assert %{attempts: 1, result: :ok} = stop(events)

        # Each asked for once, all at one node.
        again = server |> Testkit.requests() |> Enum.take(-40)
        assert again |> Enum.map(& &1.node) |> Enum.uniq() |> length() == 1
        assert for(%{opcode: :prepare} <- again, do: 1) |> length() >= 19
      end
    end

    test "and that can't be prepared any more are named by their place", context do
      %{server: server, name: name} = context
      assert {:ok, _} = Palladion.batch(name, [{@void, [1]}, {@echo, [1]}])
      Testkit.forget_prepared(server)
      invalid = {:error, code: "0x2200", message: "unconfigured table"}
      Testkit.rule(server, opcode: :prepare, contains: "echo", reaction: invalid)

      assert {:error, %Error{reason: :invalid, details: %{statement: 1}}} =
               Palladion.batch(name, [{@void, [1]}, {@echo, [1]}])
    end
  end

  defp last(server), do: server |> writes() |> List.last()

  # Without what the cluster itself asks for.
  defp writes(server) do
    for request <- Testkit.requests(server),
        request.opcode != :prepare,
        [%{text: text} | _] = request.statements,
        is_binary(text) and text =~ ~r/void|echo/,
        do: request
  end

  defp stop(events) do
    assert [stop] = for({[_, :query, :stop], _, stop} <- events, do: stop)
    stop
  end
end
