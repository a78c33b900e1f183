defmodule Palladion do
  @moduledoc """
  A secure connection service for Apache Cassandra, ScyllaDB, Amazon Keyspaces, DSE and Astra.

  A cluster is started in a supervision tree and configured in `config/runtime.exs`:

      # config/runtime.exs
      config :my_app, MyApp.DB,
        contact_points: ["cassandra-1.example", "cassandra-2.example"],
        tls: [cacertfile: "/etc/my_app/ca.pem"],
        auth: [username: "my_app", password: System.fetch_env!("CASSANDRA_PASSWORD")]

      # lib/my_app/application.ex
      children = [{Palladion, otp_app: :my_app, name: MyApp.DB}]

      # anywhere
      {:ok, result} = Palladion.query(MyApp.DB, "SELECT * FROM shop.users WHERE id = ?", [7])
      Enum.map(result, & &1["name"])

  TLS is on unless it is turned off, the server's certificate and name are verified, and later
  connections resume the TLS session of the first.

  Every function takes the cluster's name first, and returns `{:ok, value}` (or `:ok`) or
  `{:error, exception}`: a `Palladion.Error` for a request that the server refused or that could
  not be encoded, a `Palladion.ConnectionError` for one that found no connection, no answer or
  no time. Those with a `!` raise the exception.

  # Options

  #{Palladion.Config.docs()}

  The native runtime is one for all clusters: `config :palladion, runtime_threads: 1,
  decoder_threads: 1` sets the number of its threads (default: a quarter of the schedulers, 1 to
  4).
  """

  alias Palladion.{Cluster, Config, ConnectionError, Error, Pending, Prepared}
  alias Palladion.{PageStream, Request, Result, Trace}

  @typedoc "A cluster's name"
  @type name :: atom() | {:via, module(), term()}

  @typedoc "Values of bind markers: by position, or by name with string or atom keys"
  @type values :: [term()] | %{optional(String.t()) => term(), optional(atom()) => term()}

  @typedoc """
  Options of a request.

    * `:timeout` – how long it may take in all, in ms, or `:infinity` (default: the cluster's
      `timeout:`)
    * `:consistency` – default: the cluster's
    * `:serial_consistency` – `:serial` or `:local_serial`, for conditional updates
    * `:page_size` – rows a page, or `:infinity` (default 5,000)
    * `:paging_state` – of the result before, for the page after it. One that comes back from a client
      must have been signed or encrypted: [the guide](queries.md#pages-and-streams) says why
    * `:timestamp` – the write's time: µs since 1970, from -(2⁶³ - 1) to 2⁶³ - 1; `:client` for this
      machine's clock, greater for each write of the cluster's callers than for the one before; or
      `:server` for the clock of the node that receives it (default: `:client`, or as the cluster's
      `client_timestamps:` says). Attempts of one request have the same
    * `:keyspace` – the keyspace for tables without one in the statement; with protocol v5. A prepared
      statement stays in that of `prepare/3`: another one is refused (`:bad_argument`)
    * `:now_in_seconds` – the server's time for this request, in seconds since 1970, of 32 bits: what
      TTLs are counted from and to; with protocol v5
    * `:custom_payload` – a map of names to binaries for the server's own query handler; with
      protocol v4 and later
    * `:tracing` – `true` to have the request traced; `tracing_id` of the result is the trace's id
    * `:rows` – `:maps` with string keys (default), `:atom_maps` (atoms as keys where there is such
      an atom already, strings elsewhere), `:lists`, `:tuples`, or `:columns`: one map of names to
      lists, as data frames want it
    * `:uuids` – `:text` (default) or `:binary`
    * `:timestamps` – `:datetime` (default) or `:integer`, milliseconds since 1970
    * `:idempotent` – `true` if the statement may be executed twice, so that it can be tried again
      where it isn't known whether it was (default: only a `SELECT` may, see
      `Palladion.RetryPolicy`)
    * `:retry` – `:default`, `{:default, max_attempts: 5}`, `:none`, a module or
      `{module, options}` of a `Palladion.RetryPolicy` (default: the cluster's `retry:`)
    * `:attempt_timeout` – how long one node may take to answer, in ms, 1 to 4,294,967,295, or
      `nil` for as long as there is time (default: the cluster's `attempt_timeout:`)
  """
  @type option ::
          {:timeout, timeout()}
          | {:consistency, atom()}
          | {:serial_consistency, :serial | :local_serial}
          | {:page_size, pos_integer() | :infinity}
          | {:paging_state, binary() | nil}
          | {:timestamp, integer() | :client | :server}
          | {:keyspace, String.t() | nil}
          | {:now_in_seconds, integer()}
          | {:custom_payload, %{optional(String.t()) => binary()}}
          | {:tracing, boolean()}
          | {:rows, :maps | :atom_maps | :lists | :tuples | :columns}
          | {:uuids, :text | :binary}
          | {:timestamps, :datetime | :integer}
          | {:idempotent, boolean()}
          | {:retry, atom() | {atom(), options :: term()}}
          | {:attempt_timeout, pos_integer() | nil}

  @typedoc "A statement of a batch: its text, or a prepared one; with values as a pair"
  @type batch_statement :: String.t() | Prepared.t() | {String.t() | Prepared.t(), values()}

  @typedoc "Options of a batch, see `batch/3`"
  @type batch_option :: option() | {:type, :logged | :unlogged | :counter}

  @typedoc "What a call returns instead of a value"
  @type error :: {:error, Error.t() | ConnectionError.t()}

  @doc """
  The child specification of a cluster, for a supervisor.

      Supervisor.start_link([{Palladion, otp_app: :my_app, name: MyApp.DB}],
        strategy: :one_for_one)

  Secrets among the options are wrapped before they become part of it, for a supervisor prints
  its children's start arguments.
  """
  @spec child_spec(keyword()) :: Supervisor.child_spec()
  def child_spec(options) do
    id =
      if Keyword.keyword?(options), do: Keyword.get(options, :name, __MODULE__), else: __MODULE__

    %{
      id: id,
      start: {__MODULE__, :start_link, [Config.seal(options)]},
      type: :supervisor
    }
  end

  @doc """
  Starts a cluster.

      {:ok, _pid} = Palladion.start_link(name: MyApp.DB, contact_points: ["db.example"])

  It validates its options and returns; connections are opened in the background and queries
  wait for the first of them. `sync_connect: ms` waits for it here.

  Returns `{:error, %Palladion.ConfigError{}}` that names everything wrong at once, or, with
  `sync_connect:`, `{:error, %Palladion.ConnectionError{}}`.
  """
  @spec start_link(keyword()) ::
          {:ok, pid()} | {:error, Palladion.ConfigError.t() | ConnectionError.t() | term()}
  def start_link(options) do
    with {:ok, config} <- Config.load(options),
         {:ok, pid} <- Cluster.start_link(config) do
      sync_connect(pid, config.name, config.timeouts.sync_connect)
    end
  end

  defp sync_connect(pid, _name, false), do: {:ok, pid}

  defp sync_connect(pid, name, timeout) do
    case await_ready(name, timeout) do
      :ok ->
        {:ok, pid}

      {:error, error} ->
        # Not linked any more, so that the error is returned and not also an exit.
        Process.unlink(pid)
        Supervisor.stop(pid)
        {:error, error}
    end
  end

  @doc """
  Stops a cluster that was started with `start_link/1` outside of a supervisor.

      :ok = Palladion.stop(MyApp.DB)

  Requests under way have `shutdown_timeout:` to be answered.
  """
  @spec stop(name()) :: :ok
  def stop(name), do: Supervisor.stop(name)

  @doc """
  Waits until a connection is open.

      :ok = Palladion.await_ready(MyApp.DB, 10_000)

  The error after the timeout (in ms) says why there is none.
  """
  @spec await_ready(name(), timeout()) :: :ok | error()
  def await_ready(name, timeout \\ 5_000), do: Request.await_ready(name, timeout)

  @doc """
  Runs a statement.

      {:ok, result} = Palladion.query(MyApp.DB, "SELECT name FROM shop.users WHERE id = ?", [7])
      [%{"name" => "Ada"}] = result.rows

  With values, the statement is prepared behind the scenes the first time and remembered, so
  that values are encoded by the types of their columns. See `t:option/0` for the options.

  Errors: `Palladion.Error` and `Palladion.ConnectionError` with all their reasons.
  """
  @spec query(name(), String.t() | Prepared.t(), values(), [option()]) ::
          {:ok, Result.t()} | error()
  def query(name, statement, values \\ [], options \\ []) do
    Request.query(name, statement, values, options)
  end

  @doc """
  As `query/4`, but raises.

      Palladion.query!(MyApp.DB, "SELECT release_version FROM system.local").rows
  """
  @spec query!(name(), String.t() | Prepared.t(), values(), [option()]) :: Result.t()
  def query!(name, statement, values \\ [], options \\ []) do
    name |> query(statement, values, options) |> bang!()
  end

  @doc """
  Has a statement prepared.

      {:ok, prepared} = Palladion.prepare(MyApp.DB, "INSERT INTO shop.users (id, name) VALUES (?, ?)")
      prepared.bind
      #=> [{"id", "int"}, {"name", "text"}]

  Of the options, `:timeout`, `:retry`, `:attempt_timeout` and `:keyspace` count. With a
  `:keyspace` (protocol v5) tables without one in the statement are of that keyspace, whichever is
  in use when it is executed.
  """
  @spec prepare(name(), String.t(), [option()]) :: {:ok, Prepared.t()} | error()
  def prepare(name, statement, options \\ []), do: Request.prepare(name, statement, options)

  @doc "As `prepare/3`, but raises."
  @spec prepare!(name(), String.t(), [option()]) :: Prepared.t()
  def prepare!(name, statement, options \\ []) do
    name |> prepare(statement, options) |> bang!()
  end

  @doc """
  Executes a prepared statement.

      {:ok, _} = Palladion.execute(MyApp.DB, prepared, [7, "Ada"])
      {:ok, _} = Palladion.execute(MyApp.DB, prepared, %{"id" => 7, "name" => "Ada"})

  See `query/4` for options and errors. Its keyspace is the one that it was prepared in, and servers look at no
  other. So `keyspace:` is refused with the reason `:bad_argument`, unless `prepare/3` had the same.
  """
  @spec execute(name(), Prepared.t(), values(), [option()]) :: {:ok, Result.t()} | error()
  def execute(name, %Prepared{} = prepared, values \\ [], options \\ []) do
    Request.query(name, prepared, values, options)
  end

  @doc "As `execute/4`, but raises."
  @spec execute!(name(), Prepared.t(), values(), [option()]) :: Result.t()
  def execute!(name, %Prepared{} = prepared, values \\ [], options \\ []) do
    name |> execute(prepared, values, options) |> bang!()
  end

  @doc """
  Executes several statements as one request: inserts, updates and deletes.

      {:ok, insert} = Palladion.prepare(MyApp.DB, "INSERT INTO shop.users (id, name) VALUES (?, ?)")

      {:ok, _} =
        Palladion.batch(MyApp.DB, [
          {insert, [7, "Ada"]},
          {insert, %{"id" => 8, "name" => "Bob"}},
          {"UPDATE shop.names SET id = ? WHERE name = ?", [7, "Ada"]},
          "DELETE FROM shop.users WHERE id = 6"
        ])

  Statements are texts and prepared ones, with values in a pair; a text with values is prepared
  behind the scenes, as by `query/4`. There can be 65,535 of them. `keyspace:` is for the texts: prepared ones
  must have been prepared with the same (see `execute/4`).

  The options are those of a request (`t:option/0`), of which `:page_size` and `:paging_state` have no
  meaning here, and

    * `:type` – `:logged` (default): once the server has it, all of it will be executed, even if the
      node that received it fails. `:unlogged`: without this promise, and cheaper; for statements
      on one partition, where it holds anyway. `:counter`: for updates of counters, and nothing else

  A batch is not a faster way to write many rows: they pass one node, which also refuses batches above a
  size (`batch_size_fail_threshold`, 50 KiB) with the reason `:invalid`. Concurrent `execute/4`s are.

  With conditions (`IF ...`), all statements must be on one partition and are applied together or
  not at all; `Palladion.Result.applied?/1` says which. All writes have one timestamp, so that their order
  in the list doesn't count.

  A batch is tried again after an uncertain end only with `idempotent: true`, and one of counters
  never.

  Errors are those of `query/4`. What is about one statement has its place in the list as
  `details.statement`, the first is 0.
  """
  @spec batch(name(), [batch_statement(), ...], [batch_option()]) ::
          {:ok, Result.t()} | error()
  def batch(name, statements, options \\ []), do: Request.batch(name, statements, options)

  @doc """
  As `batch/3`, but raises.

      Palladion.batch!(MyApp.DB, [{insert, [7, "Ada"]}, {insert, [8, "Bob"]}], type: :unlogged)
  """
  @spec batch!(name(), [batch_statement(), ...], [batch_option()]) :: Result.t()
  def batch!(name, statements, options \\ []) do
    name |> batch(statements, options) |> bang!()
  end

  @doc """
  Sends a statement without waiting for its answer, which `await/2` takes.

      {:ok, one} = Palladion.submit(MyApp.DB, prepared, [1])
      {:ok, two} = Palladion.submit(MyApp.DB, prepared, [2])
      {:ok, first} = Palladion.await(one)
      {:ok, second} = Palladion.await(two)

  `timeout:` begins here. A statement that is not prepared yet, or a cluster without a
  connection, is waited for.

  The answer is a message to the process that submits, so only this process can await or cancel
  the request. One that does not want the answer any more says so with `cancel/1`; else it
  arrives as a message that nobody takes, and the request has no `:stop` among the events of
  `Palladion.Telemetry`.
  """
  @spec submit(name(), String.t() | Prepared.t(), values(), [option()]) ::
          {:ok, Pending.t()} | error()
  def submit(name, statement, values \\ [], options \\ []) do
    Request.submit(name, statement, values, options)
  end

  @doc """
  Waits for the answer of a submitted request, in the process that submitted it.

      {:ok, result} = Palladion.await(pending)

  `timeout` (in ms) can shorten the request's own, not lengthen it. It looks through the
  mailbox, message by message: with many messages in it, `query/4` is the faster call.

  Errors are those of `query/4`, and `:already_awaited` the second time. Raises `ArgumentError` in
  any other process.
  """
  @spec await(Pending.t(), timeout()) :: {:ok, Result.t()} | error()
  def await(%Pending{} = pending, timeout \\ :infinity), do: Request.await(pending, timeout)

  @doc """
  Gives up on a submitted request: its answer will not arrive.

      {:ok, pending} = Palladion.submit(MyApp.DB, prepared, [1])
      :ok = Palladion.cancel(pending)

  Does nothing if it was awaited already. Raises `ArgumentError` in any other process than the
  one that submitted it.
  """
  @spec cancel(Pending.t()) :: :ok
  def cancel(%Pending{} = pending), do: Request.cancel(pending)

  @doc """
  The rows of a statement over all its pages, as a lazy stream.

      MyApp.DB
      |> Palladion.stream("SELECT id, name FROM shop.users", [], page_size: 1_000)
      |> Stream.filter(& &1["name"])
      |> Enum.each(&MyApp.Export.write/1)

  Nothing is asked for before the first row is wanted. From then on the page after the one that is
  being consumed is under way, so that two pages at most are in memory. One that nobody takes is
  cancelled, however the enumeration ends. Enumerated again, the statement runs again.

  Options are those of `query/4` and hold for each page: `timeout:` is a page's, and
  `paging_state:` says where to begin. `rows: :columns` is for `pages/4` alone. A page that went
  wrong while the one before was consumed is asked for once more, unless the error says that it would
  end in the same way (as `:invalid` does). One that goes wrong while it is waited for is not.

  Raises `Palladion.Error` or `Palladion.ConnectionError` when a page can't be had, after the rows
  before it, and at once `ArgumentError` for wrong options.

  A page arrives as a message to the process that enumerates. So this process must not take all
  messages that there are, as by `receive do message -> … end`, while it enumerates, nor hand a
  half-enumerated stream to another process.
  """
  @spec stream(name(), String.t() | Prepared.t(), values(), [option()]) :: Enumerable.t()
  def stream(name, statement, values \\ [], options \\ []) do
    PageStream.rows(name, statement, values, options)
  end

  @doc """
  As `stream/4`, but of pages: each a `Palladion.Result`.

      for page <- Palladion.pages(MyApp.DB, "SELECT id, name FROM shop.users") do
        MyApp.Export.write(page.rows)
        MyApp.Export.note(page.paging_state)
      end

  A page may have no rows and yet not be the last: servers count what they have looked at.
  """
  @spec pages(name(), String.t() | Prepared.t(), values(), [option()]) :: Enumerable.t()
  def pages(name, statement, values \\ [], options \\ []) do
    PageStream.pages(name, statement, values, options)
  end

  @doc """
  What the nodes did for a request that was traced, with the time of each step.

      result = Palladion.query!(MyApp.DB, "SELECT * FROM shop.users", [], tracing: true)
      {:ok, trace} = Palladion.trace(MyApp.DB, result.tracing_id)
      {trace.coordinator, trace.duration}
      #=> {"10.0.0.1", 1479}

  Servers write it in the background: this waits until the coordinator has ended it, for `timeout:` ms
  (default: the cluster's). See `t:Palladion.Trace.option/0` for the options.

  Errors: `Palladion.Error` with the reason `:trace_unavailable` if it isn't there in time, and
  those of `query/4`. Raises `ArgumentError` for what is no tracing id.
  """
  @spec trace(name(), String.t(), [Trace.option()]) :: {:ok, Trace.t()} | error()
  def trace(name, tracing_id, options \\ []), do: Trace.read(name, tracing_id, options)

  @doc """
  The cluster's state.

      {:ok, %{phase: :ready}} = Palladion.status(MyApp.DB)

    * `phase`: `:connecting` (no connection yet), `:ready` or `:disconnected` (there were
      connections, and they are tried for again)
    * `endpoints`: for each node that requests may go to: its `endpoint`, `node` (host id),
      `distance`, `last_error`, and open `connections`, each with its `address`, `protocol_version`
      (3, 4 or 5), `compression` (`"lz4"`, `"snappy"` or `nil`), `tls`, `authenticator` (the class that
      the server named, `nil` if it asked for no login) and `mechanism` (how we logged in: `"PLAIN"`,
      `"EXTERNAL"`, `"ANONYMOUS"`, `"CRAM-MD5"`, `"DIGEST-MD5"`, `"SCRAM-SHA-1"`,
      `"SCRAM-SHA-256"`, `"SigV4"`, `"custom"`, or `nil`); and the server's `certificates` (DER)
    * `tls` of a connection is `nil` without TLS, or a map of its `version`, `cipher`, key exchange
      `group` (`"x25519"`; `nil` on a resumed TLS 1.2), `handshake` (`:full`,
      `:full_with_hello_retry_request` or `:resumed`), `verified_name`, `duration_us` (of the
      handshake, in µs), `not_after` (until when the server's certificate is valid, in Unix
      seconds, or `nil`) and `generation` (0, and one more with each `reload_tls/2`)
    * `control`: the connection over which the cluster learns of its nodes, or `nil`
    * `last_error`: the `Palladion.ConnectionError` of the last failed attempt, `nil` since one
      succeeded
    * `in_flight`: requests that wait for their answers
    * `orphans`: answers under way that nobody waits for any more
  """
  @spec status(name()) :: {:ok, map()} | error()
  def status(name), do: Request.status(name)

  @doc """
  The nodes of the cluster, as it knows them now.

      {:ok, nodes} = Palladion.nodes(MyApp.DB)
      for node <- nodes, do: {node.address, node.datacenter, node.distance, node.state}
      #=> [{"10.0.0.1", "eu", :local, :up}, {"10.0.1.1", "us", :ignored, nil}]

  Sorted by host id; empty before the first server was reached. See `Palladion.Node`.
  """
  @spec nodes(name()) :: {:ok, [Palladion.Node.t()]} | error()
  def nodes(name), do: Request.nodes(name)

  @doc """
  The keyspaces of the cluster with their tables, views, types and functions, read now.

      {:ok, schema} = Palladion.schema(MyApp.DB, keyspace: "shop")
      Palladion.Schema.table(schema, "shop", "users").partition_key
      #=> ["id"]

  See `t:Palladion.Schema.option/0` for the options and `Palladion.Schema` for what is in it. A
  keyspace that doesn't exist is a `Palladion.Error` with the reason `:invalid`.
  """
  @spec schema(name(), [Palladion.Schema.option()]) :: {:ok, Palladion.Schema.t()} | error()
  def schema(name, options \\ []), do: Palladion.Schema.read(name, options)

  @doc """
  What the cluster has counted since it started.

      {:ok, stats} = Palladion.stats(MyApp.DB)
      stats.handshakes_resumed
      #=> 3

  Among them `requests`, `responses`, `late_responses`, `connections_opened`,
  `connections_closed`, `connect_failures`, `handshakes_full`, `handshakes_resumed`,
  `handshakes_hello_retry` (those of the full ones that took a round more, for another key exchange
  group), `handshakes_failed`, `sessions_stored`, `sessions_offered` (taken for a handshake),
  `sessions_rejected` (those of them that weren't resumed: the server didn't take them, as past its
  own limit, or the handshake failed), `sessions_refused` (resumed, but the certificate no longer passed),
  `sessions_evicted` (for room), `sessions_expired` (too old), `sessions_lineage_expired` (the full
  handshake that they descend from is too old), `sessions_purged` (by a reload or a refused login),
  `tls_reloads`, `logins`, `logins_refused` and `heartbeats`.
  """
  @spec stats(name()) :: {:ok, %{atom() => non_neg_integer()}} | error()
  def stats(name), do: Request.stats(name)

  @doc """
  Opens all connections anew, in waves, resuming their TLS sessions; queries go on meanwhile.

      :ok = Palladion.reconnect(MyApp.DB, 30_000)

  Each new connection takes the place of an old one, which first answers what it has taken on.
  Returns when all are replaced, or with the first failure. The timeout is in ms.
  """
  @spec reconnect(name(), timeout()) :: :ok | error()
  def reconnect(name, timeout \\ 30_000), do: Request.reconnect(name, timeout)

  @doc """
  Reads the files of `tls:` again and replaces all connections by new ones, without a restart;
  queries go on meanwhile.

      # New files are in place.
      :ok = Palladion.reload_tls(MyApp.DB)

      # A new certificate comes from elsewhere, as DER.
      {certificate, key} = MyApp.Vault.issue()
      :ok = Palladion.reload_tls(MyApp.DB, tls: [cert: certificate, key: {:PrivateKeyInfo, key}])

  Everything is read and checked first, and taken only as a whole. From then on no TLS session of
  before is resumed, and connections are replaced in waves: each new one takes the place of an old
  one, which first answers what it has taken on; one that is just being opened under the old
  configuration never gets into service. Reloads that are asked for at the same time run
  one after the other.

    * `:timeout` – how long to wait until every connection has been replaced, in ms, or
      `:infinity` (default 60,000), also for reloads before it. What isn't begun by then never is;
      else it goes on without anybody waiting
    * `:tls` – new options of `tls:` (see [TLS options](#module-tls-options)), which win over those
      in force and stay for later reloads (default `[]`): authorities, pins, revocation lists, our
      own certificate and key, versions, ciphers and groups. Names, `verify:` and what is about
      this process itself need a restart. `nil` takes an option away, such as `keyfile: nil`
      (and `password: nil`) where a PKCS#12 `certfile:` takes the place of two files. What is
      trusted can't be taken away (`cacertfile:`, `cacerts:`, `pinned:`, `crlfile:`, `crls:`,
      `crl_check:`), only replaced: to trust more than before, restart the cluster

  With `tls: [watch_interval: ...]` the cluster does it by itself when a file has changed.

  Returns `:ok` when no connection of before is left, or

    * `{:error, %Palladion.ConfigError{}}`: what was read can't be used, or the cluster has no TLS.
      Nothing has changed
    * `{:error, %Palladion.ConnectionError{}}`: it is in force, but a new connection could not be
      opened with it. The old connections go on serving, and new ones are tried for again and
      again. The reason says what is wrong, such as `:unknown_ca` for authorities that the
      server's certificate doesn't come from: put the files right and reload again
    * `{:error, %Palladion.ConnectionError{reason: :timeout}}`: the time is over. With
      `details.in_force` it is in force, and connections are still being replaced; without, nothing
      was applied, for another reload took the time or the files did

  Raises `ArgumentError` for other options.
  """
  @spec reload_tls(name(), timeout: timeout(), tls: keyword()) ::
          :ok | {:error, Palladion.ConfigError.t() | ConnectionError.t()}
  def reload_tls(name, options \\ []), do: Cluster.reload_tls(name, options)

  @doc """
  Replaces options of `auth:`, without a restart; queries go on meanwhile.

      # The password was changed on the server.
      :ok = Palladion.update_auth(MyApp.DB, password: MyApp.Vault.password())

      # The files and variables that the options name are read anew.
      :ok = Palladion.update_auth(MyApp.DB, [])

      # All connections log in with it.
      :ok = Palladion.reconnect(MyApp.DB)

  `changes` are [Auth options](#module-auth-options). They are taken over those in force and stay
  for later updates; where they are of another form (as `sigv4:` where there was a `username:`), they
  replace what belonged to the form before. Keys of `sigv4:` (`access_key_id:`, `secret_access_key:`,
  `session_token:`) are one thing: new ones replace all three. Everything is read and checked first,
  and taken only as a whole.

  `nil` takes an option of the form in force away, such as `authorization_id: nil`. For an option of
  another form it is an error (`:required`), for it is likely a variable of the environment that is
  unset.

  Read anew, with changes and without: each `{:file, path}`, a function that `password:` or a key of
  `sigv4:` is, the `AWS_*` variables and AWS's files. (Files, `credentials:` and AWS's chain are asked
  later too, when a login needs them.) Not read: the application environment, and so
  `config/runtime.exs`. What has changed there belongs into `changes`. With `profile: :keyspaces` the
  region stays the one that the cluster was started in.

  Logins from now on use it, those under way end as they began. Connections that are open stay: the
  server asks only once. Nothing of `changes` is logged, and no secret of theirs is kept where it
  could be printed.

  `username: {:file, path}` needs a password that Elixir can read. One that stood beside a plain
  `username:` can't be read any more: give it again together with the file.

  A secret that changes by itself needs no update: `auth: [password: {:file, path}]`, and a function in
  `auth: [credentials:]`, are asked at each login.

  Returns `:ok`, or

    * `{:error, %Palladion.ConfigError{}}`: the options can't be used, with all that is wrong, and
      nothing has changed. `require_auth:`, `allow_plaintext_password:` and
      `allowed_authenticators:` can't be changed while the cluster runs (`:needs_restart`): they say
      what may be sent to whom
    * `{:error, %Palladion.ConnectionError{}}`: no such cluster is running (`:unknown_cluster`,
      `:closed`), or, of what must not happen, `:timeout` and `:internal`: update again
  """
  @spec update_auth(name(), changes :: keyword()) ::
          :ok | {:error, Palladion.ConfigError.t() | ConnectionError.t()}
  def update_auth(name, changes), do: Cluster.update_auth(name, changes)

  defp bang!({:ok, value}), do: value
  defp bang!({:error, exception}), do: raise(exception)
end
