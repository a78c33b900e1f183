defmodule Palladion.Application do
  @moduledoc false
  # Clusters live in their users' supervision trees. What they share is the native runtime,
  # which the first of them starts and this application's end stops.

  use Application

  # Off the normal schedulers, and bounded: within it everything still open is closed.
  @runtime_stop_ms 4_000

  @impl true
  def start(_type, _args) do
    Supervisor.start_link([], strategy: :one_for_one, name: Palladion.Supervisor)
  end

  @impl true
  def stop(_state) do
    Palladion.Native.runtime_stop(@runtime_stop_ms)
    :ok
  end

  # Few by default: the schedulers need the cores. One thread carries some 100,000 requests
  # a second.
  @doc false
  def threads do
    {count(:runtime_threads), count(:decoder_threads)}
  end

  defp count(key) do
    case Application.get_env(:palladion, key) do
      count when is_integer(count) and count in 1..64 -> count
      _ -> System.schedulers_online() |> div(4) |> max(1) |> min(4)
    end
  end
end
