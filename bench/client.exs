# A client VM: one workload, and its figures as the last line. Started by bench/run.exs.

for file <- ~w(testkit/binary testkit/porter testkit/requests testkit),
    do: Code.require_file("../test/support/#{file}.ex", __DIR__)

for file <- ~w(histogram load workload mailbox topology connections storm),
    do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench.Client do
  alias Bench.{Connections, Load, Mailbox, Storm, Topology, Workload}

  @prefix "result> "
  @empty_loop_ms 300

  def main([argument]) do
    end_with_parent()
    run = decode(argument)
    {:ok, _} = Application.ensure_all_started(:palladion)
    IO.puts(@prefix <> encode(measure(run)))
  end

  defp measure(%{workload: "topology"} = run), do: Topology.run(run)
  defp measure(%{workload: "tls"} = run), do: Connections.run(run)
  defp measure(%{workload: "storm"} = run), do: Storm.run(run)
  defp measure(run), do: measure(run, connect(run.server))

  defp measure(%{workload: "mailbox"} = run, name), do: Mailbox.run(run, name)

  defp measure(run, name) do
    empty = Load.run(fn _caller, n -> n end, empty_loop(run))
    figures = Load.run(Workload.request(run, name), Map.to_list(run))
    Map.put(figures, :loop_us, empty.client_cpu_us_per_request)
  end

  # What is measured along with each request; one caller, for it has no waiting to share.
  defp empty_loop(run) do
    [callers: 1, sample: run.sample, warmup: 0.1, seconds: @empty_loop_ms / 1_000]
  end

  defp connect(server) do
    {:ok, _} =
      Palladion.start_link(
        name: Bench.DB,
        contact_points: [{"localhost", server.port}],
        tls: [cacertfile: server.cacertfile, versions: [:"tlsv1.3"]],
        auth: [username: server.username, password: server.password],
        application_name: "palladion bench",
        sync_connect: 20_000
      )

    {:ok, status} = Palladion.status(Bench.DB)
    versions = for point <- status.endpoints, one <- point.connections, do: one.tls.version
    if Enum.uniq(versions) != [:"tlsv1.3"], do: raise("TLS versions: #{inspect(versions)}")
    Bench.DB
  end

  # The parent's end is the end of standard input.
  defp end_with_parent do
    spawn(fn ->
      IO.read(:stdio, :line)
      System.halt(1)
    end)
  end

  def result(output) do
    case String.split(output, @prefix) do
      [_printed, term] -> {:ok, decode(String.trim(term))}
      _ -> :error
    end
  end

  def encode(term), do: term |> :erlang.term_to_binary() |> Base.encode64()
  def decode(text), do: text |> Base.decode64!() |> :erlang.binary_to_term()
end

Bench.Client.main(System.argv())
