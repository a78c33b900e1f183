defmodule Palladion.Printable do
  @moduledoc false
  # Internal: text from a server that goes to a terminal. What moves the cursor, breaks a line,
  # turns the direction of writing or can't be seen is replaced by the bytes of its UTF-8 form, as
  # RFC 2253 has it.

  # More of one text tells nobody anything, and servers may send a megabyte.
  @limit 1_024

  @doc false
  # Characters that change how others are shown, or hide in between.
  defguard is_unseen(char)
           when char in [0x00AD, 0x061C, 0xFEFF] or char in 0x200B..0x200F or
                  char in 0x2028..0x202E or char in 0x2060..0x206F or char in 0xFFF9..0xFFFB or
                  char in 0xE0000..0xE007F

  @doc false
  # At most so many bytes, and a sign that there were more. To be cut before it is escaped.
  @spec cut(binary()) :: binary()
  def cut(text) when byte_size(text) <= @limit, do: text

  def cut(text) do
    part = binary_part(text, 0, @limit)

    case :unicode.characters_to_binary(part) do
      {:incomplete, whole, _half} -> whole <> "…"
      _whole_or_no_text -> part <> "…"
    end
  end

  @doc false
  @spec escape(binary()) :: String.t()
  def escape(text), do: escape(text, "")

  # Appending to what was made last is what the runtime does in place.
  defp escape(text, done) do
    case text do
      "" -> done
      <<char::utf8, rest::binary>> -> escape(rest, done <> visible(char))
      <<byte, rest::binary>> -> escape(rest, done <> hex(<<byte>>))
    end
  end

  defp visible(char) when char in 0x20..0x7E, do: <<char>>
  defp visible(char) when is_unseen(char), do: hex(<<char::utf8>>)

  defp visible(char) do
    text = <<char::utf8>>
    # Below are the control characters, some of which Elixir takes for printable.
    if char > 0x9F and String.printable?(text), do: text, else: hex(text)
  end

  defp hex(bytes), do: for(<<byte <- bytes>>, into: "", do: "\\" <> Base.encode16(<<byte>>))
end
