defmodule Palladion.Cluster.Certificates do
  @moduledoc false
  # Exchanges what TLS is configured with while the cluster runs, when it is asked to or when a
  # watched file has another content, and warns before certificates expire. Nothing depends on it:
  # what is in force stands in the cluster's table, for the process that follows a crash.

  use GenServer

  require Logger

  alias Palladion.Cluster.Certificates.Expiry
  alias Palladion.Cluster.NodeTable
  alias Palladion.{Config, ConfigError, ConnectionError, Native, Telemetry}
  alias Palladion.Config.{Files, Loader, TLS}

  # A certificate that comes near its end is told within the hour, and then once a day.
  @look_every_ms 3_600_000
  # How long a reload may take that nobody waits for.
  @watch_timeout_ms 60_000
  # How often a caller looks whether the process is back.
  @retry_ms 20

  # What has become of a reload whose time is over.
  @not_begun {false, "nothing of it is in force"}
  @begun {true, "it is in force, and connections are still being replaced"}

  # Problems that have no other cause than what is in a file.
  @of_files for name <- [:cacertfile, :crlfile, :certfile, :keyfile], do: [:tls, name]

  @type changes :: keyword()

  # The callers' part

  @doc false
  # `changes` must be sealed, for they become a message. `timeout` is in ms.
  @spec reload(NodeTable.t(), changes(), non_neg_integer()) ::
          :ok | {:error, ConfigError.t() | ConnectionError.t()}
  def reload(table, changes, timeout) do
    call(table, {:reload, changes, now_ms() + timeout, timeout}, :try_again)
  end

  # Cut off by a crash it is begun again, once: what crashes each time must not end the cluster.
  defp call(table, {:reload, _changes, deadline, timeout} = message, again) do
    if await(table, deadline),
      do: GenServer.call(name(table), message, :infinity),
      else: {:error, unavailable(table, timeout)}
  catch
    :exit, _reason when again == :try_again ->
      call(table, message, :give_up)

    :exit, _reason ->
      detail = "the process that reloads TLS crashed"
      {:error, ConnectionError.from_native({:internal, %{detail: detail}})}
  end

  defp await(table, deadline) do
    cond do
      GenServer.whereis(name(table)) -> true
      :ets.info(table) == :undefined or now_ms() >= deadline -> false
      true -> Process.sleep(@retry_ms) == :ok and await(table, deadline)
    end
  end

  defp unavailable(table, timeout) do
    if :ets.info(table) == :undefined,
      do: ConnectionError.from_native({:closed, %{}}),
      else: timed_out(timeout, @not_begun)
  end

  defp timed_out(timeout, {in_force?, detail}) do
    details = %{timeout: timeout, in_force: in_force?, detail: detail}
    ConnectionError.from_native({:timeout, details})
  end

  @doc false
  # A server has shown a certificate; `nil` where its end isn't known.
  @spec seen(NodeTable.t(), endpoint :: String.t(), not_after :: integer() | nil) :: :ok
  def seen(_table, _endpoint, nil), do: :ok
  def seen(table, endpoint, at), do: GenServer.cast(name(table), {:seen, endpoint, at})

  defp name(table), do: {:via, NodeTable, {table, :certificates}}

  # The process

  @doc false
  # `clock` gives Unix seconds. Tests have one, and a `native`, of their own.
  @spec start_link(%{
          required(:handle) => term(),
          required(:config) => Palladion.Config.t(),
          required(:table) => NodeTable.t(),
          optional(:native) => module(),
          optional(:clock) => (() -> integer()),
          optional(atom()) => term()
        }) :: GenServer.on_start()
  def start_link(%{table: table} = argument),
    do: GenServer.start_link(__MODULE__, argument, name: name(table))

  @impl true
  def init(%{handle: handle, config: config, table: table} = argument) do
    server = %{
      native: Map.get(argument, :native, Native),
      clock: Map.get(argument, :clock, fn -> System.system_time(:second) end),
      handle: handle,
      name: config.name,
      label: inspect(config.name),
      table: table,
      # the reload under way, and those that wait for it
      current: nil,
      waiting: :queue.new(),
      # contents of files that can't be used, and when what went wrong with them was told
      refused: nil,
      failed: %{}
    }

    # Else the process before this one has left it.
    unless NodeTable.certificates(table) do
      keep(server, %{tls: config.tls, own: own(server, config.tls), told: %{}})
    end

    {:ok, server, {:continue, :begin}}
  end

  @impl true
  def handle_continue(:begin, server) do
    Process.send_after(self(), :look, @look_every_ms)
    watch_later(server)
    {:noreply, look(server)}
  end

  @impl true
  def handle_call({:reload, changes, deadline, timeout}, from, server) do
    {:noreply, ask(server, %{from: from, changes: changes, deadline: deadline, limit: timeout})}
  end

  @impl true
  def handle_cast({:seen, endpoint, not_after}, server) do
    {:noreply, tell(server, [Expiry.server(endpoint, not_after)])}
  end

  @impl true
  def handle_info({ref, outcome}, %{current: %{ref: ref}} = server) do
    {:noreply, finish(server, result(outcome))}
  end

  def handle_info({:too_late, ref}, %{current: %{ref: ref} = reload} = server) do
    # The connections that are still to be replaced will be.
    server.native.cancel(reload.request)
    {:noreply, finish(server, {:error, timed_out(reload.limit, @begun)})}
  end

  def handle_info({:too_late, ref}, server), do: {:noreply, give_up(server, ref)}

  def handle_info(:look, server) do
    Process.send_after(self(), :look, @look_every_ms)
    {:noreply, look(server)}
  end

  def handle_info(:watch, server) do
    watch_later(server)
    {:noreply, compare(server)}
  end

  # Answers to reloads that are over.
  def handle_info(_other, server), do: {:noreply, server}

  # Reloading, one after the other

  defp ask(server, reload) do
    begin = System.monotonic_time()
    reload = Map.merge(reload, %{ref: make_ref(), request: nil, begin: begin})
    # Also while it waits.
    Process.send_after(self(), {:too_late, reload.ref}, max(reload.deadline - now_ms(), 0))
    next(%{server | waiting: :queue.in(reload, server.waiting)})
  end

  defp next(%{current: nil} = server) do
    case :queue.out(server.waiting) do
      {{:value, reload}, waiting} -> start(%{server | waiting: waiting}, reload)
      {:empty, _waiting} -> server
    end
  end

  defp next(server), do: server

  defp start(server, reload) do
    reload = %{reload | begin: System.monotonic_time()}
    server = %{server | current: reload}

    with :ok <- in_time(reload),
         {:ok, tls} <- read(server, reload),
         {:ok, request} <- exchange(server, tls, reload.ref) do
      keep(server, %{known(server) | tls: tls, own: own(server, tls)})
      %{server | current: %{reload | request: request}, refused: nil, failed: %{}}
    else
      {:error, error} -> finish(server, {:error, error})
    end
  end

  defp in_time(reload) do
    if now_ms() < reload.deadline, do: :ok, else: {:error, timed_out(reload.limit, @not_begun)}
  end

  # Looked at again after it: a file or a function may have taken all of the time.
  defp read(server, reload) do
    time = max(reload.deadline - now_ms(), 0)

    with {:ok, tls} <- Config.reload_tls(server.name, known(server).tls, reload.changes, time),
         :ok <- in_time(reload),
         do: {:ok, tls}
  end

  defp exchange(server, tls, ref) do
    with {:error, {kind, _fields} = error} <-
           server.native.tls_reload(server.handle, TLS.to_native(tls), ref) do
      if kind in ConnectionError.reasons(),
        do: {:error, ConnectionError.from_native(error)},
        else: {:error, ConfigError.from_native(server.name, error)}
    end
  end

  defp finish(%{current: reload} = server, result) do
    server = look(%{server | current: nil})

    server =
      if reload.from, do: answer(server, reload, result), else: watched(server, reload, result)

    next(server)
  end

  defp answer(server, reload, result) do
    report(server, reload, :call, result)
    GenServer.reply(reload.from, result)
    server
  end

  # Those that still wait; those that are over are not among them.
  defp give_up(server, ref) do
    {late, waiting} = server.waiting |> :queue.to_list() |> Enum.split_with(&(&1.ref == ref))
    error = fn reload -> {:error, timed_out(reload.limit, @not_begun)} end
    server = %{server | waiting: :queue.from_list(waiting)}
    Enum.reduce(late, server, &answer(&2, &1, error.(&1)))
  end

  defp result(:ok), do: :ok

  # Connections there are: what is worth telling is why another could not be opened.
  defp result({:error, {:no_connection, %{last_error: {kind, fields}}}}),
    do: {:error, ConnectionError.from_native({kind, fields})}

  defp result({:error, error}), do: {:error, ConnectionError.from_native(error)}

  defp report(server, reload, trigger, :ok) do
    measurements = %{duration: System.monotonic_time() - reload.begin}
    metadata = %{cluster: server.name, trigger: trigger, generation: generation(server)}
    Telemetry.execute([:tls, :reloaded], measurements, metadata)
  end

  defp report(server, reload, trigger, {:error, error}) do
    measurements = %{duration: System.monotonic_time() - reload.begin}

    metadata = %{
      cluster: server.name,
      trigger: trigger,
      error: error,
      reason: Map.get(error, :reason, :invalid_configuration)
    }

    Telemetry.execute([:tls, :reload_failed], measurements, metadata)
  end

  # Who called has been told.
  defp log(server, :ok) do
    Logger.info("Palladion #{server.label}: the TLS files have changed, and are in use now")
  end

  defp log(server, {:error, error}) do
    what =
      if in_force?(error),
        do: ", and new connections fail; those of before go on serving",
        else: " and can't be used; those of before stay in use"

    text = "the TLS files have changed#{what}: #{Exception.message(error)}"
    Logger.error("Palladion #{server.label}: #{text}")
  end

  defp in_force?(%ConnectionError{details: details}), do: Map.get(details, :in_force, true)
  defp in_force?(%ConfigError{}), do: false

  # Of the new connections: only the native library counts what it was given.
  defp generation(server) do
    generations = for {_endpoint, %{generation: generation}} <- handshakes(server), do: generation

    Enum.max(generations, fn -> nil end)
  end

  # Watching

  defp watch_later(server) do
    interval = known(server).tls.watch_interval
    if interval, do: Process.send_after(self(), :watch, interval)
  end

  # What is being reloaded is looked at again afterwards.
  defp compare(%{current: %{}} = server), do: server

  defp compare(server) do
    %{files: files} = known(server).tls
    # Keys are among them: they are read where none stays.
    case Loader.run(fn -> Files.contents(Map.keys(files)) end) do
      ^files -> %{server | refused: nil, failed: %{}}
      refused when refused == server.refused -> server
      found -> ask(server, unasked(found))
    end
  end

  defp unasked(found) do
    %{
      from: nil,
      found: found,
      changes: [],
      deadline: now_ms() + @watch_timeout_ms,
      limit: @watch_timeout_ms
    }
  end

  # What came of it is told when it is another than before, or was told an hour ago.
  defp watched(server, reload, result) do
    server = if final?(result), do: %{server | refused: reload.found}, else: server
    text = with {:error, error} <- result, do: Exception.message(error)
    now = now_ms()

    case server.failed do
      %{^text => at} when at > now - @look_every_ms ->
        server

      _ ->
        report(server, reload, :watch, result)
        log(server, result)
        %{server | failed: if(result == :ok, do: %{}, else: %{text => now})}
    end
  end

  # Of a content that can't be used there is no use in another look. A function that raises, a
  # password that has changed elsewhere, or a disk that hangs may be better at the next one.
  defp final?({:error, %ConfigError{problems: problems}}),
    do: Enum.all?(problems, &(&1.path in @of_files))

  defp final?(_result), do: false

  # Expiry

  defp own(server, tls), do: Expiry.own(tls, server.clock.())

  defp look(server) do
    peers =
      for {endpoint, %{not_after: at}} when is_integer(at) <- handshakes(server),
          uniq: true,
          do: Expiry.server(endpoint, at)

    tell(server, known(server).own ++ peers)
  end

  # `{endpoint, map}` of each open connection with TLS.
  defp handshakes(server) do
    case server.native.cluster_status(server.handle) do
      {:ok, %{endpoints: endpoints, control: control}} ->
        connections = List.wrap(control) ++ Enum.flat_map(endpoints, & &1.connections)
        for %{endpoint: endpoint, tls: %{} = tls} <- connections, do: {endpoint, tls}

      {:error, _closed} ->
        []
    end
  end

  defp tell(server, certificates) do
    %{tls: tls, told: told} = known = known(server)
    now = server.clock.()
    {due, told} = Expiry.due(certificates, told, tls.expiry_warning, now)
    if told != known.told, do: keep(server, %{known | told: told})

    for certificate <- due do
      Logger.warning("Palladion #{server.label}: #{Expiry.text(certificate, now)}")
      metadata = Map.put(Expiry.metadata(certificate), :cluster, server.name)
      remaining = System.convert_time_unit(certificate.not_after - now, :second, :native)
      Telemetry.execute([:certificate, :expiring], %{remaining: remaining}, metadata)
    end

    server
  end

  # What outlives this process

  defp known(server), do: NodeTable.certificates(server.table)
  defp keep(server, known), do: NodeTable.put_certificates(server.table, known)

  defp now_ms, do: System.monotonic_time(:millisecond)
end
