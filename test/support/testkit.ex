defmodule Palladion.Test.Testkit do
  @moduledoc """
  Scripted CQL servers with TLS, by the binary `palladion-testkit` (`native/testkit`).

      server = Testkit.start_server(user: "ann", password: "secret", tickets: 4)
      Testkit.rule(server, contains: "slow", delay: 500, reaction: :builtin)
      # … let a cluster connect to server.host and server.port, trusting server.cacertfile …
      assert %{full: 1, resumed: 3} = Testkit.wait(server, connections: 4, logins: 4)

  A server is stopped when the process that started it ends: the test, or the module for one
  started in `setup_all`. All run in one operating system process, which ends with the VM.
  `palladion-testkit help` says what can be asked for and what is answered without a rule.
  """

  use GenServer

  alias Palladion.Test.Testkit.Binary

  @enforce_keys [:id, :address, :port]
  defstruct [
    :id,
    :address,
    :port,
    :cacertfile,
    :other_cacertfile,
    :server_certfile,
    :server_keyfile,
    :client_certfile,
    :client_keyfile,
    :other_client_certfile,
    :other_client_keyfile,
    :username,
    :password,
    host: "localhost"
  ]

  @typedoc """
  Where it listens, and what a client needs. The files, PEM, are there with TLS only; those with
  `other` are of an unrelated authority. The certificate is for `localhost` and `127.0.0.1` unless
  `cert:` says otherwise.
  """
  @type t :: %__MODULE__{}

  @line 65_536

  # Servers

  @doc """
  Starts a server.

  Options: `tls:` (`true`, the default, `false` or a list of `"1.2"` and `"1.3"`), `tickets:` (of
  TLS 1.3), `tls12:` (`[:tickets, :ids]`), `client_auth:` (`:none`, `:required`), `cert:` (names),
  `common_name:`, `validity:` (`:valid`, `:expired`, `:not_yet` or seconds), `issuer:` (`:ca`,
  `:unrelated`, `:self`), `user:`, `password:`, `authenticator:`, `supported:` (a map of lists),
  `address:`, `port:`, `max_frame:`, `max_connections:`, `threads:`, `seed:`.
  """
  @spec start_server(keyword) :: t
  def start_server(opts \\ []) do
    {supported, opts} = Keyword.pop(opts, :supported, %{})
    {tls, opts} = Keyword.pop(opts, :tls, true)

    supported = for {name, values} <- supported, do: {"supported.#{name}", values}
    tls = if tls in [true, false], do: (tls && ["1.2", "1.3"]) || "off", else: tls

    answer = call({:start, [{"tls", tls} | supported] ++ opts})

    %__MODULE__{
      id: String.to_integer(answer["id"]),
      address: answer["address"],
      port: String.to_integer(answer["port"]),
      cacertfile: answer["ca"],
      other_cacertfile: answer["unrelated_ca"],
      server_certfile: answer["cert"],
      server_keyfile: answer["key"],
      client_certfile: answer["client_cert"],
      client_keyfile: answer["client_key"],
      other_client_certfile: answer["unrelated_client_cert"],
      other_client_keyfile: answer["unrelated_client_key"],
      username: opts[:user],
      password: opts[:password]
    }
  end

  @doc "Stops a server and closes its connections; its files are gone."
  @spec stop(t) :: :ok
  def stop(%__MODULE__{id: id}), do: call({:stop, id})

  @doc "Stops all servers and the process they run in."
  @spec stop_all() :: :ok
  def stop_all do
    if Process.whereis(__MODULE__), do: GenServer.stop(__MODULE__), else: :ok
  end

  # What it has seen

  @doc "All counters, and `last_failure`, why the last failed handshake failed, or nil."
  @spec counters(t) :: %{atom => non_neg_integer | String.t() | nil}
  def counters(server), do: server |> command("counters") |> parse_counters()

  @doc """
  Waits until counters are as told, each with a number, `{:min, n}` or `{:max, n}`, and gives all
  of them.
  """
  @spec wait(t, keyword, timeout :: pos_integer) :: %{atom => non_neg_integer | String.t() | nil}
  def wait(server, conditions, timeout \\ 5_000) do
    conditions =
      for {name, bound} <- conditions do
        case bound do
          {kind, n} when kind in [:min, :max] -> {"#{name}.#{kind}", n}
          n -> {name, n}
        end
      end

    server |> command("wait", [{"timeout", timeout} | conditions]) |> parse_counters()
  end

  @doc """
  What is known of the last connections, oldest first: `peer`, `open`, `handshake` (`:plain`,
  `:full`, `:hello_retry`, `:resumed`), `tls_version`, `server_name`, `client_cert`, `user`,
  `keyspace`, `registered` and `startup`, a map of the STARTUP options.
  """
  @spec connections(t) :: [map]
  def connections(server) do
    server
    |> command("connections")
    |> Enum.sort_by(fn {id, _} -> String.to_integer(id) end)
    |> Enum.map(fn {_, pairs} -> pairs |> parse_pairs() |> connection() end)
  end

  # What it does

  @doc """
  Adds a rule. Of the rules whose condition holds, the first is applied.

  The condition: `equals:`, `starts_with:` or `contains:` for the statement's text, `opcode:`,
  `nth:`, `skip:`, `times:`, `probability:`. What is bound, so that the statement can be prepared:
  `bind: "id int, name text"`. The reaction: `delay:` in ms, and `reaction:`, one of `:builtin`,
  `:void`, `:never`, `:close`, `:reset`, `:wrong_stream`, `:oversize`, `:hang`,
  `{:garbage, bytes}`, `{:rows, columns: "id int, name text", rows: "(1, 'ann'), (2, null)"}` and
  `{:error, code: 0x1100, message: "…", …}`.
  """
  @spec rule(t, keyword) :: :ok
  def rule(server, opts) do
    {reaction, opts} = Keyword.pop!(opts, :reaction)

    reaction =
      case reaction do
        {:garbage, bytes} -> [reaction: :garbage, bytes: Base.encode16(bytes)]
        {kind, fields} -> [{:reaction, kind} | Enum.map(fields, &field/1)]
        kind -> [reaction: kind]
      end

    done(server, "rule", opts ++ reaction)
  end

  defp field({name, bytes}) when name in [:paging_state, :id_bytes],
    do: {name, Base.encode16(bytes)}

  defp field(field), do: field

  @doc "Removes all rules."
  def clear_rules(server), do: done(server, "clear_rules")

  @doc "Forgets all prepared statements."
  def forget_prepared(server), do: done(server, "forget_prepared")

  @doc "Forgets all TLS sessions, so that the next handshakes are full ones."
  def forget_tickets(server), do: done(server, "forget_tickets")

  @doc "Shows another certificate: `cert:`, `common_name:`, `validity:`, `issuer:`."
  def certificate(server, opts), do: done(server, "certificate", opts)

  @doc "Changes the password."
  def set_password(server, password), do: done(server, "set_password", password: password)

  @doc "Changes who may log in: `user:`, `password:`, `authenticator:`; with none, nobody has to."
  def set_login(server, opts \\ []), do: done(server, "set_login", opts)

  @doc "Accepts connections, but answers nothing, not even a TLS handshake."
  def pause(server), do: done(server, "pause")

  @doc "Ends `pause/1`."
  def resume(server), do: done(server, "resume")

  @doc "Closes the listening port; connections stay."
  def refuse(server), do: done(server, "refuse")

  @doc "Listens again, on the same port."
  def listen(server), do: done(server, "listen")

  @doc "Closes all connections."
  def close_connections(server), do: done(server, "close_connections")

  @doc "Pushes an event: `kind: :status, change: \"DOWN\", node: \"127.0.0.1:9042\"`."
  def event(server, opts), do: done(server, "event", opts)

  @doc """
  Issues a certificate into `dir`: `name:` of the files, `client: true`, and as in `certificate/2`.
  Gives the paths of the certificate and of its key.
  """
  @spec issue(Path.t(), keyword) :: {Path.t(), Path.t()}
  def issue(dir, opts) do
    answer = call({:command, "issue", [{"dir", dir} | opts]})
    {answer["cert"], answer["key"]}
  end

  defp done(server, name, arguments \\ []) do
    command(server, name, arguments)
    :ok
  end

  defp command(%__MODULE__{id: id}, name, arguments \\ []),
    do: call({:command, name, [{"id", id} | arguments]})

  defp call(request) do
    case GenServer.call(porter(), request, :infinity) do
      {:ok, answer} -> answer
      {:error, message} -> raise "palladion-testkit: #{message}"
    end
  end

  defp parse_counters(pairs) do
    {failure, counts} = Map.pop(pairs, "last_failure")
    counts = for {name, n} <- counts, do: {String.to_atom(name), String.to_integer(n)}
    Map.new([{:last_failure, failure} | counts])
  end

  defp connection(pairs) do
    %{
      peer: pairs["peer"],
      open: pairs["open"] == "true",
      handshake: pairs["handshake"] && String.to_atom(pairs["handshake"]),
      tls_version: pairs["tls_version"],
      server_name: pairs["server_name"],
      client_cert: pairs["client_cert"] == "true",
      user: pairs["user"],
      keyspace: pairs["keyspace"],
      registered: String.split(pairs["registered"], ",", trim: true),
      startup: parse_pairs(pairs["startup"])
    }
  end

  # The process with the port: one for all tests, started by the first.

  defp porter do
    case GenServer.start(__MODULE__, [], name: __MODULE__, timeout: :infinity) do
      {:ok, pid} -> pid
      {:error, {:already_started, pid}} -> pid
      {:error, reason} -> raise "palladion-testkit does not start: #{inspect(reason)}"
    end
  end

  @impl GenServer
  def init([]) do
    Process.flag(:trap_exit, true)
    System.at_exit(fn _status -> stop_all() end)
    binary = Binary.path!()
    dir = Path.join(Binary.target(), "testkit-#{System.pid()}")

    port = Port.open({:spawn_executable, binary}, [:binary, :exit_status, line: @line, args: []])

    {:ok, %{port: port, dir: dir, line: [], last: 0, asked: %{}, owners: %{}}}
  end

  @impl GenServer
  def handle_call({:start, arguments}, {owner, _} = from, state) do
    arguments = [{"dir", state.dir} | arguments]
    {:noreply, ask(state, "start", arguments, {:start, from, owner})}
  end

  def handle_call({:stop, id}, from, state) do
    {:noreply, state |> disown(id) |> ask("stop", [{"id", id}], {:stop, from, id})}
  end

  def handle_call({:command, name, arguments}, from, state) do
    {:noreply, ask(state, name, arguments, {:command, from})}
  end

  @impl GenServer
  def handle_info({port, {:data, {:noeol, part}}}, %{port: port} = state) do
    {:noreply, %{state | line: [state.line | part]}}
  end

  def handle_info({port, {:data, {:eol, part}}}, %{port: port} = state) do
    line = IO.iodata_to_binary([state.line | part])
    [tag, status | rest] = String.split(line, " ", parts: 3)
    {asked, others} = Map.pop!(state.asked, tag)
    state = %{state | line: [], asked: others}
    {:noreply, answer(asked, result(status, rest), state)}
  end

  def handle_info({:DOWN, monitor, :process, _, _}, state) do
    ids = for {id, ^monitor} <- state.owners, do: id

    state =
      Enum.reduce(ids, state, fn id, state ->
        state |> disown(id) |> ask("stop", [{"id", id}], {:stop, nil, id})
      end)

    {:noreply, state}
  end

  def handle_info({port, {:exit_status, status}}, %{port: port} = state) do
    {:stop, {:exit_status, status}, state}
  end

  def handle_info({:EXIT, _, _}, state), do: {:noreply, state}

  @impl GenServer
  def terminate(_reason, state), do: File.rm_rf!(state.dir)

  defp ask(state, name, arguments, asked) do
    tag = Integer.to_string(state.last + 1)
    words = for {key, value} <- arguments, do: [" ", to_string(key), "=", encode(value)]
    true = Port.command(state.port, [tag, " ", name, words, "\n"])
    %{state | last: state.last + 1, asked: Map.put(state.asked, tag, asked)}
  end

  defp answer({:start, from, owner}, {:ok, pairs} = result, state) do
    GenServer.reply(from, result)
    monitor = Process.monitor(owner)
    put_in(state.owners[String.to_integer(pairs["id"])], monitor)
  end

  defp answer({:stop, from, id}, result, state) do
    File.rm_rf!(Path.join(state.dir, Integer.to_string(id)))
    # Goes with the last server's files.
    File.rmdir(state.dir)

    if from, do: GenServer.reply(from, with({:ok, _} <- result, do: {:ok, :ok}))
    state
  end

  defp answer({_, from}, result, state) do
    GenServer.reply(from, result)
    state
  end

  defp answer({:start, from, _owner}, result, state) do
    GenServer.reply(from, result)
    state
  end

  defp disown(state, id) do
    {monitor, owners} = Map.pop(state.owners, id)
    if monitor, do: Process.demonitor(monitor, [:flush])
    %{state | owners: owners}
  end

  defp result("ok", rest), do: {:ok, rest |> List.first("") |> parse_pairs()}
  defp result("error", rest), do: {:error, rest |> List.first("") |> URI.decode()}

  defp encode(values) when is_list(values), do: values |> Enum.join(",") |> encode()
  defp encode(value), do: value |> to_string() |> URI.encode(&URI.char_unreserved?/1)

  defp parse_pairs(text) do
    for pair <- String.split(text, " ", trim: true), into: %{} do
      [key, value] = String.split(pair, "=", parts: 2)
      {URI.decode(key), URI.decode(value)}
    end
  end
end
