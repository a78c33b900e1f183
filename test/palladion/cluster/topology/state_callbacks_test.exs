defmodule Palladion.Cluster.Topology.StateCallbacksTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Topology

  alias Palladion.Cluster.Topology.State
  alias Palladion.Endpoint

  describe "the local datacenter" do
    test "is that of the first control connection, and stays" do
      {state, _} = State.handle(new(), {:adopted, control()}, 0)
      {state, actions} = answer(state, rows([1, 2]))
      assert only(actions, :local_datacenter) == [{:local_datacenter, "dc1"}]
      assert [{:info, text}] = Enum.filter(logs(actions), &match?({:info, _}, &1))
      assert text =~ ~s(the local datacenter is "dc1")
      assert [{:rank, 1, _, "dc1"}] = only(actions, :rank)

      {state, actions} =
        state |> refresh(10) |> answer([row(3, %{"data_center" => "dc2"}), row(1)], 10)

      assert only(actions, :local_datacenter) == []
      assert state.local_datacenter == "dc1"
      assert [{:rank, 2, _, "dc1"}] = only(actions, :rank)
    end

    test "is as configured, or as an earlier process found it" do
      known = %{nodes: [], local_datacenter: "dc2"}
      assert %{local_datacenter: "dc2"} = new(%{known: known})
      assert %{local_datacenter: "dc3"} = new(%{known: known, local_datacenter: "dc3"})
    end

    test "without a node is an error, told once for each list" do
      {state, _} = State.handle(new(%{local_datacenter: "DC1"}), {:adopted, control()}, 0)
      list = [row(1), row(2, %{"data_center" => "west\n"})]
      {state, actions} = answer(state, list)

      error =
        ~S(local_datacenter: no node is in "DC1"; there are "dc1", "west\n"; did you mean "dc1"?)

      assert {:error, error} in logs(actions)

      {state, actions} = state |> refresh(10) |> answer(list, 10)
      assert logs(actions) == []
      {_state, actions} = state |> refresh(10) |> answer(list ++ [row(3)], 10)
      assert {:error, error} in logs(actions)
    end
  end

  describe "the policy" do
    defp ranking(state, numbers) do
      {state, nodes} = read(state, numbers)
      State.handle(state, {:resolved, state.generation, resolved(nodes)}, 0)
    end

    defp distances(state),
      do:
        Map.new(state.nodes, fn {_, node} -> {node.address, {node.distance, node.preference}} end)

    test "says how far each node is, and those left out are ignored" do
      {state, _} = State.handle(new(), {:adopted, control()}, 0)
      {state, _} = ranking(state, [1, 2, 3, 4])

      answer = %{
        id(1) => :local,
        id(2) => {:local, 1},
        id(3) => {:remote, 2},
        "unknown" => :local
      }

      {state, actions} = State.handle(state, {:ranked, 1, {:ok, answer}}, 0)

      assert distances(state) == %{
               "10.0.0.1" => {:local, 0},
               "10.0.0.2" => {:local, 1},
               "10.0.0.3" => {:remote, 2},
               "10.0.0.4" => {:ignored, 0}
             }

      assert [{:apply, nodes}] = only(actions, :apply)

      assert Enum.map(nodes, &{&1.distance, &1.preference, &1.size}) == [
               {:local, 0, 2},
               {:local, 1, 2},
               {:remote, 2, 1},
               {:ignored, 0, 0}
             ]
    end

    test "that fails at first: the nodes of the local datacenter are connected to" do
      {state, _} = State.handle(new(%{local_datacenter: "dc1"}), {:adopted, control()}, 0)
      {state, _} = ranking(state, [1, 2])
      {state, actions} = State.handle(state, {:ranked, 1, {:error, "it raised"}}, 0)
      assert distances(state) == %{"10.0.0.1" => {:local, 0}, "10.0.0.2" => {:local, 0}}

      assert {:error,
              "load_balancing: the policy failed, and the nodes keep their distances: it raised"} in logs(
               actions
             )
    end

    test "that fails later: the distances stay, a new node is local, and it is asked again" do
      state = refresh(ready([1, 2]), 0)
      {state, actions} = ranking(state, [1, 2, 3])
      assert [{:rank, 2, _, _}] = only(actions, :rank)
      {state, _} = State.handle(state, {:ranked, 2, {:error, "it raised"}}, 0)

      assert distances(state) == %{
               "10.0.0.1" => {:local, 0},
               "10.0.0.2" => {:local, 0},
               "10.0.0.3" => {:local, 0}
             }

      {state, actions} = ranking(refresh(state, 0), [1, 2, 3])
      assert [{:rank, 3, _, _}] = only(actions, :rank)
      {state, actions} = State.handle(state, {:ranked, 3, {:ok, %{id(3) => {:local, 1}}}}, 0)
      assert distances(state)["10.0.0.3"] == {:local, 1}
      assert [{:apply, _}] = only(actions, :apply)
    end

    test "that takes too long has failed" do
      {state, nodes} = new() |> refresh() |> read([1, 2])
      resolved = {:resolved, state.generation, resolved(nodes)}
      {state, actions} = State.handle(state, resolved, 100)
      assert [{:rank, generation, [_, _], "dc1"}] = only(actions, :rank)
      assert only(actions, :wake) == [{:wake, 5_100}]

      {state, actions} = State.handle(state, :tick, 5_100)
      assert [{:cancel, ^generation}] = only(actions, :cancel)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]
      assert [{:error, text}] = for({:error, _} = log <- logs(actions), do: log)
      assert text =~ "it did not answer within 5000 ms"

      # Its answer comes too late.
      late = {:ranked, generation, {:ok, %{}}}
      assert {^state, []} = State.handle(state, late, 5_200)
    end

    test "that fails with a list of new nodes does not leave the cluster without any" do
      state = refresh(ready([1]), 0)
      {state, _} = ranking(state, [2, 3])
      {state, _} = State.handle(state, {:ranked, 2, {:error, "it raised"}}, 0)
      assert distances(state) == %{"10.0.0.2" => {:local, 0}, "10.0.0.3" => {:local, 0}}
    end
  end

  describe "the resolver" do
    test "has its answers put together" do
      {state, nodes} = [1] |> ready() |> refresh(10) |> read([1, 2, 3], 10)
      {one, others} = Enum.split(nodes, 1)
      {state, []} = State.handle(state, {:resolved, 2, resolved(one)}, 20)
      {_state, actions} = step(state, {:resolved, 2, resolved(others)}, 30)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2", "10.0.0.3"]]
    end

    test "gives another endpoint: the node is moved" do
      {state, nodes} = [1] |> ready() |> refresh(10) |> read([1], 10)

      endpoint = %Endpoint{
        address: "proxy",
        port: 29_042,
        verified_name: "db.example",
        sni: "id1"
      }

      {_state, actions} = step(state, {:resolved, 2, %{hd(nodes).host_id => {:ok, endpoint}}}, 20)

      assert [{:apply, [%{host: "proxy", port: 29_042, verified_name: "db.example", sni: "id1"}]}] =
               only(actions, :apply)

      assert [{:telemetry, [:topology, :refreshed], _, _}, {:telemetry, [:node, :moved], _, _}] =
               only(actions, :telemetry)
    end

    test "that fails for nodes: they keep what they had or are left out, and it is asked again soon" do
      {state, nodes} = [1, 2] |> ready() |> refresh(10) |> read([1, 2, 3], 10)

      results =
        nodes |> resolved() |> Map.merge(%{id(2) => {:error, "down"}, id(3) => {:error, "down"}})

      {state, actions} = step(state, {:resolved, 2, results}, 20)

      assert addresses(state) == ["10.0.0.1", "10.0.0.2"]
      assert [{:warning, kept}, {:warning, left_out}] = logs(actions)
      assert kept =~ "10.0.0.2:9042" and kept =~ "keeps the endpoint" and kept =~ "down"
      assert left_out =~ "10.0.0.3:9042" and left_out =~ "is left out"
      assert {:wake, at} = List.last(only(actions, :wake))
      assert at in 1_020..2_020

      # Told once, until it works again.
      {state, _} = state |> refresh(30) |> read([1, 2, 3], 30)
      {state, actions} = step(state, {:resolved, 3, results}, 40)
      assert logs(actions) == []
      {state, nodes} = state |> refresh(50) |> read([1, 2, 3], 50)
      {state, actions} = step(state, {:resolved, 4, resolved(nodes)}, 60)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2", "10.0.0.3"]]
      assert state.schedule.failures == 0
    end

    test "that takes too long fails for those that are missing" do
      {state, nodes} = [1] |> ready() |> refresh(10) |> read([1, 2, 3], 10)
      {state, []} = State.handle(state, {:resolved, 2, resolved(Enum.take(nodes, 2))}, 20)
      {state, actions} = step(state, :tick, 5_010)
      assert [{:cancel, 2}] = only(actions, :cancel)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]
      assert state.schedule.failures == 1
    end

    test "that fails for all at first leaves the list as it is: none" do
      {state, nodes} = new() |> refresh(10) |> read([1, 2], 10)
      results = Map.new(nodes, &{&1.host_id, {:error, "down"}})
      {state, actions} = State.handle(state, {:resolved, 1, results}, 20)
      assert only(actions, :apply) ++ only(actions, :store) == []
      assert state.nodes == %{}
      assert state.schedule.failures == 1
    end
  end

  describe "contact points' names" do
    test "stay with their nodes when they can't be resolved" do
      name = fn state -> state.nodes[id(1)].contact_point end
      named = control(%{names: [{"10.0.0.1", "db1.example"}]})
      {state, _} = State.handle(new(), {:adopted, named}, 0)
      {state, _} = answer(state, rows([1, 2]))
      assert name.(state) == "db1.example"

      {state, _} = state |> refresh(10) |> answer(rows([1, 2]), 10)
      assert name.(state) == "db1.example"

      elsewhere = control(%{names: [{"10.0.0.2", "db1.example"}]})
      {state, _} = State.handle(state, {:control_opened, elsewhere}, 20)
      {state, _} = answer(state, rows([1, 2]), 20)
      assert name.(state) == nil
      assert state.nodes[id(2)].contact_point == "db1.example"
    end
  end

  describe "after a crash" do
    test "known nodes are not new, and the whole list is applied" do
      before = ready([1, 2])
      known = %{nodes: Map.values(before.nodes), local_datacenter: before.local_datacenter}
      {state, _} = State.handle(new(%{known: known}), {:adopted, control()}, 0)
      {_state, actions} = answer(state, rows([1, 2]))
      assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]
      assert [{:store, [_, _], []}] = only(actions, :store)
      assert [{:telemetry, [:topology, :refreshed], _, _}] = only(actions, :telemetry)

      {_state, actions} = answer(state, rows([2, 3]))
      assert [{:store, [_, _], [%{address: "10.0.0.1"}]}] = only(actions, :store)
    end
  end
end
