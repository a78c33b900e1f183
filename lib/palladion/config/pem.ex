defmodule Palladion.Config.Pem do
  @moduledoc false
  # Internal: files of certificates and keys, taken apart into blocks.
  #
  # `:public_key.pem_decode/1` is not used for the whole of a file: it raises for all of
  # it when one key in it is encrypted in a way that OTP doesn't know.

  @typedoc "One PEM block, or a DER file as a block with the label that fits it"
  @type block :: %{label: String.t(), text: String.t(), der: binary() | nil}

  @typedoc "A reason for `Palladion.ConfigError` and what to say after the file's name"
  @type failure :: {atom(), String.t()}

  @doc false
  @spec read(Path.t()) :: {:ok, [block()]} | {:error, failure()}
  def read(path) do
    case File.read(path) do
      {:ok, content} ->
        parse(content)

      {:error, posix} ->
        {:error, {:unreadable, "can't be read: #{:file.format_error(posix)}"}}
    end
  end

  @doc false
  @spec parse(binary()) :: {:ok, [block()]} | {:error, failure()}
  def parse(content) do
    cond do
      String.trim(content) == "" ->
        {:error, {:empty_file, "is empty"}}

      String.contains?(content, "-----BEGIN ") ->
        parse_pem(content)

      true ->
        parse_der(content)
    end
  end

  defp parse_pem(content) do
    blocks =
      ~r/-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----/s
      |> Regex.scan(content)
      |> Enum.map(fn [text, label, body] -> %{label: label, text: text, der: decode(body)} end)

    if blocks == [],
      do: {:error, {:malformed, "has a PEM header, but no complete block; is it cut off?"}},
      else: {:ok, blocks}
  end

  # `nil` for what is no Base64. The headers of old encrypted keys end with an empty line.
  defp decode(body) do
    body = body |> String.split(~r/\r?\n\r?\n/, parts: 2) |> List.last()

    case Base.decode64(body, ignore: :whitespace) do
      {:ok, der} -> der
      :error -> nil
    end
  end

  defp parse_der(content) do
    case sniff(content) do
      {:ok, label} ->
        {:ok, [%{label: label, text: to_pem(label, content), der: content}]}

      :pkcs12 ->
        {:error,
         {:unsupported_format,
          "is a PKCS#12 keystore, which is not supported yet; make PEM of it: " <>
            "openssl pkcs12 -in FILE -nodes -out NEW.pem"}}

      :jks ->
        {:error,
         {:unsupported_format,
          "is a Java keystore; make PEM of it: keytool -importkeystore -srckeystore FILE " <>
            "-destkeystore NEW.p12 -deststoretype PKCS12, then " <>
            "openssl pkcs12 -in NEW.p12 -nodes -out NEW.pem"}}

      :error ->
        {:error, {:unsupported_format, "is neither PEM nor DER"}}
    end
  end

  defp to_pem(label, der) do
    "-----BEGIN #{label}-----\n#{lines(Base.encode64(der))}-----END #{label}-----\n"
  end

  defp lines(<<line::binary-size(64), rest::binary>>), do: line <> "\n" <> lines(rest)
  defp lines(rest), do: rest <> "\n"

  # What a DER file holds shows in the first tags within its outer sequence.
  defp sniff(<<magic::32, _::binary>>) when magic in [0xFEEDFEED, 0xCECECECE], do: :jks

  defp sniff(der) do
    with {0x30, inner} <- open(der) do
      case open(inner) do
        {0x02, <<3>>, _} -> :pkcs12
        {0x02, _version, <<0x30, _::binary>>} -> {:ok, "PRIVATE KEY"}
        {0x02, _version, <<0x02, _::binary>>} -> {:ok, "RSA PRIVATE KEY"}
        {0x02, _version, <<0x04, _::binary>>} -> {:ok, "EC PRIVATE KEY"}
        {0x30, _algorithm, <<0x04, _::binary>>} -> {:ok, "ENCRYPTED PRIVATE KEY"}
        {0x30, _tbs_certificate, <<0x30, _::binary>>} -> {:ok, "CERTIFICATE"}
        _ -> :error
      end
    else
      _ -> :error
    end
  end

  # {tag, content, rest}, or {tag, content} when nothing follows.
  defp open(<<tag, 0::1, size::7, content::binary-size(size), rest::binary>>),
    do: opened(tag, content, rest)

  defp open(<<tag, 1::1, n::7, size::unit(8)-size(n), content::binary-size(size), rest::binary>>)
       when n in 1..4,
       do: opened(tag, content, rest)

  defp open(_other), do: :error

  defp opened(tag, content, ""), do: {tag, content}
  defp opened(tag, content, rest), do: {tag, content, rest}
end
