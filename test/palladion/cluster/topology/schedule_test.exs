defmodule Palladion.Cluster.Topology.ScheduleTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster.Topology.Schedule

  @config %{debounce: 1_000, refresh_interval: 300_000, seed: 1}

  defp new(more \\ %{}), do: Schedule.new(Map.merge(@config, more))

  test "nothing is due before anything happened, nor after it was done" do
    assert Schedule.due(new()) == nil
    assert new() |> Schedule.at_once(5) |> Schedule.clear() |> Schedule.due() == nil
    assert new() |> Schedule.ask(5) |> Schedule.clear() |> Schedule.due() == nil
  end

  test "at once is at once, whatever was asked for" do
    schedule = new() |> Schedule.ask(5) |> Schedule.at_once(6)
    assert Schedule.due(schedule) == 6
    refute Schedule.asked?(schedule)
  end

  test "events that come together share a refresh, a while after the last" do
    schedule = Schedule.ask(new(), 0)
    assert Schedule.asked?(schedule)
    assert Schedule.due(schedule) == 1_000
    assert schedule |> Schedule.ask(700) |> Schedule.due() == 1_700
  end

  test "events that go on and on are not waited for any longer" do
    schedule = Enum.reduce(0..100, new(), &Schedule.ask(&2, &1 * 100))
    assert Schedule.due(schedule) == 5_000
  end

  test "an event does not delay what is due earlier" do
    schedule = new() |> Schedule.failed(0) |> Schedule.ask(1_900)
    assert Schedule.due(schedule) in 1_000..2_000
  end

  test "after failures the pauses grow, and after a success they are forgotten" do
    {pauses, schedule} =
      Enum.map_reduce(1..50, new(), fn _n, schedule ->
        schedule = Schedule.failed(schedule, 0)
        {Schedule.due(schedule), schedule}
      end)

    assert [first, second | _] = pauses
    assert first in 1_000..2_000 and second in 2_000..4_000
    longest = Enum.drop(pauses, 4)
    assert schedule.failures == 50
    assert Enum.all?(longest, &(&1 in 15_000..30_000))
    # Not all clusters' at the same time.
    assert length(Enum.uniq(longest)) > 10

    schedule = Schedule.succeeded(schedule, 0)
    assert schedule.failures == 0
    assert Schedule.due(schedule) in 270_000..330_000
    assert Schedule.due(Schedule.failed(schedule, 0)) in 1_000..2_000
  end
end
