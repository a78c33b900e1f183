defmodule Palladion.Test.Canonical do
  @moduledoc """
  A text for each value, the same that `test/python/independent_client.py` has for it.

      text(type("map<int, frozen<list<date>>>"), %{1 => [~D[1970-01-02], ~D[1969-12-31]]})
      #=> "{int:1=[date:1;date:-1]}"
  """

  alias Palladion.{Decimal, Duration}

  @doc """
  A type out of CQL's text. The fields of user-defined types are looked up in `types`.
  """
  def type(text, types \\ %{}) do
    case Regex.run(~r/^(\w+)<(.*)>$/, text) do
      [_, "frozen", inner] ->
        type(inner, types)

      [_, "vector", inner] ->
        {:list, [inner |> split() |> hd() |> type(types)]}

      [_, kind, inner] ->
        {String.to_atom(kind), inner |> split() |> Enum.map(&type(&1, types))}

      nil when is_map_key(types, text) ->
        {:udt, for({name, type} <- types[text], do: {name, type(type, types)})}

      # The same type; the Python driver knows it by this name.
      nil when text == "varchar" ->
        "text"

      nil ->
        text
    end
  end

  # At commas that are in no brackets.
  defp split(text, depth \\ 0, part \\ "")
  defp split("", _depth, part), do: [String.trim(part)]
  defp split("," <> rest, 0, part), do: [String.trim(part) | split(rest, 0, "")]
  defp split("<" <> rest, depth, part), do: split(rest, depth + 1, part <> "<")
  defp split(">" <> rest, depth, part), do: split(rest, depth - 1, part <> ">")
  defp split(<<c::utf8, rest::binary>>, depth, part), do: split(rest, depth, part <> <<c::utf8>>)

  @doc "The value's text."
  def text(_type, nil), do: "null"
  def text({:list, [item]}, list), do: "[" <> Enum.map_join(list, ";", &text(item, &1)) <> "]"
  def text({:set, [item]}, set), do: set |> Enum.map(&text(item, &1)) |> sorted()

  def text({:map, [key, value]}, map) do
    sorted(for {k, v} <- map, do: text(key, k) <> "=" <> text(value, v))
  end

  def text({:tuple, types}, tuple), do: fields(types, Tuple.to_list(tuple))

  def text({:udt, fields}, map),
    do: fields(for({_, type} <- fields, do: type), for({name, _} <- fields, do: map[name]))

  def text(type, value), do: type <> ":" <> content(type, value)

  defp fields(types, values) do
    "(" <>
      (Enum.zip(types, values) |> Enum.map_join(";", fn {type, value} -> text(type, value) end)) <>
      ")"
  end

  defp sorted(texts), do: "{" <> (texts |> Enum.sort() |> Enum.join(";")) <> "}"

  defp content(type, text) when type in ["ascii", "text", "blob"],
    do: Base.encode16(text, case: :lower)

  defp content(_type, :nan), do: "nan"
  defp content(_type, :infinity), do: "7ff0000000000000"
  defp content(_type, :neg_infinity), do: "fff0000000000000"

  defp content(_type, float) when is_float(float),
    do: Base.encode16(<<float::float>>, case: :lower)

  defp content("date", %Date{} = date), do: content("date", Date.diff(date, ~D[1970-01-01]))

  defp content("time", %Time{} = time) do
    {seconds, micros} = {Time.diff(time, ~T[00:00:00]), elem(time.microsecond, 0)}
    content("time", (seconds * 1_000_000 + micros) * 1_000)
  end

  defp content("timestamp", %DateTime{} = at),
    do: content("timestamp", DateTime.to_unix(at, :millisecond))

  defp content("decimal", %Decimal{} = decimal),
    do: "#{decimal.sign * decimal.coef}e#{decimal.exp}"

  defp content("duration", %Duration{} = d), do: "#{d.months},#{d.days},#{d.nanoseconds}"
  defp content("inet", {a, b, c, d}), do: Base.encode16(<<a, b, c, d>>, case: :lower)

  defp content("inet", ipv6) do
    for(part <- Tuple.to_list(ipv6), into: "", do: <<part::16>>) |> Base.encode16(case: :lower)
  end

  # Numbers, booleans and UUIDs.
  defp content(_type, value), do: to_string(value)
end
