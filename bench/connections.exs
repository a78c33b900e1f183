defmodule Bench.Connections do
  # Connections opened one after the other, by Palladion or by OTP's `:ssl`, with OPTIONS and STARTUP on
  # each, and closed again; and what that costs the whole operating system process.

  alias Bench.CPU

  # They are opened by fours, and in each round all are replaced.
  @pool 32
  @timeout 60_000
  @host "127.0.0.1"
  @name "localhost"

  @options_frame <<4, 0, 0::16, 5, 0::32>>
  @startup <<1::16, 11::16, "CQL_VERSION", 5::16, "3.0.0">>
  @startup_frame <<4, 0, 0::16, 1, byte_size(@startup)::32, @startup::binary>>

  @doc "Opens connections for `seconds:` after `warmup:`."
  def run(%{client: "palladion"} = run) do
    {:ok, _} = Palladion.start_link(palladion_options(run))
    figures = measure(run, &reconnect/0)
    :ok = Palladion.stop(Bench.DB)
    figures
  end

  def run(%{client: "ssl"} = run) do
    {:ok, _} = Application.ensure_all_started(:ssl)
    :ok = know_name()
    options = ssl_options(run)
    :ok = get_tickets(run, options)
    measure(run, fn -> connect(run.server.port, options) end)
  end

  defp measure(run, open) do
    repeat(open, run.warmup)
    before = CPU.microseconds()
    connections = repeat(open, run.seconds)
    %{connections: connections, client_cpu_us: CPU.microseconds() - before}
  end

  # How many were opened, in so many seconds.
  defp repeat(open, seconds) do
    repeat(open, System.monotonic_time(:millisecond) + round(seconds * 1_000), 0)
  end

  defp repeat(open, until, connections) do
    connections = connections + open.()

    if System.monotonic_time(:millisecond) < until,
      do: repeat(open, until, connections),
      else: connections
  end

  # Palladion

  defp palladion_options(run) do
    [
      name: Bench.DB,
      contact_points: [{@host, run.server.port}],
      # As the others do: the address is dialled, and the name is verified.
      endpoint_resolver: {:fixed_name, @name},
      tls: palladion_tls(run),
      pool: [size: @pool],
      sync_connect: 20_000
    ]
  end

  defp palladion_tls(%{tls: "off"}), do: false

  defp palladion_tls(run) do
    [
      cacertfile: run.server.cacertfile,
      versions: [version(run.tls)],
      session_cache: if(run.sessions == "resumed", do: [], else: false)
    ]
  end

  defp reconnect do
    {:ok, %{connections_opened: before}} = Palladion.stats(Bench.DB)
    :ok = Palladion.reconnect(Bench.DB, @timeout)
    {:ok, %{connections_opened: opened}} = Palladion.stats(Bench.DB)
    opened - before
  end

  # OTP's :ssl

  defp ssl_options(run) do
    pem = File.read!(run.server.cacertfile)

    [
      :binary,
      active: false,
      nodelay: true,
      versions: [version(run.tls)],
      verify: :verify_peer,
      cacerts: for({:Certificate, der, _} <- :public_key.pem_decode(pem), do: der)
    ] ++ ssl_sessions(run.tls, run.sessions)
  end

  defp ssl_sessions("1.2", sessions), do: [reuse_sessions: sessions == "resumed"]
  defp ssl_sessions("1.3", "resumed"), do: [session_tickets: :auto]
  defp ssl_sessions("1.3", "full"), do: [session_tickets: :disabled]

  # The name is also what sessions are found by, and must not cost a look-up.
  defp know_name do
    :ok = :inet_db.set_lookup([:file])
    {:ok, address} = @host |> to_charlist() |> :inet.parse_address()
    :inet_db.add_host(address, [to_charlist(@name)])
  end

  # rustls sends tickets only to a client that says how it would use them, and `:ssl` says so only
  # with a ticket to offer. So it gets the first ones from a server of its own.
  defp get_tickets(%{tls: "1.3", sessions: "resumed"} = run, options) do
    %{certfile: certfile, keyfile: keyfile} = run.server
    server = [certfile: certfile, keyfile: keyfile, session_tickets: :stateless]
    {:ok, listener} = :ssl.listen(0, [versions: [version(run.tls)]] ++ server)
    {:ok, {_address, port}} = :ssl.sockname(listener)
    greeter = Task.async(fn -> greet(listener) end)
    {:ok, socket} = :ssl.connect(to_charlist(@name), port, options, @timeout)
    {:ok, "hello"} = :ssl.recv(socket, 5, @timeout)
    :ok = :ssl.close(socket)
    Task.await(greeter)
    :ssl.close(listener)
  end

  defp get_tickets(_run, _options), do: :ok

  defp greet(listener) do
    {:ok, accepted} = :ssl.transport_accept(listener)
    {:ok, socket} = :ssl.handshake(accepted, @timeout)
    :ok = :ssl.send(socket, "hello")
    :ssl.close(socket)
  end

  defp connect(port, options) do
    {:ok, socket} = :ssl.connect(to_charlist(@name), port, options, @timeout)
    ask(socket, @options_frame, 6)
    ask(socket, @startup_frame, 2)
    :ok = :ssl.close(socket)
    1
  end

  # The answer is of this opcode.
  defp ask(socket, frame, opcode) do
    :ok = :ssl.send(socket, frame)
    {:ok, <<0x84, _flags, 0::16, ^opcode, length::32>>} = :ssl.recv(socket, 9, @timeout)
    if length > 0, do: {:ok, _body} = :ssl.recv(socket, length, @timeout)
  end

  defp version("1.2"), do: :"tlsv1.2"
  defp version("1.3"), do: :"tlsv1.3"
end
