defmodule Palladion.Cluster do
  @moduledoc false
  # The supervisor of one cluster. It creates the native handle, which lives and ends with it;
  # the processes below only look after it, so that queries go on while they restart.

  use Supervisor

  require Logger

  alias Palladion.{Application, Config, ConfigError, Native, RequestOptions}

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

    # The one put of this cluster: a second would cost every process a garbage collection.
    :persistent_term.put({Palladion, config.name}, %{
      name: config.name,
      handle: handle,
      timeout: config.timeouts.request,
      consistency: RequestOptions.level(config.consistency),
      forms: RequestOptions.fixed_forms()
    })

    # Here, so that a protection that was turned off is told once a start.
    for {path, text} <- config.warnings do
      Logger.warning("Palladion #{inspect(config.name)}: #{Enum.join(path, ".")}: #{text}")
    end

    children = [{Palladion.Cluster.Server, {handle, config}}]
    Supervisor.init(children, strategy: :one_for_one)
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
