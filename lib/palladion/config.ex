defmodule Palladion.Config do
  @moduledoc false
  # Internal: options, as users write them, become one validated struct here, once; nothing
  # behind it checks again. All problems are found in one go.
  #
  # The struct holds no plain secret: passwords and keys are `Palladion.Secret`s.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{
    Auth,
    ContactPoint,
    EndpointResolver,
    LoadBalancing,
    Loader,
    Options,
    Policy,
    Pool,
    Profile,
    Protocol,
    Reconnect,
    Retry,
    Schema,
    SchemaAgreement,
    Seal,
    Timeouts,
    TLS,
    Topology,
    VerifiedName
  }

  alias Palladion.ConfigError

  @driver_version Mix.Project.config()[:version]

  @enforce_keys [:name]
  defstruct [
    :name,
    :otp_app,
    :profile,
    :region,
    :contact_points,
    :keyspace,
    :local_datacenter,
    :load_balancing,
    :endpoint_resolver,
    :topology,
    :schema_agreement,
    :consistency,
    :client_timestamps,
    :timeouts,
    :retry,
    :slow_query_threshold,
    :reconnect,
    :pool,
    :protocol,
    :prepared_cache_size,
    :tls,
    :auth,
    :application_name,
    :application_version,
    :client_id,
    warnings: []
  ]

  @type name :: atom() | {:via, module(), term()}

  @type t :: %__MODULE__{
          name: name(),
          otp_app: atom() | nil,
          profile: :keyspaces | nil,
          region: String.t() | nil,
          contact_points: [ContactPoint.t(), ...],
          keyspace: String.t() | nil,
          local_datacenter: String.t() | nil,
          load_balancing: Policy.t(),
          endpoint_resolver: Policy.t(),
          topology: Topology.t(),
          schema_agreement: SchemaAgreement.t() | nil,
          consistency: atom(),
          client_timestamps: boolean(),
          timeouts: Timeouts.t(),
          retry: Policy.t(),
          slow_query_threshold: pos_integer() | nil,
          reconnect: Reconnect.t(),
          pool: Pool.t(),
          protocol: Protocol.t(),
          prepared_cache_size: pos_integer(),
          tls: TLS.t() | nil,
          auth: Auth.t() | nil,
          application_name: String.t() | nil,
          application_version: String.t() | nil,
          client_id: String.t(),
          warnings: [{ConfigError.path(), String.t()}]
        }

  @sections [:tls, :auth, :pool, :protocol, :reconnect, :topology, :schema_agreement]

  @doc false
  # Options with nothing secret to print in them; see `Palladion.Config.Seal`.
  @spec seal(term()) :: term()
  defdelegate seal(options), to: Seal

  @doc false
  # The environment of `otp_app:` with the options over it, parsed where no secret stays.
  @spec load(term()) :: {:ok, t()} | {:error, ConfigError.t()}
  def load(options) do
    sealed = seal(options)

    with {:error, %ConfigError{} = error} <- Loader.run(fn -> load_here(sealed) end) do
      {:error, %{error | name: error.name || given_name(sealed)}}
    end
  end

  defp load_here(options) do
    case from_environment(options) do
      {:ok, environment} -> parse(merge(environment, options))
      {:error, problem} -> {:error, error(options, [problem])}
    end
  end

  @doc false
  # The TLS options of a cluster that runs, read again, with changes over them. What can't be
  # changed without a restart is refused. `time` is in ms, and no longer than the loader's own.
  @spec reload_tls(name(), TLS.t(), term(), timeout()) ::
          {:ok, TLS.t()} | {:error, ConfigError.t()}
  def reload_tls(name, %TLS{} = tls, changes, time \\ :infinity) do
    sealed = Seal.seal_tls(changes)
    change(name, fn -> TLS.reload(tls, sealed) end, time)
  end

  @doc false
  # The same for the options of the login.
  @spec update_auth(name(), Auth.t() | nil, term(), Auth.circumstances(), timeout()) ::
          {:ok, Auth.t()} | {:error, ConfigError.t()}
  def update_auth(name, auth, changes, circumstances, time \\ :infinity) do
    sealed = Seal.seal_auth(changes)
    change(name, fn -> Auth.update(auth, sealed, circumstances) end, time)
  end

  @doc false
  # What of the cluster they depend on, as it starts.
  @spec circumstances(t()) :: Auth.circumstances()
  def circumstances(%__MODULE__{} = config) do
    %{
      plaintext?: config.tls == nil,
      certificate?: config.tls != nil and TLS.certificate?(config.tls),
      login_timeout: config.timeouts.login,
      region: config.region
    }
  end

  defp change(name, change, time) do
    case Loader.run(change, min(time, Loader.timeout())) do
      {:ok, changed} -> {:ok, changed}
      {:error, %ConfigError{} = error} -> {:error, %{error | name: name}}
      {:error, problems} -> {:error, %ConfigError{name: name, problems: problems}}
    end
  end

  defp from_environment(options) do
    with true <- Keyword.keyword?(options),
         app when is_atom(app) and app != nil <- options[:otp_app] do
      fetch_environment(app, options[:name])
    else
      # Wrong options are parse's to report.
      _ -> {:ok, []}
    end
  end

  defp fetch_environment(app, name) when is_atom(name) and name != nil do
    case Application.fetch_env(app, name) do
      {:ok, environment} ->
        if Keyword.keyword?(environment),
          do: {:ok, environment},
          else: {:error, problem([], :invalid_value, "#{place(app, name)} is no keyword list")}

      :error ->
        message =
          "is #{inspect(app)}, and #{place(app, name)}, ... is not in its configuration; " <>
            "is it in config/runtime.exs, and for this environment?"

        {:error, problem([:otp_app], :not_configured, message)}
    end
  end

  defp fetch_environment(_app, nil), do: {:ok, []}

  defp fetch_environment(_app, _name) do
    message = "needs a name: that is an atom, to find the configuration by"
    {:error, problem([:otp_app], :conflict, message)}
  end

  defp place(app, name), do: "config #{inspect(app)}, #{inspect(name)}"

  # As `Config` itself does it: section by section, and option by option within.
  defp merge([], options), do: options

  defp merge(environment, options) do
    Keyword.merge(environment, options, fn
      section, below, above when section in @sections ->
        if Keyword.keyword?(below) and Keyword.keyword?(above),
          do: merge_section(section, below, above),
          else: above

      _option, _below, above ->
        above
    end)
  end

  defp merge_section(:tls, below, above), do: TLS.override(below, above)
  defp merge_section(:auth, below, above), do: Auth.override(below, above)
  defp merge_section(_section, below, above), do: Keyword.merge(below, above)

  @doc false
  # Options may be sealed or not. Reads files.
  @spec parse(term()) :: {:ok, t()} | {:error, ConfigError.t()}
  def parse(options) do
    {options, profile_problems} = Profile.put(options)
    {values, problems} = Options.check(options, Schema.general(), [], &Schema.misplaced/1)

    {contact_points, p1} = ContactPoint.parse(values.contact_points, values.port)
    {reconnect, p2} = Reconnect.parse(values.reconnect)
    {pool, p3} = Pool.parse(values.pool)
    {protocol, p4} = Protocol.parse(values.protocol)
    {tls, p5} = TLS.parse(values.tls)
    {auth, p6} = Auth.parse(values.auth, values.tls == false)
    {load_balancing, p7} = LoadBalancing.parse(values.load_balancing)
    {endpoint_resolver, p8} = EndpointResolver.parse(values.endpoint_resolver)
    {retry, p9} = Retry.parse(values.retry)
    {topology, p10} = Topology.parse(values.topology)
    {schema_agreement, p11} = SchemaAgreement.parse(values.schema_agreement, values.profile)
    {contact_points, p12} = VerifiedName.put(contact_points, tls && tls.verified_name)
    p13 = Auth.identity(auth, values.tls)
    {auth, p14} = Auth.within(auth, values.login_timeout)

    sections = [name(values.name), keyspace(values.keyspace), client_id(values.client_id)]

    parsed = [p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14]

    case profile_problems ++ problems ++ Enum.concat(sections ++ parsed) do
      [] ->
        config = %__MODULE__{
          name: values.name,
          otp_app: values.otp_app,
          profile: values.profile,
          region: Profile.region(options),
          contact_points: contact_points,
          keyspace: values.keyspace,
          local_datacenter: values.local_datacenter,
          load_balancing: load_balancing,
          endpoint_resolver: endpoint_resolver,
          topology: topology,
          schema_agreement: schema_agreement,
          consistency: values.consistency,
          client_timestamps: values.client_timestamps,
          timeouts: Timeouts.build(values),
          retry: retry,
          slow_query_threshold: values.slow_query_threshold,
          reconnect: reconnect,
          pool: pool,
          protocol: protocol,
          prepared_cache_size: values.prepared_cache_size,
          tls: tls,
          auth: auth,
          application_name: values.application_name,
          application_version: values.application_version,
          client_id: values.client_id || random_uuid()
        }

        {:ok, %{config | warnings: warnings(config)}}

      problems ->
        {:error, error(options, problems)}
    end
  end

  defp error(options, problems), do: %ConfigError{name: given_name(options), problems: problems}

  defp given_name(options) do
    with true <- Keyword.keyword?(options),
         name when is_atom(name) or elem(name, 0) == :via <- options[:name] do
      name
    else
      _ -> nil
    end
  end

  # `nil` already is a missing option.
  defp name(nil), do: []

  defp name({:via, module, _term}) when is_atom(module), do: []
  defp name(name) when is_atom(name) and not is_boolean(name), do: []

  defp name(_other) do
    message = "must be an atom, such as MyApp.DB, or {:via, module, term}"
    [problem([:name], :invalid_value, message)]
  end

  # It goes into a USE statement, between quotes.
  defp keyspace(nil), do: []

  defp keyspace(keyspace) do
    if keyspace =~ ~r/\A[A-Za-z0-9_]+\z/ do
      []
    else
      message = "must be letters, digits and _, without quotes, got: #{Options.show(keyspace)}"
      [problem([:keyspace], :invalid_value, message)]
    end
  end

  defp client_id(nil), do: []

  defp client_id(id) do
    if id =~ ~r/\A[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\z/i,
      do: [],
      else: [problem([:client_id], :invalid_value, "must be a UUID, got: #{Options.show(id)}")]
  end

  defp random_uuid do
    <<a::48, _::4, b::12, _::2, c::62>> = :crypto.strong_rand_bytes(16)

    <<time_low::binary-8, time_mid::binary-4, version::binary-4, variant::binary-4,
      node::binary-12>> = Base.encode16(<<a::48, 4::4, b::12, 2::2, c::62>>, case: :lower)

    Enum.join([time_low, time_mid, version, variant, node], "-")
  end

  # What is allowed, and yet worth a line in the log of whoever runs it.
  defp warnings(config) do
    exposed(config) ++ Profile.warnings(config.profile, config.consistency)
  end

  defp exposed(%{tls: nil} = config), do: TLS.warnings(nil) ++ Auth.warnings(config.auth)
  defp exposed(config), do: TLS.warnings(config.tls)

  @doc false
  # What `Palladion.Native` takes, and exactly that.
  @spec to_native(t()) :: map()
  def to_native(%__MODULE__{} = config) do
    %{
      name: inspect(config.name),
      contact_points: Enum.map(config.contact_points, &Map.from_struct/1),
      keyspace: config.keyspace,
      application_name: config.application_name,
      application_version: config.application_version,
      client_id: config.client_id,
      driver_version: @driver_version,
      pool_size: config.pool.size,
      max_handshakes: config.pool.max_handshakes,
      max_queue: config.pool.max_queue,
      max_in_flight: config.pool.max_in_flight,
      max_overflow: config.pool.max_overflow,
      max_waiters: config.pool.max_waiters,
      prepared_cache_size: config.prepared_cache_size,
      max_frame_size: config.protocol.max_frame_size,
      max_response_size: config.protocol.max_response_size,
      protocol_version: config.protocol.version,
      compression: config.protocol.compression,
      connect_timeout: config.timeouts.connect,
      tls_timeout: config.timeouts.tls,
      login_timeout: config.timeouts.login,
      heartbeat_interval: config.timeouts.heartbeat_interval,
      heartbeat_timeout: config.timeouts.heartbeat,
      reconnect_policy: Reconnect.native_policy(config.reconnect),
      reconnect_min: config.reconnect.min,
      reconnect_max: config.reconnect.max,
      tls: config.tls && TLS.to_native(config.tls),
      auth: config.auth && Auth.to_native(config.auth)
    }
  end

  @doc false
  # The documentation of all options, as Markdown for below a heading "# Options".
  @spec docs() :: String.t()
  def docs do
    Enum.map_join(Schema.sections(), "\n", fn
      {_title, nil, schema} -> Options.docs(schema)
      {title, place, schema} -> "## #{title}\n\n`#{place}`\n\n#{Options.docs(schema)}"
    end)
  end
end
