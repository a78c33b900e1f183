defmodule Palladion.Config.PrivateKey do
  @moduledoc false
  # Internal: a client's private key, decrypted and as DER with the name of its format.
  #
  # OTP reads it, and does not say why it can't: a wrong password and a cipher that it
  # doesn't know are both a crash somewhere inside. What it was asked to do tells them apart.

  alias Palladion.Config.Pem

  @type format :: :pkcs8 | :pkcs1 | :sec1
  @type t :: %{format: format(), der: binary(), record: tuple()}

  @labels [
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY"
  ]

  @formats %{
    "PRIVATE KEY" => :pkcs8,
    "RSA PRIVATE KEY" => :pkcs1,
    "EC PRIVATE KEY" => :sec1
  }

  # As :ssl names them in its option `key:`.
  @types %{
    PrivateKeyInfo: "PRIVATE KEY",
    RSAPrivateKey: "RSA PRIVATE KEY",
    ECPrivateKey: "EC PRIVATE KEY"
  }

  @pbkdf2 {1, 2, 840, 113_549, 1, 5, 12}
  # By the names that OTP has for them. DES and RC2 are in it: whether they work depends on
  # the OpenSSL below, and a crash of theirs is told apart by its own error.
  @ciphers [
    ~c"AES-128-CBC",
    ~c"AES-192-CBC",
    ~c"AES-256-CBC",
    ~c"DES-EDE3-CBC",
    ~c"DES-CBC",
    ~c"RC2-CBC"
  ]

  @curves [
    # P-256, P-384, P-521
    {1, 2, 840, 10_045, 3, 1, 7},
    {1, 3, 132, 0, 34},
    {1, 3, 132, 0, 35}
  ]
  @ed25519 {1, 3, 101, 112}

  @rewrite "openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW.pem"

  @doc false
  # Whether a file has a key in it, of whatever kind.
  @spec any?([Pem.block()]) :: boolean()
  def any?(blocks), do: Enum.any?(blocks, &(&1.label in @labels))

  @doc false
  # A key that is not from a file, as the block that it would be there.
  @spec block(term(), term()) :: {:ok, Pem.block()} | :error
  def block(type, der) when is_map_key(@types, type) and is_binary(der),
    do: {:ok, Pem.block(@types[type], der)}

  def block(_type, _der), do: :error

  @doc false
  # What `block/2` takes, for a message.
  @spec forms() :: String.t()
  def forms do
    "must be {:RSAPrivateKey, der}, {:ECPrivateKey, der} or {:PrivateKeyInfo, der}, not " <>
      "encrypted, or a function that returns one; a file is for keyfile:"
  end

  @doc false
  @spec from_blocks([Pem.block()], String.t() | nil) :: {:ok, t()} | {:error, Pem.failure()}
  def from_blocks(blocks, password) do
    case Enum.filter(blocks, &(&1.label in @labels)) do
      [] -> {:error, {:no_key, "has no private key in it"}}
      [block] -> from_block(block, password)
      _ -> {:error, {:ambiguous_key, "has several private keys in it; leave one"}}
    end
  end

  defp from_block(%{label: label}, _password)
       when label in ["OPENSSH PRIVATE KEY", "DSA PRIVATE KEY"] do
    {:error,
     {:unsupported_key,
      "has a key of the kind #{label}, which TLS can't use here; " <>
        "take an RSA, ECDSA or Ed25519 key as PEM"}}
  end

  defp from_block(block, password) do
    case decode_pem(block.text) do
      {:ok, {_type, _der, :not_encrypted} = entry} -> plain(entry, block)
      {:ok, _entry} when password == nil -> {:error, missing_password()}
      {:ok, entry} -> decrypt(entry, password)
      :error when block.label == "ENCRYPTED PRIVATE KEY" -> {:error, unsupported_encryption()}
      :error -> {:error, malformed()}
    end
  end

  defp decode_pem(text) do
    case :public_key.pem_decode(text) do
      [{_, _, _} = entry] -> {:ok, entry}
      _ -> :error
    end
  rescue
    _ -> :error
  end

  defp plain(entry, block) do
    with {:ok, record} <- attempt(fn -> :public_key.pem_entry_decode(entry) end),
         :ok <- supported(record) do
      {:ok, %{format: Map.fetch!(@formats, block.label), der: elem(entry, 1), record: record}}
    else
      {:error, _} = error -> error
      _ -> {:error, malformed()}
    end
  end

  defp decrypt({_type, _der, cipher} = entry, password) do
    with {:ok, record} <- try_passwords(entry, spellings(password)),
         :ok <- supported(record) do
      {format, asn1} = encoding(record)
      {:ok, %{format: format, der: :public_key.der_encode(asn1, record), record: record}}
    else
      {:error, _} = error -> error
      :crash -> {:error, if(known?(cipher), do: wrong_password(), else: unsupported_encryption())}
      :not_supported -> {:error, unsupported_encryption()}
    end
  end

  # What is derived from are bytes; whether OTP takes a list's numbers for bytes or for
  # characters is not documented, and matters outside ASCII.
  defp spellings(password) do
    Enum.uniq([:binary.bin_to_list(password), String.to_charlist(password)])
  end

  defp try_passwords(entry, [password | others]) do
    case attempt(fn -> :public_key.pem_entry_decode(entry, password) end) do
      :crash when others != [] -> try_passwords(entry, others)
      result -> result
    end
  end

  # Nothing of what is raised goes on: there may be key material in it.
  defp attempt(fun) do
    {:ok, fun.()}
  catch
    :error, {:notsup, _, _} -> :not_supported
    _, _ -> :crash
  end

  # PBES2, the older PBES1, and the encrypted PEM of before PKCS#8.
  defp known?({cipher, {:"PBES2-params", derivation, _scheme}}),
    do: cipher in @ciphers and elem(derivation, 1) == @pbkdf2

  defp known?({cipher, _salt_or_parameters}), do: cipher in @ciphers
  defp known?(_other), do: false

  defp supported(record) do
    case kind(record) do
      {:rsa, bits} when bits < 2_048 ->
        {:error, {:unsupported_key, "has an RSA key of #{bits} bits; TLS needs 2048 at least"}}

      :unsupported ->
        {:error,
         {:unsupported_key,
          "has a key that TLS can't use here; take RSA, ECDSA on P-256, P-384 or P-521, " <>
            "or Ed25519"}}

      _ ->
        :ok
    end
  end

  defp kind(record) do
    case record do
      {:ECPrivateKey, _, _, {:namedCurve, curve}, _} when curve in @curves -> :ecdsa
      {:ECPrivateKey, _, _, {:namedCurve, curve}, _, _} when curve in @curves -> :ecdsa
      {:ECPrivateKey, _, _, {:namedCurve, @ed25519}, _} -> :ed25519
      {:ECPrivateKey, _, _, {:namedCurve, @ed25519}, _, _} -> :ed25519
      _ when elem(record, 0) == :RSAPrivateKey -> {:rsa, bits(elem(record, 2))}
      _ -> :unsupported
    end
  end

  # Not by all of its digits, which takes hours for a number that is made for it.
  defp bits(modulus) when modulus > 0 do
    <<first, rest::binary>> = :binary.encode_unsigned(modulus)
    length(Integer.digits(first, 2)) + 8 * byte_size(rest)
  end

  defp bits(_negative), do: 0

  defp encoding(record) do
    case kind(record) do
      {:rsa, _bits} -> {:pkcs1, :RSAPrivateKey}
      :ecdsa -> {:sec1, :ECPrivateKey}
      :ed25519 -> {:pkcs8, :PrivateKeyInfo}
    end
  end

  @doc false
  # Whether a certificate's public key belongs to this private one: it verifies what this
  # one signs. So keys of any kind are compared without taking them apart.
  @spec matches?(t(), term()) :: boolean()
  def matches?(key, public_key) do
    digest = if kind(key.record) == :ed25519, do: :none, else: :sha256
    message = "palladion"

    result =
      attempt(fn ->
        signature = :public_key.sign(message, digest, key.record)
        :public_key.verify(message, digest, signature, public_key)
      end)

    result == {:ok, true}
  end

  defp malformed, do: {:malformed, "has a private key that can't be decoded"}

  defp missing_password,
    do: {:missing_password, "has an encrypted key, and no password: is given"}

  defp wrong_password, do: {:wrong_password, "can't be decrypted: the password: is wrong"}

  defp unsupported_encryption do
    {:unsupported_encryption,
     "has a key that is encrypted in a way that Erlang can't read; rewrite it with: #{@rewrite}"}
  end
end
