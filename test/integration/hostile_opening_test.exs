defmodule Palladion.Integration.HostileOpeningTest do
  @moduledoc """
  A server that means harm while a connection is opened, a statement prepared, or a sign of life awaited: the error says so,
  and when the server is good again, so is the cluster.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Hostile, Simulated}

  alias Palladion.{ConnectionError, Result}
  alias Palladion.Test.{TelemetryEvents, Testkit}

  @moduletag :capture_log

  describe "an answer to a step of opening a connection" do
    @steps [
      {:failed, "OPTIONS", opcode: :options},
      {:failed, "STARTUP", opcode: :startup},
      {:failed, "AUTH_RESPONSE", opcode: :auth_response},
      {:failed, "REGISTER", opcode: :register},
      {:closed, "the question who the node is", contains: "FROM system.local"},
      {:closed, "the question who its peers are", contains: "FROM system.peers"}
    ]

    for {event, step, rule} <- @steps do
      test "#{step}, is an error that says so, and what follows is good again" do
        server = Testkit.start_server(tls: false, user: "ann", password: "secret")

        for dialect <- [{3, nil}, {4, :snappy}, {5, :lz4}],
            kind <- ~w(truncated deep_types huge_frame unknown_opcode) do
          Testkit.rule(server, unquote(rule) ++ [reaction: {:hostile, kind: kind}])
          id = TelemetryEvents.attach()
          name = start_cluster!(server, quick(dialect))
          event = unquote(event)
          assert_receive {:telemetry, ^id, [_, :connection, ^event], _, told}, 5_000
          assert %{reason: :protocol_error, role: :control, error: %ConnectionError{}} = told
          assert Exception.message(told.error) =~ "the other side broke the protocol ("
          Testkit.clear_rules(server)
          assert Palladion.await_ready(name, 5_000) == :ok
          await_whole(name)
          assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
          :telemetry.detach(id)
          TelemetryEvents.take(id)
          :ok = stop_supervised(name)
        end

        assert mailbox() == []
      end
    end

    test "that never becomes complete is one that took too long" do
      server = Testkit.start_server(tls: false)
      Testkit.rule(server, opcode: :startup, reaction: {:hostile, kind: :partial_frame})
      name = start_cluster!(server, quick({4, nil}, login_timeout: 200))
      assert {:error, %ConnectionError{} = error} = Palladion.await_ready(name, 1_000)
      assert Exception.message(error) =~ "the server didn't finish the login in time"
      Testkit.clear_rules(server)
      assert Palladion.await_ready(name, 5_000) == :ok
    end
  end

  for {version, compression} = dialect <- [{3, nil}, {4, :snappy}, {5, :lz4}] do
    test "an answer to PREPARE in version #{version}, #{compression || "plain"}, fails those who asked" do
      server = Testkit.start_server(tls: false)
      name = cluster!(server, unquote(dialect))

      for {kind, reason} <- [
            {:truncated, :decode_failed},
            {:deep_types, :decode_failed},
            {:huge_frame, :connection_lost},
            {:unknown_opcode, :connection_lost}
          ] do
        Testkit.rule(server, opcode: :prepare, times: 1, reaction: {:hostile, kind: kind})

        assert {:error, %{reason: ^reason}} =
                 Palladion.prepare(name, "SELECT echo(int)", retry: :none)

        await_whole(name)
      end

      assert {:ok, _prepared} = Palladion.prepare(name, "SELECT echo(int)")
      await_whole(name)
      assert mailbox() == []
    end

    test "an answer to a heartbeat in version #{version}, #{compression || "plain"}, ends the connection" do
      server = Testkit.start_server(tls: false)
      name = cluster!(server, unquote(dialect))
      id = TelemetryEvents.attach(only: pids(name)[Palladion.Cluster.Server])
      Testkit.rule(server, opcode: :options, reaction: {:hostile, kind: :unknown_opcode})

      for _connection <- 1..3 do
        assert_receive {:telemetry, ^id, [_, :connection, :closed], _, closed}, 5_000
        assert %{reason: :protocol_error} = closed
      end

      Testkit.clear_rules(server)
      await_whole(name)
      assert {:ok, %Result{num_rows: 5}} = Palladion.query(name, "SELECT numbers(5)")
    end
  end
end
