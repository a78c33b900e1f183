defmodule Palladion.Integration.AnswersTest do
  @moduledoc """
  No answer wrong, none lost, and nothing left behind: every answer is compared with its question,
  twice over, and then everything that could have leaked is counted.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.ConnectionError
  alias Palladion.Test.{Cassandra, Memory, Testkit}

  # `bin/soak answers` asks 200,000 times.
  @requests String.to_integer(System.get_env("PALLADION_SOAK_ANSWERS", "12800"))
  @callers 64
  @most_growth_kib 16 * 1024

  @moduletag :capture_log
  @moduletag timeout: 1_200_000

  @tag :cassandra
  test "of a real server" do
    # Roles are kept for a minute, or each request would read them.
    server = Cassandra.server(:tls, name: :answers, env: %{"CASS_AUTH_VALIDITY" => "60s"})
    name = ready_cluster!(server, pool: [size: 4], timeout: 60_000)
    keyspace!(name, "answers")

    Palladion.query!(
      name,
      "CREATE TABLE IF NOT EXISTS answers.a (id int PRIMARY KEY, words text)"
    )

    insert = Palladion.prepare!(name, "INSERT INTO answers.a (id, words) VALUES (?, ?)")
    for id <- 0..999, do: Palladion.execute!(name, insert, [id, words(id)])
    select = Palladion.prepare!(name, "SELECT id, words FROM answers.a WHERE id = ?")

    ask = fn question ->
      id = rem(question, 1000)
      assert {:ok, result} = Palladion.execute(name, select, [id])
      assert result.rows == [%{"id" => id, "words" => words(id)}]
      :answered
    end

    assert nothing_left_after(name, ask) == %{answered: @requests}
  end

  test "of a server that is late with every twentieth" do
    server = Testkit.start_server(threads: 1)
    late = [probability: 0.05, delay: 60, reaction: :builtin]
    Testkit.rule(server, [contains: "echo(int, text)", opcode: :execute] ++ late)
    name = ready_cluster!(server, pool: [size: 4])
    echo = Palladion.prepare!(name, "SELECT echo(int, text)")
    unsent = :counters.new(1, [])

    ask = fn question ->
      case Palladion.execute(name, echo, [question, words(question)], timeout: 30) do
        {:ok, result} ->
          assert result.rows == [%{"c0" => question, "c1" => words(question)}]
          :answered

        {:error, %ConnectionError{reason: :timeout, details: %{sent: sent?}}} ->
          unless sent?, do: :counters.add(unsent, 1, 1)
          :timeout
      end
    end

    outcomes = nothing_left_after(name, ask)
    assert outcomes.timeout > @requests / 100
    assert outcomes.answered + outcomes.timeout == @requests
    {:ok, stats} = Palladion.stats(name)
    assert stats.late_responses > 0
    # On a busy machine a request may run out of time before it is written.
    assert stats.requests == stats.responses + :counters.get(unsent, 1)
    assert stats.connections_opened == 4
  end

  # The first run warms everything up that grows once; the second must not add to it.
  defp nothing_left_after(name, ask) do
    ask_all(ask)
    settle(name)
    before = counts()
    outcomes = ask_all(ask)
    settle(name)
    later = counts()

    assert Map.delete(later, :rss) == Map.delete(before, :rss)
    assert later.rss - before.rss <= @most_growth_kib
    assert mailbox() == []
    outcomes
  end

  defp ask_all(ask) do
    each = div(@requests, @callers)

    1..@callers
    |> Enum.map(fn caller ->
      Task.async(fn ->
        outcomes = for n <- 1..each, do: ask.(caller * 1_000_000 + n)
        # Late answers would be here by now.
        Process.sleep(200)
        assert mailbox() == []
        Enum.frequencies(outcomes)
      end)
    end)
    |> Enum.map(&Task.await(&1, :infinity))
    |> Enum.reduce(&Map.merge(&1, &2, fn _outcome, a, b -> a + b end))
  end

  defp settle(name) do
    eventually("no stream id is taken", fn ->
      {:ok, status} = Palladion.status(name)
      {status.in_flight, status.orphans} == {0, 0}
    end)

    for pid <- Process.list(), do: :erlang.garbage_collect(pid)
  end

  defp counts do
    %{
      processes: :erlang.system_info(:process_count),
      ports: :erlang.system_info(:port_count),
      atoms: :erlang.system_info(:atom_count),
      rss: div(Memory.of_system("VmRSS"), 1024)
    }
  end

  defp words(n), do: "words for #{n} " <> String.duplicate("x", rem(n, 90))
end
