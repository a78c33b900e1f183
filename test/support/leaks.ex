defmodule Palladion.Test.Leaks do
  @moduledoc """
  Finds secrets in whatever the VM prints: as they are, as hexadecimal digits, as Base64 (at any of the three offsets that a
  text around them makes), as a list of bytes, and, in a crash dump, as a list on a heap.
  """

  @doc "A text made ready for `forms/2`."
  @spec text(binary) :: %{text: binary, lists: [binary]}
  def text(text), do: %{text: normalized(text), lists: []}

  @doc "A crash dump made ready for `forms/2`: its lists are cells all over the file."
  @spec dump(binary) :: %{text: binary, lists: [binary]}
  def dump(dump), do: %{text: normalized(dump), lists: lists(dump)}

  @doc "The forms of a secret that are in there, `[]` if none."
  @spec forms(%{text: binary, lists: [binary]}, binary) :: [atom]
  def forms(%{text: text, lists: lists}, secret) do
    in_text = for {form, needle} <- needles(secret), has?(text, needle), do: form
    if Enum.any?(lists, &has?(&1, secret)), do: [:list | in_text], else: in_text
  end

  @doc "The secrets that are in there, with their forms. All are looked for in one pass, for a dump is long and they are many."
  @spec found(%{text: binary, lists: [binary]}, [binary]) :: [{binary, [atom]}]
  def found(%{text: text, lists: lists} = in_all, secrets) do
    in_text = for secret <- secrets, {_form, needle} <- needles(secret), uniq: true, do: needle
    in_lists = :binary.compile_pattern(secrets)

    if has?(text, in_text) or Enum.any?(lists, &has?(&1, in_lists)) do
      for secret <- secrets, [_ | _] = forms <- [forms(in_all, secret)], do: {secret, forms}
    else
      []
    end
  end

  defp has?(text, needle), do: :binary.match(text, needle) != :nomatch

  @doc "What of a PEM file with a plain key must stay secret: its private numbers, and the text that has the first of them."
  @spec key_secrets(Path.t()) :: [binary]
  def key_secrets(path) do
    [{_type, der, :not_encrypted} = entry] =
      for {type, _, _} = entry <- path |> File.read!() |> :public_key.pem_decode(),
          type != :Certificate,
          do: entry

    [number | _] = numbers = private_numbers(:public_key.pem_entry_decode(entry))
    [pem_text(der, number) | numbers]
  end

  # 16 characters on one line of the file, which has 48 bytes a line and 3 in 4 characters.
  defp pem_text(der, number) do
    {first, length} = :binary.match(der, number)

    start = Enum.find(first..(first + length - 12), &(rem(&1, 3) == 0 and rem(&1, 48) <= 36))

    der |> binary_part(start, 12) |> Base.encode64()
  end

  defp private_numbers(key) when elem(key, 0) == :ECPrivateKey, do: [elem(key, 2)]

  # The exponent, and both primes.
  defp private_numbers(key) when elem(key, 0) == :RSAPrivateKey do
    for index <- [4, 5, 6], do: key |> elem(index) |> :binary.encode_unsigned()
  end

  # Line breaks and spaces stand where a printer wanted them.
  defp normalized(text), do: String.replace(text, [" ", "\n"], "")

  defp needles(secret) do
    hex = Base.encode16(secret)
    bytes = secret |> :binary.bin_to_list() |> Enum.join(",")

    [
      plain: String.replace(secret, [" ", "\n"], ""),
      escaped: secret |> inspect() |> String.slice(1..-2//1) |> String.replace(" ", ""),
      hex: hex,
      hex: String.downcase(hex),
      bytes: bytes
    ] ++ Enum.map(0..2, &{:base64, base64(secret, &1)})
  end

  # What is the same whatever stands before and after the secret.
  defp base64(secret, offset) do
    whole = Base.encode64(:binary.copy(<<0>>, offset) <> secret)
    first = div(offset * 8 + 5, 6)
    last = div((offset + byte_size(secret)) * 8, 6)
    binary_part(whole, first, last - first)
  end

  # The lists of bytes in a dump: "ADDRESS:lI115|HNEXT" is a cell, "|N" the last.
  defp lists(dump) do
    cells =
      for [_, address, byte, next] <-
            Regex.scan(~r/^([0-9A-F]+):lI(\d+)\|(N|H[0-9A-F]+)$/m, dump),
          into: %{},
          do: {address, {String.to_integer(byte), next}}

    followed = for {_, {_, "H" <> next}} <- cells, into: MapSet.new(), do: next

    for {address, _} <- cells, address not in followed, do: list(address, cells, [])
  end

  defp list(address, cells, bytes) do
    case cells do
      %{^address => {byte, "H" <> next}} when byte in 0..255 -> list(next, cells, [byte | bytes])
      %{^address => {byte, "N"}} when byte in 0..255 -> reversed([byte | bytes])
      _ -> reversed(bytes)
    end
  end

  defp reversed(bytes), do: bytes |> Enum.reverse() |> :erlang.list_to_binary()
end
