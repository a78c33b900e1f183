defmodule Palladion.Test.JSON do
  @moduledoc "A strict reader of JSON (RFC 8259), which takes nothing that isn't in the standard."

  @doc "The value; objects are maps with string keys. Raises where the text is no JSON, or more."
  @spec decode!(String.t()) :: term
  def decode!(text) do
    {value, ""} = text |> space() |> value()
    value
  end

  defp value("null" <> rest), do: {nil, space(rest)}
  defp value("true" <> rest), do: {true, space(rest)}
  defp value("false" <> rest), do: {false, space(rest)}

  defp value("\"" <> rest) do
    {text, rest} = text(rest, "")
    {text, space(rest)}
  end

  defp value("[" <> rest) do
    case space(rest) do
      "]" <> rest -> {[], space(rest)}
      rest -> elements(rest, [])
    end
  end

  defp value("{" <> rest) do
    case space(rest) do
      "}" <> rest -> {%{}, space(rest)}
      rest -> members(rest, %{})
    end
  end

  defp value(text) do
    [number] = Regex.run(~r/\A-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/, text)
    rest = binary_part(text, byte_size(number), byte_size(text) - byte_size(number))
    {number(number), space(rest)}
  end

  defp number(text) do
    case Integer.parse(text) do
      {integer, ""} -> integer
      _ -> text |> Float.parse() |> elem(0)
    end
  end

  defp elements(text, values) do
    case value(text) do
      {value, "," <> rest} -> elements(space(rest), [value | values])
      {value, "]" <> rest} -> {Enum.reverse([value | values]), space(rest)}
    end
  end

  defp members("\"" <> rest, map) do
    {name, rest} = text(rest, "")
    ":" <> rest = space(rest)
    if is_map_key(map, name), do: raise("#{inspect(name)} stands twice in an object")

    case rest |> space() |> value() do
      {value, "," <> rest} -> members(space(rest), Map.put(map, name, value))
      {value, "}" <> rest} -> {Map.put(map, name, value), space(rest)}
    end
  end

  @escapes %{?" => "\"", ?\\ => "\\", ?/ => "/", ?b => "\b", ?f => "\f", ?n => "\n", ?r => "\r"}

  defp text("\"" <> rest, read), do: {read, rest}

  defp text(<<"\\u", hex::binary-4, rest::binary>>, read) do
    {char, rest} = character(unit(hex), rest)
    text(rest, read <> <<char::utf8>>)
  end

  defp text("\\t" <> rest, read), do: text(rest, read <> "\t")

  defp text(<<"\\", char, rest::binary>>, read),
    do: text(rest, read <> Map.fetch!(@escapes, char))

  defp text(<<char::utf8, rest::binary>>, read) when char >= 0x20,
    do: text(rest, read <> <<char::utf8>>)

  defp space(<<char, rest::binary>>) when char in ~c" \t\n\r", do: space(rest)
  defp space(text), do: text

  # The first half of a pair needs the second.
  defp character(high, <<"\\u", hex::binary-4, rest::binary>>) when high in 0xD800..0xDBFF do
    <<char::utf16>> = <<high::16, unit(hex)::16>>
    {char, rest}
  end

  defp character(char, rest), do: {char, rest}

  defp unit(hex) do
    {unit, ""} = Integer.parse(hex, 16)
    unit
  end
end
