defmodule Palladion.Doctor.Observations do
  @moduledoc false
  # Internal: everything that was seen of an endpoint, and what of the configuration it is judged
  # by. The steps of a report are made of this and of nothing else.

  alias Palladion.Config.Protocol

  @enforce_keys [:host, :port, :time, :settings]
  defstruct [
    :host,
    :port,
    :time,
    :settings,
    :address,
    resolution: {:error, :nxdomain},
    resolution_us: 0,
    dials: [],
    probes: [],
    old_versions: []
  ]

  @typedoc "`nil` is a probe without TLS"
  @type version :: :"tlsv1.3" | :"tlsv1.2" | nil

  @typedoc """
  What was configured: `verified_name` is the one for this endpoint, or `false`; `tls` is `false` where
  there is no TLS, and then the rest of it means nothing. `login` says whether there is `auth:`, and
  `by_certificate` that there is nothing to log in by but the client certificate.
  """
  @type settings :: %{
          tls: boolean(),
          verify: :peer | :none,
          verified_name: String.t() | false,
          versions: [version()],
          client_certificate: boolean(),
          session_cache: boolean(),
          expiry_warning: pos_integer() | nil,
          login: boolean(),
          by_certificate: boolean(),
          protocol: Protocol.t()
        }

  @typedoc """
  What `Palladion.Native.probe/2` reports; its `cql` has the `protocol_version` that it was asked with, too.
  """
  @type probe :: map()

  @typedoc "`address` is the one that was probed; `time` is in Unix seconds"
  @type t :: %__MODULE__{
          host: String.t(),
          port: :inet.port_number(),
          time: integer(),
          settings: settings(),
          address: String.t() | nil,
          resolution: {:ok, [String.t(), ...]} | {:error, atom()},
          resolution_us: non_neg_integer(),
          dials: [{String.t(), :ok | {:error, atom()}, non_neg_integer()}],
          probes: [{version(), probe()}],
          old_versions: [{:"tlsv1.1" | :tlsv1, :accepted | :refused | {:unknown, String.t()}}]
        }

  @doc false
  # Whether the server didn't pass the verification that was asked for, so that nothing was told to it.
  @spec refused?(t()) :: boolean()
  def refused?(%__MODULE__{} = seen) do
    seen.settings.verify == :peer and
      match?(%{tls: %{verdict: {_kind, _details}}}, main_probe(seen))
  end

  @doc false
  # The probe that stands for the endpoint: the one that came to CQL, or else the first that
  # finished its handshake.
  @spec main_probe(t()) :: probe() | nil
  def main_probe(%__MODULE__{probes: probes}) do
    reports = Keyword.values(probes)
    Enum.find(reports, & &1.cql) || Enum.find(reports, & &1.tls) || List.first(reports)
  end
end
