defmodule Palladion.Integration.StreamTest do
  @moduledoc "Streams over the pages of a real server: what is in them, how they end, and what they cost."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{Error, Result}
  alias Palladion.Test.{Cassandra, Memory}

  @moduletag :cassandra
  @moduletag timeout: 1_200_000

  # `bin/soak stream` reads 1,000,000.
  @many String.to_integer(System.get_env("PALLADION_SOAK_STREAM", "200000"))
  @partitions 50
  @rows_a_batch 200
  @mib 1024 * 1024

  setup_all do
    server = Cassandra.server()
    options = [name: __MODULE__, pool: [size: 2], timeout: 60_000]
    {:ok, _} = Palladion.start_link(options(server, options))
    :ok = Palladion.await_ready(__MODULE__, 60_000)
    keyspace!(__MODULE__, "streams")
    table!("numbers")
    for part <- 1..3, do: fill("numbers", part, 1..1_000)
    :ok
  end

  defp table!(table) do
    create = "CREATE TABLE IF NOT EXISTS streams.#{table} "
    key = "PRIMARY KEY (part, n)"
    Palladion.query!(__MODULE__, create <> "(part int, n int, words text, #{key})")
  end

  # A batch as a prepared statement: nothing writes faster.
  defp fill(table, part, numbers) do
    insert = "INSERT INTO streams.#{table} (part, n, words) VALUES (?, ?, ?);"

    for numbers <- Enum.chunk_every(numbers, @rows_a_batch) do
      inserts = String.duplicate(insert, length(numbers))
      values = Enum.flat_map(numbers, &[part, &1, words(&1)])
      batch = "BEGIN UNLOGGED BATCH #{inserts} APPLY BATCH"
      write(batch, values)
    end
  end

  # A busy machine may take longer for a write than the server waits.
  defp write(batch, values) do
    case Palladion.query(__MODULE__, batch, values) do
      {:ok, _result} -> :ok
      {:error, %Error{reason: :write_timeout}} -> write(batch, values)
    end
  end

  defp words(n), do: "the words of the row with the number #{n}, and some that all rows have"

  @select "SELECT n, words FROM streams.numbers WHERE part = ?"

  defp stream(options), do: Palladion.stream(__MODULE__, @select, [1], options)

  defp nothing_left do
    eventually("no request is under way", fn ->
      {:ok, status} = Palladion.status(__MODULE__)
      {status.in_flight, status.orphans} == {0, 0}
    end)

    assert mailbox() == []
  end

  test "all rows come, in their order, whatever the page" do
    expected = for n <- 1..1_000, do: %{"n" => n, "words" => words(n)}

    for size <- [1, 7, 100, 999, 1_000, 1_001, :infinity] do
      assert [page_size: size] |> stream() |> Enum.to_list() == expected, "#{size} rows a page"
    end

    nothing_left()
  end

  test "a prepared statement, and rows in another shape" do
    prepared = Palladion.prepare!(__MODULE__, @select)
    stream = Palladion.stream(__MODULE__, prepared, %{part: 2}, rows: :tuples, page_size: 300)
    assert Enum.to_list(stream) == for(n <- 1..1_000, do: {n, words(n)})
  end

  test "pages have what a query has, as many rows as asked for" do
    pages = Palladion.pages(__MODULE__, @select, [1], page_size: 400, rows: :columns)
    assert [one, two, three] = Enum.take_while(pages, &(&1.num_rows > 0))

    assert [%Result{num_rows: 400}, %Result{num_rows: 400}, %Result{num_rows: 200}] = [
             one,
             two,
             three
           ]

    assert one.columns == ["n", "words"]
    assert is_binary(one.paging_state)
    assert Enum.concat([one.rows["n"], two.rows["n"], three.rows["n"]]) == Enum.to_list(1..1_000)
  end

  test "one that is left early leaves nothing behind" do
    for _ <- 1..20 do
      assert [%{"n" => 1} | _] = [page_size: 50] |> stream() |> Enum.take(120)

      assert_raise RuntimeError, "enough", fn ->
        [page_size: 50] |> stream() |> Enum.each(&if(&1["n"] == 50, do: raise("enough")))
      end
    end

    nothing_left()
    assert [page_size: 50] |> stream() |> Enum.count() == 1_000
  end

  test "a process that dies in the middle leaves nothing behind" do
    test = self()

    {pid, monitor} =
      spawn_monitor(fn ->
        [page_size: 10] |> stream() |> Enum.each(&send(test, &1["n"]))
        Process.sleep(:infinity)
      end)

    assert_receive 100, 30_000
    Process.exit(pid, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^pid, :killed}
    for _ <- Stream.repeatedly(&number/0) |> Stream.take_while(& &1), do: :ok
    nothing_left()
  end

  defp number do
    receive do
      n when is_integer(n) -> n
    after
      0 -> nil
    end
  end

  test "it goes on where another has stopped, with a state that was text meanwhile" do
    [page] = __MODULE__ |> Palladion.pages(@select, [1], page_size: 300) |> Enum.take(1)
    text = Base.url_encode64(page.paging_state)

    {:ok, state} = Base.url_decode64(text)
    rest = [page_size: 300, paging_state: state] |> stream() |> Enum.map(& &1["n"])
    assert rest == Enum.to_list(301..1_000)
    # Each enumeration begins there.
    again = stream(paging_state: state)
    assert Enum.count(again) == 700
    assert Enum.count(again) == 700
  end

  # Others than Cassandra have such pages in the middle, too: test/integration/page_stream_test.exs.
  test "a page without rows is followed, or the end" do
    select = "SELECT part FROM streams.numbers WHERE words = ? ALLOW FILTERING"
    pages = Palladion.pages(__MODULE__, select, [words(1_000)], page_size: 1)
    assert pages |> Enum.map(&{&1.num_rows, &1.paging_state != nil}) |> List.last() == {0, false}

    stream = Palladion.stream(__MODULE__, select, [words(1_000)], page_size: 1)
    assert stream |> Enum.map(& &1["part"]) |> Enum.sort() == [1, 2, 3]
  end

  test "a table that is dropped in the middle is an error, after the rows before it" do
    table!("dropped")
    fill("dropped", 1, 1..1_000)
    select = "SELECT n FROM streams.dropped WHERE part = 1"
    test = self()

    error =
      assert_raise Error, fn ->
        for %{"n" => n} <- Palladion.stream(__MODULE__, select, [], page_size: 100) do
          if n == 100, do: Palladion.query!(__MODULE__, "DROP TABLE streams.dropped")
          send(test, n)
        end
      end

    assert error.reason in [:invalid, :server_error, :read_failure]
    assert_received 100
    for _ <- Stream.repeatedly(&number/0) |> Stream.take_while(& &1), do: :ok
    nothing_left()
  end

  describe "#{@many} rows" do
    setup do
      table!("many")

      1..@partitions
      |> Task.async_stream(&fill("many", &1, 1..div(@many, @partitions)),
        max_concurrency: 8,
        timeout: :infinity
      )
      |> Stream.run()

      :ok
    end

    test "take the memory of two pages" do
      parts = Enum.to_list(1..@partitions)
      select = "SELECT part, n, words FROM streams.many WHERE part IN ?"
      options = [page_size: 1_000, rows: :tuples]
      stream = Palladion.stream(__MODULE__, select, [parts], options)

      # What grows once has grown by then.
      assert stream |> Enum.take(10_000) |> length() == 10_000
      before = Memory.now()

      {count, sum, most} =
        Enum.reduce(stream, {0, 0, before}, fn {_part, n, _words}, {count, sum, most} ->
          most = if rem(count, 10_000) == 0, do: Memory.higher(most, Memory.now()), else: most
          {count + 1, sum + n, most}
        end)

      each = div(@many, @partitions)
      assert {count, sum} == {@many, @partitions * div(each * (each + 1), 2)}
      # As rows they are about 200 bytes each.
      assert most.process < 8 * @mib
      assert most.total - before.total < 16 * @mib
      assert most.rss - before.rss < 32 * @mib
    end
  end
end
