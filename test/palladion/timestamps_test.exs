defmodule Palladion.TimestampsTest do
  use ExUnit.Case, async: true

  alias Palladion.Timestamps

  test "are the clock's" do
    before = System.os_time(:microsecond)
    timestamp = Timestamps.next(Timestamps.new())
    assert timestamp in before..System.os_time(:microsecond)
  end

  test "grow where the clock stands still, and where it is set back" do
    timestamps = Timestamps.new()
    assert Timestamps.next(timestamps, 100) == 100
    assert Timestamps.next(timestamps, 100) == 101
    assert Timestamps.next(timestamps, 50) == 102
    assert Timestamps.next(timestamps, 103) == 103
    assert Timestamps.next(timestamps, 1_000) == 1_000
  end

  test "are given once, whoever asks, and to each process in growing order" do
    timestamps = Timestamps.new()

    given =
      1..32
      |> Enum.map(fn _ ->
        Task.async(fn -> for _ <- 1..1_000, do: Timestamps.next(timestamps) end)
      end)
      |> Task.await_many()

    for own <- given, do: assert(own == Enum.sort(own))
    all = Enum.concat(given)
    assert length(Enum.uniq(all)) == length(all)
  end
end
