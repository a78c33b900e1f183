defmodule Palladion.Cluster.Server do
  @moduledoc false
  # Takes the events of its cluster and closes it in good order. If it crashes, the next one
  # adopts the handle again; nothing that serves queries depends on it.

  use GenServer

  require Logger

  alias Palladion.{ConnectionError, Native}

  # The same failure of an endpoint is told again only after this long.
  @repeat_after_ms 60_000

  @doc false
  def child_spec({_handle, config} = argument) do
    # Longer than `terminate/2` waits for the connections to close.
    argument |> super() |> Map.put(:shutdown, config.timeouts.shutdown + 2_000)
  end

  @doc false
  def start_link({handle, config}) do
    GenServer.start_link(__MODULE__, {handle, config})
  end

  @impl true
  def init({handle, config}) do
    Process.flag(:trap_exit, true)

    state = %{
      handle: handle,
      label: inspect(config.name),
      grace: config.timeouts.shutdown,
      told: %{}
    }

    {:ok, state, {:continue, :adopt}}
  end

  @impl true
  def handle_continue(:adopt, state) do
    Native.cluster_adopt(state.handle)
    {:noreply, take_events(state)}
  end

  @impl true
  def handle_info(:palladion_events, state), do: {:noreply, take_events(state)}
  def handle_info(_other, state), do: {:noreply, state}

  @impl true
  def terminate(reason, state) do
    # Only the supervisor's end is the cluster's; after a crash another server follows.
    if reason == :shutdown, do: close(state)
  end

  defp close(%{handle: handle, grace: grace}) do
    ref = make_ref()

    with {:ok, :closed} <- Native.cluster_close(handle, ref, grace) do
      receive do
        {^ref, _done} -> :ok
      after
        grace + 1_000 -> :ok
      end
    end
  end

  defp take_events(state) do
    case Native.take_events(state.handle) do
      {:ok, {events, dropped}} ->
        if dropped > 0, do: Logger.warning("Palladion #{state.label}: #{dropped} events dropped")
        Enum.reduce(events, state, &handle_event/2)

      {:error, _closed} ->
        state
    end
  end

  defp handle_event({:connection_opened, %{endpoint: endpoint}}, state) do
    if is_map_key(state.told, endpoint) do
      Logger.info("Palladion #{state.label}: connected to #{endpoint} again")
    end

    %{state | told: Map.delete(state.told, endpoint)}
  end

  defp handle_event({:connect_failed, %{error: error, retry_in: retry_in}}, state) do
    tell(state, ConnectionError.from_native(error), "; next attempt in #{retry_in} ms")
  end

  defp handle_event({:connection_closed, %{error: error, left: left}}, state) do
    tell(state, ConnectionError.from_native(error), "; #{left} connections left")
  end

  defp tell(state, %ConnectionError{endpoint: endpoint, reason: reason} = error, more) do
    now = System.monotonic_time(:millisecond)
    told = Map.get(state.told, endpoint, %{})

    case told do
      %{^reason => at} when now - at < @repeat_after_ms ->
        state

      _not_lately ->
        Logger.warning("Palladion #{state.label}: #{Exception.message(error)}#{more}")
        put_in(state.told[endpoint], Map.put(told, reason, now))
    end
  end
end
