defmodule Palladion.Test.Generated do
  @moduledoc """
  Types and values of them out of the process's random numbers (`:rand.seed/2`), for properties.

  A type is text as the testkit reads it. A value is a pair of what is written and what is read: the same for most, but
  some are written in another form that is accepted for the type too.
  """

  alias Palladion.{Decimal, Duration}
  alias Palladion.Test.Structs.Box

  @simple [
            :custom
            | ~w(ascii bigint blob boolean counter decimal double float int text timestamp uuid)
          ] ++
            ~w(varint timeuuid inet date time smallint tinyint duration)

  # Types whose values of no bytes are values like any other, and those that vectors store without lengths.
  @own_empty ["ascii", "text", "blob", :custom]
  @fixed ~w(boolean int float bigint double timestamp uuid timeuuid)

  @field_names ~w(a CamelCase größe with_underscore)
  # Fields can be written as atoms too.
  @field_atoms Map.new(@field_names, &{&1, String.to_atom(&1)})

  @epoch ~D[1970-01-01]

  @doc "A type that nests at most so deep."
  def type(0), do: pick(@simple)

  def type(depth) do
    case :rand.uniform(10) do
      n when n <= 3 -> type(0)
      4 -> {:list, type(depth - 1)}
      5 -> {:set, type(depth - 1)}
      n when n <= 7 -> {:map, type(depth - 1), type(depth - 1)}
      8 -> {:tuple, for(_ <- 1..:rand.uniform(4), do: type(depth - 1))}
      9 -> {:vector, type(depth - 1), :rand.uniform(4)}
      10 -> {:udt, for(name <- some(@field_names), do: {name, type(depth - 1)})}
    end
  end

  @doc "The type as the testkit reads it."
  def text(:custom), do: "'com.example.Custom'"
  def text(simple) when is_binary(simple), do: simple
  def text({:list, item}), do: "list<#{text(item)}>"
  def text({:set, item}), do: "set<#{text(item)}>"
  def text({:map, key, value}), do: "map<#{text(key)}, #{text(value)}>"
  def text({:tuple, types}), do: "tuple<#{Enum.map_join(types, ", ", &text/1)}>"
  def text({:vector, item, n}), do: "vector<#{text(item)}, #{n}>"

  def text({:udt, fields}) do
    "udt<ks.t, #{Enum.map_join(fields, ", ", fn {name, type} -> "#{name} #{text(type)}" end)}>"
  end

  @doc """
  A value, as `{written, read}`. `forms` are the options `uuids:` and `timestamps:` that it's read with.
  """
  def value(type, forms), do: nullable(type, Map.new(forms), 20)

  defp nullable(type, forms, one_in),
    do: if(one_in(one_in), do: {nil, nil}, else: present(type, forms))

  defp present(type, forms) do
    cond do
      not own_empty?(type) and not Map.get(forms, :fixed, false) and one_in(30) ->
        {:empty, :empty}

      one_in(40) ->
        type |> content(forms) |> boxed()

      true ->
        content(type, forms)
    end
  end

  # In a struct that encodes itself.
  defp boxed({written, read}), do: {%Box{value: written}, read}

  defp own_empty?(type),
    do: type in @own_empty or (is_tuple(type) and elem(type, 0) in [:tuple, :udt])

  defp inside(forms, type \\ nil), do: Map.put(forms, :fixed, fixed?(type))

  defp fixed?({:vector, item, _n}), do: fixed?(item)
  defp fixed?(type), do: type in @fixed

  defp content({:list, item}, forms), do: several(item, length_up_to(4), inside(forms))
  defp content({:vector, item, n}, forms), do: several(item, n, inside(forms, item))

  defp content({:set, item}, forms) do
    {written, read} = item |> distinct(key(forms)) |> Enum.unzip()
    {pick([written, MapSet.new(written)]), MapSet.new(read)}
  end

  defp content({:map, key, value}, forms) do
    pairs = for key <- distinct(key, key(forms)), do: {key, present(value, inside(forms))}

    {Map.new(pairs, fn {{k, _}, {v, _}} -> {k, v} end),
     Map.new(pairs, fn {{_, k}, {_, v}} -> {k, v} end)}
  end

  defp content({:tuple, types}, forms) do
    pairs = for type <- types, do: nullable(type, inside(forms), 5)
    {written, read} = Enum.unzip(pairs)
    # Elements at the end that are null can be left out.
    written =
      if one_in(2),
        do: written,
        else: written |> Enum.reverse() |> Enum.drop_while(&is_nil/1) |> Enum.reverse()

    {List.to_tuple(written), List.to_tuple(read)}
  end

  defp content({:udt, fields}, forms) do
    pairs = for {name, type} <- fields, do: {name, nullable(type, inside(forms), 5)}

    written =
      for {name, {written, _read}} <- pairs, written != nil or one_in(2), into: %{} do
        {if(one_in(2), do: name, else: @field_atoms[name]), written}
      end

    {written, for({name, {_written, read}} <- pairs, into: %{}, do: {name, read})}
  end

  defp content(:custom, _forms), do: same(bytes(8))
  defp content("blob", _forms), do: same(bytes(100))
  defp content("ascii", _forms), do: same(for(_ <- up_to(9), into: "", do: <<ascii()>>))
  defp content("text", _forms), do: same(for(_ <- up_to(9), into: "", do: <<codepoint()::utf8>>))
  defp content("boolean", _forms), do: same(one_in(2))
  defp content("tinyint", _forms), do: same(int(8))
  defp content("smallint", _forms), do: same(int(16))
  defp content("int", _forms), do: same(int(32))
  defp content(type, _forms) when type in ["bigint", "counter"], do: same(int(64))
  defp content("varint", _forms), do: same(int(pick([8, 64, 65, 300])))

  defp content("decimal", _forms) do
    number = int(pick([8, 64, 65, 300]))
    # A scale has 32 bits, and is the exponent's negative.
    exp = -int(pick([4, 32]))
    struct = %Decimal{sign: if(number < 0, do: -1, else: 1), coef: abs(number), exp: exp}
    if exp == 0, do: {pick([number, struct]), struct}, else: same(struct)
  end

  defp content("double", forms), do: float(64, forms)
  defp content("float", forms), do: float(32, forms)

  defp content("timestamp", forms) do
    millis = int(pick([20, 40, 48, 64]))

    case {forms[:timestamps], DateTime.from_unix(millis, :millisecond)} do
      {:integer, {:ok, at}} -> {pick([millis, at]), millis}
      {_, {:ok, at}} -> {pick([millis, at]), at}
      {_, {:error, _}} -> same(millis)
    end
  end

  defp content("date", _forms) do
    days = int(pick([8, 16, 22, 32]))
    # Those of the years -9999 to 9999.
    if days in -4_371_587..2_932_896 do
      date = Date.add(@epoch, days)
      {pick([days, date]), date}
    else
      same(days)
    end
  end

  defp content("time", _forms) do
    nanos =
      pick([:rand.uniform(86_400_000_000_000) - 1, 1_000 * (:rand.uniform(86_400_000_000) - 1), 0])

    if rem(nanos, 1_000) == 0 do
      time = Time.add(~T[00:00:00.000000], div(nanos, 1_000), :microsecond)
      {pick([nanos, time]), time}
    else
      same(nanos)
    end
  end

  defp content("duration", _forms) do
    sign = pick([1, -1])
    [months, days, nanoseconds] = for bits <- [32, 32, 64], do: sign * abs(div(int(bits), 2))
    same(%Duration{months: months, days: days, nanoseconds: nanoseconds})
  end

  defp content("inet", _forms) do
    {parts, bits} = pick([{4, 8}, {8, 16}])
    address = List.to_tuple(for _ <- 1..parts, do: :rand.uniform(Bitwise.bsl(1, bits)) - 1)
    {pick([address, address |> :inet.ntoa() |> to_string()]), address}
  end

  defp content("uuid", forms), do: uuid(:rand.bytes(16), forms)

  defp content("timeuuid", forms) do
    <<before::48, _version::4, rest::76>> = :rand.bytes(16)
    uuid(<<before::48, 1::4, rest::76>>, forms)
  end

  defp uuid(bytes, forms) do
    <<a::binary-4, b::binary-2, c::binary-2, d::binary-2, e::binary-6>> = bytes
    text = Enum.map_join([a, b, c, d, e], "-", &Base.encode16(&1, case: :lower))

    {pick([text, String.upcase(text), bytes]),
     if(forms[:uuids] == :binary, do: bytes, else: text)}
  end

  defp float(bits, forms) do
    # Any, 0.0, -0.0 and a NaN.
    zeros = <<0::size(bits)>>
    negative = <<1::1, 0::size(bits - 1)>>
    ones = :binary.copy(<<0xFF>>, div(bits, 8))

    case {bits, pick([:rand.bytes(div(bits, 8)), zeros, negative, ones])} do
      {64, <<value::float-64>>} -> float_or_integer(value, forms)
      {32, <<value::float-32>>} -> float_or_integer(value, forms)
      _no_float_of_the_beam -> same(pick([:nan, :infinity, :neg_infinity]))
    end
  end

  defp float_or_integer(value, forms) do
    cond do
      # Where OTP takes both for one key.
      value == 0 and Map.get(forms, :key, false) -> same(0.0)
      one_in(10) -> {7, 7.0}
      true -> same(value)
    end
  end

  defp key(forms), do: forms |> inside() |> Map.put(:key, true)

  defp distinct(type, forms) do
    for(_ <- up_to(4), do: present(type, forms)) |> Enum.uniq_by(fn {_written, read} -> read end)
  end

  defp several(item, n, forms) do
    List.duplicate(item, n) |> Enum.map(&present(&1, forms)) |> Enum.unzip()
  end

  # Small numbers, the smallest and the largest more often than others.
  defp int(bits) do
    half = Bitwise.bsl(1, bits - 1)
    pick([pick([0, 1, -1, half - 1, -half]), :rand.uniform(2 * half) - 1 - half])
  end

  # Of every length in UTF-8, but no surrogate.
  defp codepoint, do: pick([ascii(), 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF, ?€, ?𝄞])
  defp ascii, do: :rand.uniform(128) - 1

  defp bytes(limit), do: :rand.bytes(:rand.uniform(limit + 1) - 1)

  defp some(list), do: Enum.take(Enum.shuffle(list), :rand.uniform(length(list)))
  defp length_up_to(n), do: :rand.uniform(n + 1) - 1
  defp up_to(n), do: Enum.take(1..n, length_up_to(n))
  defp pick(list), do: Enum.at(list, :rand.uniform(length(list)) - 1)
  defp one_in(n), do: :rand.uniform(n) == 1
  defp same(value), do: {value, value}
end
