defmodule Bench.Histogram do
  # Durations in ns, counted in buckets that are at most 1 % wide. Written to by many processes
  # at once.

  import Bitwise

  # Buckets of 128 ns up to 32 µs, then 128 for each power of two.
  @unit 7
  @linear 256
  @half div(@linear, 2)
  @powers 32

  def new, do: :counters.new(@linear + @powers * @half, [:write_concurrency])

  def add(histogram, ns), do: :counters.add(histogram, index(ns >>> @unit) + 1, 1)

  defp index(units) when units < @linear, do: units
  defp index(units), do: index(units >>> 1, 1)

  defp index(units, power) when units < @linear or power == @powers,
    do: @linear + (power - 1) * @half + min(units - @half, @half - 1)

  defp index(units, power), do: index(units >>> 1, power + 1)

  @doc "What was counted so far, for `percentile/2`."
  def counts(histogram) do
    for i <- 1..:counters.info(histogram).size, do: :counters.get(histogram, i)
  end

  def subtract(counts, earlier), do: Enum.zip_with(counts, earlier, &(&1 - &2))

  @doc "The duration in µs that so many of 100 don't exceed; `nil` if there are none."
  def percentile(counts, percent) do
    total = Enum.sum(counts)
    if total > 0, do: find(counts, 0, ceil(total * percent / 100))
  end

  defp find([count | _], bucket, rank) when count >= rank, do: microseconds(bucket)
  defp find([count | rest], bucket, rank), do: find(rest, bucket + 1, rank - count)

  # A bucket's middle.
  defp microseconds(bucket) when bucket < @linear, do: (bucket + 0.5) * (1 <<< @unit) / 1_000

  defp microseconds(bucket) do
    power = div(bucket - @linear, @half) + 1
    units = rem(bucket - @linear, @half) + @half
    (units + 0.5) * (1 <<< (@unit + power)) / 1_000
  end
end
