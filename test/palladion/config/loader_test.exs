defmodule Palladion.Config.LoaderTest do
  # What other tests log would be captured here.
  use ExUnit.Case, async: false

  import ExUnit.CaptureLog

  alias Palladion.Config.Loader
  alias Palladion.ConfigError

  @secret "hunter2"

  test "returns what the function returns" do
    assert Loader.run(fn -> {:ok, 17} end) == {:ok, 17}
  end

  test "runs in a process of its own, which is sensitive and ends" do
    parent = self()

    assert {:ok, pid} =
             Loader.run(fn ->
               # A sensitive process can't be asked for its messages or dictionary.
               Process.put(:secret, @secret)
               send(self(), @secret)
               loader = self()

               asker =
                 Task.async(fn -> Process.info(loader, [:messages, :dictionary, :backtrace]) end)

               send(parent, {:seen, Task.await(asker)})
               {:ok, loader}
             end)

    assert pid != self()
    refute Process.alive?(pid)
    assert_received {:seen, seen}
    refute inspect(seen, limit: :infinity) =~ @secret
    assert seen[:dictionary] == []
    assert seen[:messages] == []
  end

  test "a crash says where, and nothing else" do
    for {crash, text} <- [
          {fn -> raise "bad #{@secret}" end, "RuntimeError"},
          {fn -> apply(String, :to_integer, [@secret]) end,
           "ArgumentError in :erlang.binary_to_integer/1"},
          {fn -> apply(String, :trim, [{@secret}]) end, "FunctionClauseError in String.trim/1"},
          {fn -> apply(Palladion.NoSuchModule, :call, [@secret]) end, "NoSuchModule.call/1"},
          {fn -> throw(@secret) end, "throw in"},
          {fn -> exit(@secret) end, "exit in"}
        ] do
      log =
        capture_log(fn ->
          assert {:error, %ConfigError{problems: [problem]} = error} = Loader.run(crash)
          assert %{path: [], reason: :crashed} = problem
          assert Exception.message(error) =~ text
          refute inspect(error) =~ @secret
        end)

      assert log == ""
    end
  end

  test "a hang ends, and leaves neither process nor message" do
    parent = self()

    hang = fn ->
      send(parent, {:loader, self()})
      Process.sleep(:infinity)
    end

    assert {:error, %ConfigError{problems: [%{reason: :timeout}]}} = Loader.run(hang, 50)
    assert_received {:loader, pid}
    monitor = Process.monitor(pid)
    assert_receive {:DOWN, ^monitor, :process, ^pid, _}
    refute_received _
  end

  test "its process being killed is an error" do
    assert {:error, %ConfigError{problems: [%{reason: :crashed}]}} =
             Loader.run(fn -> Process.exit(self(), :kill) end)
  end

  test "a caller that traps exits gets no message" do
    Process.flag(:trap_exit, true)
    assert Loader.run(fn -> {:ok, 1} end) == {:ok, 1}
    refute_received _
  end
end
