defmodule Palladion.Config.OtherNames do
  @moduledoc false
  # Internal: what other drivers, and Erlang's :ssl, call our options.

  @names %{
    address_translation: "endpoint_resolver: ...",
    address_translator: "endpoint_resolver: ...",
    auth_provider: "auth: [...]",
    authentication: "auth: [...]",
    authenticator_class: "auth: [allowed_authenticators: [...]]",
    aws_access_key_id: "auth: [sigv4: [access_key_id: ...]]",
    aws_region: "auth: [sigv4: [region: ...]]",
    aws_secret_access_key: "auth: [sigv4: [secret_access_key: ...]]",
    aws_session_token: "auth: [sigv4: [session_token: ...]]",
    backoff_max: "reconnect: [max: ...]",
    backoff_min: "reconnect: [min: ...]",
    backoff_type: "reconnect: [policy: ...]",
    boto_session: "auth: [sigv4: ...]",
    compressor: "protocol: [compression: :lz4] or [compression: :snappy]",
    encryption: "tls: true",
    endpoint_factory: "endpoint_resolver: ...",
    hosts: "contact_points: [...]",
    host: "contact_points: [...]",
    hostname: "contact_points: [...]",
    load_balancing_policy: "load_balancing: ...",
    local_dc: "local_datacenter: ...",
    max_schema_agreement_wait: "schema_agreement: [timeout: ...]",
    nodes: "contact_points: [...]",
    per_attempt_timeout: "attempt_timeout: ...",
    pool_size: "pool: [size: ...]",
    protocol_version: "protocol: [version: ...]",
    region: "auth: [sigv4: [region: ...]]",
    reconnection_policy: "reconnect: [policy: ...]",
    region_name: "auth: [sigv4: [region: ...]]",
    refresh_topology_interval: "topology: [refresh_interval: ...]",
    request_timeout: "timeout: ...",
    retry_policy: "retry: ...",
    retry_strategy: "retry: ...",
    sasl_kwargs: "auth: [mechanism: ..., username: ..., password: ...]",
    schema_agreement_timeout: "schema_agreement: [timeout: ...]",
    ssl: "tls: true",
    ssl_context: "tls: [...]",
    ssl_options: "tls: [...]",
    ssl_opts: "tls: [...]",
    timestamp_generator: "client_timestamps: ...",
    tls_options: "tls: [...]",
    tls_session_cache_enabled: "tls: [session_cache: false] or [...]",
    tls_session_cache_size: "tls: [session_cache: [size: ...]]",
    tls_session_cache_ttl: "tls: [session_cache: [ttl: ...]]",
    transport_options: "tls: [...]",
    use_client_timestamp: "client_timestamps: ..."
  }

  # Within tls:, what :ssl and the Python drivers have there.
  @tls_names %{
    ca: "cacertfile: ...",
    ca_cert: "cacertfile: ...",
    ca_certs: "cacertfile: ...",
    cafile: "cacertfile: ...",
    cadata: "cacerts: [...]",
    cert_file: "certfile: ...",
    certs_keys: "cert: ... and key: ...",
    cert_reqs: "verify: :verify_peer or :verify_none",
    cipher_suites: "ciphers: [...]",
    crl_cache: "crlfile: ... or crls: [...]",
    eccs: "supported_groups: [...]",
    fingerprint: "pinned: ...",
    fingerprints: "pinned: [...]",
    groups: "supported_groups: [...]",
    hostname: "verify_hostname: ...",
    key_file: "keyfile: ...",
    keylog_filename: "key_log: ...",
    key_password: "password: ...",
    load_verify_locations: "cacertfile: ...",
    passphrase: "password: ...",
    pin: "pinned: ...",
    pins: "pinned: [...]",
    server_hostname: "verify_hostname: ... (or server_name_indication: ...)",
    server_name: "server_name_indication: ...",
    sni: "server_name_indication: ...",
    ssl_version: "versions: [...]",
    tls_session_cache_enabled: "session_cache: false or [...]",
    tls_session_cache_size: "session_cache: [size: ...]",
    tls_session_cache_ttl: "session_cache: [ttl: ...]",
    verify_mode: "verify: :verify_peer or :verify_none"
  }

  # Within protocol:.
  @protocol_names %{
    compressor: "compression: :lz4 or :snappy",
    protocol_version: "version: ..."
  }

  @no_callback "there is no callback in a handshake; pinned:, cacerts: and verify_hostname: say " <>
                 "which servers are taken"
  @resumption "sessions are resumed by themselves; session_cache: says how, or turns it off"

  # What needs more than another name.
  @tls_hints %{
    alpn_advertised_protocols: "CQL has no protocol name to negotiate; leave it out",
    alpn_preferred_protocols: "it is for servers; leave it out",
    anti_replay: "it is for servers; leave it out",
    check_hostname: "the name is checked unless verify_hostname: is false",
    customize_hostname_check: "#{@no_callback}; wildcards are matched as in HTTPS",
    depth: "chains are bounded by the TLS library; leave it out",
    early_data: "nothing is sent before the handshake is finished; leave it out",
    fail_if_no_peer_cert: "it is for servers; leave it out",
    handshake_timeout: "tls_timeout: is the limit, beside tls:",
    honor_cipher_order: "it is for servers; ciphers: is in order of preference",
    keep_secrets: "key_log: writes the keys to a file, for debugging only",
    log_level: "failures are told by status/1, telemetry and the log",
    partial_chain: "trust an intermediate with cacerts:, or a server's certificate with pinned:",
    reuse_session: @resumption,
    reuse_sessions: @resumption,
    secure_renegotiate: "connections are never renegotiated; leave it out",
    session_tickets: @resumption,
    signature_algs: "only safe ones are offered; leave it out",
    signature_algs_cert: "only safe ones are offered; leave it out",
    ssl_context: "write its settings here: cacertfile:, certfile:, keyfile:, verify:, versions:",
    use_ticket: @resumption,
    verify_fun: @no_callback
  }

  # Within auth:, what other drivers and libraries of SASL have there.
  @auth_names %{
    access_key_id: "sigv4: [access_key_id: ...]",
    allow_plaintext: "allow_plaintext_password: true",
    auth_provider: "authenticator: ...",
    authenticator_class: "allowed_authenticators: [...]",
    authenticator_classes: "allowed_authenticators: [...]",
    authorization: "authorization_id: ...",
    authzid: "authorization_id: ...",
    aws_access_key_id: "sigv4: [access_key_id: ...]",
    aws_secret_access_key: "sigv4: [secret_access_key: ...]",
    aws_session_token: "sigv4: [session_token: ...]",
    boto_session: "sigv4: ...",
    credentials_file: "credentials: {:file, path}",
    login: "username: ...",
    password_file: "password: {:file, path}",
    profile: "sigv4: [profile: ...]",
    proxy_user: "authorization_id: ...",
    region: "sigv4: [region: ...]",
    region_name: "sigv4: [region: ...]",
    role: "username: ...",
    sasl_mechanism: "mechanism: ...",
    secret_access_key: "sigv4: [secret_access_key: ...]",
    session_token: "sigv4: [session_token: ...]",
    user: "username: ...",
    username_file: "username: {:file, path}"
  }

  # Within sigv4:, those of the AWS SDKs.
  @sigv4_names %{
    aws_access_key_id: "access_key_id: ...",
    aws_secret_access_key: "secret_access_key: ...",
    aws_session_token: "session_token: ...",
    aws_region: "region: ...",
    credential_provider: "credentials: ...",
    credentials_provider: "credentials: ...",
    default_region: "region: ...",
    expiration: "expires_at: ..., returned by the function of credentials:,",
    profile_name: "profile: ...",
    region_name: "region: ...",
    secret_key: "secret_access_key: ...",
    security_token: "session_token: ...",
    token: "session_token: ..."
  }

  @session "a session is not needed; leave it out for AWS's default chain, or give " <>
             "credentials: a function"
  @password_is_built_in "username: and password: are all that it needs"

  # As modules of Elixir would be called: by the last part of their names.
  @authenticators %{
    "PlainTextAuthProvider" => @password_is_built_in,
    "PlainTextAuthenticator" => @password_is_built_in,
    "PasswordAuthenticator" => @password_is_built_in,
    "Password" => @password_is_built_in,
    "SaslAuthProvider" => "mechanism: has those of SASL, with username: and password:",
    "SaslAuthenticator" => "mechanism: has those of SASL, with username: and password:",
    "SigV4AuthProvider" => "sigv4: is what there is for it"
  }

  # Not for a cluster: that no statement of an application may ever be executed twice with harm
  # is nothing that can be promised once.
  @idempotence "it is said with each request here, as idempotent: true"

  @doc false
  # For an option at the top.
  @spec hint(atom()) :: String.t() | nil
  def hint(name) when name in [:lz4, :snappy],
    do: "it is called protocol: [compression: #{inspect(name)}] here"

  def hint(name) when name in [:default_idempotence, :idempotence, :idempotent], do: @idempotence

  def hint(name), do: called(@names, name)

  @doc false
  # For an option within protocol:.
  @spec protocol(atom()) :: String.t() | nil
  def protocol(name) when name in [:lz4, :snappy],
    do: "it is called compression: #{inspect(name)} here"

  def protocol(name), do: called(@protocol_names, name)

  @doc false
  # For an option within tls:.
  @spec tls(atom()) :: String.t() | nil
  def tls(name), do: called(@tls_names, name) || @tls_hints[name]

  @doc false
  # For an option within auth:.
  @spec auth(atom()) :: String.t() | nil
  def auth(name), do: called(@auth_names, name)

  @doc false
  # For an option within auth: [sigv4: ...].
  @spec sigv4(atom()) :: String.t() | nil
  def sigv4(name) when name in [:boto_session, :session, :boto3_session], do: @session
  def sigv4(name), do: called(@sigv4_names, name)

  @doc false
  # For a module that there is not.
  @spec authenticator(module()) :: String.t() | nil
  def authenticator(module),
    do: @authenticators[module |> Atom.to_string() |> String.split(".") |> List.last()]

  defp called(names, name) do
    case names do
      %{^name => here} -> "it is called #{here} here"
      %{} -> nil
    end
  end
end
