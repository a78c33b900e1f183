defmodule Palladion.Telemetry.Events do
  @moduledoc false
  # Every event as data. What is emitted is checked against it in the tests, and the
  # documentation is made of it.

  @type type ::
          :any
          | :atom
          | :boolean
          | :exception
          | :integer
          | :list
          | :reference
          | :string
          | {:in, [atom()]}
          | {:maybe, type()}

  # A name means the same wherever it stands.
  @fields [
    # Measurements
    system_time: {:integer, "`System.system_time/0`, native unit"},
    monotonic_time: {:integer, "`System.monotonic_time/0`, native unit"},
    duration: {:integer, "how long it took, or the connection lived; native unit"},
    threshold: {:integer, "the duration from which a request is slow, native unit"},
    count: {:integer, "how many"},
    open: {:integer, "connections that are open to the node"},
    wanted: {:integer, "connections that there should be"},
    nodes: {:integer, "nodes that the cluster has"},
    remaining: {:integer, "how long until then, negative when it is over; native unit"},
    # Requests
    cluster: {:any, "the cluster's name"},
    telemetry_span_context: {:reference, "the same in all events of one request"},
    statement:
      {{:maybe, :string}, "the text, without what may be a password; never with bound values"},
    operation: {{:maybe, :string}, "what it does: `\"SELECT\"`, `\"CREATE TABLE\"`"},
    collection: {{:maybe, :string}, "the table as the statement names it: `\"shop.users\"`"},
    keyspace: {{:maybe, :string}, "the statement's keyspace, or else the one in use"},
    summary: {{:maybe, :string}, "operation and target: `\"SELECT shop.users\"`"},
    parameterised?: {:boolean, "whether values are bound, and not written into the statement"},
    batch_size: {{:maybe, :integer}, "statements in a batch; `nil` if it is none"},
    consistency: {{:maybe, :atom}, "the consistency level, as `:local_quorum`"},
    page_size: {{:maybe, :integer}, "rows a page; `nil` for all at once"},
    idempotent: {{:maybe, :boolean}, "whether it may be executed twice"},
    result: {{:in, [:ok, :error, :cancelled]}, "how it ended"},
    attempts: {{:maybe, :integer}, "how often it was tried"},
    speculative: {:integer, "speculative executions"},
    returned_rows: {{:maybe, :integer}, "rows of this page"},
    status_code: {{:maybe, :integer}, "the server's error code"},
    decision: {:atom, "what the retry policy decided: `:retry_same` or `:retry_next`"},
    attempt: {:integer, "which attempt failed; the first is 1"},
    warnings: {:list, "what the server says, each a text; what may quote values is cut off"},
    # Errors
    error:
      {{:maybe, :exception},
       "`Palladion.Error` or `Palladion.ConnectionError`; of a reload also `Palladion.ConfigError`"},
    reason:
      {{:maybe, :atom}, "the error's `reason`, `:cancelled`, or the name of what was raised"},
    kind: {{:in, [:error, :exit, :throw]}, "the kind of what was raised"},
    stacktrace: {:list, "where it was raised, without arguments"},
    retry_in: {{:maybe, :integer}, "ms until the next attempt"},
    # Nodes and connections
    node: {{:maybe, :string}, "the node's `host_id`: of a request, the coordinator's"},
    host_id: {{:maybe, :string}, "the node's identity"},
    datacenter: {{:maybe, :string}, "the node's datacenter"},
    rack: {{:maybe, :string}, "the node's rack"},
    address: {{:maybe, :string}, "the node's IP address as text"},
    port: {{:maybe, :integer}, "its port"},
    previous_address: {{:maybe, :string}, "the node's IP address before it moved"},
    previous_port: {{:maybe, :integer}, "its port then"},
    endpoint: {{:maybe, :string}, "`\"host:port\"` as configured or found"},
    role: {{:in, [:pool, :control]}, "for requests, or to watch the cluster"},
    handshake:
      {{:maybe, {:in, [:full, :full_with_hello_retry_request, :resumed]}},
       "the kind of TLS handshake; `nil` without TLS"},
    resumed?: {:boolean, "whether a TLS session was resumed"},
    tls_version: {{:maybe, :string}, "`\"1.3\"` or `\"1.2\"`; `nil` without TLS"},
    tls_cipher: {{:maybe, :string}, "the TLS cipher suite"},
    tls_group:
      {{:maybe, :string}, "the key exchange group: `\"x25519\"`; `nil` on a resumed TLS 1.2"},
    verified_name: {{:maybe, :string}, "the name that the certificate was verified for"},
    peer_not_after:
      {{:maybe, :integer}, "until when the server's certificate is valid, in Unix seconds"},
    lineage?:
      {:boolean, "whether the full handshake that they descend from is too old, and not they"},
    trigger:
      {{:in, [:call, :watch]}, "who began it: `Palladion.reload_tls/2`, or a changed file"},
    generation:
      {{:maybe, :integer}, "how often TLS has been configured anew; `nil` without a connection"},
    certificate:
      {{:in, [:client, :authority, :server]}, "our own, one that we trust, or a server's"},
    subject: {{:maybe, :string}, "whom it is for: `\"CN=client,O=Shop\"`; `nil` for a server's"},
    not_after: {:integer, "until when it is valid, in Unix seconds"},
    authenticator: {{:maybe, :string}, "the class that the server named; `nil` without a login"},
    mechanism:
      {{:maybe, :string},
       "how the login is done: `\"PLAIN\"`, `\"SCRAM-SHA-256\"`, `\"SigV4\"`, `\"custom\"`; " <>
         "`nil` if none was used, or none is known"},
    expires_at: {:any, "a `DateTime`; `nil` where it is not known"},
    protocol_version: {:integer, "the version of the native protocol that is spoken from now on"},
    previous_protocol_version: {:integer, "the one that was spoken until then"},
    # The schema
    change: {{:maybe, {:in, [:created, :updated, :dropped]}}, "what happened to it"},
    target: {{:maybe, :atom}, "`:keyspace`, `:table`, `:type`, `:function` or `:aggregate`"},
    name: {{:maybe, :string}, "what was changed; `nil` for the keyspace itself"}
  ]

  @request [:cluster, :telemetry_span_context, :statement, :operation, :collection, :keyspace] ++
             [:summary, :parameterised?, :batch_size, :consistency, :page_size, :idempotent]
  @outcome [:result, :error, :reason, :status_code, :attempts, :speculative, :returned_rows] ++
             [:node, :datacenter, :address, :port]
  @raised [:kind, :reason, :stacktrace]
  @retried [:cluster, :telemetry_span_context, :statement, :operation, :collection, :keyspace] ++
             [:summary, :decision, :attempt, :error, :reason, :node, :datacenter, :address, :port]
  @warned [:cluster, :telemetry_span_context, :statement, :operation, :collection, :keyspace] ++
            [:summary, :warnings, :node, :datacenter, :address, :port]
  @node [:cluster, :host_id, :datacenter, :rack, :address, :port]
  @control [:cluster, :endpoint, :address, :port]
  @peer [:cluster, :endpoint, :address, :port, :node, :datacenter]
  @tls [:tls_version, :tls_cipher, :tls_group, :verified_name]
  @sessions [:cluster, :endpoint, :verified_name]

  @spans for {kind, what} <- [query: "a request", prepare: "`prepare/3`"],
             event <- [
               {[kind, :start], "#{what} begins, in the caller's process",
                [:system_time, :monotonic_time], @request},
               {[kind, :stop], "it ended, with a result or an error",
                [:duration, :monotonic_time], @request ++ @outcome},
               {[kind, :exception], "the caller's process raised, as for a wrong option",
                [:duration, :monotonic_time], @request ++ @raised}
             ],
             do: event

  @nodes for {suffix, text} <- [
               added: "a node was found",
               removed: "a node is no longer part of the cluster",
               up: "a node can be reached",
               down: "a node can't be reached"
             ],
             do: {[:node, suffix], text, [:system_time], @node}

  @session_changes for {suffix, text, more} <- [
                         {:stored, "TLS sessions were stored, to be resumed later", []},
                         {:evicted, "TLS sessions made room for those of other endpoints", []},
                         {:expired, "TLS sessions were dropped because of their age",
                          [:lineage?]},
                         {:purged, "TLS sessions were dropped: a reload, or a refused login", []},
                         {:refused,
                          "a TLS session was resumed, and its certificate no longer passed", []},
                         {:rejected, "the server did not take the TLS session offered", []}
                       ],
                       do: {[:session_cache, suffix], text, [:count], @sessions ++ more}

  @moved {[:node, :moved], "a node has another address", [:system_time],
          @node ++ [:previous_address, :previous_port]}

  @events (@spans ++
             [
               {[:query, :slow], "a request took longer than its threshold; follows `:stop`",
                [:duration, :threshold], @request ++ @outcome},
               {[:query, :retry], "an attempt failed, and another follows", [:system_time],
                @retried},
               {[:query, :warnings], "the server warns of something in its answer", [:count],
                @warned},
               {[:overload], "a request was refused because a queue was full", [:system_time],
                [:cluster, :summary, :reason]}
             ] ++
             @nodes ++
             [
               @moved,
               {[:connection, :opened], "a connection is ready, login included", [:duration],
                @peer ++ [:role, :handshake] ++ @tls},
               {[:connection, :failed], "a connection could not be opened", [:system_time],
                @peer ++ [:role, :error, :reason, :retry_in]},
               {[:connection, :closed], "a connection ended", [:duration],
                @peer ++ [:role, :error, :reason]},
               {[:handshake, :stop], "a TLS handshake succeeded", [:duration],
                @peer ++ [:role, :handshake, :resumed?] ++ @tls ++ [:peer_not_after]},
               {[:handshake, :failed], "a TLS handshake failed", [:duration],
                @peer ++ [:role, :error, :reason]}
             ] ++
             @session_changes ++
             [
               {[:tls, :reloaded], "every connection is under the new TLS configuration",
                [:duration], [:cluster, :trigger, :generation]},
               {[:tls, :reload_failed],
                "a new TLS configuration can't be used, or connections can't be opened with it",
                [:duration], [:cluster, :trigger, :error, :reason]},
               {[:certificate, :expiring],
                "a certificate expires soon, or has; not more than once a day for each",
                [:remaining], [:cluster, :certificate, :subject, :endpoint, :not_after]},
               {[:login, :stop], "the server accepted the login", [:duration],
                @peer ++ [:authenticator, :mechanism]},
               {[:login, :refused], "the server or Palladion refused the login", [:system_time],
                @peer ++ [:authenticator, :mechanism, :error, :reason]},
               {[:auth, :updated],
                "`Palladion.update_auth/2`: logins from now on have other options",
                [:system_time], [:cluster]},
               {[:credentials, :fetched],
                "AWS credentials were fetched for logins, or renewed before they expired",
                [:system_time], [:cluster, :expires_at]},
               {[:credentials, :failed],
                "AWS credentials could not be renewed; those there are serve until they expire",
                [:system_time], [:cluster, :error, :reason]},
               {[:protocol, :lowered],
                "a node speaks no newer version of the protocol, and all connections change to it",
                [:system_time],
                [:cluster, :endpoint, :protocol_version, :previous_protocol_version]},
               {[:pool, :changed], "a node has more or fewer connections", [:open, :wanted],
                @peer},
               {[:control, :opened], "the control connection is ready", [:system_time], @control},
               {[:control, :closed], "the control connection ended", [:system_time], @control},
               {[:topology, :refreshed], "the list of nodes was read", [:system_time, :nodes],
                [:cluster]},
               {[:schema, :changed], "a node told of a changed schema", [:system_time],
                [:cluster, :change, :target, :keyspace, :name]},
               {[:events, :dropped],
                "events of the native library came faster than they were taken", [:count],
                [:cluster]}
             ])
          |> Enum.map(fn {suffix, text, measurements, metadata} ->
            fields = fn names ->
              for name <- names do
                {type, meaning} = Keyword.fetch!(@fields, name)
                %{name: name, type: type, meaning: meaning}
              end
            end

            %{
              name: [:palladion | suffix],
              when: text,
              measurements: fields.(measurements),
              metadata: fields.(metadata)
            }
          end)

  @doc false
  def all, do: @events

  @doc false
  # The metadata of an event with nothing in it, so that every emitter gives every key.
  for event <- @events do
    empty = Map.new(event.metadata, &{&1.name, nil})
    def empty(unquote(event.name)), do: unquote(Macro.escape(empty))
  end

  @doc false
  # Two tables in Markdown.
  def docs do
    events =
      for event <- @events do
        "| `#{inspect(event.name)}` | #{event.when} | #{names(event.measurements)} | " <>
          "#{names(event.metadata)} |\n"
      end

    fields =
      for {name, {type, meaning}} <- @fields,
          do: "| `#{name}` | #{describe(type)} | #{meaning} |\n"

    """
    | event | when | measurements | metadata |
    |---|---|---|---|
    #{events}
    | name | type | meaning |
    |---|---|---|
    #{fields}\
    """
  end

  defp names(fields), do: Enum.map_join(fields, ", ", &"`#{&1.name}`")

  defp describe(:any), do: "a term"
  defp describe({:maybe, type}), do: "#{describe(type)} or `nil`"
  defp describe({:in, atoms}), do: Enum.map_join(atoms, ", ", &"`#{inspect(&1)}`")
  defp describe(type), do: to_string(type)
end
