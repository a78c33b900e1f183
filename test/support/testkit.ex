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

  alias Palladion.Test.Testkit.{Porter, Requests}

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
    host: "localhost",
    nodes: []
  ]

  @typedoc """
  Where it listens, and what a client needs. The files, PEM, are there with TLS only; those with
  `other` are of an unrelated authority. The certificate is for `localhost` and `127.0.0.1` unless
  `cert:` says otherwise.
  """
  @type t :: %__MODULE__{}

  @typedoc "A node of a cluster: its address, or what `nodes/1` or `add_node/2` gave."
  @type node_address :: String.t() | %{:address => String.t(), optional(atom) => term}

  # Servers

  @doc """
  Starts a server.

  Options: `tls:` (`true`, the default, `false` or a list of `"1.2"` and `"1.3"`), `tickets:` (of
  TLS 1.3), `tls12:` (`[:tickets, :ids]`), `ciphers:` (IANA names) and `groups:` if not all,
  `client_auth:` (`:none`, `:required`, `:optional`), `cert:` (names; `[]` for a certificate without subject
  alternative names), `common_name:`, `validity:` (`:valid`, `:expired`, `:not_yet` or seconds),
  `issuer:` (`:ca`, `:unrelated`, `:self`), `is_ca:` (whether it says CA:TRUE), `crl_urls:`, `supported:` (a map of lists),
  `address:`, `port:`, `max_frame:`, `max_connections:`, `threads:`, `seed:`, `handshake_delay:` (ms).

  The protocol: `versions:` (`[3, 4, 5]` by default), `refusal:` (`:error`, `:server_error`, `:v2`, `:close`),
  `compression:` (`[:snappy, :lz4]`), `segments:` (`:whole`, `:each`, `"split:7"`, `:mixed`), `segment_compression:`, `metadata_ids:`,
  `rate_limit_error:` (a code).

  Who may log in: `user:`, `password:`, `authenticator:` (a class), `method:` (a mechanism, as `:scram_sha_256`; `:sigv4`,
  `:certificate`, `:script`) or `mechanisms:` (names, of which the client chooses one), and what the binary's help has beside
  these under LOGIN, as `iterations:`, `final: :challenge`, `last_message: :wrong`, `hang_after: 1`, or `region:`.
  """
  @spec start_server(keyword) :: t
  def start_server(opts \\ []) do
    {supported, opts} = Keyword.pop(opts, :supported, %{})
    {tls, opts} = Keyword.pop(opts, :tls, true)

    supported = for {name, values} <- supported, do: {"supported.#{name}", values}
    tls = if tls in [true, false], do: (tls && ["1.2", "1.3"]) || "off", else: tls

    answer = Porter.start_server([{"tls", tls} | supported] ++ opts)

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
  def stop(%__MODULE__{id: id}), do: Porter.stop_server(id)

  @doc "Stops all servers and the process they run in."
  @spec stop_all() :: :ok
  defdelegate stop_all, to: Porter

  # What it has seen

  @doc "All counters, and `last_failure`, why the last failed handshake failed, or nil."
  @spec counters(t) :: %{atom => non_neg_integer | String.t() | nil}
  def counters(server), do: server |> command("counters") |> parse_counters()

  @doc """
  What one node of a cluster has seen: `connections`, of these `open`, `handshaking` now and
  `handshaking_peak` at once, `responses`, and what it `refused` while it was down.
  """
  @spec counters(t, node_address) :: %{atom => non_neg_integer}
  def counters(server, node),
    do: server |> command("counters", node: address(node)) |> parse_counts()

  @doc """
  Counts from 0 again, of all nodes, too. What is open or under way now stays counted, and is what
  `handshaking_peak` starts from.
  """
  @spec reset_counters(t) :: :ok
  def reset_counters(server), do: done(server, "reset_counters")

  @doc """
  Waits until counters are as told, each with a number, `{:min, n}` or `{:max, n}`, and gives all
  of them; with `node:` those of one node.
  """
  @spec wait(t, keyword, timeout :: pos_integer) :: %{atom => non_neg_integer | String.t() | nil}
  def wait(server, conditions, timeout \\ 5_000) do
    conditions =
      for {name, bound} <- conditions do
        case bound do
          {kind, n} when kind in [:min, :max] -> {"#{name}.#{kind}", n}
          node when name == :node -> {"node", address(node)}
          n -> {name, n}
        end
      end

    server |> command("wait", [{"timeout", timeout} | conditions]) |> parse_counters()
  end

  @doc """
  What is known of the last connections, oldest first: `id`, `peer`, `open`, `handshake` (`:plain`,
  `:full`, `:hello_retry`, `:resumed`), `tls_version`, `server_name`, `client_cert`,
  `client_fingerprint` (its SHA-256 in hexadecimal digits), `user`,
  `keyspace`, `version` (of the protocol), `compression`, `registered` and `startup`, a map of the STARTUP options. Of the login: `mechanism`, `rounds` (responses), `tokens`
  (theirs, as bytes or nil), `authorization_id`, `access_key_id`, `session_token` and `refused`, the last refusal's text.
  """
  @spec connections(t) :: [map]
  def connections(server) do
    server
    |> command("connections")
    |> Enum.sort_by(fn {id, _} -> String.to_integer(id) end)
    |> Enum.map(fn {id, pairs} -> pairs |> Porter.parse_pairs() |> connection(id) end)
  end

  @doc """
  The last 256 QUERY, PREPARE, EXECUTE and BATCH, oldest first: `opcode` (as `:query`), `statements` (of each its
  `text`, `id` and the number of `values`), `batch` (`:logged`, `:unlogged`, `:counter`), `connection`, `node`,
  `version`, `compressed`, `tracing`, `payload`, `consistency`, `serial_consistency`, `timestamp`, `keyspace`,
  `now_in_seconds`, `page_size`, `paging_state`, `skip_metadata` and `result_id`. What a request hasn't is nil.
  """
  @spec requests(t) :: [map]
  def requests(server), do: server |> command("requests") |> Requests.parse()

  # What it does

  @doc """
  Adds a rule. Of the rules whose condition holds, the first is applied.

  The condition: `equals:`, `starts_with:` or `contains:` for the statement's text, `opcode:`,
  `node:` (an address), `nth:`, `skip:`, `times:`, `probability:`. What is bound, so that the statement can be prepared:
  `bind: "id int, name text"`. The reaction: `delay:` in ms, and `reaction:`, one of `:builtin`,
  `:void`, `:never`, `:close`, `:reset`, `:wrong_stream`, `:oversize`, `:hang`,
  `{:garbage, bytes}`, `{:frame, answer: :result, body: bytes}` (in whatever the connection speaks),
  `{:rows, columns: "id int, name text", rows: "(1, 'ann'), (2, null)"}`, `{:hostile, kind: :bomb, size: 9}` and
  `{:error, code: 0x1100, message: "…", …}`. Beside any answer: `warnings:` (texts), `payload:` (a map of bytes or nil),
  `tracing_id:`.
  """
  @spec rule(t, keyword) :: :ok
  def rule(server, opts), do: done(server, "rule", rule_arguments(opts))

  @doc """
  Adds a rule before those that are there. With a reaction of rows, what they describe has other columns from now on.
  """
  @spec alter(t, keyword) :: :ok
  def alter(server, opts), do: done(server, "alter", rule_arguments(opts))

  defp rule_arguments(opts) do
    {reaction, opts} = Keyword.pop!(opts, :reaction)
    {warnings, opts} = Keyword.pop(opts, :warnings, [])
    {payload, opts} = Keyword.pop(opts, :payload, %{})
    warnings = for text <- warnings, do: {:warning, text}

    payload =
      for {name, bytes} <- payload,
          do: {"payload.#{name}", (bytes && Base.encode16(bytes)) || "null"}

    reaction =
      case reaction do
        {:garbage, bytes} -> [reaction: :garbage, bytes: Base.encode16(bytes)]
        {kind, fields} -> [{:reaction, kind} | Enum.map(fields, &field/1)]
        kind -> [reaction: kind]
      end

    opts ++ warnings ++ payload ++ reaction
  end

  defp field({name, bytes}) when name in [:paging_state, :id_bytes, :body],
    do: {name, Base.encode16(bytes)}

  defp field(field), do: field

  @doc "Removes all rules."
  def clear_rules(server), do: done(server, "clear_rules")

  @doc "Forgets all prepared statements."
  def forget_prepared(server), do: done(server, "forget_prepared")

  @doc "Forgets all TLS sessions, so that the next handshakes are full ones."
  def forget_tickets(server), do: done(server, "forget_tickets")

  @doc """
  Shows another certificate: `cert:`, `common_name:`, `validity:`, `issuer:`, `is_ca:`, `crl_urls:`.
  """
  def certificate(server, opts), do: done(server, "certificate", opts)

  @doc """
  Writes a revocation list, PEM, with the server's present certificate on it, and gives its path.

  Options: `dir:` and `name:` (of the file), `revoke: false` for an empty list, `issuer:` (`:ca`,
  `:unrelated`), `validity:` as in `certificate/2`, `urls:` (it counts only for certificates that
  have one of these among their `crl_urls:`).
  """
  @spec crl(t, keyword) :: Path.t()
  def crl(server, opts), do: command(server, "crl", opts)["crl"]

  @doc "Changes the password."
  def set_password(server, password), do: done(server, "set_password", password: password)

  @doc "Changes who may log in: options as in `start_server/1`; with none, nobody has to."
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

  @doc "Changes how many milliseconds each connection waits before its handshake."
  def handshake_delay(server, ms), do: done(server, "handshake_delay", ms: ms)

  @doc """
  Pushes an event: `kind: :status, change: "DOWN", node: "127.0.0.1:9042"`, alike `kind: :topology`
  (with `change: "MOVED_NODE"`, for instance), or `kind: :schema, change: "UPDATED", target:
  "TABLE", keyspace: "ks", name: "t"`. `kind: :raw, body: bytes` is the body of an EVENT frame,
  whatever it is, for all connections that registered for anything.
  """
  def event(server, opts) do
    body = for {:body, bytes} <- opts, do: {:body, Base.encode16(bytes)}
    done(server, "event", Keyword.delete(opts, :body) ++ body)
  end

  @doc """
  Issues a certificate into `dir`: `name:` of the files, `client: true`, and as in `certificate/2`.
  Gives the paths of the certificate and of its key.
  """
  @spec issue(Path.t(), keyword) :: {Path.t(), Path.t()}
  def issue(dir, opts) do
    answer = Porter.command("issue", [{"dir", dir} | opts])
    {answer["cert"], answer["key"]}
  end

  # Clusters

  @doc """
  Starts a server that simulates a cluster: it is another node at every address, all on one port.

      server = Testkit.start_cluster!(nodes: 3, datacenter: ["dc1", "dc2"])
      server.nodes
      # ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
      server = Testkit.start_cluster!(nodes: [[], [rack: "r2"], [rpc_address: "0.0.0.0"]])

  `nodes:` is their number, 3 by default, or what is different about each. Options of a node:
  `address:` (`"127.0.0.1"` and so on), `host_id:` (a UUID or the number that it ends in: 1 and so
  on), `datacenter:`, `rack:`, `release_version:`, `schema_version:` (as `host_id:`),
  `rpc_address:` (announced instead of its own), `null:` (columns that are null in its rows of
  `system.peers` and `system.peers_v2`), `tokens:` (their number, 4 by default, or they).

  Beside those of `start_server/1`: `datacenter:` and `rack:`, one or a list that nodes take by
  turns; `release_version:`, `schema_version:`, `null:` and `tokens:` (a number) of all nodes;
  `cluster_name:`; `peers_v2: false`, as Cassandra 3.11 knows no such table. The certificate is for
  `localhost` and the addresses of all nodes unless `cert:` says otherwise; `"nodes"` in it stands
  for these addresses. Raises where an option makes no sense.
  """
  @spec start_cluster!(keyword) :: t
  def start_cluster!(opts \\ []) do
    {nodes, opts} = Keyword.pop(opts, :nodes, 3)

    {count, own} =
      if is_list(nodes),
        do:
          {length(nodes), for({node, n} <- Enum.with_index(nodes, 1), do: own_options(node, n))},
        else: {nodes, []}

    server = start_server([{:nodes, count} | own] ++ opts)
    %{server | nodes: for(node <- nodes(server), do: node.address)}
  end

  defp own_options(node, n), do: {"node.#{n}", node |> node_options() |> Porter.pairs()}

  @doc """
  The nodes of a cluster in the order of their addresses: `address`, `host_id`, `datacenter`,
  `rack`, `release_version`, `schema_version`, `rpc_address` (nil: its own), whether it is `down`
  or `hangs`, and what `counters/2` gives.
  """
  @spec nodes(t) :: [map]
  def nodes(server) do
    server
    |> command("nodes")
    |> Enum.map(fn {_, pairs} -> pairs |> Porter.parse_pairs() |> node_info() end)
    |> Enum.sort_by(&:inet.parse_address(to_charlist(&1.address)))
  end

  @texts ~w(address host_id datacenter rack release_version schema_version rpc_address)a
  @flags ~w(down hangs)a

  defp node_info(pairs) do
    {known, counts} = Map.split(pairs, Enum.map(@texts ++ @flags, &to_string/1))
    texts = for name <- @texts, do: {name, known[to_string(name)]}
    flags = for name <- @flags, do: {name, known[to_string(name)] == "true"}
    counts |> parse_counts() |> Map.merge(Map.new(texts ++ flags))
  end

  @doc """
  Adds a node: options of a node as in `start_cluster!/1`; without any the next one that there has
  not been yet. Pushes NEW_NODE and UP unless `event: false`. Gives its `address` and `host_id`.
  """
  @spec add_node(t, keyword) :: %{address: String.t(), host_id: String.t()}
  def add_node(server, opts \\ []) do
    answer = command(server, "add_node", node_options(opts))
    %{address: answer["address"], host_id: answer["host_id"]}
  end

  @doc "Removes a node and closes its connections. Pushes REMOVED_NODE unless `event: false`."
  @spec remove_node(t, node_address, keyword) :: :ok
  def remove_node(server, node, opts \\ []), do: node_done(server, "remove_node", node, opts)

  @doc """
  Closes a node's connections, and new ones at once; the others keep its row. Pushes DOWN unless
  `event: false`.
  """
  @spec node_down(t, node_address, keyword) :: :ok
  def node_down(server, node, opts \\ []), do: node_done(server, "node_down", node, opts)

  @doc "Ends `node_down/3`. Pushes UP unless `event: false`."
  @spec node_up(t, node_address, keyword) :: :ok
  def node_up(server, node, opts \\ []), do: node_done(server, "node_up", node, opts)

  @doc """
  Closes a node's connections and gives it another address; it keeps its host id. Pushes what
  Cassandra does, unless `event: false`: DOWN of the old address, NEW_NODE and UP of the new one.
  (MOVED_NODE is about tokens: `event/2`.)
  """
  @spec move_node(t, node_address, to :: String.t(), keyword) :: :ok
  def move_node(server, node, to, opts \\ []),
    do: node_done(server, "move_node", node, [{:to, to} | opts])

  @doc "Accepts connections to a node, but answers nothing on these and on those that are there."
  @spec hang_node(t, node_address) :: :ok
  def hang_node(server, node), do: node_done(server, "hang_node", node, [])

  @doc "Ends `hang_node/2`: what has arrived meanwhile is answered."
  @spec resume_node(t, node_address) :: :ok
  def resume_node(server, node), do: node_done(server, "resume_node", node, [])

  @doc "Changes the schema version, a UUID or the number that it ends in, of a node or of `:all`."
  @spec set_schema_version(t, node_address | :all, String.t() | non_neg_integer) :: :ok
  def set_schema_version(server, :all, version),
    do: done(server, "schema_version", version: version)

  def set_schema_version(server, node, version),
    do: node_done(server, "schema_version", node, version: version)

  defp node_done(server, name, node, arguments),
    do: done(server, name, [{:node, address(node)} | arguments])

  defp address(%{address: address}), do: address
  defp address(address) when is_binary(address), do: address

  defp node_options(opts) do
    Enum.map(opts, fn
      {:tokens, tokens} when is_list(tokens) -> {:token_list, tokens}
      option -> option
    end)
  end

  defp done(server, name, arguments \\ []) do
    command(server, name, arguments)
    :ok
  end

  defp command(%__MODULE__{id: id}, name, arguments \\ []),
    do: Porter.command(name, [{"id", id} | arguments])

  defp parse_counters(pairs) do
    {failure, counts} = Map.pop(pairs, "last_failure")
    counts |> parse_counts() |> Map.put(:last_failure, failure)
  end

  defp parse_counts(pairs),
    do: Map.new(pairs, fn {name, n} -> {String.to_atom(name), String.to_integer(n)} end)

  defp connection(pairs, id) do
    %{
      id: String.to_integer(id),
      peer: pairs["peer"],
      open: pairs["open"] == "true",
      handshake: pairs["handshake"] && String.to_atom(pairs["handshake"]),
      tls_version: pairs["tls_version"],
      version: pairs["version"] && String.to_integer(pairs["version"]),
      compression: pairs["compression"],
      server_name: pairs["server_name"],
      client_cert: pairs["client_cert"] == "true",
      client_fingerprint: pairs["client_fingerprint"],
      user: pairs["user"],
      keyspace: pairs["keyspace"],
      mechanism: pairs["mechanism"],
      rounds: String.to_integer(pairs["rounds"] || "0"),
      tokens: tokens(pairs),
      authorization_id: pairs["authorization_id"],
      access_key_id: pairs["access_key_id"],
      session_token: pairs["session_token"],
      refused: pairs["refused"],
      registered: String.split(pairs["registered"], ",", trim: true),
      startup: Porter.parse_pairs(pairs["startup"])
    }
  end

  # An empty token is no text, either.
  defp tokens(%{"tokens" => tokens, "rounds" => rounds}) when rounds != "0",
    do: tokens |> String.split(",") |> Enum.map(&token/1)

  defp tokens(_pairs), do: []

  defp token("null"), do: nil
  defp token(hex), do: Base.decode16!(hex, case: :mixed)
end
