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

  test "requests are told, and what goes beside an answer" do
    server = Testkit.start_server(tls: false, versions: [4], compression: [])
    {:ok, socket} = :gen_tcp.connect(~c"localhost", server.port, [:binary, active: false])
    beside = [warnings: ["a, b", "c"], payload: %{"k" => <<1>>, "n" => nil}]
    rule = [contains: "hello", reaction: {:frame, answer: :result, body: <<1::32>>}]
    assert :ok = Testkit.rule(server, rule ++ beside)
    assert :ok = Testkit.rule(server, contains: "bad", reaction: {:hostile, kind: :truncated})

    assert {0x02, <<>>} =
             ask_plainly(socket, 0, 0x01, <<1::16, 11::16, "CQL_VERSION", 1::16, "3">>)

    # LOCAL_QUORUM, a serial consistency (LOCAL_SERIAL) and a timestamp; a custom payload before it.
    query = <<1::16, 1::16, "p", 1::32, 7, 5::32, "hello", 6::16, 0x30, 9::16, 12::64>>
    assert {0x08, body} = ask_plainly(socket, 0x04, 0x07, query)
    warnings = <<2::16, 4::16, "a, b", 1::16, "c">>
    assert body == <<warnings::binary, 2::16, 1::16, "k", 1::32, 1, 1::16, "n", -1::32, 1::32>>

    assert [%{opcode: :query, version: 4, timestamp: 12, batch: nil, keyspace: nil} = request] =
             Testkit.requests(server)

    assert request.statements == [%{text: "hello", id: nil, values: 0}]
    assert %{consistency: :local_quorum, serial_consistency: :local_serial} = request
    assert request.payload == %{"p" => <<7>>}

    void = <<0::8, 0::32, 0::16>>
    batch = <<1, 2::16, 0, 1::32, "a", 0::16, 0, 1::32, "b", 1::16, -1::32, 1::16, 0>>
    assert {0x08, <<1::32>>} = ask_plainly(socket, 0, 0x0D, batch)
    assert {0x08, <<1::32>>} = ask_plainly(socket, 0, 0x0D, void)

    assert [_, %{batch: :unlogged} = batch, %{batch: :logged, statements: []}] =
             Testkit.requests(server)

    assert [%{text: "a", values: 0}, %{text: "b", values: 1}] = batch.statements

    altered = {:rows, columns: "a int", rows: "(1)"}
    assert :ok = Testkit.alter(server, contains: "hello", reaction: altered)
    assert {0x08, <<2::32, _::binary>>} = ask_plainly(socket, 0x04, 0x07, query)
    assert [%{version: 4, compression: nil}] = Testkit.connections(server)
  end

  defp ask_plainly(socket, flags, opcode, body) do
    :ok = :gen_tcp.send(socket, [<<4, flags, 1::16, opcode, byte_size(body)::32>>, body])
    {:ok, <<0x84, _flags, 1::16, opcode, length::32>>} = :gen_tcp.recv(socket, 9, 5_000)
    {:ok, body} = if length == 0, do: {:ok, <<>>}, else: :gen_tcp.recv(socket, length, 5_000)
    {opcode, body}
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

  @startup <<4, 0, 0, 1, 1, 22::32, 1::16, 11::16, "CQL_VERSION", 5::16, "3.0.0">>
  @register <<4, 0, 0, 1, 11, 34::32, 2::16, 15::16, "TOPOLOGY_CHANGE", 13::16, "STATUS_CHANGE">>

  defp plain(server, node) do
    opts = [:binary, active: false]
    {:ok, socket} = :gen_tcp.connect(to_charlist(node), server.port, opts, 5_000)
    socket
  end

  defp receive_frame(socket) do
    {:ok, <<0x84, _flags, _stream::16, opcode, length::32>>} = :gen_tcp.recv(socket, 9, 5_000)
    {:ok, body} = if length == 0, do: {:ok, ""}, else: :gen_tcp.recv(socket, length, 5_000)
    {opcode, body}
  end

  defp plain_ask(socket, frame) do
    :ok = :gen_tcp.send(socket, frame)
    receive_frame(socket)
  end

  describe "a cluster" do
    test "has the nodes that it is told to have" do
      nodes = [[datacenter: "dc 2", tokens: [1, -1]], [address: "127.1.2.3", host_id: 77], []]
      server = Testkit.start_cluster!(nodes: nodes, rack: ["r1", "r2"], tls: false)
      assert server.nodes == ["127.0.0.1", "127.0.0.3", "127.1.2.3"]
      assert [first, second, third] = Testkit.nodes(server)
      assert %{datacenter: "dc 2", rack: "r1", rpc_address: nil, down: false, open: 0} = first
      assert %{datacenter: "datacenter1", rack: "r1"} = second
      assert %{host_id: "00000000-0000-4000-8000-00000000004d", rack: "r2"} = third

      assert_raise RuntimeError, ~r/node.1 knows no x=/, fn ->
        Testkit.start_cluster!(nodes: [[x: 1]])
      end
    end

    test "changes, and its clients hear of it" do
      server = Testkit.start_cluster!(nodes: 3, tls: false)
      [first, second, third] = server.nodes
      client = plain(server, first)
      assert {2, ""} = plain_ask(client, @startup)
      assert {2, ""} = plain_ask(client, @register)

      assert %{address: "127.0.0.4"} = added = Testkit.add_node(server, rack: "r9")

      assert {12, <<15::16, "TOPOLOGY_CHANGE", 8::16, "NEW_NODE", _::binary>>} =
               receive_frame(client)

      assert {12, <<13::16, "STATUS_CHANGE", 2::16, "UP", _::binary>>} = receive_frame(client)

      cut = plain(server, second)
      Testkit.wait(server, node: second, open: 1)
      assert :ok = Testkit.node_down(server, second)
      assert {12, <<13::16, "STATUS_CHANGE", 4::16, "DOWN", _::binary>>} = receive_frame(client)
      assert {:error, :closed} = :gen_tcp.recv(cut, 0, 5_000)
      assert %{open: 0} = Testkit.wait(server, [node: second, open: 0], 5_000)
      assert :ok = Testkit.node_up(server, second, event: false)

      assert :ok = Testkit.move_node(server, third, "127.0.0.30", event: false)
      assert :ok = Testkit.set_schema_version(server, "127.0.0.30", 5)
      assert :ok = Testkit.set_schema_version(server, :all, 6)
      assert :ok = Testkit.remove_node(server, added)

      assert {12, <<15::16, "TOPOLOGY_CHANGE", 12::16, "REMOVED_NODE", _::binary>>} =
               receive_frame(client)

      assert [%{rack: "rack1"}, _, %{address: "127.0.0.30"} = moved] = Testkit.nodes(server)
      assert "00000000-0000-4000-8000-000000000006" = moved.schema_version

      assert :ok = Testkit.event(server, kind: :raw, body: <<0, 1, ?X>>)
      assert {12, <<0, 1, ?X>>} = receive_frame(client)
      assert_raise RuntimeError, ~r/there is no node/, fn -> Testkit.node_up(server, added) end
    end

    test "hangs in part, and counts each node's handshakes" do
      server = Testkit.start_cluster!(nodes: 2, tls: false, handshake_delay: 1)
      [first, second] = server.nodes
      assert :ok = Testkit.hang_node(server, second)
      sockets = for node <- [first, second, second], do: plain(server, node)
      for socket <- sockets, do: :ok = :gen_tcp.send(socket, @startup)
      assert {2, ""} = receive_frame(hd(sockets))
      assert %{handshaking: 2} = Testkit.wait(server, connections: 3, handshaking: 2)
      assert %{handshaking_peak: 2, responses: 0} = Testkit.counters(server, second)
      assert :ok = Testkit.resume_node(server, second)
      for socket <- tl(sockets), do: assert({2, ""} = receive_frame(socket))
      assert :ok = Testkit.handshake_delay(server, 0)
      assert :ok = Testkit.reset_counters(server)
      assert %{open: 2, handshaking_peak: 0, responses: 0} = Testkit.counters(server, second)
      assert %{open: 3, responses: 0} = Testkit.counters(server)
    end

    test "has a certificate for its nodes" do
      server = Testkit.start_cluster!(nodes: 2)
      {:ok, _} = connect(%{server | address: "127.0.0.2"}, server_name_indication: ~c"localhost")
      pem = File.read!(server.server_certfile)
      [{:Certificate, der, _}] = :public_key.pem_decode(pem)
      assert :public_key.pkix_verify_hostname(der, ip: {127, 0, 0, 2})
      refute :public_key.pkix_verify_hostname(der, ip: {127, 0, 0, 3})
      %{address: added} = Testkit.add_node(server)
      assert :ok = Testkit.certificate(server, cert: ["localhost", "nodes"])
      {:ok, socket} = connect(%{server | address: added})
      {:ok, der} = :ssl.peercert(socket)
      assert :public_key.pkix_verify_hostname(der, ip: {127, 0, 0, 3})
    end
  end

  test "mistakes are told" do
    server = Testkit.start_server(tls: false)
    assert_raise RuntimeError, ~r/not in time/, fn -> Testkit.wait(server, [query: 7], 10) end
    mistake = fn -> Testkit.rule(server, reaction: :void, colour: "red") end
    assert_raise RuntimeError, ~r/knows no colour=/, mistake
    assert_raise RuntimeError, ~r/speaks plain text/, fn -> Testkit.forget_tickets(server) end
    assert_raise RuntimeError, ~r/port=x/, fn -> Testkit.start_server(port: "x") end
    long = fn -> Testkit.rule(server, reaction: {:garbage, String.duplicate("x", 2_200_000)}) end
    assert_raise RuntimeError, ~r/rule takes 44\d{5} bytes, a line at most 4194304/, long
    assert %{query: 0} = Testkit.counters(server)
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
      # It was in the queue of the port that is just being closed.
      {:error, :econnreset} -> refused(server)
      {:error, reason} -> reason
      {:ok, _} -> refused(server)
    end
  end
end
