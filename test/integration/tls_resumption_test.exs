defmodule Palladion.Integration.TLSResumptionTest do
  @moduledoc """
  Where a session must not be resumed, none is, as both ends count it: the simulated server would resume whatever it has given
  a ticket for.
  """

  # Most of it is waiting for what expires.
  use ExUnit.Case, async: true

  import Palladion.Test.{Clusters, Reloads, Simulated}
  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.ConnectionError
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log
  @moduletag timeout: 120_000

  # How long what expires is valid, in seconds: long enough for a cluster to start, and when that is surely over, in ms.
  @brief 6
  @expired_after 7_500

  setup :tmp_dir

  for version <- [:"tlsv1.2", :"tlsv1.3"] do
    describe "#{version}:" do
      @describetag version: version

      test "with nothing in the way, sessions are resumed", context do
        server = Testkit.start_cluster!(nodes: 1)
        name = follow_anew!(server, context)
        assert Palladion.reconnect(name, 30_000) == :ok
        assert %{full: 0, resumed: 1} = counted(name, server)
      end

      test "not when the server's certificate has expired", context do
        server = Testkit.start_cluster!(nodes: 1, validity: @brief)
        name = follow_anew!(server, context)
        Process.sleep(@expired_after)

        assert_reconnection_refused(name, :certificate_expired)

        assert_none_offered(name, server)
        assert %{sessions_lineage_expired: ended} = stats(name)
        assert ended > 0
      end

      test "not when our own certificate has expired", %{tmp_dir: dir} = context do
        server = Testkit.start_cluster!(nodes: 1, client_auth: :required)
        {certfile, keyfile} = Testkit.issue(dir, name: "brief", client: true, validity: @brief)
        name = follow_anew!(server, context, certfile: certfile, keyfile: keyfile)
        Process.sleep(@expired_after)
        assert {:error, %ConnectionError{}} = Palladion.reconnect(name, 30_000)
        assert_none_offered(name, server)
        assert %{sessions_lineage_expired: ended} = stats(name)
        assert ended > 0
      end

      test "not by a node whose name is wrong", context do
        names = ["localhost", "127.0.0.1", "127.0.0.2"]
        server = Testkit.start_cluster!(nodes: 3, cert: names)
        id = TelemetryEvents.attach()
        name = ready_cluster!(server, hurried(tls: tls(server, context), pool: [size: 2]))
        await_connections(name, without: "127.0.0.3")

        # The second connections of the others resume, and sessions are there all the while.
        eventually("they are open", fn -> stat(name, :handshakes_resumed) == 2 end)
        failed = stat(name, :handshakes_failed)

        eventually("it is tried for again", fn -> stat(name, :handshakes_failed) >= failed + 3 end)

        :telemetry.detach(id)
        told = told_handshakes(id, name)
        {wrong, right} = Map.pop!(told, "127.0.0.3:#{server.port}")
        assert Enum.all?(wrong, &match?(%{reason: :address_mismatch}, &1))
        assert [2, 2, 1] = right |> Map.values() |> Enum.map(&length/1) |> Enum.sort(:desc)
        assert %{sessions_offered: 2, handshakes_resumed: 2} = stats(name)
        assert %{resumed: 2, full: 3} = Testkit.counters(server)
      end

      test "not when the server's certificate has been revoked", %{tmp_dir: dir} = context do
        server = Testkit.start_cluster!(nodes: 1)
        list = Testkit.crl(server, dir: dir, name: "list", revoke: false)
        name = follow_anew!(server, context, crlfile: list)
        revoked = Testkit.crl(server, dir: dir, name: "revoked")
        File.rename!(revoked, list)
        assert_reload_refused(name, :certificate_revoked)
        assert_none_offered(name, server)
        Testkit.close_connections(server)
        assert_stays_out(name, server)
      end

      test "not when the list of revoked certificates is out of date", context do
        server = Testkit.start_cluster!(nodes: 1)

        list =
          Testkit.crl(server, dir: context.tmp_dir, name: "list", revoke: false, validity: @brief)

        name = follow_anew!(server, context, crlfile: list)
        Process.sleep(@expired_after)

        assert_reconnection_refused(name, :revocation_unknown)

        # No certificate has changed, so a session is offered, and the server takes it: we don't.
        assert %{handshakes_resumed: 0, sessions_refused: refused} = stats(name)
        assert refused > 0
        assert %{resumed: ^refused, startup: 0, full: 0} = Testkit.counters(server)
      end

      test "not when another authority is trusted", %{tmp_dir: dir} = context do
        server = Testkit.start_cluster!(nodes: 1)
        trusted = copy(server.cacertfile, dir, :cacertfile)
        name = follow_anew!(server, context, cacertfile: trusted)
        copy(server.other_cacertfile, dir, :cacertfile)
        assert_reload_refused(name, :unknown_ca)
        assert_none_offered(name, server)
        Testkit.close_connections(server)
        assert_stays_out(name, server)
      end

      test "not at another endpoint, though the name is the same", context do
        server = Testkit.start_cluster!(nodes: 3)
        name = follow!(server, tls: tls(server, context, verify_hostname: "localhost"))
        # The control connection went to the contact point.
        assert %{full: 4, resumed: 0, failed_handshakes: 0} = Testkit.counters(server)
        assert %{handshakes_full: 4, sessions_offered: 0} = stats(name)
      end

      test "not by another cluster", context do
        server = Testkit.start_cluster!(nodes: 1)
        one = follow_anew!(server, context)
        two = follow!(server, tls: tls(server, context))
        assert %{full: 2, resumed: 0, failed_handshakes: 0} = Testkit.counters(server)
        assert %{handshakes_full: 2, sessions_offered: 0} = stats(two)
        # The first still has its own.
        assert Palladion.reconnect(one, 30_000) == :ok
        assert %{resumed: 1} = Testkit.counters(server)
      end

      for {limit, counter} <- [ttl: :sessions_expired, max_lineage: :sessions_lineage_expired] do
        @tag limit: limit, counter: counter
        test "not when its time is over: #{limit}", context do
          server = Testkit.start_cluster!(nodes: 1)
          cache = [{context.limit, 1}]
          name = follow_anew!(server, context, session_cache: cache)
          Process.sleep(1_100)
          assert Palladion.reconnect(name, 30_000) == :ok
          assert %{full: 1, resumed: 0} = counted(name, server)
          assert %{sessions_offered: 0, sessions_rejected: 0} = stats = stats(name)
          assert stats[context.counter] > 0
        end
      end

      test "not when another endpoint's has taken its place", context do
        server = Testkit.start_cluster!(nodes: 3)
        name = follow_anew!(server, context, session_cache: [size: 1])
        # The control connection, at the first node, stays where it is.
        for node <- ["127.0.0.2", "127.0.0.3", "127.0.0.2"], do: lose(name, server, node)
        assert %{full: full, resumed: resumed} = counted(name, server)
        # Only the first of them may have had the last session there was.
        assert full + resumed == 3 and full >= 2
        assert stat(name, :sessions_evicted) > 0
        lose(name, server, "127.0.0.2")
        resumed = resumed + 1
        assert %{full: ^full, resumed: ^resumed} = counted(name, server)
      end

      test "not after a refused login, but for the attempt that was refused", context do
        server = Testkit.start_cluster!(nodes: 1, user: "ann", password: "secret")
        name = follow_anew!(server, context)
        Testkit.set_password(server, "changed")

        assert_reconnection_refused(name, :bad_credentials)

        assert %{resumed: 1} = counted(name, server)
        assert stat(name, :sessions_purged) > 0
        Testkit.wait(server, failed_logins: {:min, 4})
        assert %{resumed: 1} = Testkit.counters(server)
        Testkit.set_password(server, "secret")
        Testkit.wait(server, logins: {:min, 1})
        assert %{resumed: 1} = Testkit.counters(server)
        assert %{sessions_offered: 1, handshakes_resumed: 1} = stats(name)
      end

      test "not what came before a login that was refused", context do
        server = Testkit.start_cluster!(nodes: 1, user: "ann", password: "secret")
        auth = [username: "ann", password: "wrong"]
        name = start_cluster!(server, hurried(tls: tls(server, context), auth: auth))
        Testkit.wait(server, failed_logins: {:min, 4})
        assert %{resumed: 0, full: full} = Testkit.counters(server)
        assert full >= 4
        assert %{sessions_stored: 0, sessions_offered: 0, handshakes_resumed: 0} = stats(name)
      end
    end
  end

  describe "a ticket of TLS 1.3" do
    @describetag version: :"tlsv1.3"

    test "is offered once, though the server would take it again", context do
      server = Testkit.start_cluster!(nodes: 2, tickets: 1)
      name = follow_anew!(server, context)
      # The control connection, at the first node, stays where it is.
      Testkit.node_down(server, "127.0.0.2", event: false)
      # Spent on the first attempt that got as far as a handshake.
      eventually("the ticket was offered", fn -> stat(name, :sessions_offered) == 1 end)
      Testkit.node_up(server, "127.0.0.2", event: false)
      await_connections(name)
      assert %{full: 1, resumed: 0} = counted(name, server)
      assert %{sessions_offered: 1} = stats(name)
      lose(name, server, "127.0.0.2")
      assert %{full: 1, resumed: 1} = counted(name, server)
    end

    test "that works once is never rejected, however many connections are in a hurry", context do
      server = Testkit.start_cluster!(nodes: 3, tls12: [:ids])
      name = follow!(server, tls: tls(server, context), pool: [size: 16])
      await_open(name, server, 49)
      # The control connection's, and the first at each node.
      full = 4

      for _ <- 1..5, do: assert(Palladion.reconnect(name, 60_000) == :ok)

      assert %{sessions_offered: offered, sessions_rejected: 0} = stats = stats(name)
      assert %{handshakes_full: ^full, handshakes_resumed: ^offered} = stats
      assert %{full: ^full, resumed: ^offered} = Testkit.counters(server)
      assert full + offered == 1 + 6 * 48
    end

    test "of TLS 1.2 may be offered again: the server decides", context do
      # Each attempt is two: with the session, and without, which goes well if the node comes back in between.
      found = Enum.find_value(1..5, &offered_again(&1, context))
      assert {0, 1} = found
    end
  end

  defp offered_again(try, context) do
    server = Testkit.start_cluster!(nodes: 2)
    name = follow_anew!(server, %{context | version: :"tlsv1.2"})
    Testkit.node_down(server, "127.0.0.2", event: false)
    Testkit.wait(server, node: "127.0.0.2", refused: {:min, 4})
    Testkit.node_up(server, "127.0.0.2", event: false)
    await_connections(name)
    %{full: full, resumed: resumed} = counted(name, server)
    if full == 0 or try == 5, do: {full, resumed}
  end

  # A cluster with all its connections, of which the server has forgotten the handshakes, and none of whose sessions were used.
  defp follow_anew!(server, context, tls \\ []) do
    name = follow!(server, tls: tls(server, context, tls))
    await_open(name, server, 1 + length(server.nodes))
    all = 1 + length(server.nodes)
    eventually("each left a session", fn -> stat(name, :sessions_stored) >= all end)
    assert %{sessions_offered: 0} = stats(name)
    Testkit.reset_counters(server)
    name
  end

  defp tls(server, context, tls \\ []) do
    Keyword.merge([cacertfile: server.cacertfile, versions: [context.version]], tls)
  end

  # What both ends have counted since then.
  defp counted(name, server) do
    counted = Testkit.counters(server)
    assert counted.resumed == stat(name, :handshakes_resumed)
    assert stat(name, :sessions_offered) >= counted.resumed
    counted
  end

  defp assert_none_offered(name, server) do
    assert %{resumed: 0} = Testkit.counters(server)
    assert %{sessions_offered: 0, handshakes_resumed: 0} = stats(name)
  end

  defp assert_reconnection_refused(name, reason) do
    assert {:error, %ConnectionError{reason: :no_connection, details: details}} =
             Palladion.reconnect(name, 30_000)

    assert %{last_error: {^reason, _details}} = details
  end

  # The old connections go on serving.
  defp assert_reload_refused(name, reason) do
    assert {:error, %ConnectionError{reason: ^reason}} = Palladion.reload_tls(name)
    assert generations(name) == [0]
    assert stat(name, :sessions_purged) > 0
    assert {:ok, _} = Palladion.query(name, "SELECT numbers(1)")
  end

  # Nothing is left that could be asked, and no session helps.
  defp assert_stays_out(name, server) do
    failed = stat(name, :handshakes_failed)
    eventually("it is tried for again", fn -> stat(name, :handshakes_failed) >= failed + 3 end)
    assert %{open: 0} = Testkit.wait(server, open: 0)
    assert_none_offered(name, server)
    assert %{full: 0} = Testkit.counters(server)
  end

  # Of each endpoint.
  defp told_handshakes(id, name) do
    told =
      for {[_, :handshake, outcome], _, %{cluster: ^name} = it} <- TelemetryEvents.take(id),
          outcome in [:stop, :failed],
          do: it

    Enum.group_by(told, & &1.endpoint)
  end

  # The connection to a node is closed by the server, and another one opened.
  defp lose(name, server, node) do
    opened = stat(name, :connections_opened)
    Testkit.rule(server, equals: "CLOSE", node: node, reaction: :close, times: 1)
    eventually("it is lost", fn -> match?({:error, _}, Palladion.query(name, "CLOSE")) end)
    eventually("there is another", fn -> stat(name, :connections_opened) > opened end)
    await_connections(name)
  end
end
