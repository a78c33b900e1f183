defmodule Palladion.Cluster do
  @moduledoc false
  # The supervisor of one cluster. It creates the native handle, which lives and ends with it;
  # the processes below only look after it, so that queries go on while they restart.

  use Supervisor

  require Logger

  alias Palladion.{Application, Config, ConfigError, Native, RequestOptions, Telemetry}
  alias Palladion.Cluster.NodeTable

  @doc false
  @spec start_link(Config.t()) :: Supervisor.on_start()
  def start_link(%Config{} = config) do
    Supervisor.start_link(__MODULE__, config, name: config.name)
  end

  @doc false
  # What a call needs: the handle, and the defaults of its options.
  @spec fetch(Palladion.name()) :: {:ok, map()} | :error
  def fetch(name) do
    case :persistent_term.get({Palladion, name}, nil) do
      nil -> :error
      entry -> {:ok, entry}
    end
  end

  @impl true
  def init(config) do
    handle = create(config)

    # The supervisor's, so that it is there while the topology process restarts.
    table = NodeTable.new()

    # The one put of this cluster: a second would cost every process a garbage collection.
    :persistent_term.put({Palladion, config.name}, %{
      name: config.name,
      handle: handle,
      timeout: config.timeouts.request,
      consistency: RequestOptions.level(config.consistency),
      forms: RequestOptions.fixed_forms(),
      attempts: RequestOptions.attempts(config),
      keyspace: config.keyspace,
      schema_agreement: config.schema_agreement,
      slow_query_threshold: config.slow_query_threshold,
      table: table,
      telemetry: Telemetry.available?()
    })

    # Here, so that a protection that was turned off is told once a start.
    for {path, text} <- config.warnings do
      Logger.warning("Palladion #{inspect(config.name)}: #{Enum.join(path, ".")}: #{text}")
    end

    if config.slow_query_threshold && not Telemetry.available?() do
      Logger.warning(
        "Palladion #{inspect(config.name)}: slow_query_threshold: has no effect without the " <>
          "package :telemetry"
      )
    end

    # No name that is an atom: one cluster after the other may be started, named by a registry.
    tasks = {:via, NodeTable, {table, :tasks}}
    argument = %{handle: handle, config: config, table: table, tasks: tasks}

    # Nothing that serves queries is among them, so one may restart without the others; and often,
    # before that ends the cluster and its connections.
    children = [
      {Palladion.Cluster.Server, argument},
      Supervisor.child_spec({Task.Supervisor, name: tasks}, id: Task.Supervisor),
      {Palladion.Cluster.Topology, argument}
    ]

    Supervisor.init(children, strategy: :one_for_one, max_restarts: 30, max_seconds: 5)
  end

  defp create(config) do
    {workers, decoders} = Application.threads()

    case Native.cluster_new(Config.to_native(config), self(), workers, decoders) do
      {:ok, handle} -> handle
      {:error, error} -> exit(config_error(config.name, error))
    end
  end

  # What only the native library can judge, such as a key of an unknown kind.
  defp config_error(name, {kind, fields}) do
    option = Map.get(fields, :option, to_string(kind))
    message = "can't be used: #{Map.get(fields, :detail, kind)}"
    problem = ConfigError.problem([option], :invalid_value, message)
    %ConfigError{name: name, problems: [problem]}
  end
end
