defmodule Palladion.Integration.LifecycleTest do
  @moduledoc """
  Ends and restarts in the middle of traffic, in VMs of their own. `bin/soak lifecycle` does each 50 times.
  """

  use ExUnit.Case, async: false

  alias Palladion.Test.{Cassandra, ChildVM, LifecycleChild}

  @moduletag :cassandra

  @times String.to_integer(System.get_env("PALLADION_SOAK_LIFECYCLE", "2"))
  @moduletag timeout: 60_000 + @times * 20_000

  @limit_ms 5_000

  setup_all do
    %{server: Cassandra.server()}
  end

  for {what, command} <- [
        {"System.halt(0)", :halt},
        {"System.stop()", :stop},
        {"SIGTERM", {:signal, "TERM"}}
      ] do
    test "#{what} under 64 callers: exit status 0, in time, #{@times} times", %{server: server} do
      ends = for round <- 1..@times, do: end_by(unquote(command), server, owner(round))
      assert Enum.frequencies_by(ends, & &1.status) == %{0 => @times}
      assert Enum.max(Enum.map(ends, & &1.ms)) < @limit_ms
      report(unquote(what), Enum.map(ends, & &1.ms))
    end
  end

  test "Palladion's application is stopped and started under 64 callers", %{server: server} do
    vm = start(server, :script)
    ChildVM.send(vm, {:restart, @times})
    seen = ChildVM.receive(vm, 60_000 + @times * 10_000)

    assert length(seen.stop_ms) == @times
    assert Enum.max(seen.stop_ms) < @limit_ms
    assert_callers(seen.callers)
    # Nobody saw anything but the cluster's end.
    assert %{closed: _} = seen.callers.errors
    assert Map.keys(seen.callers.errors) -- [:closed, :connection_closed, :no_connection] == []
    assert_end(vm, 0)
    report("Application.stop", seen.stop_ms)
  end

  test "the NIFs' module loaded again is refused, and no query is lost", %{server: server} do
    vm = start(server, :script)
    ChildVM.send(vm, {:load, 10 * @times})
    seen = ChildVM.receive(vm)

    assert Enum.uniq(seen.answers) == [{:error, :on_load_failure}]
    assert_callers(seen.callers)
    assert seen.callers.errors == %{}
    assert seen.connections_opened == 0
    assert_end(vm, 0)
  end

  # A cluster is an application's, or nobody's: both have to end well.
  defp owner(round), do: if(rem(round, 2) == 1, do: :application, else: :script)

  defp start(server, owner) do
    vm = ChildVM.start(LifecycleChild, %{server: server, owner: owner})
    on_exit(fn -> ChildVM.clean_up(vm) end)
    assert ChildVM.receive(vm) == :ready
    vm
  end

  defp end_by(command, server, owner) do
    vm = start(server, owner)

    case command do
      {:signal, name} ->
        ChildVM.send(vm, :wait)
        ChildVM.signal(vm, name)

      command ->
        ChildVM.send(vm, command)
    end

    {status, ms} = assert_end(vm, 0)
    %{status: status, ms: ms}
  end

  defp assert_end(vm, expected) do
    {status, ms} = ChildVM.await_exit(vm)
    output = ChildVM.output(vm)
    assert status == expected, "exit status #{status}; the child's output:\n#{output}"
    refute File.exists?(vm.crash_dump), "a crash dump; the child's output:\n#{output}"
    refute output =~ "panicked", output
    assert ChildVM.left(vm) == []
    {status, ms}
  end

  defp assert_callers(callers) do
    assert callers.ok > 0
    assert callers.wrong == []
    assert callers.messages == []
    # None hung.
    assert callers.longest < 10_000 + 1_000
  end

  # The soak's result is for eyes, too.
  defp report(what, ms) do
    if @times > 2 do
      sorted = Enum.sort(ms)
      median = Enum.at(sorted, div(length(sorted), 2))

      IO.puts(
        "#{what}: #{length(ms)} times, median #{median} ms, longest #{List.last(sorted)} ms"
      )
    end
  end
end
