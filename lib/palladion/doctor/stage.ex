defmodule Palladion.Doctor.Stage do
  @moduledoc false
  # Internal: which step of a report an error belongs to.

  @stages [
    dns: [:dns_failed],
    tcp: [:connection_refused, :unreachable, :connect_timeout, :connect_failed],
    tls: [
      :not_tls,
      :server_requires_tls,
      :tls_timeout,
      :tls_version,
      :tls_alert,
      :tls_failed,
      :cipher_mismatch
    ],
    trust: [
      :unknown_ca,
      :certificate_self_signed,
      :certificate_expired,
      :certificate_not_yet_valid,
      :certificate_invalid,
      :certificate_v1,
      :certificate_revoked,
      :revocation_unknown,
      :pin_mismatch
    ],
    name: [:name_mismatch, :address_mismatch, :no_subject_alt_name],
    client_certificate: [:client_certificate_missing, :certificate_rejected],
    protocol: [:unsupported_protocol, :protocol_error],
    login: [
      :bad_credentials,
      :unknown_authenticator,
      :auth_required,
      :auth_not_requested,
      :challenge_malformed,
      :server_not_authentic,
      :mechanism_refused,
      :signature_refused,
      :credentials_missing,
      :credentials_failed,
      :credentials_timeout,
      :credentials_expired,
      :credentials_invalid,
      :authenticator_failed,
      :authenticator_timeout
    ]
  ]

  @by_kind for {stage, kinds} <- @stages, kind <- kinds, into: %{}, do: {kind, stage}

  @doc false
  # An error that can come at any time, such as a lost connection, belongs to what was under way.
  @spec of(atom(), map(), tls? :: boolean()) :: atom()
  def of(kind, probe, tls?) do
    Map.get_lazy(@by_kind, kind, fn -> under_way(probe, tls?) end)
  end

  defp under_way(%{connect_us: nil}, _tls?), do: :tcp
  defp under_way(%{tls: nil}, true), do: :tls
  defp under_way(%{cql: %{supported: supported}}, _tls?) when supported != %{}, do: :login
  defp under_way(_probe, _tls?), do: :protocol
end
