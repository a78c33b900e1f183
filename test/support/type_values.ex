defmodule Palladion.Test.TypeValues do
  @moduledoc """
  CQL's types and values of them, for tests that write and read them all.

  A value is what is written and read again, or `{:as, written, read}` where that differs. Comparison is `same?/2`, for which
  0.0 and -0.0 are two values.
  """

  alias Palladion.{Decimal, Duration}

  @type value :: term() | {:as, term(), term()}

  @doc """
  The types without parameters: `type`, its `values`, with the smallest and the largest; `keys`, which are different values
  for sets and maps (none where CQL forbids it); and `empty`, what a value of no bytes is: `:admitted`, `:refused` by the
  server, or `:own` where it's a value like any other.
  """
  def simple do
    [
      %{
        type: "ascii",
        values: [
          "",
          "plain",
          for(c <- 0..127, into: "", do: <<c>>),
          String.duplicate("x", 70_000)
        ],
        keys: ["", "A", "a", "a b"],
        empty: :own
      },
      %{
        type: "bigint",
        values: [
          -0x8000000000000000,
          -0x800000000000001,
          -1,
          0,
          1,
          0x800000000000000,
          0x7FFFFFFFFFFFFFFF
        ],
        keys: [-0x8000000000000000, 0, 0x7FFFFFFFFFFFFFFF],
        empty: :admitted
      },
      %{
        type: "blob",
        values: ["", <<0>>, <<255, 254>>, :binary.copy(<<0, 255>>, 50_000)],
        keys: ["", <<0>>, <<0, 0>>, <<255>>],
        empty: :own
      },
      %{type: "boolean", values: [true, false], keys: [true, false], empty: :admitted},
      %{
        type: "date",
        # Days of the years -10000 and 10000, and the first and last that CQL has.
        values:
          [
            ~D[1970-01-01],
            ~D[1969-12-31],
            ~D[2024-02-29],
            ~D[1900-02-28],
            ~D[0000-01-01],
            ~D[-0001-12-31]
          ] ++
            [~D[-9999-01-01], ~D[9999-12-31]] ++
            [-4_371_588, 2_932_897, -0x80000000, 0x7FFFFFFF] ++
            [
              {:as, 0, ~D[1970-01-01]},
              {:as, -4_371_586, ~D[-9999-01-02]},
              {:as, 2_932_896, ~D[9999-12-31]}
            ],
        keys: [-0x80000000, ~D[1970-01-01], ~D[2024-02-29], 0x7FFFFFFF],
        empty: :refused
      },
      %{
        type: "decimal",
        values: decimals(),
        keys: [decimal(-15, -1), decimal(0, 0), decimal(7, 3)],
        empty: :admitted
      },
      %{
        type: "double",
        values:
          [
            0.0,
            -0.0,
            0.1,
            1.7976931348623157e308,
            -1.7976931348623157e308,
            2.2250738585072014e-308
          ] ++
            [5.0e-324, -5.0e-324, :nan, :infinity, :neg_infinity] ++
            [{:as, 3, 3.0}, {:as, -9_007_199_254_740_992, -9_007_199_254_740_992.0}],
        keys: [:neg_infinity, -0.5, 5.0e-324, 1.0e300, :infinity, :nan],
        empty: :admitted
      },
      %{
        type: "duration",
        values: [
          %Duration{},
          %Duration{months: 1, days: 2, nanoseconds: 3},
          %Duration{months: -1, days: -2, nanoseconds: -3},
          %Duration{nanoseconds: 128_000},
          %Duration{months: 0x7FFFFFFF, days: 0x7FFFFFFF, nanoseconds: 0x7FFFFFFFFFFFFFFF},
          %Duration{months: -0x80000000, days: -0x80000000, nanoseconds: -0x8000000000000000}
        ],
        keys: [],
        empty: :refused
      },
      %{
        type: "float",
        values:
          [0.0, -0.0, 0.5, 3.4028234663852886e38, -3.4028234663852886e38, 1.1754943508222875e-38] ++
            [1.401298464324817e-45, :nan, :infinity, :neg_infinity] ++
            [{:as, 0.1, 0.10000000149011612}, {:as, 7, 7.0}, {:as, 1.0e-60, 0.0}],
        keys: [:neg_infinity, -0.5, 1.401298464324817e-45, :infinity, :nan],
        empty: :admitted
      },
      %{
        type: "inet",
        values:
          [
            {0, 0, 0, 0},
            {127, 0, 0, 1},
            {255, 255, 255, 255},
            {0, 0, 0, 0, 0, 0, 0, 0},
            {0, 0, 0, 0, 0, 0, 0, 1}
          ] ++
            [{0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}] ++
            [List.to_tuple(List.duplicate(0xFFFF, 8))] ++
            [
              {:as, "10.0.0.255", {10, 0, 0, 255}},
              {:as, "2001:DB8::1", {0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}}
            ],
        keys: [{10, 0, 0, 1}, {0, 0, 0, 0, 0, 0, 0, 1}, {0x2001, 0xDB8, 0, 0, 0, 0, 0, 1}],
        empty: :admitted
      },
      %{
        type: "int",
        values: [-0x80000000, -1, 0, 1, 0x7FFFFFFF],
        keys: [-0x80000000, 0, 0x7FFFFFFF],
        empty: :admitted
      },
      %{
        type: "smallint",
        values: [-0x8000, -1, 0, 1, 0x7FFF],
        keys: [-0x8000, 0, 0x7FFF],
        empty: :refused
      },
      %{
        type: "text",
        values: ["", "plain", "ü€𝄞 \0\n", String.duplicate("ü€", 20_000)],
        keys: ["", "a", "ü", "€𝄞"],
        empty: :own
      },
      %{
        type: "time",
        values:
          [~T[00:00:00.000000], ~T[00:00:00.000001], ~T[12:34:56.789012], ~T[23:59:59.999999]] ++
            [1, 999, 1_001, 86_399_999_999_999] ++
            [{:as, 0, ~T[00:00:00.000000]}, {:as, 1_000, ~T[00:00:00.000001]}] ++
            [{:as, ~T[01:02:03], ~T[01:02:03.000000]}, {:as, ~T[01:02:03.4], ~T[01:02:03.400000]}],
        keys: [~T[00:00:00.000000], 1, ~T[23:59:59.999999], 86_399_999_999_999],
        empty: :refused
      },
      %{
        type: "timestamp",
        values:
          [
            ~U[1970-01-01 00:00:00.000Z],
            ~U[1969-12-31 23:59:59.999Z],
            ~U[2024-02-29 12:34:56.789Z]
          ] ++
            [
              ~U[0000-01-01 00:00:00.000Z],
              ~U[-9999-01-01 00:00:00.000Z],
              ~U[9999-12-31 23:59:59.999Z]
            ] ++
            [-377_705_116_800_001, 253_402_300_800_000, -0x8000000000000000, 0x7FFFFFFFFFFFFFFF] ++
            [
              {:as, 0, ~U[1970-01-01 00:00:00.000Z]},
              {:as, ~U[2024-02-29 12:34:56Z], ~U[2024-02-29 12:34:56.000Z]},
              # Cut to milliseconds, before 1970 too.
              {:as, ~U[2024-02-29 12:34:56.789999Z], ~U[2024-02-29 12:34:56.789Z]},
              {:as, ~U[1969-12-31 23:59:59.999999Z], ~U[1969-12-31 23:59:59.999Z]},
              {:as,
               %{~U[2024-03-01 01:34:56.789Z] | utc_offset: 3_600, time_zone: "Europe/Paris"},
               ~U[2024-03-01 00:34:56.789Z]}
            ],
        keys: [-0x8000000000000000, ~U[1970-01-01 00:00:00.000Z], ~U[2024-02-29 12:34:56.789Z]],
        empty: :admitted
      },
      %{
        type: "timeuuid",
        values: [
          "00000000-0000-1000-8080-808080808080",
          "ffffffff-ffff-1fff-bf7f-7f7f7f7f7f7f",
          "8d2c6b00-d6c1-11ee-8c3e-0242ac120002",
          {:as, "8D2C6B00-D6C1-11EE-8C3E-0242AC120002", "8d2c6b00-d6c1-11ee-8c3e-0242ac120002"}
        ],
        keys: ["00000000-0000-1000-8080-808080808080", "8d2c6b00-d6c1-11ee-8c3e-0242ac120002"],
        empty: :admitted
      },
      %{type: "tinyint", values: [-128, -1, 0, 1, 127], keys: [-128, 0, 127], empty: :refused},
      %{
        type: "uuid",
        values: [
          "00000000-0000-0000-0000-000000000000",
          "ffffffff-ffff-ffff-ffff-ffffffffffff",
          "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11",
          {:as, "0C3C1F9A-9B1E-4b7e-8c57-2d1b8a4b1c11", "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11"},
          # Sixteen bytes, whatever they are.
          {:as, "0123456789abcdef", "30313233-3435-3637-3839-616263646566"},
          {:as, <<0x0C3C1F9A9B1E4B7E8C572D1B8A4B1C11::128>>,
           "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11"}
        ],
        keys: ["00000000-0000-0000-0000-000000000000", "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11"],
        empty: :admitted
      },
      %{type: "varchar", values: ["", "ü"], keys: ["", "ü"], empty: :own},
      %{
        type: "varint",
        values: varints(),
        keys: [-Integer.pow(10, 40), -1, 0, Integer.pow(2, 64)],
        empty: :admitted
      }
    ]
  end

  @doc """
  Types in types, some levels deep, with values. They use the user-defined types that `create_types/1` makes.
  """
  def nested(keyspace) do
    inner = %{"a" => 1, "b" => "x"}

    mixed = %{
      "Street Name" => "Unter den Linden",
      "no" => 7,
      "Inner" => inner,
      "tags" => MapSet.new(["a", "b"]),
      "pair" => {1, nil}
    }

    [
      {"map<int, text>", [%{-1 => "", 0 => "x"}]},
      {"map<timestamp, frozen<set<timestamp>>>",
       [%{~U[2024-02-29 12:34:56.789Z] => MapSet.new([~U[1970-01-01 00:00:00.000Z]])}]},
      {"list<frozen<list<frozen<list<int>>>>>", [[[[1], []], [], [[2, 3]]]]},
      {"set<frozen<set<frozen<set<text>>>>>",
       [MapSet.new([MapSet.new(), MapSet.new([MapSet.new(), MapSet.new(["a"])])])]},
      {"map<frozen<map<int, text>>, frozen<map<text, frozen<list<duration>>>>>",
       [%{%{1 => "a"} => %{}, %{} => %{"d" => [%Duration{days: 1}]}}]},
      {"map<frozen<tuple<int, text>>, frozen<set<inet>>>",
       [%{{1, nil} => MapSet.new([{1, 2, 3, 4}])}]},
      {"frozen<map<text, frozen<map<text, frozen<map<text, frozen<map<text, frozen<list<int>>>>>>>>>>",
       [%{"a" => %{"b" => %{"c" => %{"d" => [1, 2]}}}}, %{"a" => %{}}]},
      {"tuple<int, frozen<tuple<text, frozen<list<frozen<tuple<boolean, date>>>>>>>",
       [
         {1, {"x", [{true, ~D[2024-02-29]}, {nil, nil}]}},
         {nil, nil},
         # Fewer elements: the others are null.
         {:as, {1}, {1, nil}},
         {:as, {}, {nil, nil}},
         {:as, {1, {"x"}}, {1, {"x", nil}}}
       ]},
      {"#{keyspace}.plain",
       [inner, %{"a" => nil, "b" => "x"}, {:as, %{a: 2, b: "y"}, %{"a" => 2, "b" => "y"}}]},
      {"frozen<#{keyspace}.plain>",
       [
         inner,
         {:as, %{"b" => "only"}, %{"a" => nil, "b" => "only"}},
         {:as, %{}, %{"a" => nil, "b" => nil}}
       ]},
      {~s(frozen<#{keyspace}."Mixed Case">),
       [
         mixed,
         {:as, %{"Street Name" => "x"},
          %{"Street Name" => "x", "no" => nil, "Inner" => nil, "tags" => nil, "pair" => nil}}
       ]},
      {~s(list<frozen<#{keyspace}."Mixed Case">>), [[mixed, %{mixed | "Inner" => nil}]]},
      {~s(map<text, frozen<list<frozen<tuple<int, frozen<#{keyspace}."Mixed Case">>>>>>),
       [%{"k" => [{1, mixed}, {2, nil}]}]},
      {nest("int", 12), [nest_value(7, 12)]}
    ]
  end

  @doc "The same for vectors, which Cassandra has since 5.0."
  def vectors(keyspace) do
    plain = %{"a" => 1, "b" => "x"}

    [
      {"vector<float, 3>", [[0.5, -0.0, :nan], {:as, [1, 2, 3], [1.0, 2.0, 3.0]}]},
      {"vector<text, 3>", [["", "ü", String.duplicate("x", 300)]]},
      {"vector<vector<float, 2>, 2>", [[[1.0, 2.0], [3.0, :infinity]]]},
      {"vector<vector<text, 1>, 2>", [[["a"], [""]]]},
      {"vector<frozen<list<int>>, 2>", [[[], [1, 2]]]},
      {"vector<frozen<map<text, int>>, 1>", [[%{"a" => 1}]]},
      {"vector<frozen<set<text>>, 1>", [[MapSet.new(["a"])]]},
      {"vector<frozen<tuple<int, text>>, 2>", [[{1, nil}, {nil, "x"}]]},
      {"vector<frozen<#{keyspace}.plain>, 2>", [[plain, %{plain | "a" => nil}]]},
      {"list<frozen<vector<varint, 2>>>", [[[0, Integer.pow(10, 300)]]]},
      {"map<text, frozen<vector<frozen<vector<smallint, 2>>, 2>>>",
       [%{"a" => [[1, 2], [-0x8000, 0x7FFF]]}]},
      {"tuple<frozen<vector<double, 1>>, int>", [{[5.0e-324], nil}]},
      {"vector<int, 1000>", [Enum.to_list(1..1000)]}
    ]
  end

  @doc "The user-defined types of `nested/1`, with their fields."
  def user_types(keyspace) do
    [
      {"#{keyspace}.plain", [{"a", "int"}, {"b", "text"}]},
      {~s(#{keyspace}."Mixed Case"),
       [
         {"Street Name", "text"},
         {"no", "int"},
         {"Inner", "frozen<#{keyspace}.plain>"},
         {"tags", "frozen<set<text>>"},
         {"pair", "frozen<tuple<int, text>>"}
       ]}
    ]
  end

  @doc "The statements that make them."
  def create_types(keyspace) do
    for {type, fields} <- user_types(keyspace) do
      fields = Enum.map_join(fields, ", ", fn {name, type} -> ~s("#{name}" #{type}) end)
      "CREATE TYPE IF NOT EXISTS #{type} (#{fields})"
    end
  end

  @doc "What is written."
  def written({:as, written, _read}), do: written
  def written(value), do: value

  @doc "What is read."
  def read({:as, _written, read}), do: read
  def read(value), do: value

  @doc "Whether two terms are the same to the bit, which for OTP before 27 0.0 and -0.0 are by `===`."
  def same?(a, b) when is_float(a) and is_float(b), do: <<a::float>> == <<b::float>>
  def same?([a | as], [b | bs]), do: same?(a, b) and same?(as, bs)
  def same?(a, b) when is_tuple(a) and is_tuple(b), do: same?(Tuple.to_list(a), Tuple.to_list(b))

  def same?(a, b) when is_map(a) and is_map(b) do
    map_size(a) == map_size(b) and
      Enum.all?(Map.to_list(a), fn {key, value} ->
        is_map_key(b, key) and same?(value, Map.fetch!(b, key))
      end)
  end

  def same?(a, b), do: a === b

  @doc "A decimal of the form that results have where the package isn't there."
  def decimal(number, exp),
    do: %Decimal{sign: if(number < 0, do: -1, else: 1), coef: abs(number), exp: exp}

  defp decimals do
    hundreds = Integer.pow(10, 300) + 7

    [
      decimal(0, 0),
      decimal(0, -5),
      decimal(15, -1),
      decimal(-15, -1),
      decimal(127, 0),
      decimal(128, 0),
      decimal(-128, 0),
      decimal(-129, 0),
      decimal(7, 3),
      decimal(0x7FFFFFFFFFFFFFFF, -18),
      decimal(-0x8000000000000000, 0),
      decimal(hundreds, -150),
      decimal(-hundreds, 40),
      decimal(-1, -0x7FFFFFFF),
      decimal(1, 0x80000000),
      {:as, 42, decimal(42, 0)},
      {:as, -hundreds, decimal(-hundreds, 0)},
      # There is one zero.
      {:as, %Decimal{sign: -1, coef: 0, exp: -2}, decimal(0, -2)}
    ]
  end

  defp varints do
    edges = for bits <- [7, 8, 15, 31, 59, 60, 63, 64, 128, 8_000], do: Integer.pow(2, bits)
    around = for edge <- edges, n <- [edge - 1, edge, edge + 1], n <- [n, -n], do: n
    [0, 1, -1, Integer.pow(10, 300), -Integer.pow(10, 300)] ++ around
  end

  defp nest(type, 0), do: type
  defp nest(type, levels), do: nest("frozen<list<#{type}>>", levels - 1)

  defp nest_value(value, 0), do: value
  defp nest_value(value, levels), do: nest_value([value], levels - 1)
end
