defmodule Bench.Report do
  # Rows of figures as a table and as JSON, and what is wrong with them.

  alias Bench.TLSReport

  @columns [
    :workload,
    :client,
    :server,
    :sbwt,
    :callers,
    :requests_per_s,
    :p50_us,
    :p99_us,
    :client_cpu_us_per_request,
    :rows_per_s,
    :client_cpu_us_per_row
  ]

  # The most that a full mailbox may add to a call that does not say that it scans it.
  @most_added_us 1_000

  # What the first list of nodes may cost before requests are routed by it.
  @most_topology_ms 100

  # Of the client's CPU time.
  @aim_us_per_request 35
  @aim_us_per_row 1.5

  def columns, do: @columns

  # The table

  def print(rows) do
    {mailbox, others} = Enum.split_with(rows, &(&1.workload == "mailbox"))
    {topology, others} = Enum.split_with(others, &(&1.workload == "topology"))
    {connections, loads} = Enum.split_with(others, &(&1.workload in ["tls", "storm"]))
    if loads != [], do: print_loads(loads)
    if mailbox != [], do: print_mailbox(mailbox)
    if topology != [], do: print_topology(topology)
    for table <- TLSReport.tables(connections), do: print_table(table)
  end

  defp print_loads(rows) do
    IO.puts("\n#{hd(rows).client}, TLS 1.3; CPU is the client's, user and system")

    table(
      ["workload", "server", "sbwt", "callers", "requests/s", "p50 µs", "p99 µs"] ++
        ["CPU µs/request", "rows/s", "CPU µs/row"],
      for row <- rows do
        [row.workload, row.server, row.sbwt, row.callers, round(row.requests_per_s)] ++
          [row.p50_us, row.p99_us, row.client_cpu_us_per_request] ++
          [row.rows_per_s && round(row.rows_per_s), row.client_cpu_us_per_row]
      end
    )

    loop = rows |> Enum.map(& &1.loop_us) |> Enum.max()
    IO.puts("of which the measuring itself: at most #{number(loop)} µs a request")
    IO.puts("aims: #{@aim_us_per_request} µs a SELECT at 64 callers, #{@aim_us_per_row} µs a row")
  end

  defp print_mailbox(rows) do
    IO.puts("\none call in µs, with #{hd(rows).messages} messages in the caller's mailbox")

    table(
      ["call", "p50 empty", "p50 full", "added", "p99 empty", "p99 full"],
      for(
        row <- rows,
        do: [row.call, row.p50_empty_us, row.p50_us, row.added_us, row.p99_empty_us, row.p99_us]
      )
    )

    IO.puts("submit and await look through the mailbox, as their documentation says")
  end

  defp print_topology(rows) do
    IO.puts("\nfollowing #{hd(rows).nodes} nodes, in ms and MiB")

    table(
      ["ready", "work", "table", "policy", "refresh", "table p50", "longest", "RSS"],
      for(
        row <- rows,
        do:
          [row.ready_ms, row.start_work_ms, row.start_table_ms, row.policy_ms] ++
            [row.refresh_work_ms, row.table_ms, row.table_longest_ms, row.rss_mib]
      )
    )

    IO.puts("at most #{@most_topology_ms} ms: work and table, the policy included")
  end

  defp print_table(%{title: title, heads: heads, lines: lines, notes: notes}) do
    IO.puts("\n#{title}")
    table(heads, lines)
    for note <- notes, do: IO.puts(note)
  end

  defp table(heads, rows) do
    lines = [heads | Enum.map(rows, fn row -> Enum.map(row, &number/1) end)]
    widths = lines |> Enum.zip_with(&Enum.max(Enum.map(&1, fn cell -> String.length(cell) end)))

    for line <- lines do
      line |> Enum.zip_with(widths, &String.pad_leading/2) |> Enum.join("  ") |> IO.puts()
    end
  end

  defp number(nil), do: "-"
  defp number(value) when is_float(value), do: :erlang.float_to_binary(value, decimals: 2)
  defp number(value), do: to_string(value)

  # What is wrong

  def failures(rows),
    do: mailbox_failures(rows) ++ topology_failures(rows) ++ TLSReport.failures(rows)

  defp topology_failures(rows) do
    for %{workload: "topology", start_work_ms: work, start_table_ms: table} <- rows,
        work + table > @most_topology_ms,
        do: "the list of nodes costs #{number(work + table)} ms, more than #{@most_topology_ms}"
  end

  defp mailbox_failures(rows) do
    for %{workload: "mailbox", call: call, added_us: added} when call != :submit_await <- rows,
        added > @most_added_us,
        do: "a full mailbox adds #{number(added)} µs to #{call}, more than #{@most_added_us}"
  end

  # JSON: an array of flat objects

  def json(rows), do: ["[\n", rows |> Enum.map(&object/1) |> Enum.intersperse(",\n"), "\n]\n"]

  defp object(row) do
    known = for key <- @columns, do: {key, Map.fetch!(row, key)}
    more = row |> Map.drop(@columns) |> Enum.sort()
    pairs = for {key, value} <- known ++ more, do: [string("#{key}"), ": ", value(value)]
    ["  {", Enum.intersperse(pairs, ", "), "}"]
  end

  defp value(nil), do: "null"
  defp value(value) when is_boolean(value) or is_integer(value), do: to_string(value)
  defp value(value) when is_float(value), do: :erlang.float_to_binary(value, decimals: 3)
  defp value(value), do: string(to_string(value))

  # None of ours has a control character.
  defp string(text) do
    [?", text |> String.replace("\\", "\\\\") |> String.replace("\"", "\\\""), ?"]
  end
end
