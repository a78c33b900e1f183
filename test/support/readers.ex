defmodule Palladion.Test.Readers do
  @moduledoc """
  Callers who read by key without an end while nodes come and go, and what they saw.

      readers = Readers.start(DB, callers: 64, options: [consistency: :local_one])
      Cassandra.kill(two)
      Readers.await_down(readers, host_id)
      %{failures: failures, answers: answers} = Readers.stop(readers)

  A caller asks again when it has its answer, so all of them may come to wait for a node that hangs. Therefore another read
  begins every few ms, whatever became of those before: their answers tell whether traffic goes on.

  What the cluster says of its nodes is kept beside, by the same clock, `System.monotonic_time(:millisecond)`.
  """

  alias Palladion.Test.Clusters

  @keys 1..200
  @table "lives.numbers"

  @enforce_keys [:name, :seen, :flag, :handler, :tasks]
  defstruct [:name, :seen, :flag, :handler, :tasks]

  @doc "The keyspace `lives`, with two replicas in dc1 and one in dc2, and what the readers read."
  def create_table!(name) do
    for statement <- [
          "CREATE KEYSPACE IF NOT EXISTS lives WITH replication = " <>
            "{'class': 'NetworkTopologyStrategy', 'dc1': 2, 'dc2': 1}",
          "CREATE TABLE IF NOT EXISTS #{@table} (id int PRIMARY KEY, n int)"
        ],
        do: Palladion.query!(name, statement, [], timeout: 30_000)

    insert = Palladion.prepare!(name, "INSERT INTO #{@table} (id, n) VALUES (?, ?)")

    for id <- @keys,
        do: Palladion.execute!(name, insert, [id, value(id)], consistency: :all)

    :ok
  end

  @doc """
  Starts callers, and returns when there were some answers. `options:` are those of their requests; `pause:` is how long a
  caller rests after an answer and `every:` how often another read begins, in ms.
  """
  def start(name, given \\ []) do
    seen = :ets.new(__MODULE__, [:public, write_concurrency: true])
    flag = :counters.new(1, [])
    handler = {__MODULE__, make_ref()}
    events = [[:palladion, :query, :stop], [:palladion, :node, :up], [:palladion, :node, :down]]
    config = %{name: name, seen: seen}
    :ok = :telemetry.attach_many(handler, events, &__MODULE__.handle/4, config)
    statement = Palladion.prepare!(name, "SELECT n FROM #{@table} WHERE id = ?")
    options = Keyword.get(given, :options, [])
    reader = %{name: name, seen: seen, flag: flag, statement: statement, options: options}
    pause = Keyword.get(given, :pause, 50)

    callers =
      for _ <- 1..Keyword.get(given, :callers, 64), do: Task.async(fn -> call(reader, pause) end)

    every = Keyword.get(given, :every, 10)

    tasks = [Task.async(fn -> tick(reader, every, []) end) | callers]
    readers = %__MODULE__{name: name, seen: seen, flag: flag, handler: handler, tasks: tasks}
    Clusters.eventually("reads are answered", fn -> answers(readers) > 100 end)
    readers
  end

  @doc """
  Has them finish. `failures` are all reads that failed, each with its `error` and when it began and ended; `longest` is
  the longest read, in ms and rounded up to tenths of a second; `wrong` are answers of something else, and `messages` what
  was left in mailboxes.
  """
  def stop(readers) do
    :counters.add(readers.flag, 1, 1)
    messages = readers.tasks |> Task.await_many(60_000) |> List.flatten()
    :telemetry.detach(readers.handler)

    %{
      answers: answers(readers),
      failures: failures(readers),
      longest: readers.seen |> select({{:took, :"$1"}, :_}) |> Enum.max(),
      gap: gap(readers),
      wrong: select(readers.seen, {{:wrong, :_}, :"$1"}),
      messages: messages
    }
  end

  @doc "The reads that failed so far."
  def failures(readers) do
    readers.seen |> select({{:failure, :_}, :"$1"}) |> Enum.sort_by(& &1.ended)
  end

  @doc "How many reads were answered: by all nodes, or by one."
  def answers(readers),
    do: readers.seen |> select({{:answers, :_}, :"$1"}) |> Enum.sum()

  def answers(readers, host_id) do
    :ets.lookup_element(readers.seen, {:answers, host_id}, 2)
  rescue
    ArgumentError -> 0
  end

  @doc """
  Waits until a node has answered so many more: for two minutes, since one that was asked for a role before it had heard of it
  stays with that for as long as roles are kept, which is a minute.
  """
  def await_answers(readers, host_id, more \\ 50) do
    until = answers(readers, host_id) + more
    Clusters.eventually("#{host_id} answers", fn -> answers(readers, host_id) >= until end, 4_800)
  end

  @doc "Waits until the cluster says of a node that it's `:up` or `:down`, and returns when it said so."
  def await_node(readers, host_id, state, since) do
    Clusters.eventually(
      "#{host_id} is #{state}",
      fn ->
        case Enum.find(node_events(readers, host_id), &match?({at, ^state} when at >= since, &1)) do
          {at, ^state} -> at
          nil -> nil
        end
      end,
      2_400
    )
  end

  @doc """
  Whether a node was declared down before a time, and not up again until another. Connections take reads a moment before it's
  said that the node is up.
  """
  def down?(readers, host_id, from, to) do
    events = node_events(readers, host_id)
    before = for {at, state} <- events, at < from, do: state

    List.last(before) == :down and
      not Enum.any?(events, &match?({at, :up} when at >= from and at <= to, &1))
  end

  @doc "The longest time without any answer, of all or between two times."
  def gap(readers, between \\ nil) do
    times = Enum.sort(select(readers.seen, {{:answered, :"$1"}, :_}))

    times =
      case between do
        nil -> times
        {from, to} -> [from | Enum.filter(times, &(&1 in from..to))] ++ [to]
      end

    times
    |> Enum.chunk_every(2, 1, :discard)
    |> Enum.map(fn [one, next] -> next - one end)
    |> Enum.max()
  end

  @doc "Waits for an answer after a time, and returns when the first of them came."
  def await_answer(readers, since) do
    Clusters.eventually(
      "a read is answered",
      fn ->
        times = for at <- select(readers.seen, {{:answered, :"$1"}, :_}), at > since, do: at
        Enum.min(times, fn -> nil end)
      end,
      2_400
    )
  end

  @doc "The clock of all that is kept."
  def now, do: System.monotonic_time(:millisecond)

  # What is kept: a key each, or a counter

  @doc false
  def handle(
        [:palladion, :query, :stop],
        _,
        %{cluster: name, result: :ok} = stop,
        %{name: name} = to
      ),
      do: count(to.seen, {:answers, stop.node})

  def handle([:palladion, :node, state], _, %{cluster: name} = node, %{name: name} = to),
    do: :ets.insert(to.seen, {{:node, make_ref()}, {node.host_id, now(), state}})

  def handle(_event, _measurements, _metadata, _config), do: :ok

  defp node_events(readers, host_id) do
    events = select(readers.seen, {{:node, :_}, :"$1"})
    Enum.sort(for {^host_id, at, state} <- events, do: {at, state})
  end

  defp count(seen, key), do: :ets.update_counter(seen, key, 1, {key, 0})

  defp select(seen, pattern), do: :ets.select(seen, [{pattern, [], [:"$1"]}])

  # A caller

  defp call(reader, pause) do
    if :counters.get(reader.flag, 1) > 0 do
      Clusters.mailbox()
    else
      ask(reader)
      if pause > 0, do: Process.sleep(pause)
      call(reader, pause)
    end
  end

  defp tick(reader, every, tasks) do
    if :counters.get(reader.flag, 1) > 0 do
      Task.await_many(tasks, 60_000)
      Clusters.mailbox()
    else
      task = Task.async(fn -> ask(reader) end)
      Process.sleep(every)
      waiting = for {task, nil} <- Task.yield_many([task | tasks], 0), do: task
      tick(reader, every, waiting)
    end
  end

  defp ask(reader) do
    id = Enum.random(@keys)
    began = now()
    answer = Palladion.execute(reader.name, reader.statement, [id], reader.options)
    ended = now()
    count(reader.seen, {:took, (div(ended - began, 100) + 1) * 100})
    n = value(id)

    case answer do
      {:ok, %{rows: [%{"n" => ^n}]}} ->
        count(reader.seen, {:answered, ended})

      {:ok, other} ->
        :ets.insert(reader.seen, {{:wrong, make_ref()}, {id, other}})

      {:error, error} ->
        failure = %{error: error, began: began, ended: ended}
        :ets.insert(reader.seen, {{:failure, make_ref()}, failure})
    end
  end

  defp value(id), do: id * 7
end
