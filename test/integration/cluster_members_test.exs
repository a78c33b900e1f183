defmodule Palladion.Integration.ClusterMembersTest do
  @moduledoc """
  Real nodes that join, leave and move while callers read: none of them notices.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters
  import Palladion.Test.RealCluster

  alias Palladion.Test.{Cassandra, Readers}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag :capture_log
  @moduletag timeout: 600_000 * rounds()

  setup_all do: prepare!()

  # There they wait for one that has left until the read times out, and say so when the readers have given up.
  @tag needs_cassandra_5: "coordinators that don't lose answers of a replica that leaves"
  test "a node that joins takes requests, until it leaves" do
    for _ <- 1..rounds() do
      servers = servers()
      name = reader!(Enum.take(servers, 2))
      tell_of(name, [[:palladion, :node, :added], [:palladion, :node, :removed]])
      readers = Readers.start(name, options: [consistency: :local_quorum])

      four = Cassandra.add(servers)
      %{host_id: node, datacenter: "dc1", distance: :local} = node_at(name, four)
      assert_receive {[:palladion, :node, :added], %{host_id: ^node}}
      Readers.await_answers(readers, node)
      assert requests_of_readers(four) > 0

      Cassandra.decommission(four)
      assert_receive {[:palladion, :node, :removed], %{host_id: ^node}}, 30_000
      {:ok, nodes} = Palladion.nodes(name)
      assert length(nodes) == 3 and node not in Enum.map(nodes, & &1.host_id)
      assert {:ok, %{endpoints: [_, _]}} = Palladion.status(name)
      assert %{failures: [], wrong: [], messages: []} = Readers.stop(readers)
    end
  end

  test "a node that moves is the same one" do
    for _ <- 1..rounds() do
      [one, two, three] = servers()
      name = reader!([one, two])
      tell_of(name, [[:palladion, :node, :moved]])
      readers = Readers.start(name, options: [consistency: :local_one])
      %{host_id: node} = node_at(name, two)
      Readers.await_answers(readers, node)

      moved = Cassandra.move(two, free_address([one, two, three]))
      new = moved.address
      assert_receive {[:palladion, :node, :moved], event}, 30_000
      assert %{host_id: ^node, address: ^new, previous_address: before} = event
      assert before == two.address

      eventually("it is connected to again", fn -> node_at(name, moved).state == :up end)
      assert node_at(name, moved).host_id == node
      Readers.await_answers(readers, node)
      assert requests_of_readers(moved) > 0
      assert %{failures: [], wrong: [], messages: []} = Readers.stop(readers)
    end
  end

  defp free_address(servers) do
    taken = Enum.map(servers, & &1.address)
    Enum.find(for(n <- 9..4, do: "127.0.0.#{n}"), &(&1 not in taken))
  end
end
