defmodule Palladion.Config.TLS do
  @moduledoc false
  # Internal: whom we trust, who we are, and which name a server must prove. Everything
  # that comes from a file is read here, once; what remains is DER.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Host, Identity, Options, Schema, Trust}
  alias Palladion.{ConfigError, Secret}

  @derive {Inspect, except: [:cacerts, :cert_chain, :key]}
  defstruct [
    :verify,
    :verified_name,
    :sni,
    :cacerts,
    :cert_chain,
    :key,
    :versions,
    :session_cache
  ]

  @typedoc """
  A verified name that is `nil` is the endpoint's own, and SNI that is `nil` the verified one.
  `false` is none: no name is checked, or no SNI sent.
  """
  @type t :: %__MODULE__{
          verify: :peer | :none,
          verified_name: Host.t() | nil | false,
          sni: String.t() | nil | false,
          cacerts: [binary()],
          cert_chain: [binary()],
          key: {:pkcs8 | :pkcs1 | :sec1, Secret.t()} | nil,
          versions: [:"tlsv1.2" | :"tlsv1.3", ...],
          session_cache: %{size: pos_integer(), ttl: pos_integer()} | nil
        }

  @supported [:"tlsv1.2", :"tlsv1.3"]
  @insecure [:sslv2, :sslv3, :tlsv1, :"tlsv1.0", :"tlsv1.1"]

  @doc false
  @spec parse(term(), (() -> [binary()]) | nil) :: {t() | nil, [ConfigError.problem()]}
  def parse(options, system_roots \\ nil)
  def parse(false, _system_roots), do: {nil, []}
  def parse(true, system_roots), do: parse([], system_roots)

  def parse(options, system_roots) do
    if Keyword.keyword?(options) do
      {values, problems} = Options.check(options, Schema.tls(), [:tls])
      {tls, more} = build(values, system_roots)
      {tls, problems ++ more}
    else
      # Not shown: there may be a password in it.
      {nil, [problem([:tls], :invalid_value, "must be true, false or a keyword list")]}
    end
  end

  defp build(values, system_roots) do
    {cacerts, trust_problems} =
      if system_roots, do: Trust.parse(values, system_roots), else: Trust.parse(values)

    {{chain, key}, identity_problems} = Identity.parse(values)
    {names, name_problems} = names(values)
    {versions, version_problems} = versions(values.versions)
    {cache, cache_problems} = session_cache(values.session_cache)

    tls = %__MODULE__{
      verify: if(values.verify == :verify_none, do: :none, else: :peer),
      verified_name: names.verified,
      sni: names.sni,
      cacerts: cacerts,
      cert_chain: chain,
      key: key,
      versions: versions,
      session_cache: cache
    }

    {tls,
     trust_problems ++
       identity_problems ++ name_problems ++ version_problems ++ cache_problems}
  end

  # Names

  defp names(values) do
    {sni, sni_problems} = sni(values.server_name_indication)
    {verified, verified_problems} = verified(values)
    # SNI, when given, is the verified name as well, as it is for :ssl.
    default = if sni == false, do: nil, else: sni

    {%{sni: sni, verified: if(verified == nil, do: default, else: verified)},
     sni_problems ++ verified_problems}
  end

  defp sni(nil), do: {nil, []}
  defp sni(:disable), do: {false, []}

  defp sni(name) do
    case Host.parse(name) do
      {:ok, text, :name} ->
        {text, []}

      {:ok, _text, :address} ->
        message =
          "can't be an IP address, which TLS doesn't send; to check for another address " <>
            "than the contact point's, give it as verify_hostname:"

        {nil, [problem([:tls, :server_name_indication], :invalid_name, message)]}

      {:error, text} ->
        {nil, [invalid_name(:server_name_indication, name, text, "a host name or :disable")]}
    end
  end

  defp verified(%{verify_hostname: nil}), do: {nil, []}
  defp verified(%{verify_hostname: false}), do: {false, []}

  defp verified(%{verify: :verify_none}) do
    message = "would have no effect with verify: :verify_none"
    {nil, [problem([:tls, :verify_hostname], :conflict, message)]}
  end

  defp verified(%{verify_hostname: name}) do
    case Host.parse(name) do
      {:ok, text, _kind} -> {text, []}
      {:error, text} -> {nil, [invalid_name(:verify_hostname, name, text, "a name or false")]}
    end
  end

  defp invalid_name(option, given, text, forms) do
    message = "#{Options.show(given)} #{text}; must be #{forms}"
    problem([:tls, option], :invalid_name, message)
  end

  # Versions

  defp versions([_ | _] = versions) do
    if List.improper?(versions), do: bad_versions(), else: check_versions(Enum.uniq(versions))
  end

  defp versions(_other), do: bad_versions()

  defp bad_versions do
    message = "must be a list of :\"tlsv1.2\" and :\"tlsv1.3\""
    {@supported, [problem([:tls, :versions], :invalid_value, message)]}
  end

  defp check_versions(versions) do
    case Enum.split_with(versions, &(&1 in @supported)) do
      {good, []} -> {Enum.sort(good), []}
      {_good, bad} -> {@supported, Enum.map(bad, &bad_version/1)}
    end
  end

  defp bad_version(version) when version in @insecure do
    message =
      "#{inspect(version)} is refused: protocols older than TLS 1.2 are insecure and not " <>
        "implemented; enable TLS 1.2 or 1.3 on the server"

    problem([:tls, :versions], :insecure_version, message)
  end

  defp bad_version(version) do
    message = "#{Options.show(version)} is none of :\"tlsv1.2\" and :\"tlsv1.3\""
    problem([:tls, :versions], :invalid_value, message)
  end

  # Session cache

  defp session_cache(false), do: {nil, []}

  defp session_cache(options) do
    Options.check(options, Schema.session_cache(), [:tls, :session_cache])
  end
end
