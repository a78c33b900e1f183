defmodule Palladion.Doctor.Answers do
  @moduledoc false
  # Internal: what logins ask Elixir for (functions, files, authenticators of the user's) is answered
  # while the doctor looks, by the process that does it in a cluster.

  alias Palladion.Config

  @doc false
  # `fun` gets the reference that probes ask by.
  @spec during(Config.t(), map(), (reference() -> result)) :: result when result: term()
  def during(config, environment, fun) do
    {:ok, callbacks} = environment.native.callbacks_new()
    process = start(config, callbacks, environment)

    try do
      fun.(callbacks)
    after
      stop(process)
    end
  end

  defp start(%{auth: nil}, _callbacks, _environment), do: nil

  defp start(config, callbacks, environment) do
    {:ok, process} =
      environment.answer.(%{callbacks: callbacks, auth: config.auth, config: config})

    process
  end

  defp stop(nil), do: :ok

  # The caller may trap exits, and nothing stays in its mailbox.
  defp stop(process) do
    Process.unlink(process)
    GenServer.stop(process)

    receive do
      {:EXIT, ^process, _reason} -> :ok
    after
      0 -> :ok
    end
  catch
    # It had ended already.
    :exit, _reason -> :ok
  end
end
