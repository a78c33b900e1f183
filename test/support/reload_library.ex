defmodule Palladion.Test.ReloadLibrary do
  @moduledoc """
  A native library that the test plays, for the process that reloads TLS: what it asks for comes as messages to the test.
  """

  import ExUnit.Assertions
  import ExUnit.Callbacks, only: [start_supervised!: 1]
  import ExUnit.CaptureLog, only: [capture_log: 2]

  alias Palladion.Cluster.{Certificates, NodeTable}
  alias Palladion.Config.TLS
  alias Palladion.Test.TelemetryEvents

  # The functions of Palladion.Native. The handle is the test's pid and an agent.

  @doc false
  def tls_reload({test, agent}, tls, ref) do
    send(test, {:tls_reload, self(), tls, ref})

    Agent.get_and_update(agent, fn
      %{refusals: [error | refusals]} = state -> {{:error, error}, %{state | refusals: refusals}}
      state -> {{:ok, {:request, ref}}, state}
    end)
  end

  @doc false
  def cluster_status({_test, agent}), do: Agent.get(agent, & &1.status)

  @doc false
  def cancel({:request, ref}), do: send(self(), {ref, {:error, {:cancelled, %{}}}})

  # The test's part

  @doc """
  What a process needs, with these options of `tls:`. The time is 0 until it is set.
  """
  def new(options) do
    {%TLS{} = tls, []} = TLS.parse(options)
    agent = start_supervised!({Agent, fn -> %{refusals: [], status: status([])} end})
    clock = :atomics.new(1, [])
    name = :"reload_#{System.unique_integer([:positive])}"
    table = NodeTable.new()

    argument = %{
      handle: {self(), agent},
      config: %{name: name, tls: tls},
      table: table,
      native: __MODULE__,
      clock: fn -> :atomics.get(clock, 1) end
    }

    %{argument: argument, agent: agent, table: table, clock: clock, name: name}
  end

  @doc "Starts the process, which has looked at everything when this returns."
  def start(%{argument: argument}) do
    pid = start_supervised!({Certificates, argument})
    :sys.get_state(pid)
    pid
  end

  @doc "Calls as a caller would."
  def reload(context, changes \\ [], timeout \\ 5_000) do
    Task.async(fn -> Certificates.reload(context.table, changes, timeout) end)
  end

  @doc "The next configuration that the library is given, and what to answer it with."
  def given do
    assert_receive {:tls_reload, process, tls, ref}, 5_000
    {tls, fn outcome -> send(process, {ref, outcome}) end}
  end

  @doc "The next configurations are refused, each with an error."
  def refuse(%{agent: agent}, errors), do: Agent.update(agent, &%{&1 | refusals: errors})

  @doc "There are these connections, as `{endpoint, map}` each; the first is the control connection."
  def connected(%{agent: agent}, connections),
    do: Agent.update(agent, &%{&1 | status: status(connections)})

  defp status(connections) do
    all = for {endpoint, tls} <- connections, do: %{endpoint: endpoint, tls: tls}
    {control, pool} = Enum.split(all, 1)
    {:ok, %{control: List.first(control), endpoints: [%{connections: pool}]}}
  end

  @doc "Sets the time, in Unix seconds."
  def at(%{clock: clock}, seconds), do: :atomics.put(clock, 1, seconds)

  @doc "Takes part in telemetry for the time of the test; gives what `events/2` wants."
  def attach do
    id = TelemetryEvents.attach()
    ExUnit.Callbacks.on_exit(fn -> :telemetry.detach(id) end)
    id
  end

  @doc "The events of this cluster so far, without its name in each."
  def events(context, id) do
    for {[:palladion | event], measurements, %{cluster: name} = metadata} <-
          TelemetryEvents.take(id),
        name == context.name,
        do: {event, measurements, Map.delete(metadata, :cluster)}
  end

  @doc "The lines of this cluster in the log, each with its level."
  def log_of(context, fun) do
    log = capture_log([format: "[$level] $message\n", colors: [enabled: false]], fun)
    label = inspect(context.name)
    for line <- String.split(log, "\n"), line =~ label, do: line
  end
end
