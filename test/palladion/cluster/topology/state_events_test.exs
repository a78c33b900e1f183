defmodule Palladion.Cluster.Topology.StateEventsTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Topology

  alias Palladion.Cluster.Topology.State

  describe "events" do
    @events [
      {:topology_change, %{change: "NEW_NODE", address: "10.0.0.9", port: 9042}},
      {:topology_change, %{change: "REMOVED_NODE", address: "10.0.0.2", port: 9042}},
      {:topology_change, %{change: "FROBNICATED", address: "10.0.0.2", port: 9042}},
      {:status_change, %{change: "DOWN", address: "10.0.0.2", port: 9042}},
      {:status_change, %{change: "UP", address: "nonsense", port: nil}},
      {:status_change, %{change: "SIDEWAYS"}},
      {:status_change, %{}},
      {:unknown_event, %{type: "NEW_THING"}},
      {:never_heard_of, 7}
    ]

    test "of any kind cause a refresh, and only that" do
      for event <- @events do
        {state, actions} = State.handle(ready([1, 2]), event, 5_000)
        # What is said of a known node is noted beside.
        assert actions -- only(actions, :down) == [{:wake, 6_000}], inspect(event)
        assert addresses(state) == ["10.0.0.1", "10.0.0.2"]
        {_state, actions} = State.handle(state, :tick, 6_000)
        assert [{:query, 2, :local}, {:query, 2, :peers_v2}] = only(actions, :query)
      end
    end

    test "that go on are waited for, but not for ever" do
      event = hd(@events)
      state = ready([1])

      {_state, wakes} =
        Enum.reduce(0..59, {state, []}, fn n, {state, wakes} ->
          {state, actions} = State.handle(state, event, 1_000 + n * 100)
          assert only(actions, :query) == [] or n == 50
          {state, wakes ++ only(actions, :wake)}
        end)

      assert Enum.take(wakes, 3) == [{:wake, 2_000}, {:wake, 2_100}, {:wake, 2_200}]
      assert {:wake, 6_000} in wakes
    end

    test "during a refresh cause another one after it" do
      state = refresh(ready([1]), 10)
      {state, []} = State.handle(state, hd(@events), 20)
      {state, actions} = answer(state, rows([1]), 5_000)
      assert [{:query, 3, :local}, {:query, 3, :peers_v2}] = only(actions, :query)
      assert state.generation == 3
    end

    test "without a control connection change nothing" do
      {state, _} = State.handle(ready([1]), {:control_closed, %{}}, 10)

      for event <- @events do
        {_state, actions} = State.handle(state, event, 20)
        assert actions -- only(actions, :down) == [], inspect(event)
      end
    end

    test "DOWN and UP of a known node are noted, before anything is due" do
      state = ready([1, 2])
      status = fn change, n -> {:status_change, %{change: change, address: "10.0.0.#{n}"}} end

      {state, actions} = State.handle(state, status.("DOWN", 2), 10)
      assert [{:down, %{address: "10.0.0.2"}, true}, {:wake, 1_010}] = actions
      assert {state, [{:wake, 1_020}]} = State.handle(state, status.("DOWN", 9), 20)

      {_state, actions} = State.handle(state, status.("UP", 2), 30)

      assert [
               {:nudge, %{address: "10.0.0.2"}},
               {:down, %{address: "10.0.0.2"}, false},
               {:wake, 1_030}
             ] = actions
    end

    test "of the schema are passed on" do
      change = %{change: "UPDATED", target: "TABLE", keyspace: "ks", name: "t"}
      {_state, actions} = State.handle(ready([1]), {:schema_change, change}, 10)

      assert actions == [
               {:telemetry, [:schema, :changed], %{},
                %{change: :updated, target: :table, keyspace: "ks", name: "t"}}
             ]
    end

    test "UP: a known node is nudged at once" do
      for address <- ["10.0.0.2", "::10.0.0.2"], port <- [9042, 0] do
        {_state, actions} =
          State.handle(
            ready([1, 2]),
            {:status_change, %{change: "UP", address: address, port: port}},
            10
          )

        assert Enum.map(only(actions, :nudge), fn {:nudge, node} -> node.host_id end) ==
                 if(address == "10.0.0.2", do: [id(2)], else: [])
      end
    end

    test "UP: a new node is nudged when the list has it" do
      {state, actions} =
        State.handle(
          ready([1, 2]),
          {:status_change, %{change: "UP", address: "10.0.0.3", port: 9042}},
          10
        )

      assert only(actions, :nudge) == []

      # Not yet in the peers' table when first asked, and told of again.
      {state, _} = State.handle(state, :tick, 1_010)

      {state, _} =
        State.handle(
          state,
          {:topology_change, %{change: "NEW_NODE", address: "10.0.0.3", port: 9042}},
          1_020
        )

      {state, actions} = answer(state, rows([1, 2]), 1_030)
      assert only(actions, :nudge) == []

      {state, _} = State.handle(state, :tick, 2_100)
      {_state, actions} = answer(state, rows([1, 2, 3]), 2_200)
      assert [{:nudge, %{address: "10.0.0.3"}}] = only(actions, :nudge)
      # The native library must know it by then.
      assert Enum.find_index(actions, &match?({:apply, _}, &1)) <
               Enum.find_index(actions, &match?({:nudge, _}, &1))
    end

    test "UP: an ignored node is left alone" do
      state = put_in(ready([1]).nodes[id(1)].distance, :ignored)
      up = {:status_change, %{change: "UP", address: "10.0.0.1", port: 9042}}
      assert {_state, [{:down, _, false}, {:wake, 1_010}]} = State.handle(state, up, 10)
    end

    test "UP of endless addresses fills no memory" do
      state =
        Enum.reduce(1..5_000, ready([1]), fn n, state ->
          {state, _} =
            State.handle(
              state,
              {:status_change,
               %{change: "UP", address: "10.9.#{div(n, 250)}.#{rem(n, 250)}", port: 1}},
              10
            )

          state
        end)

      assert MapSet.size(state.ups) == 1_000
    end
  end

  describe "the control connection:" do
    test "closed, all is kept, and nothing is due any more" do
      {state, _} = State.handle(ready([1, 2]), {:topology_change, %{}}, 10)
      {state, actions} = State.handle(state, {:control_closed, %{}}, 20)
      assert actions == [told(:closed), {:wake, nil}]
      assert addresses(state) == ["10.0.0.1", "10.0.0.2"]
      assert {state, []} = State.handle(state, :tick, 900_000)

      {_state, actions} = State.handle(state, {:control_opened, control()}, 900_000)
      assert [_, _] = only(actions, :query)
    end

    test "closed while it is read, the refresh ends" do
      {state, actions} = State.handle(refresh(ready([1]), 10), {:control_closed, %{}}, 20)
      assert actions == [{:cancel, 2}, told(:closed), {:wake, nil}]
      assert state.refresh == nil
    end

    test "closed after that, what was read is applied" do
      {state, _} =
        State.handle(refresh(ready([1]), 10), {:answer, 2, :local, {:ok, [row(1)]}}, 10)

      {state, [{:resolve, 2, nodes} | _]} =
        State.handle(state, {:answer, 2, :peers_v2, {:ok, [row(2)]}}, 10)

      {state, actions} = State.handle(state, {:control_closed, %{}}, 20)
      assert actions == [told(:closed)]
      # Once only.
      assert {state, []} = State.handle(state, {:control_closed, %{}}, 20)
      {state, actions} = step(state, {:resolved, 2, resolved(nodes)}, 30)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]
      assert List.last(only(actions, :wake)) == {:wake, nil}
      assert state.refresh == nil
    end

    test "adopted again, it causes a refresh like an event; another one is asked at once" do
      assert {_state, [{:wake, 1_010}]} = State.handle(ready([1]), {:adopted, control()}, 10)

      assert {_state, [{:query, 2, :local} | _]} =
               State.handle(ready([1]), {:adopted, control(%{address: "10.0.0.2"})}, 10)

      {state, actions} = State.handle(ready([1]), {:adopted, nil}, 10)
      assert actions == [told(:closed), {:wake, nil}]
      assert state.control == nil
    end

    test "that opens is told of, and one that was there before is not" do
      {_state, actions} = State.handle(new(), {:adopted, control()}, 0)
      assert only(actions, :telemetry) == []
      {_state, actions} = State.handle(new(), {:control_opened, control()}, 0)
      assert only(actions, :telemetry) == [told(:opened)]
    end

    test "without events, it is asked from time to time, and not at the same times as others" do
      delays =
        for seed <- 1..50 do
          %{wake: at} = ready([1], %{seed: seed})
          assert at in 270_000..330_000
          at
        end

      assert length(Enum.uniq(delays)) > 40
    end
  end
end
