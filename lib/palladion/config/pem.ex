defmodule Palladion.Config.Pem do
  @moduledoc false
  # Internal: files of certificates and keys, taken apart into blocks.
  #
  # `:public_key.pem_decode/1` is not used for the whole of a file: it raises for all of
  # it when one key in it is encrypted in a way that OTP doesn't know.

  alias Palladion.Config.Files

  @typedoc "One PEM block, or a DER file as a block with the label that fits it"
  @type block :: %{label: String.t(), text: String.t(), der: binary() | nil}

  @typedoc "A reason for `Palladion.ConfigError` and what to say after the file's name"
  @type failure :: {atom(), String.t()}

  @begin "-----BEGIN "
  @dashes "-----"
  @longest_label 64

  @doc false
  # Blocks, where a keystore is of no use.
  @spec read(Path.t()) :: {:ok, [block()]} | {:error, failure()}
  def read(path) do
    with {:pkcs12, _content} <- read_any(path) do
      {:error,
       {:unsupported_format,
        "is a PKCS#12 keystore, which only certfile: takes (alone, for it has the key too); make " <>
          "PEM of its certificates: openssl pkcs12 -in FILE -nokeys -out NEW.pem"}}
    end
  end

  @doc false
  # Blocks, or a PKCS#12 keystore as it is.
  @spec read_any(Path.t()) :: {:ok, [block()]} | {:pkcs12, binary()} | {:error, failure()}
  def read_any(path) do
    case Files.read(path) do
      {:ok, content} -> parse(content)
      {:error, reason} -> {:error, {:unreadable, Files.format_error(reason)}}
    end
  end

  @doc false
  @spec parse(binary()) :: {:ok, [block()]} | {:pkcs12, binary()} | {:error, failure()}
  def parse(content) do
    cond do
      String.trim(content) == "" ->
        {:error, {:empty_file, "is empty"}}

      String.contains?(content, @begin) ->
        parse_pem(content, [])

      true ->
        parse_der(content)
    end
  end

  # Without regular expressions, whose limits a long revocation list exceeds. A block that can't be
  # found whole is never left out: it could be the one that matters.
  defp parse_pem(content, blocks) do
    with {start, _} <- :binary.match(content, @begin),
         text = from(content, start),
         {:ok, block, rest} <- cut(text) do
      parse_pem(rest, [block | blocks])
    else
      :nomatch -> {:ok, Enum.reverse(blocks)}
      :error -> {:error, {:malformed, "is cut off: block #{length(blocks) + 1}"}}
    end
  end

  # The block that a text begins with, up to the end of the same label and before any other begin.
  defp cut(text) do
    with {:ok, label} <- label(from(text, byte_size(@begin))),
         first = byte_size(@begin <> label <> @dashes),
         last = "-----END #{label}-----",
         {found, size} <- :binary.match(text, last, scope(text, first)),
         body = binary_part(text, first, found - first),
         :nomatch <- :binary.match(body, @begin) do
      block = %{label: label, text: binary_part(text, 0, found + size), der: decode(body)}
      {:ok, block, from(text, found + size)}
    else
      _ -> :error
    end
  end

  defp label(text) do
    with {size, _} <- :binary.match(text, @dashes, scope(text, 0, @longest_label)),
         label = binary_part(text, 0, size),
         true <- label =~ ~r/\A[A-Z0-9 ]+\z/ do
      {:ok, label}
    else
      _ -> :error
    end
  end

  defp scope(text, start, most \\ :infinity),
    do: [scope: {start, min(byte_size(text) - start, most)}]

  defp from(text, start), do: binary_part(text, start, byte_size(text) - start)

  # `nil` for what is no Base64. The headers of old encrypted keys end with an empty line.
  defp decode(body) do
    body =
      case :binary.split(body, ["\n\n", "\n\r\n"]) do
        [headers, rest] -> if String.contains?(headers, ":"), do: rest, else: body
        [body] -> body
      end

    case Base.decode64(body, ignore: :whitespace) do
      {:ok, der} -> der
      :error -> nil
    end
  end

  defp parse_der(content) do
    case sniff(content) do
      {:ok, label} ->
        {:ok, [block(label, content)]}

      :pkcs12 ->
        {:pkcs12, content}

      :jks ->
        {:error,
         {:unsupported_format,
          "is a Java keystore; make PKCS#12 of it: keytool -importkeystore -srckeystore FILE " <>
            "-destkeystore NEW.p12 -deststoretype PKCS12, and where certificates alone are " <>
            "wanted, PEM of that: openssl pkcs12 -in NEW.p12 -nokeys -out NEW.pem"}}

      :error ->
        {:error, {:unsupported_format, "is neither PEM nor DER"}}
    end
  end

  @doc false
  # DER as the block that it is in a PEM file.
  @spec block(String.t(), binary()) :: block()
  def block(label, der), do: %{label: label, text: to_pem(label, der), der: der}

  @doc false
  # What is in a file, for a message.
  @spec labels([block()]) :: String.t()
  def labels(blocks), do: blocks |> Enum.map(& &1.label) |> Enum.uniq() |> Enum.join(", ")

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
        {0x30, signed, <<0x30, _::binary>>} -> {:ok, signed_label(signed)}
        _ -> :error
      end
    else
      _ -> :error
    end
  end

  # After version or number, algorithm and issuer, a certificate has the sequence of its dates; a
  # revocation list has the one date of its making, UTCTime or GeneralizedTime.
  defp signed_label(signed) do
    case tags(signed, 4) do
      [0x02, 0x30, 0x30, time] when time in [0x17, 0x18] -> "X509 CRL"
      [0x30, 0x30, time | _] when time in [0x17, 0x18] -> "X509 CRL"
      _ -> "CERTIFICATE"
    end
  end

  defp tags(_der, 0), do: []

  defp tags(der, count) do
    case open(der) do
      {tag, _content, rest} -> [tag | tags(rest, count - 1)]
      {tag, _content} -> [tag]
      :error -> []
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
