defmodule Palladion.Integration.ClusterFailureTest do
  @moduledoc """
  Three real nodes that are killed and hung, and callers who go on reading: what fails is what was under way to such a node,
  and with retries nothing.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters
  import Palladion.Test.RealCluster

  alias Palladion.ConnectionError
  alias Palladion.Test.{Cassandra, Readers}

  # A soak's are long enough for the servers to take the node for dead, too.
  @hang_ms if soak?(), do: 30_000, else: 1_500
  # Without rests, servers that start have no time for it.
  @reads [options: [consistency: :local_one], pause: if(soak?(), do: 10, else: 50)]
  # Far more than anything waits on a machine that is busy with servers that start.
  @slack 5_000

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag :capture_log
  @moduletag timeout: 600_000 * rounds()

  setup_all do: prepare!()

  test "only what is under way to a node that ends or hangs is lost, and with retries nothing" do
    [one, two, three] = servers = servers()
    once = reader!([one, two], retry: :none)
    again = reader!([one, two], attempt_timeout: if(soak?(), do: 500, else: 1_000))
    lost = Readers.start(once, @reads)
    kept = Readers.start(again, @reads)

    steps =
      for _ <- 1..rounds(), server <- servers, how <- [:kill, :hang] do
        step(how, server, node_at(once, server).host_id, server != three, [lost, kept])
      end

    for server <- [one, two], do: assert(requests_of_readers(server) > 0)
    [lost_seen, kept_seen] = for readers <- [lost, kept], do: Readers.stop(readers)
    report(steps, lost, lost_seen, kept)

    assert kept_seen.failures == []

    for failure <- lost_seen.failures do
      assert %ConnectionError{details: %{sent: true, node: node}} = failure.error
      step = Enum.find(steps, &(failure.ended in &1.began..&1.ended))
      assert step && step.local? && step.node == node, inspect(failure)
      refute Readers.down?(lost, node, failure.began, failure.ended), inspect(failure)
    end

    for {readers, seen} <- [{lost, lost_seen}, {kept, kept_seen}] do
      # The other local node goes on answering.
      assert Readers.gap(readers) < @slack
      assert seen.longest < timeout() + @slack
      assert {seen.wrong, seen.messages} == {[], []}
    end
  end

  defp step(how, server, node, local?, all) do
    began = Readers.now()
    apply(Cassandra, how, [server])
    if local?, do: for(readers <- all, do: Readers.await_node(readers, node, :down, began))
    if how == :hang, do: Process.sleep(@hang_ms)
    apply(Cassandra, if(how == :kill, do: :restart, else: :resume), [server])

    # Nobody is connected to the others.
    for readers <- all, local? do
      Readers.await_node(readers, node, :up, began)
      Readers.await_answers(readers, node)
    end

    %{how: how, server: server, node: node, local?: local?, began: began, ended: Readers.now()}
  end

  defp report(steps, lost, seen, kept) do
    for step <- steps do
      between = {step.began, step.ended}
      failures = Enum.count(seen.failures, &(&1.ended in step.began..step.ended))

      note(
        "#{step.how} #{step.server.address}: #{failures} reads lost without retries; " <>
          "longest time without an answer #{Readers.gap(lost, between)} ms, with retries " <>
          "#{Readers.gap(kept, between)} ms"
      )
    end
  end

  test "a cluster that is wholly gone serves again soon after its first node takes a login" do
    for _ <- 1..rounds() do
      [one, two, _] = servers = servers()
      name = reader!([one, two])
      readers = Readers.start(name, @reads)
      nodes = for server <- [one, two], do: node_at(name, server).host_id
      since = Readers.now()
      Cassandra.kill(servers)
      for node <- nodes, do: Readers.await_node(readers, node, :down, since)
      since = Readers.now()

      # The one that tries all the time says when it is possible.
      eager = [reconnect: [policy: :constant, max: 50]]

      for server <- [one, two],
          do: server |> start_reader!(eager) |> tell_of([[:palladion, :login, :stop]])

      Cassandra.restart(servers)
      assert_received {[:palladion, :login, :stop], %{received: login}}
      took = max(Readers.await_answer(readers, since) - login, 0)
      for node <- nodes, do: Readers.await_answers(readers, node)
      seen = Readers.stop(readers)
      note("all nodes gone: answers again #{took} ms after the first login")

      limit = reconnect_max() + 1_000
      assert took < if(soak?(), do: limit, else: 10 * limit)
      assert seen.longest < timeout() + @slack
      assert {seen.wrong, seen.messages} == {[], []}

      # What a node says while it starts is the servers' affair.
      for %{error: %ConnectionError{reason: reason}} <- seen.failures do
        assert reason in [
                 :connection_closed,
                 :connection_lost,
                 :heartbeat_timeout,
                 :no_connection,
                 :timeout
               ]
      end
    end
  end

  test "the control connection finds another node, and changes of the schema don't wait for a dead one" do
    servers = servers()
    name = reader!(Enum.take(servers, 2))
    readers = Readers.start(name, @reads)
    before = control(name)
    dead = Enum.find(servers, &(&1.address == before))
    others = servers -- [dead]
    admin = admin!(others, local_datacenter: "dc1")
    eventually("all pools are open", fn -> node_at(admin, dead).state == :up end)
    tell_of(name, [[:palladion, :schema, :changed], [:palladion, :control, :opened]])
    since = Readers.now()
    Cassandra.kill(dead)
    Readers.await_node(readers, node_at(name, dead).host_id, :down, since)
    assert_receive {[:palladion, :control, :opened], %{address: address}}, 30_000
    assert address in Enum.map(others, & &1.address)
    assert control(name) == address

    eventually("it is down for both", fn ->
      node_at(name, dead).state == :down and node_at(admin, dead).state == :down
    end)

    begin = Readers.now()
    # To create one would need all nodes: it grants something to who does.
    alter = "ALTER TABLE lives.numbers WITH comment = 'one is dead at #{begin}'"
    assert %{schema_agreement: true} = Palladion.query!(admin, alter)
    note("one node dead: the schema is agreed on after #{Readers.now() - begin} ms")
    # With it, there would be none before schema_agreement: [timeout:].
    assert Readers.now() - begin < 9_000

    assert_receive {[:palladion, :schema, :changed], %{target: :table, name: "numbers"}}, 30_000
    assert [_, _, _] = Palladion.nodes(name) |> elem(1)
    Cassandra.restart(dead)
    Readers.await_answers(readers, node_at(name, dead).host_id)
    assert %{failures: [], wrong: [], messages: []} = Readers.stop(readers)
  end

  # A control connection may be lost and found between two looks.
  defp control(name) do
    eventually("there is a control connection", fn ->
      case Palladion.status(name) do
        {:ok, %{control: %{address: address}}} -> address |> String.split(":") |> hd()
        {:ok, %{control: nil}} -> nil
      end
    end)
  end

  defp note(text), do: IO.puts("    " <> text)
end
