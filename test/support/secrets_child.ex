defmodule Palladion.Test.SecretsChild do
  @moduledoc """
  The VM of `Palladion.Integration.SecretsTest`: it has clusters with secrets, lets everything go wrong that can, and writes
  into files all that can be seen of it. What it looks for it must not know: the test reads the files.

  The secrets come from a file into the application environment, as from config/runtime.exs, in a process that is sensitive and
  ends. The canary is what the child is told openly, and keeps wherever a secret might be.
  """

  import Palladion.Test.ChildVM, only: [say: 1, hear: 0]

  alias Palladion.Cluster.{Authenticators, Certificates}
  alias Palladion.Test.Authenticators.Scripted
  alias Palladion.Test.Clusters

  @app :secrets_child

  @doc false
  def main(%{dir: dir, canary: canary} = argument) do
    Process.flag(:trap_exit, true)
    :ok = log_into(Path.join(dir, "log"))
    sensitive(fn -> put_environment(argument.secrets) end)
    plant(canary)

    good = Enum.map(argument.good, &start_supervised/1)
    given = Enum.map(argument.given, &start_given(&1, argument.secrets))
    for {name, _} <- good ++ given, do: :ok = Palladion.await_ready(name, 20_000)
    for {name, _} <- good ++ given, do: {:ok, _} = Palladion.query(name, "SELECT echo(int)", [1])

    failed = Enum.map(argument.bad, &start_supervised/1)
    say({:failed, for({name, {:error, _}} <- failed, do: name)})

    {cluster, names} = argument.reload
    say({:reloaded, for(name <- names, do: reload(cluster, name, argument.secrets))})
    refused = for name <- argument.bad, do: reload(cluster, name, argument.secrets)
    write(dir, "refused", {canary, refused})

    look(dir, "before", good ++ given)
    say({:reloaded, crash_in_reload(argument, fn -> look(dir, "reloading", good ++ given) end)})

    # Those that are refused may have put a wrong login in force.
    {cluster, names} = argument.update
    refused = for name <- argument.bad, do: update(cluster, name, argument.secrets)
    write(dir, "refused_updates", {canary, refused})

    say(
      {:updated,
       for(name <- names, do: {update(cluster, name, argument.secrets), log_in(cluster)})}
    )

    say({:updated, crash_in_update(argument, fn -> look(dir, "updating", good ++ given) end)})
    for {name, _} <- good ++ given, do: crash(name)
    for {name, _} <- good ++ given, do: wait_until_back(name)
    look(dir, "after", good ++ given)
    say(:done)
    end_as(hear())
  end

  @doc "A child that is halted while the configuration is being read, with all secrets already in hand."
  def main_while_reading(argument) do
    name = argument.name
    parent = self()

    sensitive(fn ->
      put_environment(argument.secrets)
      options = Application.get_env(@app, name)
      hang = fn -> hang(parent) end
      Application.put_env(@app, name, put_in(options[:auth][:password], hang))
    end)

    plant(argument.canary)
    spawn(fn -> start_supervised(name) end)
    receive do: (:reading -> say(:done))
    end_as(hear())
  end

  @doc "A child that is halted while logins have secrets in hand: a function's, and an authenticator's."
  def main_while_logging_in(argument) do
    parent = self()

    sensitive(fn ->
      put_environment(argument.secrets)

      for name <- argument.names do
        options = Application.get_env(@app, name)
        Application.put_env(@app, name, Keyword.update!(options, :auth, &holding(&1, parent)))
      end
    end)

    plant(argument.canary)
    for name <- argument.names, do: {_name, {:ok, _pid}} = start_supervised(name)
    for _name <- argument.names, do: receive(do: (:holding -> :ok))
    say(:done)
    end_as(hear())
  end

  defp holding([authenticator: {_module, options}], parent),
    do: [authenticator: {Scripted, [new: fn _endpoint -> hold(parent, options) end]}]

  defp holding(auth, parent), do: [credentials: fn _endpoint -> hold(parent, auth) end]

  # On the heap of who hangs, small and large, and in its dictionary.
  defp hold(parent, secret) do
    Process.put(:held, inspect(secret))

    copies =
      {Process.get(:held), String.duplicate(Process.get(:held), 9),
       String.to_charlist(Process.get(:held))}

    send(parent, :holding)
    Process.sleep(:infinity)
    copies
  end

  defp hang(parent) do
    send(parent, :reading)
    Process.sleep(:infinity)
  end

  # A dump shows all processes: none of these is a secret's place.
  defp end_as(:dump), do: :erlang.halt(~c"planted")
  defp end_as(:halt), do: System.halt(0)

  # ---- secrets

  defp put_environment(path) do
    {variables, options} = path |> read() |> Keyword.pop(:environment, [])
    System.put_env(variables)
    for {name, options} <- options, do: Application.put_env(@app, name, options)
    :ok
  end

  # Not by File.read/1, which has another process read it.
  defp read(path) do
    {:ok, file} = :file.open(path, [:raw, :read, :binary])
    {:ok, content} = :file.read(file, 1_000_000)
    :ok = :file.close(file)
    :erlang.binary_to_term(content)
  end

  defp sensitive(fun) do
    parent = self()

    {pid, monitor} =
      :erlang.spawn_opt(
        fn ->
          Process.flag(:sensitive, true)
          send(parent, {self(), fun.()})
        end,
        [:monitor]
      )

    receive do
      {^pid, result} ->
        receive do: ({:DOWN, ^monitor, _, _, _} -> result)

      {:DOWN, ^monitor, _, _, reason} ->
        exit(reason)
    end
  end

  @doc "Credentials that a function gives, as an application has them that asks a vault."
  def login(_endpoint, username, password), do: [username: username, password: password]

  @doc "The same, in a closure."
  def closure(username, password), do: fn endpoint -> login(endpoint, username, password) end

  @doc "Credentials for AWS, likewise."
  def keys(id, secret, token),
    do: [access_key_id: id, secret_access_key: secret, session_token: token]

  @doc "What goes wrong with the secret in hand."
  def failing(how, secret), do: fn _endpoint -> fail(nil, how, secret) end

  @doc false
  def fail(_endpoint, :raise, secret), do: raise(secret)
  def fail(_endpoint, :clause, secret), do: String.to_integer(secret)
  def fail(_endpoint, :throw, secret), do: throw(secret)
  def fail(_endpoint, :exit, secret), do: exit({:secret, secret})
  def fail(_endpoint, :nonsense, secret), do: {:secret, [secret]}

  # ---- clusters under a user's supervisors

  defp start_supervised(name) do
    children = [{Palladion, otp_app: @app, name: name}]
    {name, Supervisor.start_link(children, strategy: :one_for_one, max_restarts: 100)}
  end

  # With the options of a name. Whoever reloads has the secrets in hand.
  defp reload(cluster, name, path) do
    sensitive(fn ->
      options = Keyword.get(read(path), name)
      tls = if Keyword.keyword?(options), do: options[:tls], else: options
      Palladion.reload_tls(cluster, tls: tls)
    end)
  end

  # With the changes of a name, or the options of one.
  defp update(cluster, name, path) do
    sensitive(fn ->
      options = Keyword.get(read(path), name)
      given? = Keyword.keyword?(options) and Keyword.has_key?(options, :auth)
      Palladion.update_auth(cluster, if(given?, do: options[:auth], else: options))
    end)
  end

  defp log_in(cluster), do: Palladion.reconnect(cluster, 20_000)

  defp crash_in_reload(%{crash_in_reload: {cluster, given}, secrets: path}, look),
    do:
      crash_with(
        cluster,
        Certificates,
        for(name <- given, do: fn -> reload(cluster, name, path) end),
        look
      )

  defp crash_in_update(%{crash_in_update: {cluster, given}, secrets: path}, look),
    do:
      crash_with(
        cluster,
        Authenticators,
        for(name <- given, do: fn -> update(cluster, name, path) end),
        look
      )

  # One is under way, the next waits, and what they bring is in the state of a process that crashes; before that it is in messages.
  defp crash_with(cluster, child, callers, look) do
    process = List.keyfind(Supervisor.which_children(cluster), child, 0) |> elem(1)
    :ok = :sys.suspend(process)
    callers = Enum.map(callers, &Task.async/1)

    Clusters.eventually("they are asked for", fn ->
      Process.info(process, :message_queue_len) == {:message_queue_len, length(callers)}
    end)

    look.()
    send(process, {:"$gen_call", {self(), make_ref()}, :what_it_does_not_know})
    :ok = :sys.resume(process)
    # All are begun again, in any order.
    Task.await_many(callers, 30_000)
  end

  # With options in the child specification. Whoever makes one has the secrets in hand; what is looked at here is what remains.
  defp start_given(name, path) do
    spec =
      sensitive(fn ->
        {^name, options} = List.keyfind(read(path), name, 0)
        Palladion.child_spec([name: name] ++ options)
      end)

    {name, Supervisor.start_link([spec], strategy: :one_for_one, max_restarts: 100)}
  end

  defp supervisor_of(name) do
    {:dictionary, dictionary} = name |> GenServer.whereis() |> Process.info(:dictionary)
    hd(dictionary[:"$ancestors"])
  end

  # Each process of the cluster, by an exception and by a kill; then the whole of it.
  defp crash(name) do
    for pid <- children(name) do
      try do
        GenServer.call(pid, :what_it_does_not_know)
      catch
        :exit, _ -> :ok
      end
    end

    wait_until_back(name)
    Enum.each(children(name), &kill/1)
    wait_until_back(name)
    kill(GenServer.whereis(name))
  end

  defp children(name) do
    for {_id, pid, _type, _modules} <- Supervisor.which_children(name), is_pid(pid), do: pid
  end

  defp kill(pid) do
    monitor = Process.monitor(pid)
    Process.exit(pid, :kill)
    receive do: ({:DOWN, ^monitor, _, _, _} -> :ok)
  end

  defp wait_until_back(name) do
    Clusters.eventually("#{inspect(name)} is back", fn ->
      is_pid(GenServer.whereis(name)) and Enum.any?(children(name), &Process.alive?/1) and
        match?({:ok, _}, Palladion.query(name, "SELECT echo(int)", [1]))
    end)
  end

  # ---- what can be seen

  defp look(dir, moment, clusters) do
    write(dir, "#{moment}-states", states(clusters))
    write(dir, "#{moment}-specs", specs(clusters))
    write(dir, "#{moment}-dictionaries", of_all(:dictionary))
    write(dir, "#{moment}-messages", of_all(:messages))
    write(dir, "#{moment}-persistent_terms", :persistent_term.get())
    write(dir, "#{moment}-tables", tables())

    # Here nothing may hide, not even in a closure.
    names = Enum.map(clusters, &elem(&1, 0))
    palladion = Enum.filter(:persistent_term.get(), &match?({{Palladion, _}, _}, &1))

    own =
      for name <- names ++ [:canary], pid <- pids(name) do
        {:sys.get_state(pid), Process.info(pid, :messages)}
      end

    File.write!(Path.join(dir, "#{moment}-own"), :erlang.term_to_binary({own, palladion}))
  end

  defp pids(:canary), do: [Process.whereis(:canary)]

  defp pids(name), do: [GenServer.whereis(name) | children(name)]

  defp states(clusters) do
    for {name, _} <- clusters do
      user = supervisor_of(name)
      for pid <- [user | pids(name)], do: {:sys.get_state(pid), :sys.get_status(pid)}
    end ++ [:sys.get_state(:canary)]
  end

  defp specs(clusters) do
    for {name, _} <- clusters do
      user = supervisor_of(name)

      for supervisor <- [user, name], {id, _, _, _} <- Supervisor.which_children(supervisor) do
        :supervisor.get_childspec(supervisor, id)
      end
    end ++ [:supervisor.get_childspec(CanarySupervisor, :canary)]
  end

  defp of_all(item) do
    for pid <- Process.list(), pid != self(), do: {pid, Process.info(pid, item)}
  end

  # The application environment is where users keep their secrets, and a dump doesn't show it.
  defp tables do
    for table <- :ets.all(), table != :ac_tab, :ets.info(table, :protection) != :private do
      {table, :ets.tab2list(table)}
    end
  end

  # On one line where that can be had: what looks for secrets drops line breaks, and pretty printing is slow.
  defp write(dir, name, term) do
    formats = [limit: :infinity, printable_limit: :infinity]

    File.write!(Path.join(dir, name), [
      inspect(term, formats),
      inspect(term, [structs: false] ++ formats),
      :io_lib.format(~c"~0tp", [term]),
      :io_lib.format(~c"~w", [term])
    ])
  end

  # ---- the canary: what the search must find in each place

  defp plant(canary) do
    {:ok, _} = Agent.start_link(fn -> canary end, name: :canary)
    :persistent_term.put(:canary, canary)
    :ets.new(:canary_table, [:named_table, :public]) |> :ets.insert({:canary, canary})
    charlist = String.to_charlist(canary)
    # Binaries of this size are kept apart from the heaps.
    large = String.duplicate("-", 200) <> canary <> String.duplicate("-", 201)

    pid =
      spawn_link(fn ->
        Process.put(:canary, {canary, large})
        receive do: ({:never, ^charlist} -> :ok)
      end)

    send(pid, {:canary, canary})
    child = %{id: :canary, start: {Agent, :start_link, [__MODULE__, :keep, [canary]]}}
    {:ok, _} = Supervisor.start_link([child], strategy: :one_for_one, name: CanarySupervisor)
    {:ok, doomed} = Agent.start(fn -> canary end)
    catch_exit(fn -> Agent.get(doomed, fn canary -> exit({:canary, canary}) end) end)
  end

  @doc false
  def keep(canary), do: canary

  defp catch_exit(fun) do
    fun.()
  catch
    :exit, _ -> :ok
  end

  # ---- the log, with everything that OTP reports: as it is reported, and as Elixir's Logger words it

  defp log_into(path) do
    :logger.set_primary_config(:level, :all)
    %{filters: filters} = :logger.get_primary_config()
    # The first filter: the next one words it.
    raw = {:leaks, {&__MODULE__.log_raw/2, path}}
    :logger.set_primary_config(:filters, [raw | filters])
    :logger.add_handler(:leaks, __MODULE__, %{config: path, level: :all})
  end

  @doc false
  def log_raw(event, path) do
    append(path, [
      :logger_formatter.format(event, %{single_line: false}),
      :io_lib.format(~c"~w", [event])
    ])

    :ignore
  end

  @doc false
  def log(event, %{config: path}), do: append(path, :logger_formatter.format(event, %{}))

  defp append(path, text) do
    {:ok, file} = :file.open(path, [:append, :raw])
    :ok = :file.write(file, :unicode.characters_to_binary(text))
    :ok = :file.close(file)
  end
end
