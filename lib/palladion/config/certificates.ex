defmodule Palladion.Config.Certificates do
  @moduledoc false
  # Internal: certificates as DER. They are decoded here to find out that they can be; the
  # native library judges them at each handshake.

  alias Palladion.Config.Pem

  @ed25519 {1, 3, 101, 112}
  @labels ["CERTIFICATE", "X509 CERTIFICATE"]

  @doc false
  # All of a file's certificates, in their order.
  @spec from_blocks([Pem.block()]) :: {:ok, [binary(), ...]} | {:error, Pem.failure()}
  def from_blocks(blocks) do
    case Enum.filter(blocks, &(&1.label in @labels)) do
      [] -> {:error, {:no_certificate, "has no certificate in it, but #{Pem.labels(blocks)}"}}
      certificates -> decode_all(certificates)
    end
  end

  defp decode_all(blocks) do
    case Enum.find_index(blocks, &(not valid?(&1.der))) do
      nil ->
        {:ok, Enum.map(blocks, & &1.der)}

      index ->
        {:error, {:malformed, "has a certificate that can't be decoded: number #{index + 1}"}}
    end
  end

  @doc false
  @spec valid?(term()) :: boolean()
  def valid?(der) when is_binary(der) do
    :public_key.pkix_decode_cert(der, :plain)
    true
  rescue
    _ -> false
  end

  def valid?(_other), do: false

  @doc false
  # In the form that `:public_key.verify/4` takes.
  @spec public_key(binary()) :: {:ok, term()} | :error
  def public_key(der) do
    # Certificate -> TBSCertificate -> SubjectPublicKeyInfo. The plain form is used because
    # the other one also decodes extensions, which can fail where nobody needs them.
    case der |> :public_key.pkix_decode_cert(:plain) |> elem(1) |> elem(7) do
      # OTP 25 can't decode this one, for it has no parameters.
      {:SubjectPublicKeyInfo, {:AlgorithmIdentifier, @ed25519, _}, point} ->
        {:ok, {{:ECPoint, point}, {:namedCurve, @ed25519}}}

      info ->
        info_der = :public_key.der_encode(:SubjectPublicKeyInfo, info)
        {:ok, :public_key.pem_entry_decode({:SubjectPublicKeyInfo, info_der, :not_encrypted})}
    end
  rescue
    _ -> :error
  end
end
