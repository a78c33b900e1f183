defmodule Palladion.Config.Schema do
  @moduledoc false
  # Internal: every option as data, and nothing else. Parsing, error messages, sealing of
  # secrets and the documentation all read it here.

  alias Palladion.Config.{Options, OtherNames}
  alias Palladion.Config.Schema.{Auth, Policies, TLS}

  @any_ms 1..86_400_000
  @count 1..1_000_000
  @no_secrets Policies.no_secrets()

  @consistencies [
    :any,
    :one,
    :two,
    :three,
    :quorum,
    :all,
    :local_quorum,
    :each_quorum,
    :local_one
  ]

  @doc false
  @spec general() :: Options.schema()
  def general do
    [
      name: [
        type: :any,
        required: true,
        value: "an atom or `{:via, module, term}`",
        doc: "The cluster's name: the first argument of every call."
      ],
      otp_app: [
        type: :atom,
        doc:
          "Reads `config :my_app, MyApp.DB` of that application; options given beside it " <>
            "win, section by section."
      ],
      profile: [
        type: :any,
        value: "`:keyspaces`",
        doc:
          "A service with needs of its own: presets below the options that are given. " <>
            "`:keyspaces` is Amazon Keyspaces; [its guide](keyspaces.md) has the presets."
      ],
      contact_points: [
        type: :any,
        default: ["localhost"],
        value: "a list of `\"host\"`, `\"host:port\"`, `\"[::1]:9042\"`, `{host, port}`",
        doc: "Where to connect. Each is also the name its certificate is checked against."
      ],
      port: [
        type: {:int, 1..65_535},
        default: 9042,
        default_text: "`9042`",
        doc: "The port of contact points that name none."
      ],
      keyspace: [
        type: :string,
        doc: "The keyspace of statements that name none: the exact name, without quotes."
      ],
      local_datacenter: [
        type: :string,
        default_text: "that of the first contact point reached",
        doc:
          "The data center that takes the requests, spelt as the servers spell it. A log line " <>
            "says which one it is where none is given."
      ],
      load_balancing: [
        type: :any,
        default: :round_robin,
        value:
          "`:round_robin`, `{:round_robin, options}` with [options](#load-balancing-options), " <>
            "`:all_nodes`, a module or `{module, options}`",
        doc: "Which nodes take requests: `Palladion.LoadBalancingPolicy`. #{@no_secrets}"
      ],
      endpoint_resolver: [
        type: :any,
        default: :announced,
        value:
          "`:announced`, `{:fixed_name, name}`, `{:map, map}`, `{:template, text}`, a function, " <>
            "`{module, function, arguments}`, a module or `{module, options}`",
        doc:
          "Where nodes are dialled, and whom their certificates must be for: " <>
            "`Palladion.EndpointResolver`. #{@no_secrets}"
      ],
      topology: [
        type: :any,
        default_text: "",
        default: [],
        value: "[options](#topology-options)",
        doc: "When the list of nodes is read."
      ],
      schema_agreement: [
        type: :any,
        default_text: "on",
        default: [],
        value: "`false` or [options](#schema-agreement-options)",
        doc:
          "A request that changes the schema returns when all nodes have the change, or after " <>
            "some time. `false`: at once."
      ],
      consistency: [
        type: {:in, @consistencies},
        default: :local_one,
        doc:
          "The consistency of requests that give none. The default is that of the Java and " <>
            "Python drivers; `:local_quorum` reads what it wrote."
      ],
      client_timestamps: [
        type: :boolean,
        default: true,
        doc:
          "Writes get the time of this machine's clock, so that of two writes of this cluster's " <>
            "callers the later wins. `false`: that of the server that receives them."
      ],
      timeout: [
        type: {:ms, @any_ms},
        default: 10_000,
        doc: "How long a request may take in all, its retries included."
      ],
      attempt_timeout: [
        type: {:ms, @any_ms},
        default_text: "none",
        doc:
          "How long one node may take to answer. Then the request is given up there, and " <>
            "`retry:` decides, within `timeout:`."
      ],
      retry: [
        type: :any,
        default: :default,
        value:
          "`:default`, `{:default, options}` with [options](#retry-options), `:keyspaces`, " <>
            "`:none`, a module or `{module, options}`",
        doc: "What follows an error of a request: `Palladion.RetryPolicy`. #{@no_secrets}"
      ],
      slow_query_threshold: [
        type: {:ms, @any_ms},
        default_text: "none",
        doc:
          "A request that takes longer is told: a telemetry event without values, of which " <>
            "`Palladion.Telemetry.attach_default_logger/1` makes a line. It needs the package " <>
            "`:telemetry`."
      ],
      connect_timeout: [
        type: {:ms, @any_ms},
        default: 5_000,
        doc: "How long a name lookup may take, and a TCP connection to each of its addresses."
      ],
      tls_timeout: [
        type: {:ms, @any_ms},
        default: 5_000,
        doc: "How long a TLS handshake may take."
      ],
      login_timeout: [
        type: {:ms, @any_ms},
        default: 10_000,
        doc: "How long from the handshake to a connection that is logged in."
      ],
      shutdown_timeout: [
        type: {:ms, @any_ms},
        default: 5_000,
        doc: "How long a stopping cluster waits for answers that are under way."
      ],
      heartbeat_interval: [
        type: {:ms, @any_ms},
        default: 30_000,
        doc: "A connection that received nothing for so long is asked for a sign of life."
      ],
      heartbeat_timeout: [
        type: {:ms, @any_ms},
        default: 5_000,
        doc: "How long to wait for that sign; then the connection is replaced."
      ],
      reconnect: [
        type: :any,
        default_text: "",
        default: [],
        value: "[options](#reconnect-options)",
        doc: "The pauses between attempts to connect."
      ],
      sync_connect: [
        type: {:or, [{:in, [false]}, {:ms, @any_ms}]},
        default: false,
        doc: "How long `start_link/1` waits for the first connection. `false`: not at all."
      ],
      pool: [
        type: :any,
        default_text: "",
        default: [],
        value: "[options](#pool-options)",
        doc: "Connections and their bounds."
      ],
      protocol: [
        type: :any,
        default_text: "",
        default: [],
        value: "[options](#protocol-options)",
        doc: "The CQL native protocol."
      ],
      prepared_cache_size: [
        type: {:int, @count},
        default: 1_000,
        doc: "How many prepared statements the cluster remembers."
      ],
      tls: [
        type: :any,
        default: true,
        value: "`true`, `false` or [options](#tls-options)",
        doc: "`true` verifies the server against the system's roots. `false` gives up TLS."
      ],
      auth: [
        type: :any,
        value: "[options](#auth-options)",
        doc:
          "The login. Without it the cluster connects to servers that ask for none, or for no " <>
            "more than the certificate of `tls:`."
      ],
      application_name: [
        type: :string,
        doc: "Shown in the server's list of clients."
      ],
      application_version: [
        type: :string,
        doc: "Shown in the server's list of clients."
      ],
      client_id: [
        type: :string,
        value: "a UUID as text",
        default_text: "a random one",
        doc: "Shown in the server's list of clients, the same for all of the connections."
      ]
    ]
  end

  @doc false
  @spec pool() :: Options.schema()
  def pool do
    [
      size: [
        type: {:int, 1..1_024},
        default: 2,
        doc: "Connections to each local node."
      ],
      remote_size: [
        type: {:int, 1..1_024},
        default: 1,
        doc: "Connections to each remote node, where `load_balancing:` wants such nodes."
      ],
      max_handshakes: [
        type: {:int, 1..1_024},
        default: 8,
        doc: "Handshakes and logins that are under way at once, over all nodes."
      ],
      max_queue: [
        type: {:int, @count},
        default: 1_024,
        doc: "Requests that wait to be written, for each connection; more are refused."
      ],
      max_overflow: [
        type: {:int, 0..1_000_000},
        default: 0,
        doc:
          "Requests that wait for room, within their timeout, while every connection's queue " <>
            "is full. `0`: they are refused at once."
      ],
      max_in_flight: [
        type: {:int, 1..32_768},
        default: 8_192,
        doc: "Requests without an answer yet, for each connection."
      ],
      max_waiters: [
        type: {:int, @count},
        default: 4_096,
        doc: "Callers that wait for a cluster without a connection; more are refused."
      ]
    ]
  end

  @doc false
  @spec protocol() :: Options.schema()
  def protocol do
    [
      version: [
        type: :any,
        value: "`3`, `4` or `5`",
        default_text: "the newest that the servers speak",
        doc:
          "The version to speak, and no other. Without it the cluster begins with 5, and goes " <>
            "down for all of its nodes as soon as one of them speaks no newer one."
      ],
      compression: [
        type: :any,
        value: "`:lz4` or `:snappy`",
        default_text: "none",
        doc:
          "Compresses what is sent and received. Version 5 has `:lz4` only; with `:snappy` the " <>
            "newest version is 4. A server that doesn't offer it is an error, and is not used."
      ],
      max_frame_size: [
        type: {:int, 65_536..268_435_456},
        default: 268_435_456,
        doc: "The largest frame to accept, in bytes. The protocol's own limit is 256 MiB."
      ],
      max_response_size: [
        type: {:int, 1_024..268_435_456},
        default: 67_108_864,
        doc:
          "The largest answer to keep, in bytes. A larger one is skipped and costs its request " <>
            "alone; a smaller `page_size:` helps."
      ]
    ]
  end

  @doc false
  # All of it, for the documentation: heading, where its options go, options.
  @spec sections() :: [{String.t(), String.t() | nil, Options.schema()}]
  def sections do
    [
      {"Options", nil, general()},
      {"TLS options", "tls: [...]", TLS.options()},
      {"Session cache options", "tls: [session_cache: [...]]", TLS.session_cache()},
      {"Auth options", "auth: [...]", Auth.options()},
      {"SigV4 options", "auth: [sigv4: [...]]", Auth.sigv4()},
      {"Pool options", "pool: [...]", pool()},
      {"Protocol options", "protocol: [...]", protocol()},
      {"Reconnect options", "reconnect: [...]", Policies.reconnect()},
      {"Retry options", "retry: {:default, [...]}", Policies.retry()},
      {"Keyspaces retry options", "retry: {:keyspaces, [...]}", Policies.keyspaces_retry()},
      {"Load balancing options", "load_balancing: {:round_robin, [...]}", Policies.round_robin()},
      {"Topology options", "topology: [...]", Policies.topology()},
      {"Schema agreement options", "schema_agreement: [...]", Policies.schema_agreement()}
    ]
  end

  @doc false
  # What to say to an option at the top that belongs elsewhere.
  @spec misplaced(atom()) :: String.t() | nil
  def misplaced(name), do: OtherNames.hint(name) || misplaced_section(name)

  defp misplaced_section(name) do
    # A password or a size may belong to several sections.
    places =
      for {_title, place, schema} <- sections(), place, Keyword.has_key?(schema, name), do: place

    if places != [], do: "it belongs into #{Enum.join(places, " or ")}"
  end
end
