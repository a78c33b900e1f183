defmodule Palladion.Config.Parameters do
  @moduledoc false
  # Internal: what may be negotiated: versions of TLS, cipher suites, groups. Only what the
  # native library has can be named, and it has nothing that is unsafe.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.Options
  alias Palladion.ConfigError

  @type version :: :"tlsv1.2" | :"tlsv1.3"

  @typedoc "`nil` is all that there are"
  @type t :: %{
          versions: [version(), ...],
          cipher_suites: [String.t(), ...] | nil,
          groups: [String.t(), ...] | nil
        }

  @versions [:"tlsv1.2", :"tlsv1.3"]
  @insecure_versions [:sslv2, :sslv3, :tlsv1, :"tlsv1.0", :"tlsv1.1"]

  # IANA's name, OpenSSL's, and the version it is for.
  @suites [
    {"TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", :"tlsv1.3"},
    {"TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", :"tlsv1.3"},
    {"TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", :"tlsv1.3"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", :"tlsv1.2"},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", :"tlsv1.2"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305",
     :"tlsv1.2"},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", :"tlsv1.2"},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", :"tlsv1.2"},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", :"tlsv1.2"}
  ]

  @groups [:x25519, :secp256r1, :secp384r1, :x25519mlkem768]
  @foreign_groups [
    :x448,
    :secp521r1,
    :ffdhe2048,
    :ffdhe3072,
    :ffdhe4096,
    :ffdhe6144,
    :ffdhe8192,
    :secp256k1
  ]
  @group_synonyms %{
    prime256v1: :secp256r1,
    p256: :secp256r1,
    "P-256": :secp256r1,
    p384: :secp384r1,
    "P-384": :secp384r1,
    X25519MLKEM768: :x25519mlkem768
  }

  @doc false
  # By IANA's name.
  @spec cipher_names() :: [String.t(), ...]
  def cipher_names, do: for({iana, _openssl, _version} <- @suites, do: iana)

  @doc false
  @spec groups() :: [atom(), ...]
  def groups, do: @groups

  @doc false
  @spec parse(map()) :: {t(), [ConfigError.problem()]}
  def parse(values) do
    {versions, version_problems} = versions(values.versions)
    {suites, suite_problems} = ciphers(values.ciphers)
    {groups, group_problems} = supported_groups(values.supported_groups)

    parameters = %{versions: versions, cipher_suites: suites, groups: groups}

    case version_problems ++ suite_problems ++ group_problems do
      [] -> {parameters, without_version(parameters) ++ without_tls13(parameters)}
      problems -> {parameters, problems}
    end
  end

  # Versions

  defp versions([_ | _] = versions) do
    if List.improper?(versions), do: bad_versions(), else: check_versions(Enum.uniq(versions))
  end

  defp versions(_other), do: bad_versions()

  defp bad_versions do
    message = "must be a list of :\"tlsv1.2\" and :\"tlsv1.3\""
    {@versions, [problem([:tls, :versions], :invalid_value, message)]}
  end

  defp check_versions(versions) do
    case Enum.split_with(versions, &(&1 in @versions)) do
      {good, []} -> {Enum.sort(good), []}
      {_good, bad} -> {@versions, Enum.map(bad, &bad_version/1)}
    end
  end

  defp bad_version(version) when version in @insecure_versions do
    message =
      "#{inspect(version)} is refused: protocols older than TLS 1.2 are insecure and not " <>
        "implemented; enable TLS 1.2 or 1.3 on the server"

    problem([:tls, :versions], :insecure_version, message)
  end

  defp bad_version(version) do
    message = "#{Options.show(version)} is none of :\"tlsv1.2\" and :\"tlsv1.3\""
    problem([:tls, :versions], :invalid_value, message)
  end

  # Cipher suites

  defp ciphers(ciphers) do
    parse_list(ciphers, :ciphers, "names of cipher suites", fn name ->
      case text(name) do
        {:ok, text} -> cipher(text)
        :error -> {:error, :invalid_value, "#{Options.show(name)} is no name; #{cipher_forms()}"}
      end
    end)
  end

  defp text(name) when is_binary(name), do: {:ok, name}
  defp text(name), do: Options.charlist(name)

  defp cipher(name) do
    case Enum.find(@suites, fn {iana, openssl, _version} -> name in [iana, openssl] end) do
      {iana, _openssl, _version} -> {:ok, iana}
      nil -> {:error, unknown_cipher_reason(name), unknown_cipher(name)}
    end
  end

  defp unknown_cipher_reason(name) do
    cond do
      weakness(name) -> :insecure_cipher
      foreign_cipher?(name) -> :unsupported_cipher
      true -> :invalid_value
    end
  end

  defp unknown_cipher(name) do
    shown = Options.show(name)

    cond do
      why = weakness(name) ->
        "#{shown} is refused: #{why}; every server with TLS 1.2 or 1.3 has better ones"

      foreign_cipher?(name) ->
        "#{shown} is not implemented; #{cipher_forms()}"

      true ->
        "#{shown} is no cipher suite; #{suggestion(name) || cipher_forms()}"
    end
  end

  # In the order in which a name with several of these is best explained.
  defp weakness(name) do
    cond do
      name =~ "NULL" ->
        "it encrypts nothing"

      name =~ ~r/EXP(ORT)?[_-]/ ->
        "its keys are short enough to be guessed"

      name =~ ~r/anon|\A(ADH|AECDH)-/ ->
        "it authenticates no server"

      name =~ ~r/RC4|ARCFOUR/ ->
        "RC4 can be broken"

      name =~ "DES" ->
        "blocks of 64 bits give away content on long connections"

      name =~ ~r/\ATLS_(RSA|PSK)_|\A(AES|CAMELLIA|ARIA|SEED|IDEA|PSK)/ ->
        "without an ephemeral key, who gets the server's key later reads what was recorded"

      name =~ ~r/CBC|(AES|CAMELLIA|ARIA)\d+-SHA|SEED|IDEA/ ->
        "CBC mode has been attacked again and again by way of its padding"

      true ->
        nil
    end
  end

  # One that is there but for a typo is told as such.
  defp foreign_cipher?(name) do
    name =~ ~r/\A(TLS_)?(DHE|ECDHE|DH|ECDH|SRP|KRB5|SM4|AES)|\ATLS_(SHA|SM)|CCM/ and
      not near?(name)
  end

  defp near?(name) do
    String.valid?(name) and
      Enum.any?(all_cipher_names(), &(String.jaro_distance(&1, name) > 0.97))
  end

  defp suggestion(name), do: Options.suggestion(name, all_cipher_names())

  defp all_cipher_names do
    Enum.flat_map(@suites, fn {iana, openssl, _version} -> Enum.uniq([iana, openssl]) end)
  end

  defp cipher_forms, do: "there are #{Enum.join(cipher_names(), ", ")}"

  defp without_version(%{cipher_suites: nil}), do: []

  defp without_version(%{cipher_suites: suites, versions: versions}) do
    for {iana, _openssl, version} <- @suites, iana in suites, version not in versions do
      message =
        "#{inspect(iana)} would have no effect: it is for #{inspect(version)}, which is not in " <>
          "versions:"

      problem([:tls, :ciphers], :conflict, message)
    end
  end

  # Groups

  defp supported_groups(groups) do
    {groups, problems} = parse_list(groups, :supported_groups, "groups", &group/1)
    {groups && Enum.map(groups, &Atom.to_string/1), problems}
  end

  defp group(group) when group in @groups, do: {:ok, group}

  defp group(group) when group in @foreign_groups,
    do: {:error, :unsupported_group, "#{inspect(group)} is not implemented; #{group_forms()}"}

  defp group(group) when is_atom(group) or is_binary(group) do
    advice =
      case Enum.find(@group_synonyms, fn {other, _ours} -> "#{other}" == "#{group}" end) do
        {_other, ours} -> "did you mean #{inspect(ours)}?"
        nil -> Options.suggestion(group, @groups) || group_forms()
      end

    {:error, :invalid_value, "#{Options.show(group)} is no group; #{advice}"}
  end

  defp group(other),
    do: {:error, :invalid_value, "#{Options.show(other)} is no group; #{group_forms()}"}

  # TLS 1.2 has no such groups, so alone they would leave nothing to agree on.
  defp without_tls13(parameters) do
    if "x25519mlkem768" in (parameters.groups || []) and not tls13?(parameters) do
      message =
        ":x25519mlkem768 would have no effect: it is for TLS 1.3, which versions: or ciphers: " <>
          "leave out"

      [problem([:tls, :supported_groups], :conflict, message)]
    else
      []
    end
  end

  defp tls13?(%{versions: versions, cipher_suites: suites}) do
    :"tlsv1.3" in versions and
      Enum.any?(@suites, fn {iana, _openssl, version} ->
        version == :"tlsv1.3" and (suites == nil or iana in suites)
      end)
  end

  defp group_forms, do: "there are #{Enum.map_join(@groups, ", ", &inspect/1)}"

  # A list of names, each once, or `nil` for none given.
  defp parse_list(nil, _option, _what, _parse_one), do: {nil, []}

  defp parse_list([_ | _] = list, option, what, parse_one) do
    if List.improper?(list) or Options.charlist(list) != :error do
      {nil, [not_a_list(option, what)]}
    else
      results = Enum.map(list, parse_one)
      good = for {:ok, value} <- results, uniq: true, do: value

      problems =
        for {{:error, reason, message}, index} <- Enum.with_index(results),
            do: problem([:tls, option, index], reason, message)

      {if(problems == [], do: good), problems}
    end
  end

  defp parse_list(_other, option, what, _parse_one), do: {nil, [not_a_list(option, what)]}

  defp not_a_list(option, what),
    do: problem([:tls, option], :invalid_value, "must be a non-empty list of #{what}")
end
