defmodule Palladion.Test.Traffic do
  @moduledoc """
  Callers who never stop asking, and what they saw.

  Each writes a number and reads it again, which must be the same; every eighth reads a large answer in between, for those
  are decoded on other threads.
  """

  @update "UPDATE palladion_traffic.numbers SET n = ? WHERE id = ?"
  @select "SELECT n FROM palladion_traffic.numbers WHERE id = ?"
  @large "SELECT * FROM system_schema.columns"

  defstruct [:flag, :tasks]

  @doc "What the callers need, made through any cluster."
  def create_table!(name) do
    for statement <- [
          "CREATE KEYSPACE IF NOT EXISTS palladion_traffic WITH replication = " <>
            "{'class': 'SimpleStrategy', 'replication_factor': 1}",
          "CREATE TABLE IF NOT EXISTS palladion_traffic.numbers (id int PRIMARY KEY, n int)"
        ],
        do: Palladion.query!(name, statement, [], timeout: 30_000)

    :ok
  end

  @doc "Starts callers, and returns when each has had its first answers."
  def start(name, options \\ []) do
    count = Keyword.get(options, :callers, 64)
    # Numbers of their own, for callers of several VMs.
    first = Keyword.get(options, :first, :rand.uniform(1_000_000) * 1_000)
    flag = :counters.new(2, [])

    tasks =
      for index <- 1..count do
        Task.async(fn -> call(%{name: name, id: first + index, index: index, flag: flag}) end)
      end

    await_answers(flag, count)
    %__MODULE__{flag: flag, tasks: tasks}
  end

  @doc """
  Has the callers finish. Returns the number of answers (`ok`), how often each error was seen, how long the longest call
  took in ms, the answers that were not what was asked for, and the messages left in mailboxes.
  """
  def stop(%__MODULE__{flag: flag, tasks: tasks}) do
    :counters.add(flag, 1, 1)

    tasks
    |> Task.await_many(60_000)
    |> Enum.reduce(fn one, all ->
      %{
        ok: all.ok + one.ok,
        errors: Map.merge(all.errors, one.errors, fn _reason, a, b -> a + b end),
        longest: max(all.longest, one.longest),
        wrong: one.wrong ++ all.wrong,
        messages: one.messages ++ all.messages
      }
    end)
  end

  @doc "Waits until there were this many more answers."
  def await_answers(%__MODULE__{flag: flag}, more), do: await_answers(flag, more)

  def await_answers(flag, more), do: await_count(flag, :counters.get(flag, 2) + more)

  defp await_count(flag, count) do
    if :counters.get(flag, 2) < count do
      Process.sleep(5)
      await_count(flag, count)
    end
  end

  # A caller

  defp call(caller) do
    loop(caller, 1, %{ok: 0, errors: %{}, longest: 0, wrong: [], messages: []})
  end

  defp loop(caller, n, seen) do
    if :counters.get(caller.flag, 1) > 0 do
      {:messages, messages} = Process.info(self(), :messages)
      %{seen | messages: messages}
    else
      loop(caller, n + 1, round(caller, n, seen))
    end
  end

  defp round(caller, n, seen) do
    {written, seen} = ask(caller, @update, [n, caller.id], seen)
    {read, seen} = ask(caller, @select, [caller.id], seen)

    # After an error nobody knows whether the number was written.
    seen =
      case {written, read} do
        {{:ok, _}, {:ok, %{rows: [%{"n" => ^n}]}}} -> seen
        {{:ok, _}, {:ok, result}} -> %{seen | wrong: [{caller.id, n, result} | seen.wrong]}
        _ -> seen
      end

    if rem(caller.index, 8) == 0, do: caller |> ask(@large, [], seen) |> elem(1), else: seen
  end

  defp ask(caller, statement, values, seen) do
    begin = System.monotonic_time(:millisecond)
    answer = Palladion.query(caller.name, statement, values)
    longest = max(seen.longest, System.monotonic_time(:millisecond) - begin)

    case answer do
      {:ok, _} ->
        :counters.add(caller.flag, 2, 1)
        {answer, %{seen | ok: seen.ok + 1, longest: longest}}

      {:error, error} ->
        # Whoever is refused at once shall not take the cores from the others.
        Process.sleep(1)
        errors = Map.update(seen.errors, error.reason, 1, &(&1 + 1))
        {answer, %{seen | errors: errors, longest: longest}}
    end
  end
end
