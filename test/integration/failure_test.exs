defmodule Palladion.Integration.FailureTest do
  @moduledoc """
  Servers that go away, and callers who don't wait: everyone has an answer, in time, once.
  """

  use ExUnit.Case, async: false

  import ExUnit.CaptureLog
  import Palladion.Test.Clusters

  alias Palladion.{ConnectionError, Error}
  alias Palladion.Test.{Cassandra, TelemetryEvents, Testkit}

  @moduletag :capture_log

  @callers 64

  describe "a real server killed in the middle of traffic" do
    @describetag :cassandra
    @describetag :managed_server
    @describetag timeout: 180_000

    test "costs each caller an error within its timeout, and comes back" do
      server = Cassandra.server(:tls, name: :failure)
      name = ready_cluster!(server, pool: [size: 4], reconnect: [min: 100, max: 1_000])
      select = Palladion.prepare!(name, "SELECT cluster_name FROM system.local WHERE key = ?")
      timeout = 2_000
      answers = :counters.new(@callers, [])
      stop = :atomics.new(1, [])

      callers =
        for caller <- 1..@callers do
          call = fn ->
            with {:ok, _} = answer <- Palladion.execute(name, select, ["local"], timeout: timeout) do
              :counters.add(answers, caller, 1)
              answer
            end
          end

          Task.async(fn -> call_until(stop, call, %{errors: []}) end)
        end

      await_answers(answers)
      Cassandra.kill(server)
      Cassandra.restart(server)
      await_answers(answers)
      :atomics.put(stop, 1, 1)

      for caller <- callers do
        %{errors: [_ | _] = errors, longest: longest} = Task.await(caller, 60_000)
        # None hung: each call ended within its own timeout, give or take the scheduler.
        assert longest < timeout + 2_000

        for error <- errors do
          assert %ConnectionError{reason: reason} = error
          assert reason in [:connection_lost, :connection_closed, :timeout, :no_connection]
        end
      end

      eventually("the pool is whole again", fn ->
        {:ok, %{endpoints: [%{connections: connections}]}} = Palladion.status(name)
        length(connections) == 4
      end)

      assert {:ok, %{num_rows: 1}} = Palladion.execute(name, select, ["local"])
      assert mailbox() == []
    end
  end

  # Each caller has one more than now.
  defp await_answers(answers) do
    now = for caller <- 1..@callers, do: {caller, :counters.get(answers, caller)}
    more = fn {caller, before} -> :counters.get(answers, caller) > before end
    eventually("all callers are answered", fn -> Enum.all?(now, more) end, 2_400)
  end

  defp call_until(stop, call, seen) do
    if :atomics.get(stop, 1) == 1 do
      assert mailbox() == []
      Map.put_new(seen, :longest, 0)
    else
      before = System.monotonic_time(:millisecond)
      answer = call.()
      took = System.monotonic_time(:millisecond) - before
      seen = Map.update(seen, :longest, took, &max(&1, took))

      case answer do
        {:ok, %{rows: [%{"cluster_name" => _}]}} ->
          call_until(stop, call, seen)

        {:error, error} ->
          # What is refused at once would take the processor that the server needs to start.
          Process.sleep(20)
          call_until(stop, call, %{seen | errors: [error | seen.errors]})
      end
    end
  end

  test "after a timeout no message follows, and nobody gets another's answer" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "echo(int)", delay: 30, probability: 0.5, reaction: :builtin)
    name = ready_cluster!(server, [])
    echo = Palladion.prepare!(name, "SELECT echo(int)")

    results =
      1..@callers
      |> Task.async_stream(
        fn caller ->
          outcomes =
            for n <- 1..40 do
              question = caller * 1_000 + n

              case Palladion.execute(name, echo, [question], timeout: Enum.random([5, 20, 1_000])) do
                {:ok, %{rows: [%{"c0" => answer}]}} ->
                  assert answer == question
                  :answered

                {:error, %ConnectionError{reason: :timeout}} ->
                  :timeout
              end
            end

          Process.sleep(100)
          assert mailbox() == []
          outcomes
        end,
        max_concurrency: @callers,
        timeout: 60_000
      )
      |> Enum.flat_map(fn {:ok, outcomes} -> outcomes end)

    assert :timeout in results and :answered in results

    eventually("all late answers have come", fn ->
      {:ok, status} = Palladion.status(name)
      {status.in_flight, status.orphans} == {0, 0}
    end)
  end

  test "a caller that dies in between troubles nobody" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "late", delay: 50, reaction: :builtin)
    name = ready_cluster!(server, [])

    for _ <- 1..50 do
      {pid, monitor} = spawn_monitor(fn -> Palladion.query(name, "SELECT numbers(3) -- late") end)
      Process.exit(pid, :kill)
      assert_receive {:DOWN, ^monitor, :process, ^pid, _}
    end

    assert {:ok, %{num_rows: 3}} = Palladion.query(name, "SELECT numbers(3)")
  end

  test "queries before the first connection wait for it" do
    server = Testkit.start_server(tls: false)
    Testkit.refuse(server)
    name = start_cluster!(server, reconnect: [min: 50, max: 100])
    waiting = for _ <- 1..20, do: Task.async(fn -> Palladion.query(name, "SELECT numbers(2)") end)
    eventually("an attempt failed", fn -> stat(name, :connect_failures) > 0 end)
    Testkit.listen(server)
    for task <- waiting, do: assert({:ok, %{num_rows: 2}} = Task.await(task))
  end

  test "more than may wait are refused at once" do
    server = Testkit.start_server(tls: false)
    Testkit.refuse(server)
    name = start_cluster!(server, pool: [max_waiters: 2])

    waiting =
      for _ <- 1..5 do
        Task.async(fn -> Palladion.query(name, "SELECT 1", [], timeout: 1_000) end)
      end

    reasons = for task <- waiting, do: elem(Task.await(task), 1).reason
    assert Enum.count(reasons, &(&1 == :no_connection)) == 2
    assert Enum.count(reasons, &(&1 == :too_many_waiters)) == 3
  end

  test "what was not sent when a connection ended is sent on another" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "never", reaction: :never)

    name =
      ready_cluster!(server, pool: [size: 1, max_in_flight: 1], reconnect: [min: 20, max: 50])

    before = Testkit.counters(server)[:query]
    stuck = Task.async(fn -> Palladion.query(name, "SELECT never", [], retry: :none) end)
    eventually("it was sent", fn -> Testkit.counters(server)[:query] == before + 1 end)
    queued = Task.async(fn -> Palladion.query(name, "SELECT numbers(2)") end)
    eventually("it is queued", fn -> status(name).in_flight == 2 end)
    Testkit.close_connections(server)
    assert {:error, %ConnectionError{details: %{sent: true}}} = Task.await(stuck)
    assert {:ok, %{num_rows: 2}} = Task.await(queued)
  end

  test "a statement prepared on a node that forgot it, without an end" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, [])
    echo = Palladion.prepare!(name, "SELECT echo(int)")
    Testkit.forget_prepared(server)
    assert {:ok, %{rows: [%{"c0" => 7}]}} = Palladion.execute(name, echo, [7])
  end

  test "however many ask for a statement at once, it is prepared once" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, opcode: :prepare, delay: 200, reaction: :builtin)
    name = ready_cluster!(server, [])

    # The first gives up; the others have the answer all the same.
    first = Task.async(fn -> Palladion.query(name, "SELECT echo(int)", [0], timeout: 50) end)
    eventually("it was asked for", fn -> Testkit.counters(server)[:prepare] == 1 end)

    others =
      for n <- 1..@callers do
        Task.async(fn -> Palladion.query(name, "SELECT echo(int)", [n]) end)
      end

    assert {:error, %ConnectionError{reason: :timeout}} = Task.await(first)

    for {task, n} <- Enum.with_index(others, 1) do
      assert {:ok, %{rows: [%{"c0" => ^n}]}} = Task.await(task)
    end

    assert %{prepare: 1, execute: @callers} = Testkit.counters(server)
  end

  test "a statement that can't be prepared is told to all who asked" do
    server = Testkit.start_server(tls: false)

    Testkit.rule(server,
      opcode: :prepare,
      delay: 50,
      reaction: :error,
      code: "0x2000",
      message: "no"
    )

    name = ready_cluster!(server, [])
    tasks = for _ <- 1..10, do: Task.async(fn -> Palladion.prepare(name, "SELECT what") end)

    for task <- tasks do
      assert {:error, %Error{reason: :syntax_error, message: "no"}} = Task.await(task)
    end
  end

  test "a submitted request is awaited once, and asking again doesn't hang" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "never", reaction: :never)
    name = ready_cluster!(server, [])
    {:ok, pending} = Palladion.submit(name, "SELECT numbers(1)", [], timeout: :infinity)
    assert {:ok, %{num_rows: 1}} = Palladion.await(pending)
    assert {:error, %ConnectionError{reason: :already_awaited}} = Palladion.await(pending)
    assert :ok = Palladion.cancel(pending)

    {:ok, pending} = Palladion.submit(name, "SELECT never")

    assert {:error, %ConnectionError{reason: :timeout, details: %{timeout: 20}}} =
             Palladion.await(pending, 20)

    assert {:error, %ConnectionError{reason: :already_awaited}} = Palladion.await(pending)

    {:ok, pending} = Palladion.submit(name, "SELECT never")
    assert :ok = Palladion.cancel(pending)
    assert {:error, %ConnectionError{reason: :already_awaited}} = Palladion.await(pending)
    assert mailbox() == []
  end

  test "a submitted request is its process's, and others are told so" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, [])
    {:ok, pending} = Palladion.submit(name, "SELECT numbers(1)")

    for take <- [&Palladion.await/1, &Palladion.cancel/1] do
      task = Task.async(fn -> catch_error(take.(pending)) end)
      assert %ArgumentError{message: message} = Task.await(task)
      assert message =~ "only the process that submitted a request can await or cancel it"
      assert message =~ inspect(self())
    end

    assert {:ok, %{num_rows: 1}} = Palladion.await(pending)
    assert mailbox() == []
  end

  test "a request that changes the schema is one span, until the nodes agree" do
    text = fn text -> <<byte_size(text)::16, text::binary>> end
    body = <<5::32>> <> text.("CREATED") <> text.("KEYSPACE") <> text.("shop")
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "CREATE KEYSPACE", reaction: {:frame, body: body})
    name = ready_cluster!(server, pool: [size: 1])
    Testkit.rule(server, contains: "system.peers", delay: 200, reaction: :builtin)

    events =
      TelemetryEvents.capture(fn ->
        assert %{schema_agreement: true} = Palladion.query!(name, "CREATE KEYSPACE shop")
      end)

    assert [:start, :stop] = for({[_, :query, event], _, _} <- events, do: event)

    assert [duration] =
             for({[_, :query, :stop], measurements, _} <- events, do: measurements.duration)

    assert System.convert_time_unit(duration, :native, :millisecond) >= 200
  end

  test "an answer too large to keep is told, and what to do" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, protocol: [max_response_size: 10_000])

    assert {:error, %Error{reason: :response_too_large} = error} =
             Palladion.query(name, "SELECT page(5000)")

    assert Exception.message(error) =~ "page_size"
    assert {:ok, %{num_rows: 2}} = Palladion.query(name, "SELECT numbers(2)")
  end

  test "a full queue refuses at once, or waits where it may" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "late", delay: 30, reaction: :builtin)
    limits = [size: 1, max_in_flight: 2, max_queue: 2]

    outcomes = fn name ->
      1..30
      |> Enum.map(fn _ ->
        Task.async(fn -> Palladion.query(name, "SELECT numbers(1) -- late") end)
      end)
      |> Enum.map(&Task.await/1)
      |> Enum.frequencies_by(fn
        {:ok, %{num_rows: 1}} -> :ok
        {:error, %ConnectionError{reason: reason}} -> reason
      end)
    end

    assert %{ok: ok, overloaded: overloaded} = outcomes.(ready_cluster!(server, pool: limits))
    assert ok + overloaded == 30
    assert outcomes.(ready_cluster!(server, pool: [max_overflow: 30] ++ limits)) == %{ok: 30}
  end

  test "USE is refused, for it would change one connection of many" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, [])

    for statement <- [" use shop", "/* x */ USE shop", "-- x\nUSE\"shop\"", "// x\rUSE shop"] do
      for call <- [
            &Palladion.query(name, &1),
            &Palladion.query(name, &1, %{}),
            &Palladion.prepare(name, &1)
          ] do
        assert {:error, %Error{reason: :bad_statement} = error} = call.(statement)
        assert Exception.message(error) =~ "keyspace:"
      end
    end

    before = Testkit.counters(server)[:query]
    assert {:ok, _} = Palladion.query(name, "user_defined")
    Testkit.wait(server, query: before + 1, prepare: 0)
  end

  test "a timeout that nobody can wait for is refused before anything is sent" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, [])
    before = Testkit.counters(server)[:query]

    for call <- [
          &Palladion.query(name, "SELECT 1", [], timeout: &1),
          &Palladion.await_ready(name, &1),
          &Palladion.reconnect(name, &1)
        ] do
      assert_raise ArgumentError, ~r/4,294,967,295/, fn -> call.(5_000_000_000) end
    end

    assert Testkit.counters(server)[:query] == before
    assert mailbox() == []
  end

  test "a crashed process is replaced, and queries go on" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, [])

    pids = fn ->
      for {id, pid, _, _} <- Supervisor.which_children(name), into: %{}, do: {id, pid}
    end

    before = pids.()
    assert map_size(before) == 4

    asking =
      Task.async(fn ->
        for _ <- 1..200, do: assert({:ok, _} = Palladion.query(name, "SELECT numbers(1)"))
      end)

    for {_id, pid} <- before, do: Process.exit(pid, :kill)
    Task.await(asking)

    eventually("others have their places", fn ->
      Enum.all?(pids.(), fn {id, pid} -> is_pid(pid) and pid != before[id] end)
    end)

    # It takes the events up again.
    assert capture_log(fn ->
             Testkit.close_connections(server)
             eventually("reconnected", fn -> stat(name, :connections_opened) >= 3 end)
             Process.sleep(50)
           end) =~ ":#{server.port}"
  end

  test "a supervisor killed without a word closes its connections" do
    server = Testkit.start_server(tls: false)
    Process.flag(:trap_exit, true)
    {:ok, pid} = Palladion.start_link(options(server, name: :killed_without_a_word))
    :ok = Palladion.await_ready(:killed_without_a_word)
    Process.exit(pid, :kill)
    assert_receive {:EXIT, ^pid, :killed}
    eventually("the server sees them gone", fn -> Testkit.counters(server)[:open] == 0 end)

    assert {:error, %ConnectionError{reason: :closed}} =
             Palladion.query(:killed_without_a_word, "SELECT 1")
  end

  test "stopping waits for what is under way, and then everything is closed" do
    server = Testkit.start_server(tls: false)
    Testkit.rule(server, contains: "late", delay: 300, reaction: :builtin)
    name = ready_cluster!(server, [])
    before = Testkit.counters(server)[:query]
    late = Task.async(fn -> Palladion.query(name, "SELECT numbers(2) -- late") end)
    eventually("it was sent", fn -> Testkit.counters(server)[:query] == before + 1 end)
    :ok = stop_supervised(name)
    assert {:ok, %{num_rows: 2}} = Task.await(late)
    assert {:error, %ConnectionError{reason: :closed}} = Palladion.query(name, "SELECT 1")
    assert {:error, %ConnectionError{reason: :closed}} = Palladion.status(name)
    eventually("the server sees them gone", fn -> Testkit.counters(server)[:open] == 0 end)
  end

  test "a name that nobody started" do
    assert {:error, %ConnectionError{reason: :unknown_cluster}} =
             Palladion.query(:nobody_started_this, "SELECT 1")
  end

  test "sync_connect waits, and says why it was in vain" do
    server = Testkit.start_server(tls: false)

    assert {:ok, pid} =
             Palladion.start_link(options(server, name: :sync_one, sync_connect: 5_000))

    assert {:ok, %{num_rows: 1}} = Palladion.query(:sync_one, "SELECT numbers(1)")
    Supervisor.stop(pid)
    Testkit.refuse(server)

    assert {:error, %ConnectionError{reason: :no_connection, details: details}} =
             Palladion.start_link(options(server, name: :sync_two, sync_connect: 300))

    assert {:connection_refused, _} = details.last_error
    assert Process.whereis(:sync_two) == nil
  end

  test "a row that can't be decoded is an error, not a crash" do
    server = Testkit.start_server(tls: false)
    name = ready_cluster!(server, [])
    # Of the kind Rows, and then nothing.
    Testkit.rule(server, contains: "broken", reaction: {:frame, body: <<2::32>>})

    assert {:error, %Error{reason: :decode_failed}} = Palladion.query(name, "SELECT broken")
    assert {:ok, %{num_rows: 1}} = Palladion.query(name, "SELECT numbers(1)")
  end

  defp stat(name, counter) do
    {:ok, stats} = Palladion.stats(name)
    Map.fetch!(stats, counter)
  end

  defp status(name) do
    {:ok, status} = Palladion.status(name)
    status
  end
end
