defmodule Palladion.Test.Reloads do
  @moduledoc """
  What tests of reloads have in common: files that are replaced, callers who never stop asking, and what both ends say of the
  connections.
  """

  import ExUnit.Assertions
  import Palladion.Test.Clusters

  alias Palladion.Test.{TelemetryEvents, Testkit}

  @callers 64

  @doc "A simulated cluster that wants certificates of its clients, and answers what the callers ask."
  def start_server!(options \\ []) do
    server =
      Testkit.start_cluster!(
        [nodes: 3, client_auth: :required, user: "ann", password: "secret"] ++ options
      )

    # The testkit knows the answer to this by itself.
    Testkit.rule(server,
      contains: "WHERE key = ?",
      bind: "key text",
      reaction: {:rows, columns: "key text", rows: "('local')"}
    )

    server
  end

  # Files

  @doc "Options of `tls:` with files of the test's own, to be replaced."
  def files(dir, server) do
    given = [
      cacertfile: server.cacertfile,
      certfile: server.client_certfile,
      keyfile: server.client_keyfile
    ]

    for {option, file} <- given, do: {option, copy(file, dir, option)}
  end

  @doc "Puts a copy of a file in an option's place, by a rename: it is never there by halves."
  def copy(file, dir, option) do
    path = Path.join(dir, "#{option}.pem")
    File.cp!(file, path <> ".new")
    File.rename!(path <> ".new", path)
    path
  end

  @doc "Puts a certificate and its key in the place of those of before."
  def take_identity({certificate, key}, dir) do
    copy(certificate, dir, :certfile)
    copy(key, dir, :keyfile)
  end

  @doc "The first certificate of a file, as DER."
  def der(file) do
    [{:Certificate, der, _} | _] = file |> File.read!() |> :public_key.pem_decode()
    der
  end

  # Callers

  @doc "Starts callers, and returns when each can have had an answer."
  def start_traffic(name) do
    counts = :counters.new(2, [])
    callers = for n <- 1..@callers, do: Task.async(fn -> ask(name, n, counts, []) end)
    traffic = {counts, callers}
    answered(traffic)
    traffic
  end

  defp ask(name, n, counts, errors) do
    if :counters.get(counts, 1) > 0 do
      assert mailbox() == []
      errors
    else
      statement = "SELECT key FROM system.local WHERE key = ?"

      case Palladion.query(name, statement, ["local"]) do
        {:ok, %{num_rows: 1}} ->
          :counters.add(counts, 2, 1)
          ask(name, n, counts, errors)

        other ->
          Process.sleep(1)
          ask(name, n, counts, [other | errors])
      end
    end
  end

  @doc "Waits until there were as many more answers as there are callers."
  def answered({counts, _callers}) do
    before = :counters.get(counts, 2)
    eventually("queries are answered", fn -> :counters.get(counts, 2) >= before + @callers end)
  end

  @doc "Ends the callers, none of whom may have seen an error."
  def assert_none_failed({counts, callers} = traffic) do
    answered(traffic)
    :counters.add(counts, 1, 1)
    assert callers |> Task.await_many(30_000) |> List.flatten() == []
  end

  # What the driver says

  @doc "What protects each of the open connections, the control connection's first."
  def handshakes(name) do
    {:ok, %{endpoints: endpoints, control: control}} = Palladion.status(name)

    for %{tls: tls} <- List.wrap(control) ++ Enum.flat_map(endpoints, & &1.connections), do: tls
  end

  @doc "The configurations that open connections are of, each once."
  def generations(name), do: name |> handshakes() |> Enum.map(& &1.generation) |> Enum.uniq()

  @doc "Waits until so many connections are open, the control connection among them, and the server has no other."
  def await_open(name, server, count) do
    eventually("#{count} connections are open", fn -> length(handshakes(name)) == count end)
    Testkit.wait(server, open: count)
  end

  @doc "All counters."
  def stats(name) do
    {:ok, stats} = Palladion.stats(name)
    stats
  end

  @doc "Waits for an event about a cluster's TLS of which `TelemetryEvents.attach/1` tells."
  def await_event(id, name, suffix) do
    event = [:palladion, :tls, suffix]
    assert_receive {:telemetry, ^id, ^event, measurements, %{cluster: ^name} = metadata}, 10_000
    TelemetryEvents.check!(event, measurements, metadata)
    metadata
  end

  # What the server says

  @doc "What it knows of the connections that are open."
  def open(server), do: for(it <- Testkit.connections(server), it.open, do: it)

  @doc "Which they are: ports are used again, numbers are not."
  def open_ids(server), do: server |> open() |> Enum.map(& &1.id)

  @doc """
  The certificates that clients have shown on these, each once, by their fingerprints. On a resumed connection it is the one that
  the session began with.
  """
  def shown(server), do: server |> open() |> Enum.map(& &1.client_fingerprint) |> Enum.uniq()

  @doc "The fingerprint of a file's first certificate, as `shown/1` has it."
  def fingerprint(file), do: :sha256 |> :crypto.hash(der(file)) |> Base.encode16(case: :lower)
end
