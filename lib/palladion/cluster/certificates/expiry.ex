defmodule Palladion.Cluster.Certificates.Expiry do
  @moduledoc false
  # Which certificates come near their end, and what is said about them. It computes; the time is
  # given to it.

  alias Palladion.Certificate
  alias Palladion.Config.{TLS, Trust}

  @day 86_400

  @typedoc "`subject` is `nil` for a server's, which is known by its endpoint; times are Unix seconds"
  @type certificate :: %{
          certificate: :client | :authority | :server,
          key: term(),
          subject: String.t() | nil,
          endpoint: String.t() | nil,
          not_after: integer()
        }

  @typedoc "When each certificate was told last"
  @type told :: %{(key :: term()) => integer()}

  @doc false
  # Our own with its intermediates, and the authorities that were configured. The system's are not
  # ours to renew, also where a file of them was named, and who has left one in that expired long
  # ago needs no word of it each day. `system_roots` is a parameter for the tests.
  @spec own(TLS.t(), loaded_at :: integer(), (() -> [binary()])) :: [certificate()]
  def own(tls, loaded_at, system_roots \\ &Trust.system_roots/0)
  def own(%{expiry_warning: false}, _loaded_at, _system_roots), do: []

  def own(tls, loaded_at, system_roots) do
    chain = for der <- tls.cert_chain, do: certificate(:client, der)

    authorities =
      for der <- authorities(tls, system_roots),
          %{not_after: at} = it when at >= loaded_at <- [certificate(:authority, der)],
          do: it

    # What can't be read has no end.
    Enum.filter(chain ++ authorities, & &1.not_after)
  end

  defp authorities(%{source: source, cacerts: cacerts}, system_roots) do
    configured? = source[:cacertfile] != nil or is_list(source[:cacerts])
    if configured?, do: cacerts -- system_roots.(), else: []
  end

  @doc false
  @spec server(endpoint :: String.t(), not_after :: integer()) :: certificate()
  def server(endpoint, not_after) do
    %{
      certificate: :server,
      key: {endpoint, not_after},
      subject: nil,
      endpoint: endpoint,
      not_after: not_after
    }
  end

  defp certificate(kind, der) do
    certificate = Certificate.read(der)

    %{
      certificate: kind,
      key: certificate.fingerprint,
      subject: certificate.subject || "",
      endpoint: nil,
      not_after: certificate.not_after
    }
  end

  @doc false
  # Those that end within so many days and were not told within the last, and when each of those
  # that still are to be remembered was told.
  @spec due([certificate()], told(), days :: number() | false, now :: integer()) ::
          {[certificate()], told()}
  def due(_certificates, told, false, _now), do: {[], told}

  def due(certificates, told, days, now) do
    told = told |> Enum.filter(fn {_key, at} -> now - at < @day end) |> Map.new()

    due =
      for %{not_after: not_after, key: key} = it <- certificates,
          not_after - now <= days * @day,
          not is_map_key(told, key),
          do: it

    due = Enum.uniq_by(due, & &1.key)
    {due, Map.merge(told, Map.new(due, &{&1.key, now}))}
  end

  @doc false
  # What happened, and what to do.
  @spec text(certificate(), now :: integer()) :: String.t()
  def text(certificate, now) do
    "#{what(certificate)} #{expires(certificate.not_after, now)}. #{advice(certificate)}"
  end

  defp what(%{certificate: :server, endpoint: endpoint}), do: "the certificate of #{endpoint}"
  defp what(%{certificate: :client} = it), do: "our own certificate (#{show(it.subject)})"
  defp what(%{certificate: :authority} = it), do: "the trusted authority #{show(it.subject)}"

  # It comes from a file or from the other side: it must not write lines of its own into a log.
  defp show(subject), do: inspect(subject, printable_limit: 200)

  defp expires(not_after, now) when not_after < now, do: "expired on #{date(not_after)}"

  defp expires(not_after, now) do
    case div(not_after - now, @day) do
      0 -> "expires within a day, on #{date(not_after)}"
      1 -> "expires in 1 day, on #{date(not_after)}"
      days -> "expires in #{days} days, on #{date(not_after)}"
    end
  end

  defp date(seconds) do
    case DateTime.from_unix(seconds) do
      {:ok, time} -> DateTime.to_string(time)
      {:error, _} -> "#{seconds}"
    end
  end

  defp advice(%{certificate: :server}),
    do: "Renew it on the server, or connections to it will be refused"

  defp advice(%{certificate: :client}) do
    "Put a new one in its place and call Palladion.reload_tls/2, or set tls: [watch_interval: ...]"
  end

  defp advice(%{certificate: :authority}) do
    "Servers whose certificates come from it will be refused; trust its successor as well and " <>
      "call Palladion.reload_tls/2"
  end

  @doc false
  @spec metadata(certificate()) :: map()
  def metadata(it), do: Map.take(it, [:certificate, :subject, :endpoint, :not_after])
end
