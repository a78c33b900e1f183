defmodule Palladion.Certificate.DistinguishedName do
  @moduledoc false
  # Internal: the names of subjects and issuers as text, in the manner of RFC 2253: the most
  # particular part first, special characters escaped, and those that don't print.

  alias Palladion.Printable

  @types %{
    {2, 5, 4, 3} => "CN",
    {2, 5, 4, 5} => "serialNumber",
    {2, 5, 4, 6} => "C",
    {2, 5, 4, 7} => "L",
    {2, 5, 4, 8} => "ST",
    {2, 5, 4, 9} => "STREET",
    {2, 5, 4, 10} => "O",
    {2, 5, 4, 11} => "OU",
    {0, 9, 2342, 19_200_300, 100, 1, 1} => "UID",
    {0, 9, 2342, 19_200_300, 100, 1, 25} => "DC",
    {1, 2, 840, 113_549, 1, 9, 1} => "emailAddress"
  }

  @doc false
  # As `:public_key.pkix_decode_cert(der, :plain)` has it: values are DER, and since OTP 28 decoded
  # where their type is known.
  @spec format(term()) :: String.t()
  def format({:rdnSequence, parts}) do
    parts |> Enum.reverse() |> Enum.map_join(",", &Enum.map_join(&1, "+", fn a -> pair(a) end))
  end

  @doc false
  @spec oid(tuple()) :: String.t()
  def oid(oid), do: oid |> Tuple.to_list() |> Enum.join(".")

  defp pair({:AttributeTypeAndValue, type, value}) do
    "#{Map.get_lazy(@types, type, fn -> oid(type) end)}=#{value(value)}"
  end

  defp value({:asn1_OPENTYPE, der}), do: value(der)

  defp value(der) when is_binary(der) do
    case text(der) do
      {:ok, text} -> quoted(text)
      :error -> "##{Base.encode16(der, case: :lower)}"
    end
  end

  defp value({:utf8String, text}), do: quoted(text)
  defp value({:bmpString, text}), do: text |> wide() |> quoted()
  defp value({:universalString, text}), do: text |> wide() |> quoted()
  defp value({_narrow, text}), do: text |> convert(:latin1) |> quoted()
  defp value(latin1), do: latin1 |> convert(:latin1) |> quoted()

  # Each character as four bytes, or as itself.
  defp wide(characters) do
    List.to_string(
      for character <- characters do
        case character do
          {a, b, c, d} -> :binary.decode_unsigned(<<a, b, c, d>>)
          character -> character
        end
      end
    )
  end

  # UTF8String, NumericString, PrintableString, TeletexString, IA5String, VisibleString;
  # UniversalString, BMPString.
  defp text(<<tag, rest::binary>>) do
    with {:ok, content} <- content(rest) do
      case tag do
        12 -> valid(content)
        tag when tag in [18, 19, 20, 22, 26] -> valid(convert(content, :latin1))
        28 -> valid(convert(content, :utf32))
        30 -> valid(convert(content, :utf16))
        _ -> :error
      end
    end
  end

  defp text(_other), do: :error

  defp content(<<0::1, size::7, content::binary-size(size)>>), do: {:ok, content}

  defp content(<<1::1, n::7, size::unit(8)-size(n), content::binary-size(size)>>) when n in 1..4,
    do: {:ok, content}

  defp content(_other), do: :error

  defp convert(content, encoding), do: :unicode.characters_to_binary(content, encoding)

  defp valid(text) when is_binary(text) do
    if String.valid?(text), do: {:ok, text}, else: :error
  end

  defp valid(_failure), do: :error

  @special [",", "+", "\"", "\\", "<", ">", ";"]

  defp quoted(text) do
    text
    |> Printable.cut()
    |> String.codepoints()
    |> Enum.map_join(&if(&1 in @special, do: "\\" <> &1, else: Printable.escape(&1)))
    |> quote_ends()
  end

  defp quote_ends(text) do
    text = if String.starts_with?(text, ["#", " "]), do: "\\" <> text, else: text
    # One that is alone has its backslash already.
    if text != "\\ " and String.ends_with?(text, " "),
      do: String.slice(text, 0..-2//1) <> "\\ ",
      else: text
  end
end
