defmodule Palladion.Config.Revocation do
  @moduledoc false
  # Internal: lists of revoked certificates, as DER. They are decoded here to find out that they
  # can be; the native library judges by them.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{DerList, Pem}
  alias Palladion.ConfigError

  @type check :: :chain | :peer | :best_effort

  @label "X509 CRL"

  @wanted "v2 is wanted: give openssl ca -gencrl a configuration with crlnumber = FILE, or with " <>
            "crl_extensions = SECTION and in it authorityKeyIdentifier = keyid"

  @doc false
  @spec parse(map()) :: {{[binary()], check()}, [ConfigError.problem()]}
  def parse(values) do
    {crls, problems} = lists(values)
    {{crls, values.crl_check || :chain}, problems}
  end

  defp lists(%{crlfile: nil, crls: nil, crl_check: nil}), do: {[], []}

  defp lists(%{crlfile: nil, crls: nil}) do
    message = "would have no effect without crlfile: or crls:"
    {[], [problem([:tls, :crl_check], :conflict, message)]}
  end

  defp lists(%{crlfile: nil, crls: crls}) do
    DerList.parse(crls, &check/1, [:tls, :crls], "revocation lists")
  end

  defp lists(%{crlfile: file, crls: nil}),
    do: DerList.from_file(file, &from_blocks/1, [:tls, :crlfile])

  defp lists(_both),
    do: {[], [problem([:tls, :crls], :conflict, "can't be given together with crlfile:")]}

  defp from_blocks(blocks) do
    case for(%{label: @label, der: der} <- blocks, do: der) do
      [] -> {:error, {:no_crl, "has no revocation list in it, but #{Pem.labels(blocks)}"}}
      crls -> check_each(crls)
    end
  end

  defp check_each(crls) do
    problems =
      for {crl, number} <- Enum.with_index(crls, 1),
          kind = kind(crl),
          kind != :v2,
          do: {:error, in_file(kind, number)}

    List.first(problems, {:ok, crls})
  end

  defp in_file(:v1, number),
    do: {:unsupported_format, "has a revocation list of X.509 v1: number #{number}; #{@wanted}"}

  defp in_file(:unknown, number),
    do: {:malformed, "has a revocation list that can't be decoded: number #{number}"}

  defp check(der) do
    case kind(der) do
      :v2 ->
        :ok

      :v1 ->
        {:error, {:unsupported_format, "is of X.509 v1; #{@wanted}"}}

      :unknown ->
        {:error, {:malformed, "is no DER revocation list; a PEM file goes into crlfile:"}}
    end
  end

  defp kind(der) when is_binary(der) do
    {:CertificateList, tbs, _algorithm, _signature} =
      :public_key.der_decode(:CertificateList, der)

    # The first field is the version, which v1 doesn't have.
    if elem(tbs, 1) == :asn1_NOVALUE, do: :v1, else: :v2
  rescue
    _ -> :unknown
  end

  defp kind(_other), do: :unknown
end
