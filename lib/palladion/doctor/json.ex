defmodule Palladion.Doctor.JSON do
  @moduledoc false
  # Internal: as much of JSON as a report needs, for OTP 25 has none and Palladion requires no package.

  import Palladion.Printable, only: [is_unseen: 1]

  @typedoc "A list of pairs is an object whose members keep their order"
  @type value ::
          nil
          | boolean()
          | number()
          | atom()
          | String.t()
          | [value()]
          | [{atom() | String.t(), value()}, ...]
          | %{optional(atom() | String.t()) => value()}

  @doc false
  @spec encode(value()) :: String.t()
  def encode(value), do: value |> encode_value() |> IO.iodata_to_binary()

  defp encode_value(value) when value in [nil, true, false],
    do: if(value == nil, do: "null", else: Atom.to_string(value))

  defp encode_value(value) when is_atom(value), do: encode_text(Atom.to_string(value))
  defp encode_value(value) when is_integer(value), do: Integer.to_string(value)
  defp encode_value(value) when is_float(value), do: Float.to_string(value)
  defp encode_value(value) when is_binary(value), do: encode_text(value)
  defp encode_value([{_key, _value} | _] = members), do: encode_object(members)

  defp encode_value(values) when is_list(values),
    do: ["[", Enum.map_intersperse(values, ",", &encode_value/1), "]"]

  defp encode_value(map) when is_map(map), do: map |> Enum.sort() |> encode_object()

  defp encode_object(members) do
    members =
      Enum.map_intersperse(members, ",", fn {key, value} ->
        [encode_text(to_string(key)), ":", encode_value(value)]
      end)

    ["{", members, "}"]
  end

  defp encode_text(text), do: ["\"", escape(text), "\""]

  # Control characters of both kinds, what can't be seen or turns the direction of writing, and the
  # line ends that JavaScript has besides: the text may be printed, or stand in a script.
  defp escape(text) do
    case text do
      "" -> []
      <<"\"", rest::binary>> -> ["\\\"" | escape(rest)]
      <<"\\", rest::binary>> -> ["\\\\" | escape(rest)]
      <<"\n", rest::binary>> -> ["\\n" | escape(rest)]
      <<char::utf8, rest::binary>> -> [escape_char(char) | escape(rest)]
      # No UTF-8: the replacement character.
      <<_byte, rest::binary>> -> ["\uFFFD" | escape(rest)]
    end
  end

  defp escape_char(char) when char < 0x20 or char in 0x7F..0x9F or is_unseen(char) do
    # Beyond 16 bits it is a pair.
    utf16 = <<char::utf16>>
    for <<unit::binary-2 <- utf16>>, do: ["\\u", Base.encode16(unit)]
  end

  defp escape_char(char), do: <<char::utf8>>
end
