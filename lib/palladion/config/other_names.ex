defmodule Palladion.Config.OtherNames do
  @moduledoc false
  # Internal: what other drivers call our options.

  @names %{
    address_translation: "endpoint_resolver: ...",
    address_translator: "endpoint_resolver: ...",
    authentication: "auth: [...]",
    backoff_max: "reconnect: [max: ...]",
    backoff_min: "reconnect: [min: ...]",
    backoff_type: "reconnect: [policy: ...]",
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
    reconnection_policy: "reconnect: [policy: ...]",
    refresh_topology_interval: "topology: [refresh_interval: ...]",
    request_timeout: "timeout: ...",
    retry_policy: "retry: ...",
    retry_strategy: "retry: ...",
    schema_agreement_timeout: "schema_agreement: [timeout: ...]",
    ssl: "tls: true",
    ssl_options: "tls: [...]",
    transport_options: "tls: [...]"
  }

  # Not for a cluster: that no statement of an application may ever be executed twice with harm
  # is nothing that can be promised once.
  @idempotence "it is said with each request here, as idempotent: true"

  @doc false
  @spec hint(atom()) :: String.t() | nil
  def hint(name) when name in [:default_idempotence, :idempotence, :idempotent], do: @idempotence

  def hint(name) do
    case @names do
      %{^name => here} -> "it is called #{here} here"
      %{} -> nil
    end
  end
end
