defmodule Palladion.Test.TestkitTest do
  use ExUnit.Case, async: true

  alias Palladion.Test.Testkit

  @options <<4, 0, 0, 1, 5, 0::32>>
  @supported 0x06
  @error 0x00

  setup_all do
    {:ok, _} = Application.ensure_all_started(:ssl)
    :ok
  end

  defp connect(server, opts \\ []) do
    tls = [
      cacertfile: server.cacertfile,
      verify: :verify_peer,
      server_name_indication: ~c"localhost",
      active: false,
      mode: :binary,
      log_level: :emergency
    ]

    :ssl.connect(to_charlist(server.address), server.port, Keyword.merge(tls, opts), 5_000)
  end

  defp ask(socket, frame) do
    :ok = :ssl.send(socket, frame)
    {:ok, <<0x84, _flags, _stream::16, opcode, length::32>>} = :ssl.recv(socket, 9, 5_000)
    {:ok, body} = :ssl.recv(socket, length, 5_000)
    {opcode, body}
  end

  test "a server is seen by its clients and sees them" do
    server = Testkit.start_server(tls: ["1.3"], supported: %{"SCYLLA_SHARD" => ["3"]})
    {:ok, socket} = connect(server)
    assert {@supported, body} = ask(socket, @options)
    assert body =~ "SCYLLA_SHARD"

    counters = Testkit.wait(server, connections: 1, open: {:min, 1}, options: {:max, 1})
    assert %{full: 1, resumed: 0, tls13: 1, last_failure: nil} = counters

    assert [%{handshake: :full, tls_version: "1.3", server_name: "localhost", startup: %{}}] =
             Testkit.connections(server)
  end

  test "a rule's words arrive as they are" do
    server = Testkit.start_server()
    error = {:error, code: 0x1001, message: "ä = b %20"}
    assert :ok = Testkit.rule(server, opcode: :options, times: 1, reaction: error, delay: 1)
    {:ok, socket} = connect(server)
    assert {@error, <<0x1001::32, 10::16, "ä = b %20", _::binary>>} = ask(socket, @options)
    assert {@supported, _} = ask(socket, @options)
    rows = {:rows, columns: "id int, name text", rows: "(1, 'ann')", paging_state: <<1>>}
    assert :ok = Testkit.rule(server, contains: "users", bind: "id int", reaction: rows)
  end

  test "a certificate changes, and a client that looks refuses it" do
    server = Testkit.start_server()
    :ok = Testkit.certificate(server, validity: :expired)
    assert {:error, {:tls_alert, {:certificate_expired, _}}} = connect(server)
    assert %{last_failure: failure} = Testkit.wait(server, failed_handshakes: 1)
    assert failure =~ ~r/expired/i

    other = Testkit.start_server(issuer: :unrelated)
    assert {:error, {:tls_alert, {:unknown_ca, _}}} = connect(other)
    assert {:ok, _} = connect(other, cacertfile: other.other_cacertfile)
  end

  test "client certificates are demanded" do
    server = Testkit.start_server(client_auth: :required, tls: ["1.2"])
    assert {:error, {:tls_alert, _}} = connect(server)
    identity = [certfile: server.client_certfile, keyfile: server.client_keyfile]
    assert {:ok, _} = connect(server, identity)
    assert %{client_certs: 1} = Testkit.wait(server, full: 1)
  end

  test "every order is understood" do
    server = Testkit.start_server(user: "ann", password: "secret")

    for order <- [:pause, :resume, :refuse, :listen, :close_connections, :clear_rules] do
      assert :ok = apply(Testkit, order, [server])
    end

    for order <- [:forget_tickets, :forget_prepared, :set_login] do
      assert :ok = apply(Testkit, order, [server])
    end

    assert :ok = Testkit.set_password(server, "another")
    node = "#{server.address}:#{server.port}"
    assert :ok = Testkit.event(server, kind: :status, change: "DOWN", node: node)
  end

  test "mistakes are told" do
    server = Testkit.start_server(tls: false)
    assert_raise RuntimeError, ~r/not in time/, fn -> Testkit.wait(server, [query: 7], 10) end
    mistake = fn -> Testkit.rule(server, reaction: :void, colour: "red") end
    assert_raise RuntimeError, ~r/knows no colour=/, mistake
    assert_raise RuntimeError, ~r/speaks plain text/, fn -> Testkit.forget_tickets(server) end
    assert_raise RuntimeError, ~r/port=x/, fn -> Testkit.start_server(port: "x") end
  end

  test "a server ends with the process that started it" do
    test = self()
    owner = spawn(fn -> send(test, Testkit.start_server()) && Process.sleep(:infinity) end)
    assert_receive %Testkit{} = server, 60_000
    {:ok, socket} = connect(server)
    Process.exit(owner, :kill)
    assert {:error, :closed} = :ssl.recv(socket, 0, 5_000)
    assert :econnrefused = refused(server)
  end

  defp refused(server) do
    case :gen_tcp.connect(to_charlist(server.address), server.port, []) do
      {:error, reason} -> reason
      {:ok, _} -> refused(server)
    end
  end
end
