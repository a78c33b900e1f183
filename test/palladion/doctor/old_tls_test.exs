defmodule Palladion.Doctor.OldTLSTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Doctor.OldTLS
  alias Palladion.Test.Certificates

  setup_all do
    {:ok, _started} = Application.ensure_all_started(:ssl)
    :ok
  end

  setup :tmp_dir

  # RSA all along, for the old versions' sake.
  setup %{tmp_dir: dir} do
    files = [certfile: Path.join(dir, "server.crt"), keyfile: Path.join(dir, "server.key")]

    Certificates.openssl!(
      ~w(req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -out) ++
        [files[:certfile], "-keyout", files[:keyfile]]
    )

    %{files: files}
  end

  # Erlang's own server, which takes connections until the test ends.
  defp server(files, options) do
    {:ok, listener} = :ssl.listen(0, [ip: {127, 0, 0, 1}, log_level: :none] ++ files ++ options)

    {:ok, {_address, port}} = :ssl.sockname(listener)

    start_supervised!(
      {Task,
       fn ->
         for _ <- Stream.cycle([1]),
             {:ok, socket} <- [:ssl.transport_accept(listener)],
             do: :ssl.handshake(socket)
       end},
      id: port
    )

    port
  end

  defp ask(version, port), do: OldTLS.ask(version, "127.0.0.1", port, "localhost", 10_000)

  test "one that is accepted is told from one that is not", %{files: files} do
    port = server(files, versions: [:"tlsv1.1"], ciphers: :ssl.cipher_suites(:all, :"tlsv1.1"))
    assert ask(:"tlsv1.1", port) == :accepted
    assert ask(:tlsv1, port) == :refused
  end

  test "a server that wants a client certificate has accepted the version", %{files: files} do
    options = [verify: :verify_peer, fail_if_no_peer_cert: true, cacertfile: files[:certfile]]

    port =
      server(files, [versions: [:tlsv1], ciphers: :ssl.cipher_suites(:all, :tlsv1)] ++ options)

    assert ask(:tlsv1, port) == :accepted
    assert ask(:"tlsv1.1", port) == :refused
  end

  test "modern servers refuse both", %{files: files} do
    port = server(files, versions: [:"tlsv1.2", :"tlsv1.3"])
    for version <- OldTLS.versions(), do: assert(ask(version, port) == :refused)
  end

  test "a server that says nothing is unknown" do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    assert {:unknown, _why} = OldTLS.ask(:tlsv1, "127.0.0.1", port, nil, 200)
  end

  test "a version that :ssl doesn't know is unknown, and ends nobody" do
    {:ok, listener} = :gen_tcp.listen(0, ip: {127, 0, 0, 1})
    {:ok, port} = :inet.port(listener)
    assert {:unknown, why} = ask(:"tlsv0.9", port)
    assert why =~ "can't speak it"
  end

  test "nothing stays in the caller's mailbox", %{files: files} do
    ask(:tlsv1, server(files, versions: [:"tlsv1.2"]))
    refute_received _
  end
end
