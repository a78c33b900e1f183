defmodule Bench.Mailbox do
  # What messages in the caller's mailbox add to a call.

  alias Bench.Workload

  @calls [execute: 2_000, query: 2_000, submit_await: 100]

  @doc "For each call the durations' percentiles in µs, with an empty and a full mailbox."
  def run(run, name) do
    statement = Workload.statement("select", run.server.kind)
    prepared = Palladion.prepare!(name, statement)
    requests = requests(name, statement, prepared)
    for {_call, request} <- requests, _ <- 1..1_000, do: request.()

    empty = measure(requests)
    fill(run.messages)
    full = measure(requests)
    {:message_queue_len, left} = Process.info(self(), :message_queue_len)
    if left != run.messages, do: raise("#{left} messages are left of #{run.messages}")

    for {call, {p50, p99}} <- full do
      {p50_empty, p99_empty} = empty[call]
      %{call: call, p50_us: p50, p99_us: p99, p50_empty_us: p50_empty, p99_empty_us: p99_empty}
    end
  end

  defp requests(name, statement, prepared) do
    values = [1, Workload.text()]

    [
      execute: fn -> {:ok, %{rows: [_]}} = Palladion.execute(name, prepared, values) end,
      query: fn -> {:ok, %{rows: [_]}} = Palladion.query(name, statement, values) end,
      submit_await: fn ->
        {:ok, pending} = Palladion.submit(name, prepared, values)
        {:ok, %{rows: [_]}} = Palladion.await(pending)
      end
    ]
  end

  defp fill(messages), do: Enum.each(1..messages, &send(self(), {:of_no_interest, &1}))

  defp measure(requests) do
    for {call, request} <- requests do
      durations = Enum.sort(for _ <- 1..@calls[call], do: time(request))
      {call, {percentile(durations, 50), percentile(durations, 99)}}
    end
  end

  defp time(request) do
    begin = System.monotonic_time(:nanosecond)
    request.()
    (System.monotonic_time(:nanosecond) - begin) / 1_000
  end

  defp percentile(sorted, percent) do
    Enum.at(sorted, ceil(length(sorted) * percent / 100) - 1)
  end
end
