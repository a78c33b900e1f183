defmodule Palladion.Config.TLS do
  @moduledoc false
  # Internal: whom we trust, who we are, and which name a server must prove. Everything
  # that comes from a file is read here; what remains is DER.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{
    Files,
    Identity,
    Options,
    OtherNames,
    Parameters,
    Revocation,
    Schema,
    Seal,
    Trust,
    VerifiedName
  }

  alias Palladion.{ConfigError, Secret}

  @derive {Inspect, except: [:cacerts, :crls, :cert_chain, :key, :files, :source]}
  defstruct [
    :verify,
    :verified_name,
    :sni,
    :cacerts,
    :pins,
    :crls,
    :crl_check,
    :cert_chain,
    :key,
    :versions,
    :cipher_suites,
    :groups,
    :key_log,
    :session_cache,
    :watch_interval,
    :expiry_warning,
    :files,
    :source
  ]

  @typedoc """
  A verified name that is `nil` is the endpoint's own, and SNI that is `nil` the verified one.
  `false` is none: no name is checked, or no SNI sent. A verified name can also be a rule, by
  which each endpoint has its own. Cipher suites and groups that are `nil` are all. `files` is what
  was read, with a hash of what was in it, and `source` the options, sealed: what to load again.
  """
  @type t :: %__MODULE__{
          verify: :peer | :none,
          verified_name: Palladion.VerifiedName.t(),
          sni: String.t() | nil | false,
          cacerts: [binary()],
          pins: [<<_::256>>],
          crls: [binary()],
          crl_check: Revocation.check(),
          cert_chain: [binary()],
          key: {:pkcs8 | :pkcs1 | :sec1, Secret.t()} | nil,
          versions: [:"tlsv1.2" | :"tlsv1.3", ...],
          cipher_suites: [String.t(), ...] | nil,
          groups: [String.t(), ...] | nil,
          key_log: Path.t() | nil,
          session_cache:
            %{size: pos_integer(), ttl: pos_integer(), max_lineage: pos_integer()} | nil,
          watch_interval: pos_integer() | nil,
          expiry_warning: pos_integer() | false,
          files: Files.contents(),
          source: keyword()
        }

  # Options that name files to read, and are worth looking at again.
  @files [:cacertfile, :crlfile, :certfile, :keyfile]

  # What says how connections are made, and not with what: nodes are found by it.
  @fixed [
    :verify,
    :verify_hostname,
    :server_name_indication,
    :session_cache,
    :watch_interval,
    :expiry_warning,
    :key_log
  ]

  # What is trusted can become other, but not more by leaving something out: without pins or lists
  # of revoked certificates less is checked, without authorities the system's are trusted, and
  # without versions or ciphers all of them.
  @trust [:cacertfile, :cacerts, :pinned, :crlfile, :crls, :crl_check, :versions, :ciphers]

  # One way to say something takes the place of the other.
  @instead [
    {[:cacertfile], [:cacerts]},
    {[:crlfile], [:crls]},
    {[:certfile, :keyfile, :password], [:cert, :key]}
  ]

  @doc false
  # Whether we have one to show.
  @spec certificate?(t()) :: boolean()
  def certificate?(%__MODULE__{key: key}), do: key != nil

  @doc false
  # Options may be sealed or not.
  @spec parse(term(), (() -> [binary()]) | nil) :: {t() | nil, [ConfigError.problem()]}
  def parse(options, system_roots \\ nil)
  def parse(false, _system_roots), do: {nil, []}
  def parse(true, system_roots), do: parse([], system_roots)

  def parse(options, system_roots) do
    if Keyword.keyword?(options) do
      {values, problems} = Options.check(options, Schema.TLS.options(), [:tls], &OtherNames.tls/1)
      {tls, more} = build(values, system_roots)
      {%{tls | source: Seal.seal_tls(options)}, problems ++ more}
    else
      # Not shown: there may be a password in it.
      {nil, [problem([:tls], :invalid_value, "must be true, false or a keyword list")]}
    end
  end

  @doc false
  # All once more, with changes over what was given, sealed or not. `nil` takes an option away,
  # where that doesn't take away a check. Reads files.
  @spec reload(t(), term(), (() -> [binary()]) | nil) ::
          {:ok, t()} | {:error, [ConfigError.problem(), ...]}
  def reload(%__MODULE__{} = tls, changes, system_roots \\ nil) do
    with :ok <- changeable(changes),
         {reloaded, []} <- tls.source |> merge(changes) |> parse(system_roots) do
      {:ok, reloaded}
    else
      {:error, problems} -> {:error, problems}
      {_tls, problems} -> {:error, problems}
    end
  end

  defp changeable(changes) do
    if Keyword.keyword?(changes) do
      fixed = for name <- @fixed, Keyword.has_key?(changes, name), do: needs_restart(name)
      taken_away = for {name, nil} <- changes, name in @trust, uniq: true, do: stays(name)
      if fixed ++ taken_away == [], do: :ok, else: {:error, fixed ++ taken_away}
    else
      {:error, [problem([:tls], :invalid_value, "must be a keyword list")]}
    end
  end

  defp needs_restart(name) do
    message = "can't be changed while the cluster runs: change the configuration and restart it"
    problem([:tls, name], :needs_restart, message)
  end

  defp stays(name) do
    message =
      "can't be taken away while the cluster runs: give another one, or change the " <>
        "configuration and restart it"

    problem([:tls, name], :invalid_value, message)
  end

  defp merge(source, changes) do
    given = for {name, value} <- changes, value != nil, do: name

    replaced =
      for {one, other} <- @instead ++ Enum.map(@instead, fn {one, other} -> {other, one} end),
          Enum.any?(one, &(&1 in given)),
          name <- other,
          do: name

    source |> Keyword.drop(replaced) |> Keyword.merge(changes)
  end

  # What means nothing with `verify: :verify_none`.
  @verified [:cacertfile, :cacerts, :pinned, :crlfile, :crls, :crl_check, :verify_hostname]

  @doc false
  # Options over those of an environment. The last word on whether servers are verified is theirs.
  @spec override(keyword(), keyword()) :: keyword()
  def override(below, above) do
    below |> Keyword.drop(overruled(below, above)) |> merge(above)
  end

  defp overruled(below, above) do
    cond do
      above[:verify] == :verify_none -> @verified
      below[:verify] == :verify_none and Enum.any?(@verified, &above[&1]) -> [:verify]
      true -> []
    end
  end

  defp build(values, system_roots) do
    # Looked at before they are read: what changes in between is found to have changed.
    files = Files.contents(for name <- @files, values[name] != nil, do: values[name])

    {trust, trust_problems} =
      if system_roots, do: Trust.parse(values, system_roots), else: Trust.parse(values)

    {{chain, key}, identity_problems} = Identity.parse(values)
    {names, name_problems} = VerifiedName.parse(values)
    {parameters, parameter_problems} = Parameters.parse(values)
    {cache, cache_problems} = session_cache(values.session_cache)

    tls = %__MODULE__{
      verify: if(values.verify == :verify_none, do: :none, else: :peer),
      verified_name: names.verified,
      sni: names.sni,
      cert_chain: chain,
      key: key,
      key_log: values.key_log,
      session_cache: cache,
      watch_interval: values.watch_interval,
      expiry_warning: values.expiry_warning,
      files: files
    }

    {tls |> struct!(trust) |> struct!(parameters),
     trust_problems ++
       identity_problems ++ name_problems ++ parameter_problems ++ cache_problems}
  end

  # Session cache

  defp session_cache(false), do: {nil, []}

  defp session_cache(options) do
    Options.check(options, Schema.TLS.session_cache(), [:tls, :session_cache])
  end

  # What becomes of it

  @doc false
  # What is allowed, and yet worth a line in the log of whoever runs it.
  @spec warnings(t() | nil) :: [{ConfigError.path(), String.t()}]
  def warnings(nil),
    do: [
      {[:tls], "TLS is off: whoever is on the way reads and changes requests and answers"}
    ]

  def warnings(%__MODULE__{} = tls), do: verification(tls) ++ key_log(tls)

  defp verification(%{verify: :none}) do
    [
      {[:tls, :verify],
       "the server's certificate is not verified: an attacker can take the server's place"}
    ]
  end

  defp verification(%{verified_name: false}) do
    [
      {[:tls, :verify_hostname],
       "the server's name is not checked: whoever has a certificate of the same authority " <>
         "can take its place"}
    ]
  end

  defp verification(_tls), do: []

  defp key_log(%{key_log: nil}), do: []

  defp key_log(%{key_log: file}) do
    [
      {[:tls, :key_log],
       "whoever reads #{inspect(file)} can decrypt all connections, passwords included: for " <>
         "debugging only"}
    ]
  end

  @only_here [:watch_interval, :expiry_warning, :files, :source]

  @doc false
  # What `Palladion.Native` takes, for a cluster and for a reload.
  @spec to_native(t()) :: map()
  def to_native(%__MODULE__{} = tls) do
    verified_name = VerifiedName.to_native(tls.verified_name)
    native = tls |> Map.from_struct() |> Map.drop(@only_here)
    %{native | key: native_key(tls.key), verified_name: verified_name}
  end

  defp native_key(nil), do: nil
  defp native_key({format, %Secret{ref: ref}}), do: {format, ref}
end
