defmodule Palladion.LoadBalancingPolicies.RoundRobinTest do
  use ExUnit.Case, async: true

  alias Palladion.LoadBalancingPolicies.RoundRobin
  alias Palladion.Node

  doctest RoundRobin

  @nodes for {datacenter, host_ids} <- [eu: ~w(a b), us: ~w(c d e), asia: ~w(f)],
             host_id <- host_ids,
             do: %Node{host_id: host_id, datacenter: "#{datacenter}"}

  defp distances(nodes, local_datacenter, options) do
    RoundRobin.distances(nodes, %{local_datacenter: local_datacenter, options: options})
  end

  test "the local data center's nodes, and no others" do
    assert distances(@nodes, "eu", []) == %{"a" => :local, "b" => :local}
    assert distances(@nodes, "mars", []) == %{}
  end

  test "some of each other data center, always the same" do
    for _ <- 1..20 do
      assert distances(Enum.shuffle(@nodes), "eu", remote_nodes: 2) == %{
               "a" => :local,
               "b" => :local,
               "c" => :remote,
               "d" => :remote,
               "f" => :remote
             }
    end
  end

  test "all nodes where no data center is known to be local" do
    assert distances(@nodes, nil, []) == Map.new(@nodes, &{&1.host_id, :local})
  end

  test "nodes whose data center isn't known are nobody's" do
    node = %Node{host_id: "z"}
    assert distances([node | @nodes], "eu", [])["z"] == nil
    assert distances([node | @nodes], "eu", remote_nodes: 1)["z"] == :remote
  end
end
