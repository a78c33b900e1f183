defmodule Palladion.Test.LifecycleChild do
  @moduledoc """
  What the VMs of `Palladion.Integration.LifecycleTest` do.
  """

  use Application

  import Palladion.Test.ChildVM, only: [say: 1, hear: 0]

  alias Palladion.Test.{Clusters, Traffic}

  @doc false
  def main(argument) do
    start(argument)
    await_pool()
    Traffic.create_table!(DB)
    traffic = Traffic.start(DB)
    say(:ready)
    act(hear(), traffic, argument)
  end

  # The cluster is an application's, as it should be, or nobody's.
  defp start(%{owner: :application} = argument) do
    :ok =
      :application.load(
        {:application, :palladion_child,
         vsn: ~c"1",
         modules: [],
         registered: [],
         applications: [:kernel, :stdlib, :elixir, :logger, :palladion],
         mod: {__MODULE__, argument}}
      )

    :ok = Application.start(:palladion_child, :permanent)
  end

  defp start(%{owner: :script} = argument), do: {:ok, _} = start(:normal, argument)

  @impl true
  def start(_type, argument) do
    Supervisor.start_link([cluster(DB, argument)], strategy: :one_for_one, name: __MODULE__)
  end

  defp cluster(name, argument) do
    {Palladion, Clusters.options(argument.server, name: name, pool: [size: 4], timeout: 10_000)}
  end

  defp await_pool do
    case Palladion.status(DB) do
      {:ok, %{endpoints: [%{connections: [_, _, _, _]}]}} ->
        :ok

      _ ->
        Process.sleep(20)
        await_pool()
    end
  end

  # Ends

  defp act(:halt, _traffic, _argument), do: System.halt(0)

  defp act(:stop, _traffic, _argument) do
    System.stop()
    Process.sleep(:infinity)
  end

  defp act(:wait, _traffic, _argument), do: Process.sleep(:infinity)

  # Palladion's application is stopped under its users, and started again.

  defp act({:restart, times}, traffic, argument) do
    ms = for _ <- 1..times, do: restart(argument)
    say(%{stop_ms: ms, callers: Traffic.stop(traffic)})
    System.halt(0)
  end

  # The module of the NIFs is loaded again.

  defp act({:load, times}, traffic, _argument) do
    {:ok, before} = Palladion.stats(DB)

    answers =
      for _ <- 1..times do
        answer = :code.load_file(Palladion.Native)
        Traffic.await_answers(traffic, 100)
        answer
      end

    {:ok, stats} = Palladion.stats(DB)
    opened = stats.connections_opened - before.connections_opened
    say(%{answers: answers, connections_opened: opened, callers: Traffic.stop(traffic)})
    System.halt(0)
  end

  defp restart(argument) do
    {micros, :ok} = :timer.tc(fn -> Application.stop(:palladion) end)
    {:error, %{reason: :closed}} = Palladion.query(DB, "SELECT key FROM system.local")

    # A cluster that was not there before, on the new runtime.
    :ok = Application.start(:palladion)
    {:ok, other} = Supervisor.start_link([cluster(Other, argument)], strategy: :one_for_one)
    {:ok, _} = Palladion.query(Other, "SELECT key FROM system.local")
    :ok = Supervisor.stop(other)
    {:error, %{reason: :closed}} = Palladion.query(Other, "SELECT key FROM system.local")

    # The one that was there, as its supervisor starts it again.
    :ok = Supervisor.terminate_child(__MODULE__, DB)
    {:ok, _} = Supervisor.restart_child(__MODULE__, DB)
    :ok = Palladion.await_ready(DB, 30_000)
    {:ok, _} = Palladion.query(DB, "SELECT key FROM system.local")
    div(micros, 1_000)
  end
end
