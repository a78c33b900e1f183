defmodule Palladion.Test.AWSChild do
  @moduledoc """
  The VM of `Palladion.Integration.AuthSigV4ChainTest`: its environment is that of a machine at AWS, and its clusters do as they
  are told. Rust sees the environment that a VM starts with, so none but a VM of its own can show what reaches it.
  """

  import Palladion.Test.ChildVM, only: [say: 1, hear: 0]

  alias Palladion.{ConfigError, ConnectionError}

  @doc false
  def main(:wait) do
    Logger.configure(level: :none)
    say(:ready)
    loop()
  end

  defp loop do
    hear() |> answer() |> say()
    loop()
  end

  defp answer({:put_env, variables}), do: System.put_env(variables)

  defp answer({:start, name, options}) do
    case Palladion.start_link([name: name] ++ options) do
      {:ok, _} ->
        :ok

      {:error, %ConfigError{problems: problems}} ->
        {:config, for(it <- problems, do: {it.path, it.reason})}
    end
  end

  defp answer({:await, name, timeout}), do: name |> Palladion.await_ready(timeout) |> outcome()
  defp answer({:reconnect, name}), do: name |> Palladion.reconnect(20_000) |> outcome()
  defp answer({:update, name, changes}), do: name |> Palladion.update_auth(changes) |> outcome()
  defp answer({:stop, name}), do: Palladion.stop(name)

  defp answer({:failure, name}) do
    {:ok, %{last_error: error}} = Palladion.status(name)
    error && {error.reason, Exception.message(error)}
  end

  defp answer({:stats, name}) do
    {:ok, stats} = Palladion.stats(name)
    stats
  end

  # All connections anew until a time has passed: how often.
  defp answer({:reconnect_for, name, ms}),
    do: again(name, System.monotonic_time(:millisecond) + ms, 0)

  defp again(name, until, count) do
    if System.monotonic_time(:millisecond) > until do
      count
    else
      :ok = Palladion.reconnect(name, 20_000)
      again(name, until, count + 1)
    end
  end

  defp outcome(:ok), do: :ok

  defp outcome({:error, %ConnectionError{reason: reason} = error}),
    do: {:error, reason, error.details[:last_error]}

  defp outcome({:error, %ConfigError{problems: problems}}),
    do: {:config, for(it <- problems, do: {it.path, it.reason})}
end
