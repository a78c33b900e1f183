# The benchmarks: plans runs, has each done by a client VM of its own, prints a table and writes
# it down. Run by bin/bench; bench/README.md says what is measured.

for file <- ~w(testkit/binary testkit/porter testkit/requests testkit),
    do: Code.require_file("../test/support/#{file}.ex", __DIR__)

for file <- ~w(workload vm tls servers tls_report report),
    do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench do
  alias Bench.{Report, Servers, TLS, VM, Workload}
  alias Palladion.Test.Testkit

  @root Path.expand("..", __DIR__)
  @results Path.join(@root, "bench/results")
  @messages 1_000_000
  @servers ["testkit", "nodes", "handshakes", "cassandra"]
  @quick ~w(select/64/testkit/default insert/64/testkit/default page/testkit/default mailbox) ++
           ~w(tls/off tls/1.3/resumed storm/resumed)

  def main(names) do
    runs = plan(names)
    if runs == [], do: stop("nothing is named #{Enum.join(names, " ")}; see bin/bench --help")

    rows = Enum.flat_map(@servers, &run_on(&1, runs))
    Report.print(rows)
    path = write(rows, names)
    IO.puts("\nwritten to #{Path.relative_to_cwd(path)}")
    failed = Report.failures(rows)
    for failure <- failed, do: IO.puts(:stderr, "FAILED: " <> failure)
    # Halting runs nothing that would remove the servers' files.
    :ok = Testkit.stop_all()
    System.halt(if failed == [], do: 0, else: 1)
  end

  # The plan

  defp plan([]), do: all()

  defp plan(["quick"]), do: for(run <- plan(@quick), do: Map.merge(run, %{seconds: 2, warmup: 1}))

  # All words of a name are a run's.
  defp plan(names) do
    Enum.filter(all(), fn run ->
      words = for key <- [:workload, :callers, :server, :sbwt, :tls, :sessions], do: run[key]
      words = Enum.map(words, &to_string/1)
      Enum.any?(names, &(String.split(&1, "/") -- words == []))
    end)
  end

  defp all, do: requests() ++ connections()

  defp requests do
    for server <- @servers,
        {workload, numbers} <- [
          {"select", [1, 64, 256]},
          {"insert", [1, 64, 256]},
          {"page", [1]},
          {"mailbox", [1]},
          {"topology", [1]}
        ],
        server in servers(workload),
        callers <- numbers,
        sbwt <- ["default", "none"],
        workload not in ["mailbox", "topology"] or sbwt == "default" do
      Map.merge(common(), %{
        workload: workload,
        server: server,
        callers: callers,
        sbwt: sbwt,
        # A duration of so many: taking it is a part of what a small request costs.
        sample: if(workload == "page", do: 1, else: 8),
        messages: @messages
      })
    end
  end

  defp servers("mailbox"), do: ["testkit"]
  defp servers("topology"), do: ["nodes"]
  defp servers(_load), do: ["testkit", "cassandra"]

  # Without busy wait, which would be counted as theirs while connections wait for the server.
  defp connections do
    storms = for sessions <- ["full", "resumed", "forgotten"], do: %{sessions: sessions}

    for {workload, runs} <- [{"tls", TLS.runs()}, {"storm", storms}], run <- runs do
      common()
      |> Map.merge(%{workload: workload, server: "handshakes", callers: nil, sbwt: "none"})
      |> Map.merge(run)
    end
  end

  defp common do
    %{seconds: seconds("BENCH_SECONDS", 10), warmup: seconds("BENCH_WARMUP", 5)}
  end

  defp seconds(variable, default) do
    case Float.parse(System.get_env(variable, "#{default}")) do
      {seconds, ""} when seconds > 0 -> seconds
      _ -> stop("#{variable} is no number of seconds")
    end
  end

  # Running

  defp run_on(kind, runs) do
    runs = Enum.filter(runs, &(&1.server == kind))
    if runs == [], do: [], else: kind |> start() |> run_all(runs)
  end

  defp start(kind) do
    say("starting #{kind}")
    server = Servers.start(kind)
    heat(kind, server)
    server
  end

  defp run_all(server, runs), do: Enum.flat_map(runs, &rows(&1, server))

  # A Java server becomes fast by and by, and slows down the client's machine until then.
  defp heat("cassandra", server) do
    for %{server: "cassandra", sbwt: "default"} = run <- all(),
        run.callers == 64 or run.workload == "page",
        do: measure(%{run | seconds: run.warmup, warmup: 0.1}, server, "heating up: ")
  end

  defp heat(_kind, _server), do: :ok

  defp measure(run, server, prefix \\ "") do
    say("#{prefix}#{run.workload}, #{run.callers} callers, #{run.server}, sbwt #{run.sbwt}")
    VM.run(run, server)
  end

  # What is written

  defp rows(%{workload: "tls"} = run, server) do
    say("tls, #{run.tls}, sessions #{run.sessions}")
    for row <- TLS.rows(run, server), do: run |> named() |> Map.merge(row)
  end

  # Its cluster is its own, for it closes the connections.
  defp rows(%{workload: "storm"} = run, _server) do
    say("storm, sessions #{run.sessions}")
    figures = VM.run(run, %{})
    [run |> named() |> Map.put(:sessions, run.sessions) |> Map.merge(figures)]
  end

  defp rows(%{workload: "mailbox"} = run, server) do
    for call <- measure(run, server) do
      added = call.p50_us - call.p50_empty_us

      run
      |> named()
      |> Map.merge(call)
      |> Map.merge(%{messages: run.messages, added_us: added})
    end
  end

  defp rows(%{workload: "topology"} = run, server),
    do: [run |> named() |> Map.merge(measure(run, server))]

  defp rows(run, server) do
    figures = measure(run, server)
    rows = Workload.rows(run.workload)

    by_row =
      if rows > 0 do
        %{
          rows_per_s: figures.requests_per_s * rows,
          client_cpu_us_per_row: figures.client_cpu_us_per_request / rows
        }
      else
        %{rows_per_s: nil, client_cpu_us_per_row: nil}
      end

    [run |> identity() |> Map.merge(figures) |> Map.merge(by_row)]
  end

  # With every column of those that measure requests.
  defp named(run) do
    nothing = for key <- Report.columns(), into: %{}, do: {key, nil}
    run |> identity() |> Map.delete(:seconds) |> Enum.into(nothing)
  end

  defp identity(run) do
    run
    |> Map.take([:workload, :server, :sbwt, :callers, :seconds])
    |> Map.put(:client, "palladion #{Application.spec(:palladion, :vsn)}")
  end

  # A short run does not take the place of a real one.
  defp write(rows, names) do
    File.mkdir_p!(@results)
    path = Path.join(@results, if(names == ["quick"], do: "quick.json", else: "latest.json"))
    File.write!(path, Report.json(rows))
    path
  end

  defp say(text), do: IO.puts(:stderr, text)

  defp stop(text) do
    say("bin/bench: " <> text)
    System.halt(2)
  end
end

:ok = Application.load(:palladion)
Bench.main(System.argv())
