defmodule Palladion.Integration.MembershipTest do
  @moduledoc """
  Many changes of a cluster's nodes, and many nodes: the list is right in the end, and no node is stormed.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.{Clusters, Simulated}

  alias Palladion.ConnectionError
  alias Palladion.Test.Testkit

  @moduletag :capture_log

  @changes 120
  @callers 8
  # The contact point's node: it may be down, but has to be found in the end.
  @anchor "127.0.0.1"

  @tag timeout: 120_000
  test "whatever comes, goes, moves and is told or not: the list is the server's in the end" do
    seed = ExUnit.configuration()[:seed]
    :rand.seed(:exsss, {seed, 1, 1})
    server = Testkit.start_cluster!(nodes: 6, tls: false)

    name =
      follow!(server,
        topology: [debounce: 20, refresh_interval: 300],
        heartbeat_interval: 200,
        heartbeat_timeout: 200,
        login_timeout: 300,
        attempt_timeout: 300,
        timeout: 5_000
      )

    pids = pids(name)
    stop = :counters.new(1, [])
    callers = for n <- 1..@callers, do: Task.async(fn -> ask(name, n, stop, %{}) end)

    for _ <- 1..@changes do
      change(server, Testkit.nodes(server))
      Process.sleep(:rand.uniform(40) - 1)
    end

    for %{down: true} = node <- Testkit.nodes(server), do: Testkit.node_up(server, node)
    for %{hangs: true} = node <- Testkit.nodes(server), do: Testkit.resume_node(server, node)
    await_nodes(name, server)
    await_connections(name)
    :counters.add(stop, 1, 1)

    seen =
      callers
      |> Task.await_many(20_000)
      |> Enum.reduce(&Map.merge(&1, &2, fn _, a, b -> a + b end))

    # Each caller checked that the answers were its own.
    assert seen.ok > @changes
    # Some must have met three nodes in a row that were just lost.
    assert Map.keys(seen) -- [:ok, :connection_lost, :connection_closed, :attempt_timeout] == []
    assert seen |> Map.delete(:ok) |> Map.values() |> Enum.sum() < seen.ok / 20
    assert pids(name) == pids
    # None is left from a node that is gone.
    Testkit.wait(server, open: length(Testkit.nodes(server)) + 1)
  end

  defp ask(name, n, stop, seen) do
    if :counters.get(stop, 1) > 0 do
      assert mailbox() == []
      seen
    else
      kind =
        case Palladion.query(name, "SELECT echo(int)", [n]) do
          {:ok, %{rows: [%{"c0" => ^n}]}} -> :ok
          {:error, %ConnectionError{reason: reason}} -> reason
        end

      Process.sleep(2)
      ask(name, n, stop, Map.update(seen, kind, 1, &(&1 + 1)))
    end
  end

  defp change(server, nodes) do
    others = Enum.reject(nodes, &(&1.address == @anchor))
    told = [event: :rand.uniform(3) > 1]
    node = Enum.random(others)

    case :rand.uniform(12) do
      n when n in 1..3 and length(nodes) < 12 -> Testkit.add_node(server, told)
      n when n in 1..5 and length(others) > 2 -> Testkit.remove_node(server, node, told)
      n when n in 6..7 -> Testkit.move_node(server, node, free(nodes), told)
      8 -> Testkit.node_down(server, node, told)
      9 -> Testkit.node_up(server, node, told)
      10 -> Testkit.hang_node(server, node)
      11 -> Testkit.resume_node(server, node)
      _ -> rumour(server, node)
    end
  end

  # What is told again, or was never so.
  defp rumour(server, node) do
    {kind, change} =
      Enum.random(
        topology: "NEW_NODE",
        topology: "REMOVED_NODE",
        topology: "MOVED_NODE",
        status: "UP",
        status: "DOWN"
      )

    address = Enum.random([node.address, "10.1.2.3"])

    for _ <- 1..:rand.uniform(5),
        do: Testkit.event(server, kind: kind, change: change, node: "#{address}:#{server.port}")
  end

  defp free(nodes) do
    taken = for node <- nodes, do: node.address
    Enum.random(for(n <- 50..99, "127.0.0.#{n}" not in taken, do: "127.0.0.#{n}"))
  end

  describe "no more handshakes are under way than max_handshakes:" do
    test "at the start, with 300 nodes" do
      server = Testkit.start_cluster!(nodes: 300, tokens: 16, handshake_delay: 5)
      name = ready_cluster!(server, pool: [size: 2])
      # 300 × 2 and the control connection.
      Testkit.wait(server, [open: 601], 60_000)
      # Looked at only then, for it takes the cores from those who shake hands.
      await_nodes(name, server)
      assert %{handshaking_peak: peak} = Testkit.counters(server)
      assert peak in 6..8
      assert length(serving(name, 600)) == 300
    end

    test "when many nodes come back at once" do
      server = Testkit.start_cluster!(nodes: 40)
      name = follow!(server, pool: [size: 2, max_handshakes: 4])
      for node <- tl(server.nodes), do: Testkit.node_down(server, node)
      Testkit.wait(server, open: 3)
      Testkit.handshake_delay(server, 5)
      Testkit.reset_counters(server)
      for node <- tl(server.nodes), do: Testkit.node_up(server, node)
      Testkit.wait(server, [open: 81], 20_000)
      await_connections(name)
      assert Testkit.counters(server).handshaking_peak in 3..4
    end

    test "at a node that restarts" do
      server = Testkit.start_cluster!(nodes: 3)
      name = follow!(server, pool: [size: 16, max_handshakes: 4])
      # Open connections may still shake hands.
      Testkit.wait(server, open: 49, handshaking: 0)
      Testkit.node_down(server, "127.0.0.2")
      Testkit.wait(server, node: "127.0.0.2", open: 0)
      Testkit.handshake_delay(server, 20)
      Testkit.reset_counters(server)
      Testkit.node_up(server, "127.0.0.2")
      Testkit.wait(server, open: 49)
      assert Testkit.counters(server, "127.0.0.2").handshaking_peak <= 4
      # One at a time until one has succeeded, and the others had nothing to do.
      assert Testkit.counters(server, "127.0.0.1").handshaking_peak == 0
      await_connections(name)
    end
  end

  test "fewer nodes that hang than max_handshakes: don't keep the others waiting" do
    server = Testkit.start_cluster!(nodes: 20, tls: false)
    # Of the eight, one is the control connection's.
    {hanging, others} = Enum.split(tl(server.nodes), 6)
    for node <- hanging, do: Testkit.hang_node(server, node)
    name = ready_cluster!(server, hurried([]))

    eventually(
      "the others serve",
      fn -> serving(name, 26) == Enum.sort([@anchor | others]) end,
      40
    )
  end
end
