defmodule Palladion.Config.Loader do
  @moduledoc false
  # Internal: does work with plain secrets where nobody can look.
  #
  # The function runs in a process of its own that is marked sensitive before anything
  # else, so that it isn't in crash dumps and can't be traced; what it left on its heap is
  # gone when it ends. Nothing that it raises gets out, for it may carry the secret.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.ConfigError

  # Files and the functions of users are read in it; both can hang.
  @timeout 30_000

  @doc false
  # In ms, where no other is given.
  @spec timeout() :: pos_integer()
  def timeout, do: @timeout

  @doc false
  @spec run((() -> result), timeout()) :: result | {:error, ConfigError.t()} when result: term()
  def run(fun, timeout \\ @timeout) do
    tag = make_ref()

    {pid, monitor} =
      :erlang.spawn_opt(
        fn ->
          Process.flag(:sensitive, true)
          # By the exit reason, which needs no message. Exits of plain processes are not logged.
          exit({tag, attempt(fun)})
        end,
        [:monitor]
      )

    receive do
      {:DOWN, ^monitor, :process, ^pid, {^tag, {:ok, result}}} -> result
      {:DOWN, ^monitor, :process, ^pid, {^tag, {:crash, what}}} -> crashed(what)
      {:DOWN, ^monitor, :process, ^pid, _killed} -> crashed("its process was killed")
    after
      timeout ->
        Process.exit(pid, :kill)
        Process.demonitor(monitor, [:flush])
        hung(timeout)
    end
  end

  defp attempt(fun) do
    {:ok, fun.()}
  rescue
    error -> {:crash, "#{inspect(error.__struct__)} in #{place(__STACKTRACE__)}"}
  catch
    kind, _value -> {:crash, "#{kind} in #{place(__STACKTRACE__)}"}
  end

  # A function's name and arity; never its arguments.
  defp place([{module, function, arity, _location} | _]) do
    arity = if is_list(arity), do: length(arity), else: arity
    Exception.format_mfa(module, function, arity)
  end

  defp place(_other), do: "an unknown function"

  defp crashed(what) do
    message = "reading it failed: #{what}; this is an error in Palladion, please report it"
    {:error, %ConfigError{problems: [problem([], :crashed, message)]}}
  end

  defp hung(timeout) do
    message =
      "reading it took longer than #{timeout} ms; does a file, or a function " <>
        "among the options, wait for something?"

    {:error, %ConfigError{problems: [problem([], :timeout, message)]}}
  end
end
