defmodule Palladion.LoadBalancingPolicyTest do
  use ExUnit.Case, async: true

  alias Palladion.Cluster.Topology.Callbacks
  alias Palladion.Node
  alias Palladion.Test.Policies.Balancing

  @nodes [%Node{host_id: "a"}, %Node{host_id: "b"}, %Node{host_id: "c"}]

  defp distances(answer), do: Callbacks.distances({Balancing, answer}, @nodes, "eu")

  test "nodes get a distance, and a preference of 0 to 65,535" do
    answer = %{"a" => :local, "b" => {:remote, 65_535}, "c" => {:local, 0}}
    assert distances(answer) == {:ok, answer}
  end

  test "a policy gets the nodes, the local data center and its options" do
    answer = fn @nodes, %{local_datacenter: "eu", options: options} when is_function(options) ->
      %{"a" => :local}
    end

    assert distances(answer) == {:ok, %{"a" => :local}}
  end

  test "nonsense is an error that names it" do
    for {answer, text} <- [
          {[], "it answered [], which is no map"},
          {%{"b" => :near}, "it answered :near for \"b\""},
          {%{"b" => {:local, -1}}, "{:local, -1}"},
          {%{"b" => {:local, 65_536}}, "{:local, 65536}"},
          {%{"b" => {:ignored, 0}}, "{:ignored, 0}"},
          {%{"b" => nil}, "it answered nil"}
        ] do
      assert {:error, message} = distances(answer)
      assert message =~ text
    end
  end
end
