defmodule Bench.Load do
  # Callers that each send a request, wait for its answer and send the next one; and what that
  # costs the whole operating system process.

  alias Bench.{CPU, Histogram}

  # A caller's counter has a cache line of its own.
  @stride 8

  @doc """
  Runs `request.(caller, n)` in so many callers and measures for `seconds:` after `warmup:`.

  One duration of `sample:` is taken.
  """
  def run(request, options) do
    load = start(request, options)
    Process.sleep(round(options[:warmup] * 1_000))
    before = snapshot(load)
    Process.sleep(round(options[:seconds] * 1_000))
    later = snapshot(load)
    for caller <- load.callers, do: stop(caller)
    compare(before, later)
  end

  defp start(request, options) do
    callers = options[:callers]
    counter = :counters.new(callers * @stride, [])
    histogram = Histogram.new()

    pids =
      for caller <- 1..callers do
        spawn_link(fn ->
          sample = options[:sample]
          loop(request, caller, 0, sample, sample, {counter, caller * @stride, histogram})
        end)
      end

    %{callers: pids, counter: counter, histogram: histogram}
  end

  defp loop(request, caller, n, 1, sample, {counter, slot, histogram} = into) do
    begin = System.monotonic_time()
    request.(caller, n)
    Histogram.add(histogram, System.monotonic_time() - begin)
    :counters.add(counter, slot, 1)
    loop(request, caller, n + 1, sample, sample, into)
  end

  defp loop(request, caller, n, left, sample, {counter, slot, _histogram} = into) do
    request.(caller, n)
    :counters.add(counter, slot, 1)
    loop(request, caller, n + 1, left - 1, sample, into)
  end

  defp stop(caller) do
    Process.unlink(caller)
    monitor = Process.monitor(caller)
    Process.exit(caller, :kill)
    receive(do: ({:DOWN, ^monitor, :process, _, _} -> :ok))
  end

  defp snapshot(load) do
    requests =
      for(i <- 1..length(load.callers), do: :counters.get(load.counter, i * @stride))
      |> Enum.sum()

    %{
      requests: requests,
      cpu_us: CPU.microseconds(),
      time: System.monotonic_time(:microsecond),
      histogram: Histogram.counts(load.histogram)
    }
  end

  defp compare(before, later) do
    requests = later.requests - before.requests
    if requests == 0, do: raise("no request was answered in the time measured")
    durations = Histogram.subtract(later.histogram, before.histogram)

    %{
      requests: requests,
      requests_per_s: requests * 1_000_000 / (later.time - before.time),
      p50_us: Histogram.percentile(durations, 50),
      p99_us: Histogram.percentile(durations, 99),
      client_cpu_us_per_request: (later.cpu_us - before.cpu_us) / requests
    }
  end
end

defmodule Bench.CPU do
  @doc "User and system time of this process, all of its threads, in µs. Linux counts it in 10 ms."
  def microseconds do
    stat = File.read!("/proc/self/stat")
    # The second field is the command's name, in parentheses, and may have spaces.
    [_pid_and_name, rest] = String.split(stat, ") ", parts: 2)
    fields = rest |> String.split() |> Enum.slice(11, 2)
    fields |> Enum.map(&String.to_integer/1) |> Enum.sum() |> Kernel.*(10_000)
  end
end
