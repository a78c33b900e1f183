# The benchmarks: plans runs, has each done by a client VM of its own, prints a table and writes
# it down. Run by bin/bench; bench/README.md says what is measured.

for file <- ~w(testkit/binary testkit/porter testkit),
    do: Code.require_file("../test/support/#{file}.ex", __DIR__)

for file <- ~w(workload servers report), do: Code.require_file("#{file}.exs", __DIR__)

defmodule Bench do
  alias Bench.{Report, Servers, Workload}

  @root Path.expand("..", __DIR__)
  @results Path.join(@root, "bench/results")
  @messages 1_000_000
  @servers ["testkit", "nodes", "cassandra"]
  @no_busy_wait "+sbwt none +sbwtdcpu none +sbwtdio none"

  def main(names) do
    runs = plan(names)
    if runs == [], do: stop("nothing is named #{Enum.join(names, " ")}; see bin/bench --help")

    rows = Enum.flat_map(@servers, &run_on(&1, runs))
    Report.print(rows)
    path = write(rows, names)
    IO.puts("\nwritten to #{Path.relative_to_cwd(path)}")
    failed = Report.failures(rows)
    for failure <- failed, do: IO.puts(:stderr, "FAILED: " <> failure)
    System.halt(if failed == [], do: 0, else: 1)
  end

  # The plan

  defp plan([]), do: all()

  defp plan(["quick"]) do
    quick = MapSet.new(~w(select/64 insert/64 page/1 mailbox/1))
    runs = for run <- all(), run.server == "testkit", run.sbwt == "default", do: run
    runs = Enum.filter(runs, &("#{&1.workload}/#{&1.callers}" in quick))
    for run <- runs, do: Map.merge(run, %{seconds: 2, warmup: 1})
  end

  # All words of a name are a run's.
  defp plan(names) do
    Enum.filter(all(), fn run ->
      words = [run.workload, "#{run.callers}", run.server, run.sbwt]
      Enum.any?(names, &(String.split(&1, "/") -- words == []))
    end)
  end

  defp all do
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
      %{
        workload: workload,
        server: server,
        callers: callers,
        sbwt: sbwt,
        seconds: seconds("BENCH_SECONDS", 10),
        warmup: seconds("BENCH_WARMUP", 5),
        # A duration of so many: taking it is a part of what a small request costs.
        sample: if(workload == "page", do: 1, else: 8),
        messages: @messages
      }
    end
  end

  defp servers("mailbox"), do: ["testkit"]
  defp servers("topology"), do: ["nodes"]
  defp servers(_load), do: ["testkit", "cassandra"]

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

  defp run_all(server, runs), do: Enum.flat_map(runs, &rows(&1, run(&1, server)))

  # A Java server becomes fast by and by, and slows down the client's machine until then.
  defp heat("cassandra", server) do
    for %{server: "cassandra", sbwt: "default"} = run <- all(),
        run.callers == 64 or run.workload == "page",
        do: run(%{run | seconds: run.warmup, warmup: 0.1}, server, "heating up: ")
  end

  defp heat(_kind, _server), do: :ok

  defp run(run, server, prefix \\ "") do
    say("#{prefix}#{run.workload}, #{run.callers} callers, #{run.server}, sbwt #{run.sbwt}")
    argument = run |> Map.put(:server, server) |> :erlang.term_to_binary() |> Base.encode64()

    arguments =
      ["--erl", erl_options(run.sbwt), "-pa", Application.app_dir(:palladion, "ebin")] ++
        [Path.join(@root, "bench/client.exs"), argument]

    {output, status} = System.cmd("elixir", arguments)

    with 0 <- status, [_, result] <- String.split(output, "result> ") do
      result |> String.trim() |> Base.decode64!() |> :erlang.binary_to_term()
    else
      _ -> stop("the client ended with #{status}:\n#{output}")
    end
  end

  defp erl_options("default"), do: "+Bd"
  defp erl_options("none"), do: "+Bd " <> @no_busy_wait

  # What is written

  defp rows(%{workload: "mailbox"} = run, figures) do
    for call <- figures do
      nothing = for key <- Report.columns(), into: %{}, do: {key, nil}
      added = call.p50_us - call.p50_empty_us

      nothing
      |> Map.merge(run |> identity() |> Map.delete(:seconds))
      |> Map.merge(call)
      |> Map.merge(%{messages: run.messages, added_us: added})
    end
  end

  defp rows(%{workload: "topology"} = run, figures) do
    nothing = for key <- Report.columns(), into: %{}, do: {key, nil}
    [nothing |> Map.merge(run |> identity() |> Map.delete(:seconds)) |> Map.merge(figures)]
  end

  defp rows(run, figures) do
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
