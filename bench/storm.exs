defmodule Bench.Storm do
  # All nodes of a cluster close all connections at once: what it costs the client until it has them again.

  alias Bench.CPU
  alias Palladion.Test.Testkit

  @nodes 3
  @pool 32
  # And the control connection.
  @connections @nodes * @pool + 1
  # Between two storms, for tickets to arrive.
  @lull_ms 100
  @timeout 60_000

  @doc "Storms for so many seconds, and the means, or the extremes, of their figures."
  def run(run) do
    server = Testkit.start_cluster!(nodes: @nodes, tls: ["1.3"])
    {:ok, _} = Palladion.start_link(options(server, run.sessions))
    await_all(server, 0)
    until = System.monotonic_time(:millisecond) + round(run.seconds * 1_000)
    storms = storms(server, run.sessions, until, [])
    :ok = Palladion.stop(Bench.DB)
    :ok = Testkit.stop(server)

    {full, resumed} = {mean(storms, & &1.full), mean(storms, & &1.resumed)}

    %{
      nodes: @nodes,
      connections: @connections,
      storms: length(storms),
      storm_cpu_ms: mean(storms, & &1.cpu_us) / 1_000,
      back_ms: mean(storms, & &1.back_us) / 1_000,
      back_longest_ms: (storms |> Enum.map(& &1.back_us) |> Enum.max()) / 1_000,
      server_full: full,
      server_resumed: resumed,
      as_meant: as_meant?(run.sessions, full, resumed),
      handshaking_peak: storms |> Enum.map(& &1.handshaking_peak) |> Enum.max()
    }
  end

  # A pool may be without a ticket for a moment.
  defp as_meant?("full", _full, resumed), do: resumed == 0
  defp as_meant?("resumed", full, resumed), do: full < resumed / 10
  defp as_meant?("forgotten", _full, _resumed), do: true

  defp options(server, sessions) do
    [
      name: Bench.DB,
      contact_points: [{"127.0.0.1", server.port}],
      tls: [
        cacertfile: server.cacertfile,
        versions: [:"tlsv1.3"],
        session_cache: if(sessions == "full", do: false, else: [])
      ],
      pool: [size: @pool],
      # Connections that end young are followed by a pause, which is not what is measured.
      reconnect: [min: 10, max: 10],
      sync_connect: 20_000
    ]
  end

  defp storms(server, sessions, until, done) do
    Process.sleep(@lull_ms)
    done = [storm(server, sessions) | done]

    if System.monotonic_time(:millisecond) < until,
      do: storms(server, sessions, until, done),
      else: done
  end

  defp storm(server, sessions) do
    if sessions == "forgotten", do: :ok = Testkit.forget_tickets(server)
    opened = opened()
    :ok = Testkit.reset_counters(server)
    {cpu, begin} = {CPU.microseconds(), System.monotonic_time(:microsecond)}
    :ok = Testkit.close_connections(server)
    counters = await_all(server, opened)

    counters
    |> Map.take([:full, :resumed, :handshaking_peak])
    |> Map.put(:back_us, System.monotonic_time(:microsecond) - begin)
    |> Map.put(:cpu_us, CPU.microseconds() - cpu)
  end

  # The server waits, which costs the client nothing; it is ahead of the client by a moment.
  defp await_all(server, opened) do
    all = [connections: {:min, @connections}, open: @connections, handshaking: 0]
    counters = Testkit.wait(server, all, @timeout)
    await_opened(opened + @nodes * @pool)
    counters
  end

  defp await_opened(wanted) do
    if opened() < wanted do
      Process.sleep(1)
      await_opened(wanted)
    end
  end

  defp opened do
    {:ok, %{connections_opened: opened}} = Palladion.stats(Bench.DB)
    opened
  end

  defp mean(storms, figure), do: (storms |> Enum.map(figure) |> Enum.sum()) / length(storms)
end
