defmodule Palladion.Integration.RetriesTest do
  @moduledoc """
  What follows an error of a node, by the retry policy: which node has the next attempt, how many there are, and that all of them
  are within the request's timeout.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.{ConnectionError, Error}
  alias Palladion.Test.Policies.Retry
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log

  @select "SELECT numbers(1)"

  @unavailable [code: "0x1000", message: "no", consistency: :quorum, required: 2, alive: 1]
  @overloaded [code: "0x1001", message: "busy"]
  @bootstrapping [code: "0x1002", message: "soon"]
  @truncate_error [code: "0x1003", message: "no"]
  @server_error [code: "0x0000", message: "oops"]
  @syntax_error [code: "0x2000", message: "what"]
  @read_failure [code: "0x1300", message: "no", consistency: :quorum, received: 1, required: 2] ++
                  [failures: 1, data_present: false]
  @read_timeout [code: "0x1200", message: "late", consistency: :quorum]
  @write_timeout [code: "0x1100", message: "late", consistency: :quorum, received: 0, required: 1]

  setup_all do
    # The same nodes for all: what rules do is gone with them.
    %{server: Testkit.start_cluster!(nodes: 3, tls: false)}
  end

  setup %{server: server} do
    Testkit.clear_rules(server)
    %{name: follow!(server, timeout: 5_000)}
  end

  # An error once, and what follows where the statement may be executed twice, and where not.
  for {what, reaction, idempotent, otherwise} <- [
        {"unavailable", {:error, @unavailable}, :next, :next},
        {"overloaded", {:error, @overloaded}, :next, :none},
        {"is_bootstrapping", {:error, @bootstrapping}, :next, :next},
        {"truncate_error", {:error, @truncate_error}, :next, :none},
        {"server_error", {:error, @server_error}, :next, :none},
        {"syntax_error", {:error, @syntax_error}, :none, :none},
        {"read_failure", {:error, @read_failure}, :none, :none},
        {"read_timeout without the data",
         {:error, @read_timeout ++ [received: 2, required: 2, data_present: false]}, :same,
         :none},
        {"read_timeout with too few",
         {:error, @read_timeout ++ [received: 1, required: 2, data_present: true]}, :next, :none},
        {"write_timeout of one write", {:error, @write_timeout ++ [write_type: "SIMPLE"]}, :same,
         :none},
        {"write_timeout of a counter", {:error, @write_timeout ++ [write_type: "COUNTER"]}, :none,
         :none},
        {"a connection closed after the request was read", :close, :next, :none},
        {"a connection reset after the request was read", :reset, :next, :none}
      ] do
    test "#{what}: #{idempotent} node if idempotent, else #{otherwise}", context do
      for {idempotent?, expected} <- [{true, unquote(idempotent)}, {false, unquote(otherwise)}] do
        Testkit.clear_rules(context.server)
        await_connections(context.name)

        Testkit.rule(context.server,
          contains: "numbers",
          times: 1,
          reaction: unquote(Macro.escape(reaction))
        )

        assert {answer, retries, stop} = ask(context.name, @select, idempotent: idempotent?)

        case expected do
          :none ->
            assert {:error, _} = answer
            assert [] = retries
            assert %{attempts: 1, result: :error} = stop

          :next ->
            assert {:ok, %{num_rows: 1}} = answer
            assert [%{attempt: 1, decision: :retry_next, address: address}] = retries
            assert %{attempts: 2, result: :ok} = stop
            assert stop.address != address

          :same ->
            assert {:ok, %{num_rows: 1}} = answer
            assert [%{attempt: 1, decision: :retry_same, address: address}] = retries
            assert %{attempts: 2, result: :ok, address: ^address} = stop
        end
      end
    end
  end

  # A request with what was told of it: its retries, and its end.
  defp ask(name, statement, options) do
    events =
      TelemetryEvents.capture(fn ->
        send(self(), {:answer, Palladion.query(name, statement, [], options)})
      end)

    assert_received {:answer, answer}
    assert [stop] = for({[:palladion, :query, :stop], _, stop} <- events, do: stop)
    {answer, for({[:palladion, :query, :retry], _, retry} <- events, do: retry), stop}
  end

  test "three attempts, of which each is on another node", %{server: server, name: name} do
    Testkit.rule(server, contains: "numbers", reaction: {:error, @overloaded})
    assert {{:error, %Error{reason: :overloaded}}, retries, stop} = ask(name, @select, [])
    assert [%{attempt: 1, reason: :overloaded}, %{attempt: 2}] = retries
    assert %{attempts: 3, reason: :overloaded, status_code: 0x1001} = stop
    first = Enum.at(retries, 0).address
    assert Enum.at(retries, 1).address != first and stop.address != Enum.at(retries, 1).address
  end

  test "as many as max_attempts: says, of the cluster or of the request", context do
    Testkit.rule(context.server, contains: "numbers", reaction: {:error, @overloaded})
    name = follow!(context.server, retry: {:default, max_attempts: 5})
    assert {_, _, %{attempts: 5}} = ask(name, @select, [])
    assert {_, _, %{attempts: 2}} = ask(name, @select, retry: {:default, max_attempts: 2})
    assert {_, [], %{attempts: 1}} = ask(name, @select, retry: :none)
    name = follow!(context.server, retry: :none)
    assert {_, [], %{attempts: 1}} = ask(name, @select, [])
    assert {_, _, %{attempts: 3}} = ask(name, @select, retry: :default)
  end

  test "an unavailable node is left once", %{server: server, name: name} do
    Testkit.rule(server, contains: "numbers", reaction: {:error, @unavailable})
    assert {{:error, _}, [%{decision: :retry_next}], %{attempts: 2}} = ask(name, @select, [])
  end

  test "only a SELECT is idempotent without a word", %{server: server, name: name} do
    Testkit.rule(server, contains: "void", reaction: {:error, @overloaded})
    assert {_, [], _} = ask(name, "INSERT void(1)", [])
    assert {_, [_, _], _} = ask(name, "INSERT void(1)", idempotent: true)
  end

  describe "attempt_timeout:" do
    test "a node that hangs costs that long, and the next one answers", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "numbers", node: "127.0.0.2", reaction: :never)
      options = [attempt_timeout: 100]

      outcomes = for _ <- 1..6, do: :timer.tc(fn -> ask(name, @select, options) end)
      assert Enum.all?(outcomes, &match?({_, {{:ok, _}, _, _}}, &1))

      slow = for {us, {_, [retry], stop}} <- outcomes, do: {us, retry, stop}
      assert [{us, retry, stop} | _] = slow
      assert %{address: "127.0.0.2", reason: :attempt_timeout, decision: :retry_next} = retry
      assert %{attempts: 2} = stop
      assert stop.address != "127.0.0.2"
      assert us in 100_000..4_000_000
    end

    test "is the error where the request may not be sent again", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "void", reaction: :never)
      options = [attempt_timeout: 50]

      assert {{:error, %ConnectionError{reason: :attempt_timeout} = error}, [], stop} =
               ask(name, "INSERT void(1)", options)

      assert %{details: %{sent: true, timeout: 50, node: _}} = error
      assert %{attempts: 1, reason: :attempt_timeout} = stop
      assert stop.address in server.nodes
    end

    test "the request's own timeout is the limit of all attempts", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "numbers", reaction: :never)
      options = [attempt_timeout: 150, timeout: 400, retry: {:default, max_attempts: 100}]
      {us, {answer, retries, stop}} = :timer.tc(fn -> ask(name, @select, options) end)
      assert {:error, %ConnectionError{reason: :timeout, details: %{timeout: 400}}} = answer
      assert us in 400_000..4_000_000
      assert length(retries) == 2
      assert %{attempts: 3} = stop
      assert mailbox() == []
    end

    test "the first PREPARE on a node that hangs goes to another", %{server: server} do
      for node <- server.nodes do
        name = follow!(server, attempt_timeout: 100, timeout: 5_000)
        Testkit.rule(server, opcode: :prepare, node: node, reaction: :never)

        # Each is the first of its kind, and each node's turn comes.
        for n <- 1..4 do
          statement = "SELECT echo(int) -- #{n}"

          assert {:ok, %{rows: [%{"c0" => ^n}]}} = Palladion.query(name, statement, [n])
        end

        assert {:ok, _} = Palladion.prepare(name, "SELECT echo(text)")
        Testkit.clear_rules(server)
      end
    end

    test "all who wait for the same PREPARE on a node that hangs have an answer", context do
      %{server: server, name: name} = context
      Testkit.rule(server, opcode: :prepare, times: 1, reaction: :never)

      tasks =
        for n <- 1..20 do
          Task.async(fn ->
            Palladion.query(name, "SELECT echo(int)", [n], attempt_timeout: 200)
          end)
        end

      for {task, n} <- Enum.with_index(tasks, 1) do
        assert {:ok, %{rows: [%{"c0" => ^n}]}} = Task.await(task)
      end
    end
  end

  describe "a policy of one's own" do
    test "decides by the error, the attempt and the statement, and waits", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "numbers", times: 3, reaction: {:error, @server_error})
      test = self()

      policy = fn error, asked ->
        send(test, {:asked, error.reason, Map.delete(asked, :options)})
        if asked.attempt < 4, do: {:retry_same, 40 * asked.attempt}, else: :give_up
      end

      {us, {answer, retries, stop}} =
        :timer.tc(fn -> ask(name, @select, retry: {Retry, policy}) end)

      assert {:ok, _} = answer
      assert us >= 240_000
      assert [%{decision: :retry_same}, _, _] = retries
      assert [stop.address] == retries |> Enum.map(& &1.address) |> Enum.uniq()
      assert %{attempts: 4} = stop

      for n <- 1..3 do
        assert_received {:asked, :server_error,
                         %{attempt: ^n, idempotent: true, statement: @select}}
      end
    end

    test "whose pause is longer than there is time ends the request at once", context do
      Testkit.rule(context.server, contains: "numbers", reaction: {:error, @server_error})
      options = [retry: {Retry, {:retry_next, 10_000}}, timeout: 5_000]
      {us, {answer, [], stop}} = :timer.tc(fn -> ask(context.name, @select, options) end)
      assert {:error, %Error{reason: :server_error}} = answer
      assert %{attempts: 1} = stop
      assert us < 4_000_000
    end

    test "that never gives up ends with the timeout", %{server: server, name: name} do
      Testkit.rule(server, contains: "numbers", reaction: {:error, @server_error})
      options = [retry: {Retry, {:retry_next, 1}}, timeout: 200]
      {us, {answer, retries, stop}} = :timer.tc(fn -> ask(name, @select, options) end)
      assert {:error, %{reason: reason}} = answer
      assert reason in [:server_error, :timeout]
      assert us in 150_000..4_000_000
      assert length(retries) == stop.attempts - 1
    end

    test "that raises or answers nonsense gives up, and the span ends", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "numbers", reaction: {:error, @server_error})

      for policy <- [fn _, _ -> raise "oh no" end, :perhaps] do
        events =
          TelemetryEvents.capture(fn ->
            assert {:error, %Error{reason: :server_error}} =
                     Palladion.query(name, @select, [], retry: {Retry, policy})
          end)

        assert [:start, :stop] = for({[_, :query, event], _, _} <- events, do: event)
      end
    end

    test "is asked once about a PREPARE that a request needs", context do
      %{server: server, name: name} = context
      test = self()

      policy = fn error, context ->
        send(test, {:asked, error.reason, context.attempt})
        :give_up
      end

      Testkit.rule(server, opcode: :prepare, times: 2, reaction: {:error, @overloaded})
      options = [retry: {Retry, policy}, idempotent: true]

      assert {:error, %Error{reason: :overloaded}} =
               Palladion.query(name, "SELECT echo(int) -- once", [1], options)

      assert_received {:asked, :overloaded, 1}
      refute_received {:asked, _reason, _attempt}

      # Which a node that is slow to prepare has not done either: the request was not sent.
      Testkit.clear_rules(server)
      Testkit.rule(server, opcode: :prepare, reaction: :never)

      assert {:error, %ConnectionError{reason: :attempt_timeout, details: %{sent: false}}} =
               Palladion.query(
                 name,
                 "SELECT echo(int) -- never",
                 [1],
                 [attempt_timeout: 50] ++ options
               )

      assert_received {:asked, :attempt_timeout, 1}
      refute_received {:asked, _reason, _attempt}
    end

    test "retries a PREPARE at another node than the one whose error it was", %{test: test} do
      server = Testkit.start_cluster!(nodes: 2)
      name = follow!(server)
      await_connections(name)
      Testkit.rule(server, node: "127.0.0.2", opcode: :prepare, reaction: {:error, @overloaded})
      once = fn _error, context -> if context.attempt == 1, do: :retry_next, else: :give_up end

      for number <- 1..10 do
        statement = "SELECT echo(int) -- #{test} #{number}"
        assert {:ok, _} = Palladion.query(name, statement, [1], retry: {Retry, once})
      end

      assert {:error, %Error{reason: :overloaded, details: %{node: node}}} =
               Enum.find_value(1..50, fn number ->
                 statement = "SELECT echo(int) -- #{test} once #{number}"
                 found = Palladion.prepare(name, statement, retry: :none)
                 if match?({:error, _}, found), do: found
               end)

      assert is_binary(node)
    end

    test "isn't asked for what was never written, nor where a node forgot the statement",
         context do
      %{server: server, name: name} = context
      prepared = Palladion.prepare!(name, "SELECT echo(int)")
      Testkit.forget_prepared(server)
      policy = fn _error, _context -> raise "asked" end
      assert {:ok, _} = Palladion.execute(name, prepared, [1], retry: {Retry, policy})
    end
  end

  describe "a submitted request" do
    test "is tried again by who awaits it", %{server: server, name: name} do
      Testkit.rule(server, contains: "numbers", times: 2, reaction: {:error, @overloaded})
      {:ok, pending} = Palladion.submit(name, @select)
      assert {:ok, %{num_rows: 1}} = Palladion.await(pending)

      Testkit.rule(server, contains: "numbers", times: 1, reaction: :close)
      {:ok, pending} = Palladion.submit(name, @select)
      assert {:ok, %{num_rows: 1}} = Palladion.await(pending)
      assert mailbox() == []
    end

    test "is given up at a node that hangs, from when it was submitted", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "numbers", times: 1, reaction: :never)
      {:ok, pending} = Palladion.submit(name, @select, [], attempt_timeout: 150)
      Process.sleep(200)
      assert {:ok, %{num_rows: 1}} = Palladion.await(pending)
      assert mailbox() == []
    end

    test "ends with its timeout, however many attempts there are", context do
      %{server: server, name: name} = context
      Testkit.rule(server, contains: "numbers", reaction: :never)
      options = [attempt_timeout: 100, timeout: 350, retry: {:default, max_attempts: 100}]
      {:ok, pending} = Palladion.submit(name, @select, [], options)
      {us, answer} = :timer.tc(fn -> Palladion.await(pending) end)
      assert {:error, %ConnectionError{reason: :timeout}} = answer
      assert us in 300_000..4_000_000
      assert mailbox() == []
    end
  end
end
