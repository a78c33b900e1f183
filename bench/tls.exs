defmodule Bench.TLS do
  # What a connection costs Palladion, a program of bare rustls, and OTP's `:ssl`: by turns on the
  # same server, whose counters show that the handshakes are of the kind that the figure is of.

  alias Bench.VM
  alias Palladion.Test.Testkit
  alias Palladion.Test.Testkit.Binary

  @root Path.expand("..", __DIR__)
  # By turns, so that a busy machine is as busy for all.
  @turns 3
  # Before there is a session to resume: of the control connection, of a pool's first connection, and
  # of `:ssl` with tickets of another server.
  @first_handshakes 4

  @doc "The runs, without what all runs have."
  def runs do
    off = %{tls: "off", sessions: "off"}
    on = for tls <- ["1.2", "1.3"], sessions <- ["full", "resumed"], do: {tls, sessions}
    [off | for({tls, sessions} <- on, do: %{tls: tls, sessions: sessions})]
  end

  @doc "A row of figures for each client, with Palladion's CPU time ÷ its own."
  def rows(run, server) do
    clients = clients(run)
    turn = %{run | seconds: run.seconds / @turns, warmup: run.warmup / @turns}
    turns = for _ <- 1..@turns, client <- clients, do: {client, turn(client, turn, server)}

    rows =
      for client <- clients, do: {client, row(client, run, for({^client, f} <- turns, do: f))}

    {_, %{client_cpu_us_per_connection: palladion}} = List.keyfind(rows, "palladion", 0)

    for {client, %{client_cpu_us_per_connection: cpu} = row} <- rows do
      Map.put(row, :palladion_ratio, if(client != "palladion", do: palladion / cpu))
    end
  end

  defp clients(%{sessions: "off"}), do: ["sockets", "palladion"]
  defp clients(%{sessions: "full"}), do: ["rustls", "palladion", "ssl"]

  # Bare rustls does not look at the certificates of a resumed session, which Palladion verifies.
  defp clients(%{sessions: "resumed"}), do: ["rustls", "rustls+verify", "palladion", "ssl"]

  defp turn(client, run, server) do
    {testkit, address} = if run.tls == "off", do: server.plain, else: server.tls
    :ok = Testkit.reset_counters(testkit)
    figures = measure(client, run, address)
    counters = Testkit.counters(testkit)

    %{
      connections: figures.connections,
      cpu_us: figures.client_cpu_us,
      full: counters.full,
      resumed: counters.resumed,
      as_meant: as_meant?(run.sessions, figures.connections, counters)
    }
  end

  defp row(client, run, turns) do
    connections = sum(turns, :connections)

    %{
      client: with_version(client),
      tls: run.tls,
      sessions: run.sessions,
      seconds: run.seconds,
      connections: connections,
      client_cpu_us_per_connection: sum(turns, :cpu_us) / connections,
      server_full: sum(turns, :full),
      server_resumed: sum(turns, :resumed),
      as_meant: Enum.all?(turns, & &1.as_meant)
    }
  end

  defp sum(turns, figure), do: turns |> Enum.map(&Map.fetch!(&1, figure)) |> Enum.sum()

  # The server's counters have the warm-up, too.
  defp as_meant?("off", n, counters), do: counters.startup >= n
  defp as_meant?("full", n, counters), do: counters.full >= n and counters.resumed == 0

  defp as_meant?("resumed", n, counters),
    do: counters.resumed >= n and counters.full <= @first_handshakes

  defp measure(client, run, server) when client in ["palladion", "ssl"],
    do: run |> Map.put(:client, client) |> VM.run(server)

  defp measure("sockets", run, server), do: bare(run, server, sessions: "none")

  defp measure("rustls" <> variant, run, server) do
    sessions = if variant == "+verify", do: "verified", else: run.sessions

    bare(run, server,
      sessions: sessions,
      version: run.tls,
      ca: server.cacertfile,
      name: "localhost"
    )
  end

  defp bare(run, server, arguments) do
    arguments =
      [address: "127.0.0.1:#{server.port}", seconds: run.seconds, warmup: run.warmup] ++ arguments

    {output, 0} = System.cmd(program(), for({key, value} <- arguments, do: "#{key}=#{value}"))

    for [name, number] <- Regex.scan(~r/"(\w+)": (\d+)/, output, capture: :all_but_first),
        into: %{},
        do: {String.to_atom(name), String.to_integer(number)}
  end

  @doc "Builds the program of bare rustls: an example of the testkit's crate."
  def build! do
    profile = System.fetch_env!("PALLADION_NIF_PROFILE")
    arguments = ~w(build --locked -p palladion-testkit --example bare-rustls --profile #{profile})
    {output, status} = System.cmd("cargo", arguments, cd: @root, stderr_to_stdout: true)
    if status != 0, do: raise("bare-rustls does not build:\n#{output}")
    :ok
  end

  # Beside the testkit's binary.
  defp program, do: Path.join([Path.dirname(Binary.path!()), "examples", "bare-rustls"])

  defp with_version("sockets"), do: "sockets"
  defp with_version("rustls" <> variant), do: "rustls#{variant} #{locked("rustls")}"

  defp with_version(app) do
    name = String.to_atom(app)
    _ = Application.load(name)
    "#{app} #{Application.spec(name, :vsn)}"
  end

  defp locked(crate) do
    lock = File.read!(Path.join(@root, "Cargo.lock"))
    [_, version] = Regex.run(~r/^name = "#{crate}"\nversion = "([^"]+)"/m, lock)
    version
  end
end
