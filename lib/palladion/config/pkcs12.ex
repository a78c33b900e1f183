defmodule Palladion.Config.Pkcs12 do
  @moduledoc false
  # Internal: a certificate with its chain and key from a PKCS#12 keystore. The native library
  # reads it, and keeps the key.

  alias Palladion.Config.{Certificates, Pem}
  alias Palladion.{Native, Secret}

  @export "openssl pkcs12 -export -in CERTIFICATE -inkey KEY -out NEW.p12"

  @doc false
  # The chain, leaf first.
  @spec read(binary(), Secret.t() | nil) ::
          {:ok, [binary(), ...], {:pkcs8, Secret.t()}} | {:error, Pem.failure()}
  def read(content, password) do
    case Native.read_pkcs12(content, password && password.ref) do
      {:ok, {[_ | _] = chain, {:pkcs8, key}}} -> check(chain, %Secret{ref: key})
      {:error, {:wrong_password, _}} when password == nil -> {:error, missing_password()}
      {:error, {kind, details}} -> {:error, {kind, message(kind) <> detail(details)}}
    end
  end

  defp check(chain, key) do
    if Enum.all?(chain, &Certificates.valid?/1),
      do: {:ok, chain, {:pkcs8, key}},
      else: {:error, {:malformed, "has a certificate that can't be decoded"}}
  end

  defp missing_password,
    do: {:missing_password, "is encrypted, and no password: is given"}

  defp message(kind) do
    case kind do
      :wrong_password ->
        "can't be decrypted: the password: is wrong"

      :no_key ->
        "is a PKCS#12 keystore without a private key, as truststores are; make one with: " <>
          @export

      :no_certificate ->
        "is a PKCS#12 keystore without a certificate; make one with: " <> @export

      :ambiguous_key ->
        "has several private keys in it; take out the one that is meant: keytool " <>
          "-importkeystore -srckeystore FILE -srcalias ALIAS -destkeystore NEW.p12 " <>
          "-deststoretype PKCS12"

      :key_mismatch ->
        "has a key that doesn't belong to any of its certificates"

      :unsupported_encryption ->
        "is encrypted in a way that is not supported; rewrite it with: " <>
          "openssl pkcs12 -legacy -nodes -in FILE | openssl pkcs12 -export -out NEW.p12"

      _malformed ->
        "is a PKCS#12 keystore that can't be read; is it cut off?"
    end
  end

  defp detail(%{detail: detail}), do: " (#{detail})"
  defp detail(_details), do: ""
end
