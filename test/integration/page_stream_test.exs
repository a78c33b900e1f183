defmodule Palladion.Integration.PageStreamTest do
  @moduledoc "When a stream asks for its pages, as the server sees it, and what it leaves behind."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{ConnectionError, Error, Result}
  alias Palladion.Test.Structs.Money
  alias Palladion.Test.{Memory, TelemetryEvents, Testkit}

  @moduletag :capture_log

  @select "SELECT feed"
  @refused {:error, code: "0x2000", message: "no"}
  @failed {:error, code: "0x0000", message: "oops"}

  setup_all do
    %{server: Testkit.start_server(tls: false)}
  end

  setup %{server: server} do
    Testkit.clear_rules(server)
    Testkit.forget_prepared(server)
    name = ready_cluster!(server, pool: [size: 1], shutdown_timeout: 200)
    Testkit.reset_counters(server)
    %{name: name}
  end

  # A reaction for each request of the statement, in their order.
  defp script(server, reactions) do
    for reaction <- reactions do
      {delay, reaction} =
        case reaction do
          {:late, ms, reaction} -> {[delay: ms], reaction}
          reaction -> {[], reaction}
        end

      rule = [equals: @select, bind: "part int", times: 1, reaction: reaction]
      :ok = Testkit.rule(server, rule ++ delay)
    end
  end

  defp page(ns, more \\ nil) do
    {:rows,
     [columns: "n int", rows: Enum.map_join(ns, ", ", &"(#{&1})")] ++
       if(more, do: [paging_state: more], else: [])}
  end

  defp stream(name, options \\ []), do: Palladion.stream(name, @select, [7], options)

  defp asked(server), do: Testkit.counters(server).execute

  # Consumes a stream in such a way that each page, or what came of it, is there before it is wanted.
  defp unhurried(stream, pages) do
    for %{"n" => n} <- stream do
      if n < pages, do: await_answer()
      n
    end
  end

  defp await_answer do
    eventually("the next page's answer is there", fn ->
      Enum.any?(mailbox(), &match?({ref, _reply} when is_reference(ref), &1))
    end)
  end

  defp nothing_left(name) do
    eventually("no request is under way", fn ->
      {:ok, status} = Palladion.status(name)
      {status.in_flight, status.orphans} == {0, 0}
    end)

    assert mailbox() == []
  end

  test "has the rows of all pages, in their order", %{server: server, name: name} do
    script(server, [page([1, 2], "a"), page([], "b"), page([], "c"), page([3], "d"), page([])])
    assert Enum.map(stream(name), & &1["n"]) == [1, 2, 3]
    assert asked(server) == 5
    nothing_left(name)
  end

  test "of pages has those without rows, too", %{server: server, name: name} do
    script(server, [page([1, 2], "a"), page([], "b"), page([3])])
    pages = name |> Palladion.pages(@select, [7], rows: :columns) |> Enum.to_list()

    assert [
             %Result{rows: %{"n" => [1, 2]}, paging_state: "a"},
             %Result{num_rows: 0, paging_state: "b"},
             %Result{rows: %{"n" => [3]}, paging_state: nil}
           ] = pages
  end

  test "has its rows as the first of two options says", %{server: server, name: name} do
    script(server, [page([1], "a"), page([2])])
    assert name |> stream(rows: :lists, rows: :columns) |> Enum.to_list() == [[1], [2]]
  end

  test "of a statement without rows is empty", %{name: name} do
    assert name |> Palladion.stream("INSERT void(int)", [7]) |> Enum.to_list() == []

    assert [%Result{kind: :void}] =
             name |> Palladion.pages("INSERT void(int)", [7]) |> Enum.to_list()
  end

  test "asks for nothing before its first row is wanted, and then a page ahead", context do
    %{server: server, name: name} = context
    script(server, [page([1, 2], "a"), page([3], "b"), page([4])])
    stream = name |> stream() |> Stream.map(& &1["n"])
    assert asked(server) == 0

    seen = fn n ->
      # The page of this row, and the one after it.
      Testkit.wait(server, execute: Map.fetch!(%{1 => 2, 2 => 2, 3 => 3, 4 => 3}, n))
      n
    end

    assert Enum.map(stream, seen) == [1, 2, 3, 4]
  end

  test "runs again when it is enumerated again", %{server: server, name: name} do
    stream = stream(name)

    for _ <- 1..2 do
      script(server, [page([1], "a"), page([2])])
      assert Enum.map(stream, & &1["n"]) == [1, 2]
    end

    assert asked(server) == 4
  end

  test "can be zipped with another", %{server: server, name: name} do
    script(server, [page([1], "a"), page([2], "b"), page([3], "c"), page([4], "d")])
    script(server, [page([5]), page([6])])
    both = Stream.zip(stream(name), stream(name))

    assert both |> Enum.flat_map(&Tuple.to_list/1) |> Enum.map(& &1["n"]) |> Enum.sort() ==
             Enum.to_list(1..6)

    nothing_left(name)
  end

  describe "left early," do
    for {what, ms} <- [
          {"with its next page there", 0},
          {"with its next page under way", 300}
        ] do
      test "#{what}, it leaves no message", %{server: server, name: name} do
        for leave <- [
              fn stream -> assert [%{"n" => 1}] = Enum.take(stream, 1) end,
              fn stream ->
                assert_raise RuntimeError, fn -> Enum.each(stream, fn _ -> raise "no" end) end
              end,
              fn stream -> assert catch_throw(Enum.each(stream, &throw/1)) == %{"n" => 1} end,
              fn stream -> assert [{%{"n" => 1}, :one}] = Enum.zip(stream, [:one]) end
            ] do
          Testkit.clear_rules(server)
          script(server, [page([1], "a"), {:late, unquote(ms), page([2])}])
          leave.(stream(name))
          nothing_left(name)
        end
      end
    end
  end

  describe "a page that goes wrong while the one before is consumed" do
    test "is asked for once more", %{server: server, name: name} do
      script(server, [page([1], "a"), @failed, page([2])])
      assert name |> stream() |> unhurried(2) == [1, 2]
      assert asked(server) == 3
    end

    test "has all of its attempts then, and no more", %{server: server, name: name} do
      script(server, [page([1], "a"), @failed | List.duplicate(@failed, 9)])
      stream = stream(name, retry: {:default, max_attempts: 3})
      assert_raise Error, ~r/server_error/, fn -> unhurried(stream, 2) end
      assert asked(server) == 1 + 1 + 3
      nothing_left(name)
    end

    test "is raised where it would only go wrong in the same way", context do
      %{server: server, name: name} = context
      script(server, [page([1], "a"), @refused, page([2])])
      assert_raise Error, ~r/syntax_error/, fn -> name |> stream() |> unhurried(2) end
      assert asked(server) == 2
      nothing_left(name)
    end

    test "is prepared again where the server has forgotten it, within its request", context do
      %{server: server, name: name} = context
      forgotten = {:error, code: "0x2500", message: "gone", id_bytes: <<7>>}
      script(server, [page([1], "a"), forgotten, page([2])])
      telemetry = fn -> assert name |> stream(retry: :none) |> unhurried(2) == [1, 2] end

      stops =
        for {[_, :query, :stop], _, metadata} <- TelemetryEvents.capture(telemetry), do: metadata

      assert for(stop <- stops, do: {stop.result, stop.attempts}) == [{:ok, 1}, {:ok, 1}]
      assert asked(server) == 3
    end

    test "is asked for once more when its time is over", %{server: server, name: name} do
      script(server, [page([1], "a"), :never, page([2])])

      rows =
        for %{"n" => n} <- stream(name, timeout: 200) do
          # Longer than the page may take.
          if n == 1, do: Process.sleep(250)
          n
        end

      assert rows == [1, 2]
      assert asked(server) == 3
      assert mailbox() == []
    end

    test "is raised when it goes wrong again, after the rows before it", context do
      %{server: server, name: name} = context
      script(server, [page([1, 2], "a"), @failed, @failed])

      assert_raise Error, ~r/server_error/, fn ->
        for %{"n" => n} <- stream(name, retry: :none) do
          if n == 1, do: await_answer()
          send(self(), n)
        end
      end

      assert_received 1
      assert_received 2
      nothing_left(name)
    end

    test "is raised when the cluster is stopped", %{server: server, name: name} do
      script(server, [page([1], "a"), {:late, 5_000, page([2])}])

      error =
        assert_raise ConnectionError, fn ->
          name |> stream() |> Enum.each(fn _row -> :ok = Palladion.stop(name) end)
        end

      assert error.reason == :closed
      assert mailbox() == []
    end
  end

  describe "a page that goes wrong while it is waited for" do
    test "has the attempts of one request", %{server: server, name: name} do
      script(server, [page([1], "a"), {:late, 500, @failed} | List.duplicate(@failed, 9)])
      stream = stream(name, retry: {:default, max_attempts: 2})
      assert_raise Error, ~r/server_error/, fn -> Enum.to_list(stream) end
      assert asked(server) == 1 + 2
      nothing_left(name)
    end

    test "has the time of one request", %{server: server, name: name} do
      script(server, [page([1], "a"), :never, page([2])])

      error =
        assert_raise ConnectionError, fn -> name |> stream(timeout: 500) |> Enum.to_list() end

      assert %{reason: :timeout, details: %{timeout: 500}} = error
      assert asked(server) == 2
      assert mailbox() == []
    end
  end

  test "a page that has arrived keeps, however long its rows before take", context do
    %{server: server, name: name} = context
    script(server, [page([1], "a"), page([2])])

    rows =
      for row <- stream(name, timeout: 200) do
        Testkit.wait(server, execute: 2)
        # Longer than the page may take.
        if row["n"] == 1, do: Process.sleep(250)
        row["n"]
      end

    assert rows == [1, 2]
    assert asked(server) == 2
  end

  @tag timeout: 60_000
  test "a page that has arrived is not held back by one that can't be asked for", context do
    %{server: server, name: name} = context
    script(server, [page([1], "a"), page([2], "b"), page([3])])

    rows =
      for %{"n" => n} <- stream(name, timeout: :infinity) do
        if n == 1 do
          eventually("the next page is there", fn -> mailbox() != [] end)
          Testkit.refuse(server)
          Testkit.close_connections(server)

          eventually("it is gone", fn ->
            match?({:ok, %{phase: :disconnected}}, Palladion.status(name))
          end)
        end

        if n == 2, do: Testkit.listen(server)
        n
      end

    assert rows == [1, 2, 3]
  end

  test "values that encode themselves don't keep it from asking ahead", context do
    %{server: server, name: name} = context
    rule = [equals: @select, bind: "part decimal"]
    Testkit.rule(server, rule ++ [times: 1, reaction: page([1], "a")])
    Testkit.rule(server, rule ++ [times: 1, reaction: page([2])])
    stream = Palladion.stream(name, @select, [%Money{cents: 1}])
    for _row <- stream, do: Testkit.wait(server, execute: 2)
  end

  test "a page that its consumer takes late is not slow", context do
    %{server: server} = context
    name = ready_cluster!(server, pool: [size: 1], slow_query_threshold: 150)
    script(server, [page([1], "a"), page([2], "b"), {:late, 200, page([3])}])

    events =
      TelemetryEvents.capture(fn ->
        for row <- stream(name), row["n"] == 1, do: Process.sleep(200)
      end)

    # The last one's answer came late indeed.
    assert [slow] = for({[_, :query, :slow], _, metadata} <- events, do: metadata)
    assert slow.returned_rows == 1
    stops = for {[_, :query, :stop], _, metadata} <- events, do: metadata

    assert length(stops) == 3 and
             List.last(stops).telemetry_span_context == slow.telemetry_span_context
  end

  test "the first page's error is raised, and nothing is asked twice", context do
    %{server: server, name: name} = context
    script(server, [@refused])
    assert_raise Error, ~r/syntax_error/, fn -> name |> stream() |> Enum.to_list() end
    assert asked(server) == 1
    nothing_left(name)
  end

  test "the messages of others stay", %{server: server, name: name} do
    script(server, [page([1], "a"), page([2], "b"), page([3])])
    for n <- 1..10, do: send(self(), {:mine, n})
    assert name |> stream() |> Enum.map(& &1["n"]) == [1, 2, 3]
    assert mailbox() == for(n <- 1..10, do: {:mine, n})
  end

  test "each page's request is told of", %{server: server, name: name} do
    script(server, [page([1], "a"), @failed, page([2])])
    events = TelemetryEvents.capture(fn -> name |> stream() |> unhurried(2) end)

    stops = for {[:palladion, :query, :stop], _, metadata} <- events, do: metadata

    assert for(stop <- stops, do: {stop.result, stop.returned_rows}) == [
             {:ok, 1},
             {:error, nil},
             {:ok, 1}
           ]
  end

  test "the page that nobody took is told of, and not as a failure", context do
    %{server: server, name: name} = context
    script(server, [page([1], "a"), page([2])])
    events = TelemetryEvents.capture(fn -> Enum.take(stream(name), 1) end)

    stops = for {[:palladion, :query, :stop], _, metadata} <- events, do: metadata
    assert for(stop <- stops, do: {stop.result, stop.error}) == [{:ok, nil}, {:cancelled, nil}]
  end

  # The same from a real server is in stream_test.exs, where loading the rows takes long.
  @tag timeout: 600_000
  test "1,000,000 rows take the memory of two pages", %{server: server, name: name} do
    rule = [equals: @select, bind: "part int"]

    pages = fn ->
      Testkit.clear_rules(server)
      :ok = Testkit.rule(server, rule ++ [times: 999, reaction: page(1..1_000, "more")])
      :ok = Testkit.rule(server, rule ++ [reaction: page(1..1_000)])
    end

    # What grows once has grown by then.
    pages.()
    assert name |> stream(timeout: 60_000) |> Stream.take(50_000) |> Enum.count() == 50_000
    nothing_left(name)
    pages.()
    before = Memory.now()

    {count, most} =
      name
      |> stream(timeout: 60_000)
      |> Enum.reduce({0, before}, fn _row, {count, most} ->
        most = if rem(count, 10_000) == 0, do: Memory.higher(most, Memory.now()), else: most
        {count + 1, most}
      end)

    assert count == 1_000_000
    # As rows they are more than 100 bytes each.
    mib = 1024 * 1024
    assert most.process < 8 * mib
    assert most.total - before.total < 16 * mib
    assert most.rss - before.rss < 32 * mib
  end

  test "a cluster that there is not is raised when it is asked" do
    stream = Palladion.stream(:no_such_cluster, @select)
    assert_raise ConnectionError, ~r/no_such_cluster/, fn -> Enum.to_list(stream) end
  end
end
