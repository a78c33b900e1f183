defmodule Palladion.Cluster.PausesTest do
  @moduledoc """
  The test's process is the one that asks.
  """

  use ExUnit.Case, async: true

  import ExUnit.CaptureLog
  import Palladion.Test.Clusters

  alias Palladion.Cluster.Pauses
  alias Palladion.{Application, Config, Native}
  alias Palladion.Test.Testkit

  @node <<1::128>>

  defmodule Policy do
    @behaviour Palladion.ReconnectionPolicy

    @impl true
    def next_delay(failures, answer) when is_function(answer), do: answer.(failures)
    def next_delay(_failures, answer), do: answer
  end

  setup do: %{tasks: start_supervised!(Task.Supervisor)}

  # The native library returns an error for a handle that is none, as for one that is closed.
  defp new(policy, tasks, more \\ []) do
    handle = Keyword.get(more, :handle, make_ref())
    Pauses.new(handle, config(policy), tasks, Keyword.get(more, :limit, 5_000))
  end

  defp config(policy) do
    {:ok, config} =
      Config.parse(
        name: :never_started,
        contact_points: ["localhost:1"],
        tls: false,
        reconnect: [policy: policy]
      )

    config
  end

  # The next message, as the process takes it.
  defp handle(pauses) do
    assert_receive message, 2_000
    Pauses.handle(pauses, message)
  end

  test "ready-made policies are not asked: the native library has them", %{tasks: tasks} do
    for policy <- [:exponential, :constant] do
      pauses = new(policy, tasks)
      assert Pauses.ask(pauses, @node, 1) == pauses
    end

    assert Task.Supervisor.children(tasks) == []
  end

  test "a policy is asked elsewhere, with what it needs", %{tasks: tasks} do
    test = self()

    answer = fn failures ->
      send(test, {:asked, failures, self()})
      250
    end

    pauses = {Policy, answer} |> new(tasks) |> Pauses.ask(@node, 3)
    assert_receive {:asked, 3, task} when task != test
    assert {:ok, pauses, nil} = handle(pauses)
    assert pauses.asked == %{}
  end

  test "nobody is asked about contact points, of which no node is known", %{tasks: tasks} do
    pauses = new({Policy, 5}, tasks)
    assert Pauses.ask(pauses, nil, 1) == pauses
    assert Task.Supervisor.children(tasks) == []
  end

  test "answers belong to their questions, in any order", %{tasks: tasks} do
    test = self()

    answer = fn failures ->
      send(test, {:asked, failures, self()})
      receive do: (:go -> failures)
    end

    pauses = new({Policy, answer}, tasks)
    pauses = Enum.reduce(1..3, pauses, &Pauses.ask(&2, <<&1::128>>, &1))

    for n <- [3, 1, 2], reduce: pauses do
      pauses ->
        assert_receive {:asked, ^n, task}
        send(task, :go)
        assert_receive {ref, ^n} when is_reference(ref)
        assert %{^ref => {_task, <<^n::128>>}} = pauses.asked
        assert {:ok, pauses, nil} = Pauses.handle(pauses, {ref, n})
        refute is_map_key(pauses.asked, ref)
        pauses
    end
  end

  test "an answer longer than any clock is no problem", %{tasks: tasks} do
    for delay <- [0, 86_400_001, 0xFFFFFFFFFFFFFFFF, 0x10000000000000000] do
      pauses = {Policy, delay} |> new(tasks) |> Pauses.ask(@node, 1)
      assert {:ok, _pauses, nil} = handle(pauses)
    end
  end

  test "an answer for a cluster that is closed is no problem", %{tasks: tasks} do
    {workers, decoders} = Application.threads()
    {:ok, callbacks} = Native.callbacks_new()
    native = {Policy, 5} |> config() |> Config.to_native() |> Map.put(:callbacks, callbacks)
    {:ok, handle} = Native.cluster_new(native, self(), workers, decoders)
    ref = make_ref()
    {:ok, :closed} = Native.cluster_close(handle, ref, 0)
    assert_receive {^ref, :ok}, 5_000

    pauses = {Policy, 5} |> new(tasks, handle: handle) |> Pauses.ask(@node, 1)
    assert {:ok, %{asked: asked}, nil} = handle(pauses)
    assert asked == %{}
  end

  test "nonsense is told, and the pause stays", %{tasks: tasks} do
    for {answer, shown} <- [
          {nil, "nil"},
          {-1, "-1"},
          {1.5, "1.5"},
          {:infinity, ":infinity"},
          {{:ok, 5}, "{:ok, 5}"},
          {"5", ~s("5")}
        ] do
      pauses = {Policy, answer} |> new(tasks) |> Pauses.ask(@node, 1)
      assert {:ok, %{asked: asked}, problem} = handle(pauses)
      assert asked == %{}

      assert problem ==
               "the reconnection policy #{inspect(Policy)} answered #{shown}; " <>
                 "the pause is reconnect: [max:]"
    end
  end

  test "nonsense without end is not shown in full", %{tasks: tasks} do
    for answer <- [String.duplicate("x", 100_000), Enum.to_list(1..100_000)] do
      pauses = {Policy, answer} |> new(tasks) |> Pauses.ask(@node, 1)
      assert {:ok, _pauses, problem} = handle(pauses)
      assert String.length(problem) < 500
    end
  end

  test "a policy that fails is told of, and asked the next time", %{tasks: tasks} do
    for {answer, text} <- [
          {fn _ -> raise "oh no" end, "oh no"},
          {fn _ -> throw(:up) end, ":nocatch"},
          {fn _ -> exit(:early) end, ":early"},
          {fn _ -> Process.exit(self(), :kill) end, ":killed"}
        ] do
      capture_log(fn ->
        pauses = {Policy, answer} |> new(tasks) |> Pauses.ask(@node, 1)
        assert {:ok, pauses, problem} = handle(pauses)
        assert problem =~ "the reconnection policy #{inspect(Policy)} failed: "
        assert problem =~ text

        pauses = Pauses.ask(pauses, @node, 2)
        assert map_size(pauses.asked) == 1
        assert {:ok, _pauses, "the reconnection policy" <> _} = handle(pauses)
      end)
    end
  end

  test "a policy that hangs is ended after a while, and told of", %{tasks: tasks} do
    pauses = {Policy, fn _ -> Process.sleep(:infinity) end} |> new(tasks, limit: 20)
    pauses = Pauses.ask(pauses, @node, 1)
    assert [task] = Task.Supervisor.children(tasks)
    monitor = Process.monitor(task)

    assert {:ok, %{asked: asked}, problem} = handle(pauses)
    assert asked == %{}
    assert problem =~ "took longer than 20 ms"
    assert_receive {:DOWN, ^monitor, :process, ^task, :killed}
    assert mailbox() == []
  end

  test "an answer just in time is one, and what comes late is nobody's", %{tasks: tasks} do
    pauses = {Policy, 5} |> new(tasks, limit: 20) |> Pauses.ask(@node, 1)
    assert_receive {_ref, 5} = answer
    assert {:ok, pauses, nil} = Pauses.handle(pauses, answer)
    assert_receive {:too_late, _ref} = late
    assert Pauses.handle(pauses, late) == :not_mine
    assert Pauses.handle(pauses, answer) == :not_mine
    assert mailbox() == []
  end

  test "no more than 64 are asked at a time", %{tasks: tasks} do
    test = self()

    answer = fn failures ->
      send(test, {:asked, failures})
      receive do: (:go -> 1)
    end

    pauses = new({Policy, answer}, tasks)
    pauses = Enum.reduce(1..100, pauses, &Pauses.ask(&2, <<&1::128>>, &1))
    assert map_size(pauses.asked) == 64
    for n <- 1..64, do: assert_receive({:asked, ^n})
    assert [first | _] = children = Task.Supervisor.children(tasks)
    assert length(children) == 64

    # There is room for another one as soon as one has answered.
    send(first, :go)
    assert {:ok, pauses, nil} = handle(pauses)
    pauses = Pauses.ask(pauses, @node, 101)
    assert map_size(pauses.asked) == 64
    assert_receive {:asked, 101}
  end

  test "while the task supervisor restarts, nobody is asked" do
    pauses = new({Policy, 5}, :nobody)
    assert Pauses.ask(pauses, @node, 1) == pauses
  end

  test "a policy that ends with the task supervisor has not failed", %{tasks: tasks} do
    pauses = {Policy, fn _ -> Process.sleep(:infinity) end} |> new(tasks) |> Pauses.ask(@node, 1)
    stop_supervised!(Task.Supervisor)
    assert {:ok, %{asked: asked}, nil} = handle(pauses)
    assert asked == %{}
  end

  test "other messages are somebody else's", %{tasks: tasks} do
    pauses = {Policy, fn _ -> Process.sleep(:infinity) end} |> new(tasks) |> Pauses.ask(@node, 1)

    for message <- [
          :hello,
          {make_ref(), 5},
          {:too_late, make_ref()},
          {:DOWN, make_ref(), :process, self(), :x}
        ],
        do: assert(Pauses.handle(pauses, message) == :not_mine)
  end

  describe "in a cluster" do
    @tag :capture_log
    test "the pause is what the policy answers" do
      server = Testkit.start_server()
      test = self()

      # Without it, the second attempt would be a minute away.
      answer = fn failures ->
        send(test, {:asked, failures})
        1
      end

      name = ready_cluster!(server, reconnect: [policy: {Policy, answer}, max: 60_000])
      Testkit.refuse(server)
      assert {:error, _no_connection} = Palladion.reconnect(name, 10_000)
      for n <- 1..5, do: assert_receive({:asked, ^n}, 5_000)

      %{connections: before} = Testkit.counters(server)
      Testkit.listen(server)
      Testkit.wait(server, connections: {:min, before + 1})
    end
  end
end
