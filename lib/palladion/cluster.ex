defmodule Palladion.Cluster do
  @moduledoc false
  # The supervisor of one cluster. It creates the native handle, which lives and ends with it;
  # the processes below only look after it, so that queries go on while they restart.

  use Supervisor

  require Logger

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.{Application, Config, ConfigError, ConnectionError, Native, RequestOptions}
  alias Palladion.Cluster.{Authenticators, Certificates, NodeTable}
  alias Palladion.{Telemetry, Timestamps}

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

  @doc false
  # TLS is configured anew, in the process that looks after it.
  @spec reload_tls(Palladion.name(), keyword()) ::
          :ok | {:error, ConfigError.t() | ConnectionError.t()}
  def reload_tls(name, options) do
    {timeout, changes} = reload_options(options)

    case fetch(name) do
      {:ok, %{tls?: false}} ->
        problem = problem([:tls], :conflict, "is off (tls: false): there is nothing to reload")
        {:error, %ConfigError{name: name, problems: [problem]}}

      {:ok, %{table: table}} ->
        # They become a message: no secret stands in it.
        Certificates.reload(table, Config.seal(tls: changes)[:tls], timeout)

      :error ->
        {:error, ConnectionError.from_native({:unknown_cluster, %{name: inspect(name)}})}
    end
  end

  # What is raised has nothing of them in it, not even in its stack trace: there may be a password.
  defp reload_options(options) do
    with true <- Keyword.keyword?(options),
         {known, []} <- Keyword.split(options, [:timeout, :tls]) do
      {reload_timeout(known[:timeout]), Keyword.get(known, :tls, [])}
    else
      _ -> raise ArgumentError, "the options are a keyword list of timeout: and tls:"
    end
  end

  @longest_timeout 0xFFFFFFFF

  defp reload_timeout(nil), do: 60_000
  defp reload_timeout(:infinity), do: @longest_timeout
  defp reload_timeout(ms) when is_integer(ms) and ms in 0..@longest_timeout, do: ms

  defp reload_timeout(_other) do
    raise ArgumentError, "a timeout must be 0 to 4,294,967,295 ms or :infinity"
  end

  @doc false
  # Logins from now on have other options.
  @spec update_auth(Palladion.name(), term()) ::
          :ok | {:error, ConfigError.t() | ConnectionError.t()}
  def update_auth(name, changes) do
    case fetch(name) do
      {:ok, %{table: table, circumstances: circumstances}} ->
        # What is read of them becomes a message, and they stand in what reads them.
        Authenticators.update(table, name, Config.Seal.seal_auth(changes), circumstances)

      :error ->
        {:error, ConnectionError.from_native({:unknown_cluster, %{name: inspect(name)}})}
    end
  end

  @impl true
  def init(config) do
    # Logins ask Elixir by it, whichever process answers.
    {:ok, callbacks} = Native.callbacks_new()
    handle = create(config, callbacks)

    # The supervisor's, so that it is there while the topology process restarts.
    table = NodeTable.new()
    NodeTable.put_auth(table, Authenticators.known(config.auth))

    # The one put of this cluster: a second would cost every process a garbage collection.
    :persistent_term.put({Palladion, config.name}, %{
      name: config.name,
      handle: handle,
      timeout: config.timeouts.request,
      consistency: RequestOptions.level(config.consistency),
      forms: RequestOptions.fixed_forms(),
      attempts: RequestOptions.attempts(config),
      timestamp: RequestOptions.timestamp(config),
      timestamps: Timestamps.new(),
      keyspace: config.keyspace,
      schema_agreement: config.schema_agreement,
      slow_query_threshold: config.slow_query_threshold,
      table: table,
      tls?: config.tls != nil,
      circumstances: Config.circumstances(config),
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

    argument = %{
      handle: handle,
      callbacks: callbacks,
      config: config,
      table: table,
      tasks: tasks
    }

    # Nothing that serves queries is among them, so one may restart without the others; and often,
    # before that ends the cluster and its connections.
    children = [
      {Palladion.Cluster.Server, argument},
      Supervisor.child_spec({Task.Supervisor, name: tasks}, id: Task.Supervisor),
      {Authenticators, argument},
      {Palladion.Cluster.Topology, argument}
    ]

    children = if config.tls, do: children ++ [{Certificates, argument}], else: children

    Supervisor.init(children, strategy: :one_for_one, max_restarts: 30, max_seconds: 5)
  end

  defp create(config, callbacks) do
    {workers, decoders} = Application.threads()
    native = config |> Config.to_native() |> Map.put(:callbacks, callbacks)

    case Native.cluster_new(native, self(), workers, decoders) do
      {:ok, handle} -> handle
      {:error, error} -> exit(ConfigError.from_native(config.name, error))
    end
  end
end
