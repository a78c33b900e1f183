defmodule Palladion.Cluster.SignalsTest do
  @moduledoc """
  The maps are as native/nif/src/events.rs and status.rs make them; every event is compared with
  what is declared.
  """

  use ExUnit.Case, async: true

  alias Palladion.Cluster.{NodeTable, Signals}
  alias Palladion.{ConnectionError, Node}
  alias Palladion.Test.TelemetryEvents

  @host_id "00000001-0000-4000-8000-00000000000a"
  @id <<0x0000000100004000800000000000000A::128>>
  @unknown_id <<0xABCDEF0000004000800000000000000B::128>>

  @tls %{
    version: :"tlsv1.3",
    cipher: "TLS_AES_256_GCM_SHA384",
    group: "x25519",
    handshake: :resumed,
    verified_name: "db1.example",
    duration_us: 2_500,
    not_after: 1_900_000_000,
    generation: 0
  }

  # A connection of a pool, with TLS and a login.
  @connection %{
    endpoint: "db1.example:9042",
    role: :pool,
    node: @id,
    address: "10.0.0.1:9042",
    tls: @tls,
    authenticator: "org.apache.cassandra.auth.PasswordAuthenticator",
    mechanism: "PLAIN",
    cql_versions: ["3.4.7"],
    duration_us: 7_000
  }

  @told_tls %{
    tls_version: "1.3",
    tls_cipher: @tls.cipher,
    tls_group: "x25519",
    verified_name: "db1.example"
  }

  @peer %{
    cluster: DB,
    endpoint: "db1.example:9042",
    address: "10.0.0.1",
    port: 9042,
    node: @host_id,
    datacenter: "dc1"
  }

  setup do
    table = NodeTable.new()

    node = %Node{
      host_id: @host_id,
      address: "10.0.0.1",
      port: 9042,
      datacenter: "dc1",
      rack: "r1"
    }

    NodeTable.put(table, [node], [])
    %{source: %{cluster: DB, table: table}}
  end

  defp emitted(event, source) do
    TelemetryEvents.capture(fn -> assert Signals.emit(event, source) == :ok end)
    |> Enum.map(fn {[:palladion | event], measurements, metadata} ->
      {event, measurements, metadata}
    end)
  end

  defp names(events), do: for({event, _measurements, _metadata} <- events, do: event)

  defp native(us), do: System.convert_time_unit(us, :microsecond, :native)

  describe "an opened connection" do
    defp opened(more \\ %{}),
      do: {:connection_opened, @connection |> Map.merge(%{open: 1, wanted: 2}) |> Map.merge(more)}

    test "is told with its TLS, its login and its pool", %{source: source} do
      assert [opened, login, pool] = emitted(opened(), source)
      peer_and_tls = Map.merge(@peer, @told_tls)

      assert opened ==
               {[:connection, :opened], %{duration: native(7_000)},
                Map.merge(peer_and_tls, %{role: :pool, handshake: :resumed})}

      assert login ==
               {[:login, :stop], %{duration: native(7_000)},
                Map.merge(@peer, %{
                  authenticator: @connection.authenticator,
                  mechanism: "PLAIN"
                })}

      assert pool == {[:pool, :changed], %{open: 1, wanted: 2}, @peer}
    end

    test "without TLS has none, and without a login no login", %{source: source} do
      events = emitted(opened(%{tls: nil, authenticator: nil}), source)
      assert names(events) == [[:connection, :opened], [:pool, :changed]]
      assert [{_, _, %{handshake: nil, tls_version: nil, tls_group: nil}} | _] = events
    end

    test "of the control connection belongs to no pool and no node", %{source: source} do
      control = opened(%{role: :control, node: nil, open: 1, wanted: 1})
      events = emitted(control, source)
      refute [:pool, :changed] in names(events)

      assert [{_, _, %{role: :control, node: nil, datacenter: nil, address: "10.0.0.1"}} | _] =
               events
    end

    test "to a node that is not known any more has its id", %{source: source} do
      assert [{_, _, metadata} | _] = emitted(opened(%{node: @unknown_id}), source)

      assert %{node: "abcdef00-0000-4000-8000-00000000000b", datacenter: nil} = metadata
    end

    test "over IPv6 has an address and a port like any other", %{source: source} do
      for {text, address} <- [{"[::1]:9042", "::1"}, {"[fe80::1:9]:9142", "fe80::1:9"}] do
        assert [{_, _, metadata} | _] = emitted(opened(%{address: text}), source)
        assert metadata.address == address
        assert metadata.port in [9042, 9142]
      end
    end

    test "is told where the cluster and its table are gone", %{source: source} do
      :ets.delete(source.table)
      assert [{_, _, %{node: @host_id, datacenter: nil}} | _] = emitted(opened(), source)
    end
  end

  describe "a handshake" do
    defp handshake(more \\ %{}) do
      shaken = %{
        role: :pool,
        node: @id,
        endpoint: "db1.example:9042",
        address: "10.0.0.1:9042",
        duration_us: 3_000,
        tls: @tls,
        error: nil
      }

      {:handshake, Map.merge(shaken, more)}
    end

    test "is told with what came of it", %{source: source} do
      assert [{[:handshake, :stop], %{duration: duration}, metadata}] =
               emitted(handshake(), source)

      assert duration == native(3_000)

      more = %{role: :pool, handshake: :resumed, resumed?: true, peer_not_after: 1_900_000_000}
      assert metadata == @peer |> Map.merge(@told_tls) |> Map.merge(more)
    end

    test "is of one of three kinds, on either version, for whatever it is", %{source: source} do
      for kind <- [:full, :full_with_hello_retry_request, :resumed],
          {version, told} <- ["tlsv1.2": "1.2", "tlsv1.3": "1.3"],
          {role, node} <- [pool: @id, pool: @unknown_id, control: nil],
          {group, not_after, name} <- [{nil, nil, nil}, {"x25519mlkem768", 0, "db1.example"}] do
        tls = %{@tls | handshake: kind, version: version, group: group, not_after: not_after}
        event = handshake(%{role: role, node: node, tls: %{tls | verified_name: name}})

        assert [{[:handshake, :stop], _, %{tls_version: ^told, tls_group: ^group} = metadata}] =
                 emitted(event, source)

        assert metadata.resumed? == (kind == :resumed)

        assert %{handshake: ^kind, role: ^role, peer_not_after: ^not_after, verified_name: ^name} =
                 metadata
      end
    end

    test "that failed is told with the error", %{source: source} do
      error = {:unknown_ca, %{endpoint: "db1.example:9042", detail: "UnknownIssuer"}}

      assert [{[:handshake, :failed], %{duration: duration}, metadata}] =
               emitted(handshake(%{tls: nil, error: error}), source)

      assert duration == native(3_000)

      assert metadata ==
               Map.merge(@peer, %{
                 role: :pool,
                 reason: :unknown_ca,
                 error: ConnectionError.from_native(error)
               })
    end
  end

  describe "sessions" do
    defp sessions(change) do
      {:sessions, %{endpoint: "db1:9042", verified_name: "db1", change: change, count: 3}}
    end

    @place %{cluster: DB, endpoint: "db1:9042", verified_name: "db1"}

    test "are told by what happened to them", %{source: source} do
      for {change, event, more} <- [
            {:stored, :stored, %{}},
            {:evicted, :evicted, %{}},
            {:expired, :expired, %{lineage?: false}},
            {:lineage_expired, :expired, %{lineage?: true}},
            {:purged, :purged, %{}},
            {:refused, :refused, %{}},
            {:rejected, :rejected, %{}}
          ] do
        assert emitted(sessions(change), source) ==
                 [{[:session_cache, event], %{count: 3}, Map.merge(@place, more)}]
      end
    end

    test "of which something new is told are let pass", %{source: source} do
      assert emitted(sessions(:renamed), source) == []
    end
  end

  describe "an attempt that failed" do
    defp failed(error, node \\ @id),
      do: {:connect_failed, %{error: error, node: node, failures: 3, retry_in: 1_500}}

    test "is told with the error and the pause", %{source: source} do
      error = {:connection_refused, %{endpoint: "db1.example:9042", address: "10.0.0.1:9042"}}

      assert [{[:connection, :failed], %{system_time: _}, metadata}] =
               emitted(failed(error), source)

      assert metadata ==
               Map.merge(@peer, %{
                 role: :pool,
                 reason: :connection_refused,
                 retry_in: 1_500,
                 error: ConnectionError.from_native(error)
               })
    end

    test "before there was an address has none", %{source: source} do
      error = {:dns_failed, %{endpoint: "db1.example:9042", detail: "no such name"}}
      assert [{_, _, metadata}] = emitted(failed(error, nil), source)
      assert %{role: :control, address: nil, port: nil, node: nil} = metadata
    end

    test "because of the login is told as such, too", %{source: source} do
      for {kind, fields, class, mechanism} <- [
            {:bad_credentials, %{server_message: "wrong password"}, nil, nil},
            {:bad_credentials, %{class: @connection.authenticator, mechanism: "PLAIN"},
             @connection.authenticator, "PLAIN"},
            {:unknown_authenticator, %{class: "com.example.Odd"}, "com.example.Odd", nil},
            {:mechanism_refused, %{detail: "none in common"}, nil, nil},
            {:mechanism_refused, %{class: "com.example.Odd", mechanism: nil}, "com.example.Odd",
             nil},
            {:signature_refused, %{server_message: "too old"}, nil, nil},
            {:signature_refused, %{class: "com.example.Helenus", mechanism: "SigV4"},
             "com.example.Helenus", "SigV4"},
            {:challenge_malformed, %{mechanism: "CRAM-MD5"}, nil, "CRAM-MD5"},
            {:server_not_authentic, %{mechanism: "SCRAM-SHA-256"}, nil, "SCRAM-SHA-256"}
          ] do
        place = %{endpoint: "db1.example:9042", address: "10.0.0.1:9042"}
        error = {kind, Map.merge(fields, place)}
        assert [failed, {[:login, :refused], _, refused}] = emitted(failed(error), source)
        assert {[:connection, :failed], _, %{reason: ^kind}} = failed
        assert %{reason: ^kind, authenticator: ^class, error: %ConnectionError{}} = refused
        assert refused.mechanism == mechanism
        assert Map.take(refused, Map.keys(@peer)) == @peer
      end
    end
  end

  test "an attempt for which there were no credentials was not refused", %{source: source} do
    for kind <- [:credentials_failed, :credentials_timeout, :authenticator_failed, :login_timeout] do
      error = {kind, %{endpoint: "db1.example:9042", address: "10.0.0.1:9042"}}
      assert [[:connection, :failed]] == error |> failed() |> emitted(source) |> names()
    end
  end

  describe "a closed connection" do
    defp closed(more) do
      closed = %{
        error: {:heartbeat_timeout, %{timeout: 5_000, endpoint: "db1.example:9042"}},
        lasted_us: 60_000_000,
        open: 0,
        wanted: 2
      }

      {:connection_closed, @connection |> Map.merge(closed) |> Map.merge(more)}
    end

    test "is told with how long it lived, why it ended, and its pool", %{source: source} do
      assert [closed, pool] = emitted(closed(%{}), source)

      error = %ConnectionError{
        reason: :heartbeat_timeout,
        endpoint: "db1.example:9042",
        details: %{timeout: 5_000}
      }

      assert closed ==
               {[:connection, :closed], %{duration: native(60_000_000)},
                Map.merge(@peer, %{role: :pool, error: error, reason: :heartbeat_timeout})}

      assert pool == {[:pool, :changed], %{open: 0, wanted: 2}, @peer}
    end

    test "that we closed ourselves has no error", %{source: source} do
      assert [{[:connection, :closed], _, %{error: nil, reason: nil, node: @host_id}}, pool] =
               emitted(closed(%{error: nil}), source)

      assert {[:pool, :changed], %{open: 0}, _} = pool
    end

    test "of the control connection belongs to no pool", %{source: source} do
      control = closed(%{role: :control, node: nil, open: 0, wanted: 1})

      assert [{[:connection, :closed], _, %{role: :control, node: nil}}] =
               emitted(control, source)
    end
  end

  describe "a node" do
    test "that can be reached, or not any more, is told as it is known", %{source: source} do
      known = %{
        cluster: DB,
        host_id: @host_id,
        datacenter: "dc1",
        rack: "r1",
        address: "10.0.0.1",
        port: 9042
      }

      for {kind, suffix} <- [node_up: :up, node_down: :down] do
        event = {kind, %{node: @id, endpoint: "db1.example:9042"}}
        assert [{[:node, ^suffix], %{system_time: _}, ^known}] = emitted(event, source)
      end
    end

    test "that is not known any more has its id", %{source: source} do
      event = {:node_down, %{node: @unknown_id, endpoint: "db2.example:9042"}}
      assert [{[:node, :down], _, metadata}] = emitted(event, source)

      assert %{host_id: "abcdef00-0000-4000-8000-00000000000b", address: nil, rack: nil} =
               metadata
    end
  end

  test "what is new in the native library is let pass", %{source: source} do
    assert emitted({:never_heard_of, %{}}, source) == []
  end

  test "AWS credentials are told of, and where they could not be renewed", %{source: source} do
    expected = %{cluster: DB, expires_at: ~U[2026-01-01 00:00:00Z]}

    assert [{[:credentials, :fetched], %{system_time: _}, ^expected}] =
             emitted(credentials(%{}), source)

    for seconds <- [nil, 0xFFFFFFFFFFFF] do
      assert [{_, _, %{expires_at: nil}}] = emitted(credentials(%{expires_at: seconds}), source)
    end

    error = {:credentials_timeout, %{timeout: 5_000}}

    assert [{[:credentials, :failed], _, %{reason: :credentials_timeout}}] =
             emitted(credentials(%{expires_at: nil, error: error}), source)
  end

  test "an older version of the protocol is told of", %{source: source} do
    expected = %{
      cluster: DB,
      endpoint: "db1.example:9042",
      protocol_version: 4,
      previous_protocol_version: 5
    }

    assert [{[:protocol, :lowered], %{system_time: _}, ^expected}] = emitted(lowered(), source)
  end

  defp lowered, do: {:protocol_lowered, %{endpoint: "db1.example:9042", from: 5, to: 4}}

  defp credentials(changes) do
    fields = %{expires_at: 1_767_225_600, error: nil}
    {:credentials, Map.merge(fields, changes)}
  end

  test "the fields are those of the native library's source" do
    root = Path.expand("../../../native/nif/src", __DIR__)
    source = Enum.map_join(["events.rs", "status.rs"], &File.read!(Path.join(root, &1)))

    given =
      for {_kind, fields} <- [
            opened(),
            closed(%{}),
            failed({:closed, %{}}),
            handshake(),
            sessions(:stored),
            credentials(%{}),
            lowered()
          ],
          name <- Map.keys(fields) ++ Map.keys(@tls),
          uniq: true,
          do: name

    for name <- given, do: assert(source =~ ~s("#{name}"), "#{name}")
  end
end
