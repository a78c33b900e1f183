defmodule Palladion.Cluster.Topology.StateTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Topology

  alias Palladion.Cluster.Topology.State

  describe "a refresh:" do
    test "asks for both tables at once when there is a control connection" do
      assert {state, []} = State.handle(new(), {:adopted, nil}, 0)
      {_state, actions} = State.handle(state, {:control_opened, control()}, 5)

      assert actions == [
               told(:opened),
               {:query, 1, :local},
               {:query, 1, :peers_v2},
               {:wake, 10_005}
             ]
    end

    test "is applied when all is known" do
      {state, _} = State.handle(new(), {:adopted, control()}, 0)
      {state, actions} = answer(state, rows([1, 2, 3]))

      assert [{:store, nodes, []}] = only(actions, :store)
      assert Enum.map(nodes, &{&1.host_id, &1.distance}) == for(n <- 1..3, do: {id(n), :local})
      assert [{:apply, [one, _two, _three]}] = only(actions, :apply)

      assert one == %{
               id: <<0x00000001000040008000000000000001::128>>,
               host: "10.0.0.1",
               port: 9042,
               verified_name: nil,
               sni: nil,
               datacenter: "dc1",
               rack: "r",
               distance: :local,
               preference: 0,
               size: 2
             }

      assert [_refreshed, added | _] = only(actions, :telemetry)

      assert {:telemetry, [:node, :added], %{},
              %{address: "10.0.0.1", host_id: _, port: 9042, datacenter: "dc1", rack: "r"}} =
               added

      assert state.refresh == nil
    end

    test "answers in the other order are the same" do
      {state, _} = State.handle(new(), {:adopted, control()}, 0)
      {state, []} = State.handle(state, {:answer, 1, :peers_v2, {:ok, [row(2)]}}, 0)
      {_state, actions} = State.handle(state, {:answer, 1, :local, {:ok, [row(1)]}}, 0)

      assert [{:resolve, 1, [%{address: "10.0.0.1"}, %{address: "10.0.0.2"}]}] =
               only(actions, :resolve)
    end

    test "falls back to system.peers, and remembers it for the connection" do
      for code <- [0x2000, 0x2100, 0x2200] do
        {state, _} = State.handle(new(), {:adopted, control()}, 0)
        error = {:server, %{code: code, message: "unconfigured table peers_v2"}}

        {state, [{:query, 1, :peers}]} =
          State.handle(state, {:answer, 1, :peers_v2, {:error, error}}, 0)

        {state, []} = State.handle(state, {:answer, 1, :peers, {:ok, [row(2)]}}, 0)
        {state, actions} = step(state, {:answer, 1, :local, {:ok, [row(1)]}}, 0)
        assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]

        {state, actions} = State.handle(%{state | wake: nil}, :tick, 600_000)
        assert only(actions, :query) == [{:query, 2, :local}, {:query, 2, :peers}]

        # Another connection may be to a server that has it.
        assert {_state, actions} = State.handle(state, {:control_opened, control()}, 600_000)
        assert only(actions, :query) == [{:query, 3, :local}, {:query, 3, :peers_v2}]
      end
    end

    test "the same list again is not applied again" do
      {state, actions} = [1, 2] |> ready() |> refresh(10) |> answer(rows([1, 2]), 10)
      assert only(actions, :apply) ++ only(actions, :store) ++ only(actions, :rank) == []
      assert [{:telemetry, [:topology, :refreshed], _, _}] = only(actions, :telemetry)
      assert only(actions, :log) == []
      assert state.refresh == nil
    end

    test "the same list from another node is the same" do
      {_state, actions} = [1, 2] |> ready() |> refresh(10) |> answer(rows([2, 1]), 10)
      assert only(actions, :rank) ++ only(actions, :apply) ++ only(actions, :store) == []
    end

    test "another schema version is stored, and nothing more" do
      version = %{"schema_version" => "59adb24e-f3cd-3e02-97f0-5b395827453f"}

      {_state, actions} =
        [1, 2] |> ready() |> refresh(10) |> answer([row(1, version), row(2, version)], 10)

      assert only(actions, :apply) == []
      assert [{:store, [%{schema_version: "59adb24e" <> _}, _], []}] = only(actions, :store)
    end

    test "nodes that are added, removed and moved are told" do
      moved = row(2, %{"rpc_address" => {10, 0, 0, 22}})

      {_state, actions} =
        [1, 2, 3] |> ready() |> refresh(10) |> answer([row(1), moved, row(4)], 10)

      assert [
               {:telemetry, [:topology, :refreshed], %{nodes: 3}, %{}},
               {:telemetry, [:node, :added], %{}, %{address: "10.0.0.4"}},
               {:telemetry, [:node, :removed], %{}, %{address: "10.0.0.3"}},
               {:telemetry, [:node, :moved], %{},
                %{address: "10.0.0.22", previous_address: "10.0.0.2", previous_port: 9042}}
             ] = only(actions, :telemetry)

      assert [{:info, added}, {:info, removed}, {:info, moved}] = logs(actions)
      assert added =~ "10.0.0.4:9042"
      assert removed =~ "10.0.0.3:9042"
      assert moved =~ "moved from 10.0.0.2:9042"
      assert [{:store, _, [%{address: "10.0.0.3"}]}] = only(actions, :store)
      assert applied(actions) == [["10.0.0.1", "10.0.0.22", "10.0.0.4"]]
    end

    test "an answer of another generation is dropped" do
      state = refresh(ready([1, 2]), 10)
      assert state.generation == 2

      for event <- [
            {:answer, 1, :local, {:ok, []}},
            {:answer, 1, :peers_v2, {:error, {:closed, %{}}}},
            {:resolved, 1, %{}},
            {:resolved, 2, %{}},
            {:ranked, 1, {:ok, %{}}},
            {:ranked, 2, {:ok, %{}}}
          ] do
        assert State.handle(state, event, 10) == {state, []}
      end
    end

    test "a new control connection's takes the place of one that runs" do
      {state, actions} =
        [1] |> ready() |> refresh(10) |> State.handle({:control_opened, control()}, 20)

      assert actions == [
               {:cancel, 2},
               told(:opened),
               {:query, 3, :local},
               {:query, 3, :peers_v2},
               {:wake, 10_020}
             ]

      assert state.generation == 3
    end

    test "two nodes at one place are told once" do
      twice = [row(1), row(2), row(3, %{"rpc_address" => {10, 0, 0, 2}})]
      {state, actions} = [1] |> ready() |> refresh(10) |> answer(twice, 10)
      assert [{:warning, "10.0.0.2:9042 is announced by two" <> _} | _] = logs(actions)
      {_state, actions} = state |> refresh(20) |> answer(twice, 20)
      assert logs(actions) == []
    end
  end

  describe "a failure" do
    test "keeps the list, and tries again later and later" do
      state = ready([1, 2])
      error = {:connection_closed, %{endpoint: "db1:9042"}}

      {state, _now} =
        Enum.reduce(1..20, {refresh(state, 0), 0}, fn n, {state, now} ->
          {state, actions} =
            State.handle(state, {:answer, state.generation, :local, {:error, error}}, now)

          assert [{:cancel, _}] = only(actions, :cancel)
          assert [{level, text}] = logs(actions)
          assert level == if(n == 1, do: :warning, else: :debug)
          assert text =~ "db1:9042"
          assert [{:wake, at}] = only(actions, :wake)
          longest = min(30_000, 2_000 * Integer.pow(2, n - 1))
          assert (at - now) in div(longest, 2)..longest

          {state, []} =
            State.handle(state, {:answer, state.generation, :peers_v2, {:ok, []}}, now)

          {state, actions} = State.handle(state, :tick, at)
          assert [_, _] = only(actions, :query)
          {state, at}
        end)

      assert addresses(state) == ["10.0.0.1", "10.0.0.2"]

      # And all is well again.
      {state, actions} = answer(state, rows([1, 2, 3]), 1_000_000)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2", "10.0.0.3"]]
      assert state.schedule.failures == 0
    end

    test "is also a list without any node" do
      {state, _} = State.handle(refresh(ready([1, 2]), 10), {:answer, 2, :local, {:ok, []}}, 10)

      {state, actions} =
        State.handle(state, {:answer, 2, :peers_v2, {:ok, [row(2, %{"host_id" => nil})]}}, 10)

      assert addresses(state) == ["10.0.0.1", "10.0.0.2"]
      assert only(actions, :apply) == []
      assert [{:debug, _}, {:warning, "the list of nodes can't be read" <> _}] = logs(actions)
      assert state.schedule.failures == 1
    end

    test "is an answer that never comes" do
      # Too early, the timer is set again.
      {state, [{:wake, 10_000}]} = State.handle(refresh(ready([1]), 0), :tick, 9_999)
      {state, actions} = State.handle(state, :tick, 10_000)
      assert [{:cancel, 2}] = only(actions, :cancel)
      assert [{:warning, text}] = logs(actions)
      assert text =~ "10000 ms"
      assert state.schedule.failures == 1
    end
  end

  describe "a list that was not applied" do
    test "is applied again by the next refresh, which comes soon" do
      {state, actions} = State.handle(ready([1, 2]), :not_applied, 100)
      assert actions == [{:wake, 1_100}]
      {state, actions} = State.handle(state, :tick, 1_100)
      assert [{:query, 2, :local}, {:query, 2, :peers_v2}] = only(actions, :query)
      {state, actions} = answer(state, rows([1, 2]), 1_200)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]
      # The policy is asked when there is something new to ask.
      assert only(actions, :rank) == []

      {state, actions} = state |> refresh(2_000) |> answer(rows([1, 2]), 2_000)
      assert applied(actions) == []
      assert state.schedule.failures == 0
    end

    test "waits for a control connection" do
      {state, _} = State.handle(ready([1, 2]), {:control_closed, %{}}, 10)
      assert {state, []} = State.handle(state, :not_applied, 20)
      {_state, actions} = state |> refresh(30) |> answer(rows([1, 2]), 30)
      assert applied(actions) == [["10.0.0.1", "10.0.0.2"]]
    end
  end
end
