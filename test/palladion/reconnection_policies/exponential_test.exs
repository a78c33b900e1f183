defmodule Palladion.ReconnectionPolicies.ExponentialTest do
  use ExUnit.Case, async: true

  alias Palladion.ReconnectionPolicies.Exponential

  doctest Exponential

  test "pauses double up to the longest, and at most half is taken off" do
    for {failures, full} <- [{1, 100}, {2, 200}, {3, 400}, {4, 800}, {5, 1_000}, {6, 1_000}],
        _ <- 1..200 do
      delay = Exponential.next_delay(failures, min: 100, max: 1_000)
      assert delay in div(full, 2)..full, "#{delay} after #{failures}"
    end
  end

  test "whatever the bounds and failures, a pause lies within them" do
    for _ <- 1..5_000 do
      min = :rand.uniform(86_400_000)
      max = min + :rand.uniform(86_400_000) - 1
      failures = Enum.random([:rand.uniform(40), :rand.uniform(1_000_000_000)])
      delay = Exponential.next_delay(failures, min: min, max: max)
      assert delay >= div(min, 2) and delay <= max, inspect({failures, min, max, delay})
      assert delay > 0
    end
  end

  test "both ends of the jitter are reached, and pauses differ" do
    delays = for _ <- 1..2_000, do: Exponential.next_delay(1, min: 10, max: 10)
    assert delays |> Enum.uniq() |> Enum.sort() == Enum.to_list(5..10)
  end
end
