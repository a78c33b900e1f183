defmodule Palladion.Certificate do
  @moduledoc false
  # Internal: what a reader wants to know of a certificate. Whatever a server sends is taken:
  # what can't be decoded is `nil`, and the rest is there all the same.

  #
  # OTP's plain form is used, for the other one fails where one thing is wrong. Since OTP 28 parts of
  # it are decoded that were DER before: both are taken.

  alias Palladion.Certificate.DistinguishedName
  alias Palladion.Printable

  @subject_alt_name {2, 5, 29, 17}
  @rsa {1, 2, 840, 113_549, 1, 1, 1}
  @ec {1, 2, 840, 10_045, 2, 1}
  @other_keys %{
    {1, 2, 840, 113_549, 1, 1, 10} => "RSA-PSS",
    {1, 3, 101, 112} => "Ed25519",
    {1, 3, 101, 113} => "Ed448",
    {1, 2, 840, 10_040, 4, 1} => "DSA"
  }
  # The names that TLS has for them.
  @curves %{prime256v1: "secp256r1", secp256r1: "secp256r1"}

  @enforce_keys [:fingerprint]
  defstruct [
    :fingerprint,
    :version,
    :subject,
    :issuer,
    :self_issued?,
    :key,
    :not_before,
    :not_after,
    names: []
  ]

  @typedoc """
  `fingerprint` is the SHA-256 of the whole, as `pinned:` takes it; `names` are the subject
  alternative names with their kinds; the times are in Unix seconds.
  """
  @type t :: %__MODULE__{
          fingerprint: String.t(),
          version: 1..3 | nil,
          subject: String.t() | nil,
          issuer: String.t() | nil,
          self_issued?: boolean() | nil,
          key: String.t() | nil,
          not_before: integer() | nil,
          not_after: integer() | nil,
          names: [{:dns | :ip | :uri, String.t()}]
        }

  @doc false
  @spec read(binary()) :: t()
  def read(der) do
    certificate = %__MODULE__{fingerprint: fingerprint(der)}

    case attempt(fn -> :public_key.pkix_decode_cert(der, :plain) end) do
      {:Certificate, tbs, _algorithm, _signature} -> read_parts(certificate, tbs)
      _ -> certificate
    end
  end

  @doc false
  # Whole days, as long as it is, or since it was.
  @spec validity(t(), integer()) ::
          {:left, non_neg_integer()} | {:expired, non_neg_integer()} | :not_yet | :unknown
  def validity(%__MODULE__{not_before: from, not_after: until}, now) do
    cond do
      from == nil or until == nil -> :unknown
      now > until -> {:expired, div(now - until, 86_400)}
      now < from -> :not_yet
      true -> {:left, div(until - now, 86_400)}
    end
  end

  @doc false
  # Whole days; negative when it has expired.
  @spec days_left(t(), integer()) :: integer() | nil
  def days_left(%__MODULE__{not_after: nil}, _now), do: nil
  def days_left(%__MODULE__{not_after: time}, now), do: Integer.floor_div(time - now, 86_400)

  defp fingerprint(der), do: :crypto.hash(:sha256, der) |> Base.encode16(case: :lower)

  defp read_parts(
         certificate,
         {:TBSCertificate, version, _serial, _algorithm, issuer, validity, subject, key_info,
          _issuer_id, _subject_id, extensions}
       ) do
    {not_before, not_after} = validity(validity)

    %{
      certificate
      | version: version(version),
        subject: attempt(fn -> DistinguishedName.format(subject) end),
        issuer: attempt(fn -> DistinguishedName.format(issuer) end),
        self_issued?: issuer == subject,
        key: attempt(fn -> key(key_info) end),
        not_before: not_before,
        not_after: not_after,
        names: attempt(fn -> names(extensions) end) || []
    }
  end

  defp read_parts(certificate, _other), do: certificate

  defp attempt(fun) do
    fun.()
  rescue
    _ -> nil
  catch
    _, _ -> nil
  end

  # A default is a number, and depends on OTP's version.
  defp version(number) when number in 0..2, do: number + 1
  defp version(:v1), do: 1
  defp version(:v2), do: 2
  defp version(:v3), do: 3
  defp version(_other), do: nil

  # Keys

  defp key({:SubjectPublicKeyInfo, {:AlgorithmIdentifier, @rsa, _}, key}) do
    {:RSAPublicKey, modulus, _exponent} = :public_key.der_decode(:RSAPublicKey, key)
    "RSA #{bits(modulus)}"
  end

  defp key({:SubjectPublicKeyInfo, {:AlgorithmIdentifier, @ec, parameters}, _key}) do
    case attempt(fn -> curve_parameters(parameters) end) do
      {:namedCurve, oid} -> "ECDSA #{curve(oid)}"
      _ -> "ECDSA"
    end
  end

  defp key({:SubjectPublicKeyInfo, {:AlgorithmIdentifier, oid, _}, _key}),
    do: Map.get_lazy(@other_keys, oid, fn -> DistinguishedName.oid(oid) end)

  # By its bytes: a server may send a number of half a million digits.
  defp bits(number) do
    <<first, rest::binary>> = :binary.encode_unsigned(number)
    length(Integer.digits(first, 2)) + 8 * byte_size(rest)
  end

  defp curve_parameters(der) when is_binary(der),
    do: :public_key.der_decode(:EcpkParameters, der)

  defp curve_parameters(decoded), do: decoded

  defp curve(oid) do
    case attempt(fn -> :pubkey_cert_records.namedCurves(oid) end) do
      name when is_atom(name) and name != nil -> Map.get(@curves, name, Atom.to_string(name))
      _ -> DistinguishedName.oid(oid)
    end
  end

  # Names

  defp names(extensions) when is_list(extensions) do
    for {:Extension, @subject_alt_name, _critical, der} <- extensions,
        name <- alternative_names(der),
        {_kind, _text} = named <- [name(name)],
        do: named
  end

  defp names(_none), do: []

  defp alternative_names(der) when is_binary(der),
    do: :public_key.der_decode(:SubjectAltName, der)

  defp alternative_names(decoded), do: decoded

  defp name({:dNSName, name}), do: {:dns, text(name)}

  defp name({:uniformResourceIdentifier, uri}), do: {:uri, text(uri)}
  defp name({:iPAddress, bytes}), do: {:ip, address(IO.iodata_to_binary(bytes))}
  defp name(_other), do: nil

  defp text(latin1) do
    latin1 |> :unicode.characters_to_binary(:latin1) |> Printable.cut() |> Printable.escape()
  end

  defp address(<<a, b, c, d>>), do: ntoa({a, b, c, d})

  defp address(<<parts::binary-16>>) do
    ntoa(List.to_tuple(for <<part::16 <- parts>>, do: part))
  end

  defp address(bytes), do: "##{Base.encode16(bytes, case: :lower)}"

  defp ntoa(address), do: address |> :inet.ntoa() |> List.to_string()

  # Dates

  defp validity({:Validity, not_before, not_after}), do: {time(not_before), time(not_after)}
  defp validity(_other), do: {nil, nil}

  # RFC 5280: years of two digits are 1950 to 2049.
  defp time({:utcTime, [tens | _] = text}) do
    century = if tens >= ?5, do: ~c"19", else: ~c"20"
    time({:generalTime, century ++ text})
  end

  defp time({_kind, text}) do
    with <<year::binary-4, month::binary-2, day::binary-2, hour::binary-2, minute::binary-2,
           second::binary-2, "Z">> <- List.to_string(text),
         {:ok, time, 0} <-
           DateTime.from_iso8601("#{year}-#{month}-#{day}T#{hour}:#{minute}:#{second}Z") do
      DateTime.to_unix(time)
    else
      _ -> nil
    end
  end

  defp time(_other), do: nil
end
