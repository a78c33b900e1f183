defmodule Palladion.Cluster.Authenticators do
  @moduledoc false
  # Is asked by logins for what a user supplies for them: credentials from a function or a file,
  # those for AWS, the tokens of an authenticator. Each login has a `Conversation` of its own, so
  # that none waits for another; here they are only told apart. It also puts other options of
  # `auth:` in force. Those stand in the cluster's table, for the process that follows a crash.

  use GenServer

  require Logger

  alias Palladion.Authenticator.Endpoint
  alias Palladion.Cluster.{Conversation, NodeTable}
  alias Palladion.{Config, ConfigError, ConnectionError, Native, Telemetry}
  alias Palladion.Config.{Auth, Loader, TLS}

  # Beside one for each login that the cluster allows at once: a fetch of AWS credentials, and what
  # was given up and has not been told of yet.
  @more_conversations 8
  # How often a caller looks whether the process is back.
  @retry_ms 20

  # The callers' part

  @doc false
  # `changes` must be sealed. They are read here, where a file or a function that hangs keeps
  # nobody else; only what came of it becomes a message.
  @spec update(NodeTable.t(), Palladion.name(), term(), Auth.circumstances()) ::
          :ok | {:error, ConfigError.t() | ConnectionError.t()}
  def update(table, name, changes, circumstances) do
    read = fn auth, time ->
      circumstances = with_certificate(circumstances, NodeTable.certificates(table))
      Config.update_auth(name, auth, changes, circumstances, time)
    end

    load(table, read, now_ms() + Loader.timeout())
  end

  # By the TLS in force, which a reload may have changed.
  defp with_certificate(circumstances, %{tls: tls}),
    do: %{circumstances | certificate?: TLS.certificate?(tls)}

  defp with_certificate(circumstances, nil), do: circumstances

  defp load(table, read, deadline) do
    with %{auth: auth, version: version} <- NodeTable.auth(table),
         {:ok, auth} <- read.(auth, max(deadline - now_ms(), 0)) do
      # What it was based on may have been replaced meanwhile.
      with :outdated <- call(table, {:update, version, auth}, deadline, :try_again),
           do: load(table, read, deadline)
    else
      nil -> {:error, ConnectionError.from_native({:closed, %{}})}
      {:error, error} -> {:error, error}
    end
  end

  # Cut off by a crash it is begun again, once: what crashes each time must not end the cluster.
  defp call(table, message, deadline, again) do
    if await(table, deadline),
      do: GenServer.call(name(table), message, :infinity),
      else: {:error, unavailable(table)}
  catch
    :exit, _reason when again == :try_again ->
      call(table, message, deadline, :give_up)

    :exit, _reason ->
      detail = "the process that updates the login crashed"
      {:error, ConnectionError.from_native({:internal, %{detail: detail}})}
  end

  defp await(table, deadline) do
    cond do
      GenServer.whereis(name(table)) -> true
      NodeTable.auth(table) == nil or now_ms() >= deadline -> false
      true -> Process.sleep(@retry_ms) == :ok and await(table, deadline)
    end
  end

  defp unavailable(table) do
    if NodeTable.auth(table) == nil do
      ConnectionError.from_native({:closed, %{}})
    else
      details = %{timeout: Loader.timeout(), detail: "nothing of it is in force"}
      ConnectionError.from_native({:timeout, details})
    end
  end

  defp name(table), do: {:via, NodeTable, {table, :authenticators}}

  # The process

  @doc false
  # In a cluster `table` has what is in force. Without one it is what `config` has, and can't be
  # updated. Tests have a `native` of their own.
  @spec start_link(%{
          required(:callbacks) => term(),
          required(:config) => Config.t(),
          optional(:handle) => term(),
          optional(:table) => NodeTable.t(),
          optional(:native) => module(),
          optional(atom()) => term()
        }) :: GenServer.on_start()
  def start_link(%{table: table} = argument),
    do: GenServer.start_link(__MODULE__, argument, name: name(table))

  def start_link(argument), do: GenServer.start_link(__MODULE__, argument)

  @impl true
  def init(%{callbacks: callbacks, config: config} = argument) do
    server = %{
      native: Map.get(argument, :native, Native),
      callbacks: callbacks,
      handle: argument[:handle],
      name: config.name,
      label: inspect(config.name),
      table: Map.get_lazy(argument, :table, fn -> own_table(config.auth) end),
      idle: config.timeouts.login,
      most: config.pool.max_handshakes + @more_conversations,
      # by their numbers, and the numbers by their monitors
      conversations: %{},
      monitors: %{}
    }

    {:ok, server, {:continue, :adopt}}
  end

  defp own_table(auth) do
    table = NodeTable.new()
    NodeTable.put_auth(table, known(auth))
    table
  end

  @doc false
  # What stands in the table first.
  @spec known(Auth.t() | nil) :: map()
  def known(auth), do: %{auth: auth, version: 0, updating?: false}

  @impl true
  def handle_continue(:adopt, server) do
    settle(server, NodeTable.auth(server.table))
    server.native.callbacks_adopt(server.callbacks)
    {:noreply, server}
  end

  # The process before this one was killed while the native library got another configuration: it
  # gets the one in force, whichever it has.
  defp settle(server, %{updating?: true} = known) do
    server.native.auth_update(server.handle, to_native(known.auth))
    NodeTable.put_auth(server.table, %{known | updating?: false})
  end

  defp settle(_server, _known), do: :ok

  @impl true
  def handle_call({:update, version, auth}, _from, server) do
    case NodeTable.auth(server.table) do
      %{version: ^version} = known -> {:reply, put(server, known, auth), server}
      _newer -> {:reply, :outdated, server}
    end
  end

  @impl true
  def handle_info({:palladion_auth, id, :end}, server) do
    with %{^id => {keeper, _monitor}} <- server.conversations, do: Conversation.finish(keeper)
    {:noreply, forget(server, id)}
  end

  def handle_info({:palladion_auth, id, {:begin, kind, endpoint}}, server) do
    {:noreply, begin(server, id, kind, endpoint)}
  end

  def handle_info({:palladion_auth, id, question}, server) do
    case server.conversations do
      %{^id => {keeper, _monitor}} -> Conversation.ask(keeper, question)
      _ended -> answer(server, id, {:error, "the conversation has ended"})
    end

    {:noreply, server}
  end

  def handle_info({:DOWN, monitor, :process, _pid, _reason}, server)
      when is_map_key(server.monitors, monitor) do
    {:noreply, forget(server, Map.fetch!(server.monitors, monitor))}
  end

  def handle_info(_other, server), do: {:noreply, server}

  # Conversations

  defp begin(server, id, _kind, _endpoint) when map_size(server.conversations) >= server.most do
    answer(server, id, {:error, "there are #{server.most} logins under way already"})
    server
  end

  defp begin(server, id, kind, endpoint) do
    with %{auth: %{ask: ask, timeout: timeout}} <- NodeTable.auth(server.table),
         {:ok, subject} <- subject(ask, kind, endpoint) do
      %{native: native, callbacks: callbacks, idle: idle} = server
      answer = &native.callbacks_answer(callbacks, id, &1)
      conversation = %{answer: answer, subject: subject, timeout: timeout, idle: idle}
      remember(server, id, Conversation.start(conversation))
    else
      # By an update, or for ever.
      _other ->
        answer(server, id, {:error, "the configuration has changed"})
        server
    end
  end

  # The native library asks as it was configured when the login began.
  defp subject({:credentials, sealed}, :credentials, endpoint),
    do: {:ok, {:credentials, sealed, endpoint(endpoint)}}

  defp subject({:aws_credentials, sealed}, :aws_credentials, _nowhere),
    do: {:ok, {:aws_credentials, sealed}}

  defp subject({:authenticator, module, sealed}, :authenticator, endpoint),
    do: {:ok, {:authenticator, module, sealed, endpoint(endpoint)}}

  defp subject(_ask, _kind, _endpoint), do: :error

  defp endpoint(%{host: host, port: port, address: address, class: class}),
    do: %Endpoint{host: host, port: port, address: address, authenticator: class}

  defp remember(server, id, {keeper, monitor}) do
    %{
      server
      | conversations: Map.put(server.conversations, id, {keeper, monitor}),
        monitors: Map.put(server.monitors, monitor, id)
    }
  end

  defp forget(server, id) do
    case Map.pop(server.conversations, id) do
      {nil, _conversations} ->
        server

      {{_keeper, monitor}, conversations} ->
        Process.demonitor(monitor, [:flush])
        monitors = Map.delete(server.monitors, monitor)
        %{server | conversations: conversations, monitors: monitors}
    end
  end

  defp answer(server, id, answer),
    do: server.native.callbacks_answer(server.callbacks, id, answer)

  # What is in force

  defp put(server, known, auth) do
    NodeTable.put_auth(server.table, %{known | updating?: true})

    case server.native.auth_update(server.handle, to_native(auth)) do
      {:ok, _} ->
        NodeTable.put_auth(server.table, %{known(auth) | version: known.version + 1})
        Telemetry.execute([:auth, :updated], now(), %{cluster: server.name})
        Logger.info("Palladion #{server.label}: auth: has been updated, for logins from now on")
        :ok

      {:error, error} ->
        NodeTable.put_auth(server.table, known)
        {:error, refused(server, error)}
    end
  end

  defp refused(server, {kind, _fields} = error) do
    if kind in ConnectionError.reasons(),
      do: ConnectionError.from_native(error),
      else: ConfigError.from_native(server.name, error)
  end

  defp to_native(auth), do: auth && Auth.to_native(auth)

  defp now, do: %{system_time: System.system_time()}
  defp now_ms, do: System.monotonic_time(:millisecond)
end
