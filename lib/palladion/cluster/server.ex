defmodule Palladion.Cluster.Server do
  @moduledoc false
  # Takes the events of its cluster and closes it in good order. If it crashes, the next one
  # adopts the handle again; nothing that serves queries depends on it.

  use GenServer

  require Logger

  alias Palladion.Cluster.{Certificates, Pauses, Signals}
  alias Palladion.{ConnectionError, Native, Telemetry}

  # The same failure of an endpoint is told again only after this long.
  @repeat_after_ms 60_000

  @doc false
  def child_spec(%{config: config} = argument) do
    # Longer than `terminate/2` waits for the connections to close.
    argument |> super() |> Map.put(:shutdown, config.timeouts.shutdown + 2_000)
  end

  @doc false
  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init(%{handle: handle, config: config, table: table, tasks: tasks}) do
    Process.flag(:trap_exit, true)

    state = %{
      handle: handle,
      label: inspect(config.name),
      grace: config.timeouts.shutdown,
      source: %{cluster: config.name, table: table},
      pauses: Pauses.new(handle, config, tasks),
      told: %{}
    }

    {:ok, state, {:continue, :adopt}}
  end

  @impl true
  def handle_continue(:adopt, state) do
    Native.cluster_adopt(state.handle, :cluster)
    {:noreply, take_events(state)}
  end

  @impl true
  def handle_info(:palladion_events, state), do: {:noreply, take_events(state)}

  def handle_info(message, state) do
    case Pauses.handle(state.pauses, message) do
      {:ok, pauses, problem} ->
        if problem, do: Logger.warning("Palladion #{state.label}: #{problem}")
        {:noreply, %{state | pauses: pauses}}

      :not_mine ->
        {:noreply, state}
    end
  end

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
    case Native.take_events(state.handle, :cluster) do
      {:ok, {events, dropped, more?}} ->
        if more?, do: send(self(), :palladion_events)
        if dropped > 0, do: dropped(state, dropped)

        Enum.reduce(events, state, fn event, state ->
          Signals.emit(event, state.source)
          handle_event(event, state)
        end)

      {:error, _closed} ->
        state
    end
  end

  defp dropped(state, count) do
    Logger.warning("Palladion #{state.label}: #{count} events dropped")
    Telemetry.execute([:events, :dropped], %{count: count}, %{cluster: state.source.cluster})
  end

  defp handle_event({:connection_opened, %{endpoint: endpoint}}, state) do
    if is_map_key(state.told, endpoint) do
      Logger.info("Palladion #{state.label}: connected to #{endpoint} again")
    end

    %{state | told: Map.delete(state.told, endpoint)}
  end

  defp handle_event({:connect_failed, %{error: error} = failed}, state) do
    state = %{state | pauses: Pauses.ask(state.pauses, failed.node, failed.failures)}
    tell(state, ConnectionError.from_native(error), "; next attempt in #{failed.retry_in} ms")
  end

  # It was we who closed it, as after `Palladion.reconnect/2`: nothing failed.
  defp handle_event({:connection_closed, %{error: nil}}, state), do: state

  defp handle_event({:connection_closed, %{role: :control, error: error}}, state) do
    tell(state, ConnectionError.from_native(error), "; it was the control connection")
  end

  defp handle_event({:connection_closed, %{error: error, open: open} = closed}, state) do
    state = %{state | pauses: ask(state.pauses, closed)}
    tell(state, ConnectionError.from_native(error), "; #{open} connections left")
  end

  defp handle_event({:handshake, %{tls: %{not_after: not_after}} = handshake}, state) do
    Certificates.seen(state.source.table, handshake.endpoint, not_after)
    state
  end

  defp handle_event({:credentials, %{error: error}}, state) when error != nil do
    tell(state, ConnectionError.from_native(error), "; those there are serve until they expire")
  end

  defp handle_event({:protocol_lowered, lowered}, state) do
    Logger.warning(
      "Palladion #{state.label}: #{lowered.endpoint} speaks no newer version of the protocol than " <>
        "#{lowered.to}; all connections change from #{lowered.from} to it"
    )

    state
  end

  defp handle_event(_other, state), do: state

  # One that ended soon is a failure, too.
  defp ask(pauses, %{failures: 0}), do: pauses
  defp ask(pauses, closed), do: Pauses.ask(pauses, closed.node, closed.failures)

  defp tell(state, %ConnectionError{endpoint: endpoint, reason: reason} = error, more) do
    now = System.monotonic_time(:millisecond)
    told = Map.get(state.told, endpoint, %{})

    case told do
      %{^reason => at} when now - at < @repeat_after_ms ->
        state

      _not_lately ->
        Logger.warning("Palladion #{state.label}: #{Exception.message(error)}#{more}")

        %{
          state
          | told: state.told |> lately(now) |> Map.put(endpoint, Map.put(told, reason, now))
        }
    end
  end

  # Endpoints come and go; one that is not heard of any more is forgotten.
  defp lately(told, now) do
    for {endpoint, reasons} <- told,
        Enum.any?(reasons, fn {_reason, at} -> now - at < @repeat_after_ms end),
        into: %{},
        do: {endpoint, reasons}
  end
end
