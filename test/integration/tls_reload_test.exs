defmodule Palladion.Integration.TLSReloadTest do
  @moduledoc """
  TLS is configured anew while callers never stop asking: no query fails, no connection of before is left, no session of before
  is resumed; and what can't be used changes nothing.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Reloads, Simulated}
  import Palladion.Test.Certificates, only: [tmp_dir: 1, openssl!: 1]

  alias Palladion.Cluster.Certificates
  alias Palladion.{ConfigError, ConnectionError}
  alias Palladion.Test.{Cassandra, TelemetryEvents, Testkit}

  @moduletag :capture_log
  @moduletag timeout: 120_000

  setup :tmp_dir

  describe "a simulated cluster:" do
    setup %{tmp_dir: dir} do
      server = start_server!()
      %{server: server, tls: files(dir, server)}
    end

    for version <- [:"tlsv1.2", :"tlsv1.3"] do
      test "all connections get the new certificate, and none a session of before, #{version}",
           %{server: server, tls: tls, tmp_dir: dir} do
        name = follow!(server, pool: [size: 4], tls: tls ++ [versions: [unquote(version)]])
        await_open(name, server, 13)
        before = open_ids(server)
        assert generations(name) == [0]
        assert shown(server) == [fingerprint(server.client_certfile)]
        traffic = start_traffic(name)
        Testkit.reset_counters(server)
        id = TelemetryEvents.attach()

        {certificate, _key} = second = Testkit.issue(dir, name: "second", client: true)
        take_identity(second, dir)
        assert Palladion.reload_tls(name, timeout: 60_000) == :ok

        # The old ones first answer what they have taken on.
        await_open(name, server, 13)
        answered(traffic)
        :telemetry.detach(id)
        assert generations(name) == [1]
        assert open_ids(server) -- before == open_ids(server)
        # So no session that was resumed began with the certificate of before.
        assert shown(server) == [fingerprint(certificate)]

        # A full one for each node, and at most one more: the control connection goes to one of the
        # nodes without regard to its pool. It may come before there is a session, or take the
        # ticket that the pool has counted on. Both ends say the same.
        assert %{full: full, resumed: resumed, failed_handshakes: 0} = Testkit.counters(server)
        assert full in 3..4 and full + resumed == 13
        kinds = Enum.frequencies_by(handshakes(name), & &1.handshake)
        assert kinds == %{full: full, resumed: resumed}

        for {_endpoint, [first | later]} <- told_handshakes(id, name) do
          assert first.handshake == :full
          controls = Enum.count([first | later], &(&1.role == :control))
          assert Enum.count(later, &(&1.handshake == :full)) <= controls
        end

        assert %{tls_reloads: 1, sessions_rejected: 0, sessions_purged: purged} = stats(name)
        assert purged > 0
        assert_none_failed(traffic)
      end
    end

    # Of each endpoint, in their order.
    defp told_handshakes(id, name) do
      told =
        for {[_, :handshake, :stop], _, %{cluster: ^name} = it} <- TelemetryEvents.take(id),
            do: it

      Enum.group_by(told, & &1.endpoint)
    end

    test "files that can't be used change nothing, and are told of", context do
      %{server: server, tls: tls, tmp_dir: dir} = context
      name = follow!(server, tls: tls)
      await_open(name, server, 4)
      before = open_ids(server)
      traffic = start_traffic(name)
      Testkit.reset_counters(server)

      File.write!(tls[:cacertfile], "nonsense")
      {certificate, _key} = Testkit.issue(dir, name: "second", client: true)
      copy(certificate, dir, :certfile)

      assert {:error, %ConfigError{name: ^name, problems: problems}} = Palladion.reload_tls(name)
      paths = for %{path: path} <- problems, do: path
      assert Enum.sort(paths) == [[:tls, :cacertfile], [:tls, :keyfile]]

      assert_none_failed(traffic)
      assert open_ids(server) == before
      assert generations(name) == [0]
      assert %{connections: 0} = Testkit.counters(server)
      assert %{tls_reloads: 0, sessions_purged: 0} = stats(name)
    end

    test "authorities that don't fit: connections of before go on, and a reload back works",
         context do
      %{server: server, tls: tls, tmp_dir: dir} = context
      name = follow!(server, pool: [size: 2], tls: tls)
      await_open(name, server, 7)
      before = open_ids(server)
      traffic = start_traffic(name)
      id = TelemetryEvents.attach()

      copy(server.other_cacertfile, dir, :cacertfile)
      assert {:error, %ConnectionError{reason: :unknown_ca}} = Palladion.reload_tls(name)
      answered(traffic)
      # Attempts may be there beside them.
      assert before -- open_ids(server) == []
      assert generations(name) == [0]

      copy(server.cacertfile, dir, :cacertfile)
      assert Palladion.reload_tls(name) == :ok
      assert generations(name) == [2]
      await_open(name, server, 7)
      assert open_ids(server) -- before == open_ids(server)
      assert_none_failed(traffic)

      :telemetry.detach(id)

      told =
        for {[_ | event], _, %{cluster: ^name} = it} <- TelemetryEvents.take(id), do: {event, it}

      assert {_, %{trigger: :call, reason: :unknown_ca}} =
               List.keyfind(told, [:tls, :reload_failed], 0)

      assert {_, %{reason: :unknown_ca}} = List.keyfind(told, [:handshake, :failed], 0)

      assert {_, %{trigger: :call, generation: 2}} = List.keyfind(told, [:tls, :reloaded], 0)
    end

    test "a certificate that the server doesn't take: likewise, on both versions", context do
      %{server: server, tls: tls, tmp_dir: dir} = context
      ours = {server.client_certfile, server.client_keyfile}

      for version <- [:"tlsv1.2", :"tlsv1.3"] do
        take_identity(ours, dir)
        name = follow!(server, tls: tls ++ [versions: [version]])
        traffic = start_traffic(name)
        take_identity({server.other_client_certfile, server.other_client_keyfile}, dir)
        assert {:error, %ConnectionError{reason: reason}} = Palladion.reload_tls(name)
        assert reason == :certificate_rejected
        assert generations(name) == [0]
        take_identity(ours, dir)
        assert Palladion.reload_tls(name) == :ok
        await_open(name, server, 4)
        assert generations(name) == [2]
        assert shown(server) == [fingerprint(server.client_certfile)]
        assert_none_failed(traffic)
        stop_supervised(name)
      end
    end

    test "the server's authority is replaced: both are trusted for a while", context do
      %{server: server, tls: tls} = context
      name = follow!(server, tls: tls)
      traffic = start_traffic(name)
      both = File.read!(server.cacertfile) <> File.read!(server.other_cacertfile)
      File.write!(tls[:cacertfile], both)
      assert Palladion.reload_tls(name) == :ok
      Testkit.certificate(server, cert: ["localhost", "nodes"], issuer: :unrelated)
      assert Palladion.reload_tls(name, tls: [cacertfile: server.other_cacertfile]) == :ok
      assert generations(name) == [2]
      assert_none_failed(traffic)
    end

    test "a certificate that comes as DER stays for later reloads", context do
      %{server: server, tls: tls, tmp_dir: dir} = context
      name = follow!(server, tls: tls)
      {certificate, key} = Testkit.issue(dir, name: "second", client: true)
      [{type, key, _}] = key |> File.read!() |> :public_key.pem_decode()
      # Nothing but the authorities is read from files any more.
      for option <- [:certfile, :keyfile], do: File.rm!(tls[option])
      assert Palladion.reload_tls(name, tls: [cert: der(certificate), key: {type, key}]) == :ok
      assert Palladion.reload_tls(name) == :ok
      assert generations(name) == [2]
      await_open(name, server, 4)
      assert shown(server) == [fingerprint(certificate)]
    end

    test "a control connection that is lost while it can't be replaced is gone", context do
      %{server: server, tls: tls, tmp_dir: dir} = context
      name = follow!(server, tls: tls)
      await_open(name, server, 4)
      copy(server.other_cacertfile, dir, :cacertfile)
      assert {:error, %ConnectionError{reason: :unknown_ca}} = Palladion.reload_tls(name)
      assert is_binary(control(name))
      Testkit.close_connections(server)
      eventually("there is none", fn -> control(name) == nil end)
      copy(server.cacertfile, dir, :cacertfile)
      assert Palladion.reload_tls(name) == :ok
      eventually("there is another", fn -> control(name) end)
      await_open(name, server, 4)
      assert generations(name) == [2]
    end

    test "many who ask at once are served one after the other", %{server: server, tls: tls} do
      name = follow!(server, tls: tls)
      traffic = start_traffic(name)
      reloads = for _ <- 1..8, do: Task.async(fn -> Palladion.reload_tls(name) end)
      assert reloads |> Task.await_many(60_000) |> Enum.uniq() == [:ok]
      assert generations(name) == [8]
      assert_none_failed(traffic)
      await_open(name, server, 4)
    end

    test "the process is killed in the middle of it: it is done, and nobody notices", context do
      %{server: server, tls: tls} = context
      name = follow!(server, pool: [size: 2], tls: tls)
      await_open(name, server, 7)
      traffic = start_traffic(name)
      before = open_ids(server)
      others = Map.delete(pids(name), Certificates)
      Testkit.handshake_delay(server, 100)
      task = Task.async(fn -> Palladion.reload_tls(name) end)
      eventually("it has begun", fn -> stat(name, :tls_reloads) == 1 end)
      killed = pids(name)[Certificates]
      Process.exit(killed, :kill)
      assert Task.await(task, 60_000) == :ok
      assert generations(name) == [2]
      assert pids(name)[Certificates] != killed
      assert Map.delete(pids(name), Certificates) == others
      await_open(name, server, 7)
      assert open_ids(server) -- before == open_ids(server)
      assert_none_failed(traffic)
    end

    test "a cluster that is stopped in the middle of it says so", %{server: server, tls: tls} do
      name = follow!(server, tls: tls)
      Testkit.pause(server)
      task = Task.async(fn -> Palladion.reload_tls(name) end)
      eventually("it has begun", fn -> stat(name, :tls_reloads) == 1 end)
      :ok = stop_supervised(name)
      assert {:error, %ConnectionError{reason: :closed}} = Task.await(task, 30_000)
      Testkit.resume(server)
    end
  end

  describe "a real server:" do
    @describetag :cassandra
    @describetag timeout: 300_000

    @tag needs_cassandra_5: "sessions of TLS 1.3: 4.1 gives no tickets"
    test "all connections are replaced under traffic, and sessions are resumed among the new" do
      server = Cassandra.server(:tls)
      application = "reload #{System.unique_integer([:positive])}"
      name = ready_cluster!(server, pool: [size: 4], application_name: application)
      eventually("all are open", fn -> length(handshakes(name)) == 5 end)
      before = clients(name, application)
      traffic = start_traffic(name)
      %{handshakes_full: full, handshakes_resumed: resumed} = stats(name)
      assert Palladion.reload_tls(name) == :ok
      assert generations(name) == [1]
      assert %{handshakes_full: full_after, handshakes_resumed: resumed_after} = stats(name)
      # The first to the node, and at most one more, as above.
      assert (full_after - full) in 1..2
      assert full_after - full + resumed_after - resumed == 5
      assert_none_failed(traffic)

      eventually("the server has none of before", fn ->
        now = clients(name, application)
        length(now) == 5 and now -- before == now
      end)
    end

    # Ports and TLS of this cluster's connections, as the server sees them.
    defp clients(name, application) do
      select = "SELECT port, ssl_enabled, client_options FROM system_views.clients"

      for %{"client_options" => %{"APPLICATION_NAME" => ^application}} = client <-
            Palladion.query!(name, select).rows do
        assert client["ssl_enabled"]
        client["port"]
      end
    end

    for version <- [:"tlsv1.2", :"tlsv1.3"] do
      @tag :managed_server
      @tag version: version
      test "that verifies its clients: a new certificate, a stranger's, and back, #{version}",
           context do
        reload_there_and_back(context.tmp_dir, context.version)
      end
    end

    defp reload_there_and_back(dir, version) do
      server = Cassandra.server(:mtls)
      certs = server.certs_dir

      tls = [
        versions: [version],
        cacertfile: copy(server.cacertfile, dir, :cacertfile),
        certfile: copy(Path.join(certs, "client.crt"), dir, :certfile),
        keyfile: copy(Path.join(certs, "client.key"), dir, :keyfile)
      ]

      name = ready_cluster!(server, pool: [size: 4], tls: tls, reconnect: [min: 50, max: 500])
      eventually("all are open", fn -> length(handshakes(name)) == 5 end)
      traffic = start_traffic(name)

      take_identity(issue(certs, dir, "ca", "second"), dir)
      assert Palladion.reload_tls(name) == :ok
      assert generations(name) == [1]

      take_identity(issue(certs, dir, "other-ca", "stranger"), dir)
      assert {:error, %ConnectionError{reason: reason}} = Palladion.reload_tls(name)
      assert reason == :certificate_rejected
      assert generations(name) == [1]
      answered(traffic)

      take_identity({Path.join(certs, "client.crt"), Path.join(certs, "client.key")}, dir)
      assert Palladion.reload_tls(name) == :ok
      assert generations(name) == [3]
      assert_none_failed(traffic)
    end

    # A client's certificate of an authority whose key lies beside it.
    defp issue(certs, dir, authority, name) do
      [key, request, certificate] =
        for extension <- ~w(key csr crt), do: Path.join(dir, "#{name}.#{extension}")

      openssl!(
        ~w(req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=#{name}) ++
          ["-keyout", key, "-out", request]
      )

      extensions = Path.join(dir, "extensions")
      File.write!(extensions, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")

      [ca, ca_key] =
        for extension <- ~w(crt key), do: Path.join(certs, "#{authority}.#{extension}")

      openssl!(
        ~w(x509 -req -days 30 -set_serial 7 -CA #{ca} -CAkey #{ca_key} -in #{request}) ++
          ["-extfile", extensions, "-out", certificate]
      )

      {certificate, key}
    end
  end
end
