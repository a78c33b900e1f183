defmodule Bench.TLSReport do
  # The tables of connections and of storms, as heads, lines and what is said below; and what is wrong.

  # Of Palladion's CPU time ÷ that of the others.
  @aim_rustls 1.10
  @aim_ssl 0.50

  def tables(rows) do
    connections = for %{workload: "tls"} = row <- rows, do: row
    storms = for %{workload: "storm"} = row <- rows, do: row

    for {rows, table} <- [{connections, &connections/1}, {storms, &storms/1}],
        rows != [],
        do: table.(rows)
  end

  defp connections(rows) do
    %{
      title: "connections, opened and closed; CPU is the client's, user and system",
      heads:
        ["tls", "sessions", "client", "connections", "CPU µs", "Palladion ÷ it"] ++
          ["less sockets", "Palladion ÷ it"],
      lines: for(row <- rows, do: connection(row, rows)),
      notes: [
        "aims: at most #{@aim_rustls} of rustls, whose sockets are counted, and #{@aim_ssl} of ssl",
        "less sockets: without what the same costs without TLS; rustls+verify verifies resumed " <>
          "sessions again, as Palladion does"
      ]
    }
  end

  defp connection(row, rows) do
    [row.tls, row.sessions, row.client, row.connections, cpu(row), row.palladion_ratio] ++
      [tls_alone(row, rows), tls_alone_ratio(row, rows)]
  end

  # What there is more than on the same sockets without TLS, where that was measured, too.
  defp tls_alone(row, rows) do
    sockets = if kind(row) == "palladion", do: "palladion", else: "sockets"
    off = Enum.find(rows, &(&1.tls == "off" and kind(&1) == sockets))
    if off && row.tls != "off" && kind(row) != "ssl", do: cpu(row) - cpu(off)
  end

  defp tls_alone_ratio(row, rows) do
    palladion =
      Enum.find(rows, fn other ->
        kind(other) == "palladion" and
          {other.tls, other.sessions} == {row.tls, row.sessions}
      end)

    alone = tls_alone(row, rows)
    if alone && kind(row) != "palladion", do: tls_alone(palladion, rows) / alone
  end

  defp cpu(row), do: row.client_cpu_us_per_connection
  defp kind(row), do: row.client |> String.split(" ") |> hd()

  defp storms([%{nodes: nodes, connections: connections} | _] = rows) do
    %{
      title: "#{connections} connections to #{nodes} nodes, all closed at once; means of a storm",
      heads:
        ["sessions", "storms", "CPU ms", "back ms", "longest", "full", "resumed"] ++
          ["handshaking at most"],
      lines:
        for row <- rows do
          [row.sessions, row.storms, row.storm_cpu_ms, row.back_ms, row.back_longest_ms] ++
            [row.server_full, row.server_resumed, row.handshaking_peak]
        end,
      notes: [
        "forgotten: the servers have forgotten all sessions, as those have that were started"
      ]
    }
  end

  def failures(rows) do
    for %{as_meant: false} = row <- rows do
      "#{row.workload}, #{row.client}, #{row[:tls]} #{row.sessions}: the server saw " <>
        "#{row.server_full} full and #{row.server_resumed} resumed handshakes"
    end
  end
end
