defmodule Palladion.Integration.TypesTest do
  use Palladion.Test.RoundTrips, server: [:tls, []], vectors: Palladion.Test.Matrix.cassandra_5?()

  import Palladion.Test.Clusters

  alias Palladion.{Decimal, Error, Result}
  alias Palladion.Test.{Canonical, Cassandra, Python, TypeValues}
  alias Palladion.Test.Structs.{Box, Money, Plain, Unknown}

  @tag needs_cassandra_5: "vectors"
  test "vectors of every kind" do
    nested!(__MODULE__, TypeValues.vectors("types"), "vectors")

    insert = "INSERT INTO types.simple (id, vector_int) VALUES (?, ?)"
    assert {:error, %Error{reason: :invalid}} = Palladion.query(__MODULE__, insert, [1, :empty])
  end

  test "an IPv4 address that is written as an IPv6 one stays it" do
    # Not in a list, where Cassandra makes an IPv4 address of it.
    mapped = {0, 0, 0, 0, 0, 0xFFFF, 0x0102, 0x0304}
    round_trip!(__MODULE__, "simple", "plain_inet", mapped)

    for column <- ["list_inet", "frozen_list_inet"] do
      round_trip!(__MODULE__, "simple", column, {:as, [mapped], [{1, 2, 3, 4}]})
    end
  end

  describe "rows" do
    setup do
      id = System.unique_integer([:positive])

      Palladion.query!(
        __MODULE__,
        "INSERT INTO types.simple (id, plain_int, plain_text) VALUES (?, ?, ?)",
        [id, 7, "x"]
      )

      %{id: id}
    end

    @select "SELECT plain_int, plain_text, plain_int AS \"No Atom Of This Name\" FROM types.simple"

    test "as maps, lists, tuples and columns", %{id: id} do
      for {options, rows} <- [
            {[], [%{"plain_int" => 7, "plain_text" => "x", "No Atom Of This Name" => 7}]},
            {[rows: :maps],
             [%{"plain_int" => 7, "plain_text" => "x", "No Atom Of This Name" => 7}]},
            {[rows: :atom_maps],
             [%{:plain_int => 7, :plain_text => "x", "No Atom Of This Name" => 7}]},
            {[rows: :lists], [[7, "x", 7]]},
            {[rows: :tuples], [{7, "x", 7}]},
            {[rows: :columns],
             %{"plain_int" => [7], "plain_text" => ["x"], "No Atom Of This Name" => [7]}}
          ] do
        result = Palladion.query!(__MODULE__, @select <> " WHERE id = ?", [id], options)

        assert %Result{kind: :rows, rows: ^rows, num_rows: 1} = result
        assert result.columns == ["plain_int", "plain_text", "No Atom Of This Name"]
        assert Enum.to_list(result) == Enum.to_list(rows)
        assert Enum.count(result) == Enum.count(rows)
      end
    end

    test "of which there are none" do
      for {shape, rows} <- [
            maps: [],
            atom_maps: [],
            lists: [],
            tuples: [],
            columns: %{"plain_int" => [], "plain_text" => [], "No Atom Of This Name" => []}
          ] do
        assert %Result{rows: ^rows, num_rows: 0} =
                 Palladion.query!(__MODULE__, @select <> " WHERE id = ?", [-1], rows: shape)
      end
    end

    test "with two columns of one name", %{id: id} do
      select = "SELECT plain_int AS same, plain_text AS same, id FROM types.simple WHERE id = ?"

      for {shape, rows} <- [
            # Of the two the last counts.
            maps: [%{"same" => "x", "id" => id}],
            atom_maps: [%{same: "x", id: id}],
            columns: %{"same" => ["x"], "id" => [id]},
            lists: [[7, "x", id]],
            tuples: [{7, "x", id}]
          ] do
        assert %Result{columns: ["same", "same", "id"], rows: ^rows} =
                 Palladion.query!(__MODULE__, select, [id], rows: shape)
      end
    end
  end

  test "uuids as bytes and timestamps as integers, wherever they are" do
    text = "8d2c6b00-d6c1-11ee-8c3e-0242ac120002"
    bytes = text |> String.replace("-", "") |> Base.decode16!(case: :lower)
    at = ~U[2024-02-29 12:34:56.789Z]
    millis = DateTime.to_unix(at, :millisecond)

    for {type, asked, value, default} <- [
          {"uuid", [uuids: :binary], bytes, text},
          {"timeuuid", [uuids: :binary], bytes, text},
          {"timestamp", [timestamps: :integer], millis, at}
        ],
        {context, around} <- [
          {"plain", & &1},
          {"list", &[&1]},
          {"set", &MapSet.new([&1])},
          {"map", &%{&1 => &1}},
          {"tuple", &{nil, &1}},
          {"vector", &List.duplicate(&1, vector_length(type))}
        ],
        @vectors or context != "vector" do
      column = "#{context}_#{type}"
      # Both forms can be written.
      id = round_trip!(__MODULE__, "simple", column, {:as, around.(value), around.(default)})
      id = round_trip!(__MODULE__, "simple", column, around.(default)) && id
      assert read!(__MODULE__, "simple", column, id, asked) == around.(value)
    end
  end

  defp vector_length(type) do
    length(Enum.find(TypeValues.simple(), &(&1.type == type)).values)
  end

  test "decimals are those of the package decimal where it is there" do
    unless Code.ensure_loaded?(Elixir.Decimal) do
      # The struct is all of it that matters.
      Code.compile_string("defmodule Decimal, do: defstruct(sign: 1, coef: 0, exp: 0)")

      on_exit(fn ->
        :code.delete(Elixir.Decimal)
        :code.purge(Elixir.Decimal)
      end)
    end

    # Whether it is there is looked at when a cluster starts.
    name = ready_cluster!(Cassandra.server())
    theirs = struct(Elixir.Decimal, sign: -1, coef: Integer.pow(10, 40), exp: -3)
    ours = %Decimal{sign: -1, coef: Integer.pow(10, 40), exp: -3}

    for written <- [theirs, ours] do
      id = round_trip!(name, "simple", "plain_decimal", {:as, written, theirs})
      assert read!(__MODULE__, "simple", "plain_decimal", id) == ours
    end

    round_trip!(name, "simple", "set_decimal", MapSet.new([theirs]))
    round_trip!(__MODULE__, "simple", "plain_decimal", {:as, theirs, ours})
  end

  describe "structs" do
    test "that implement or derive Palladion.Encoder are encoded, wherever they are" do
      money = %Money{cents: 1_999}
      plain = %Plain{a: 1, b: "x"}
      price = %Decimal{coef: 1_999, exp: -2}
      fields = %{"a" => 1, "b" => "x"}

      for {column, written, read} <- [
            {"plain_decimal", money, price},
            {"list_decimal", [money, %Decimal{coef: 1}], [price, %Decimal{coef: 1}]},
            {"set_decimal", MapSet.new([money]), MapSet.new([price])},
            {"set_decimal", [money], MapSet.new([price])},
            {"map_decimal", %{money => money}, %{price => price}},
            {"tuple_decimal", {1, money}, {1, price}},
            {"list_int", %Box{value: [1, %Box{value: 2}]}, [1, 2]},
            {"plain_text", %Box{value: nil}, nil}
          ] do
        round_trip!(__MODULE__, "simple", column, {:as, written, read})
      end

      round_trip!(__MODULE__, "nested", nested_column("types.plain"), {:as, plain, fields})

      mixed = %{"Inner" => plain, "no" => %Box{value: 7}}

      round_trip!(
        __MODULE__,
        "nested",
        nested_column(~s(frozen<types."Mixed Case">)),
        {:as, mixed,
         %{"Street Name" => nil, "no" => 7, "Inner" => fields, "tags" => nil, "pair" => nil}}
      )

      # Among values by name too.
      insert = "INSERT INTO types.simple (id, plain_decimal) VALUES (:id, :price)"
      values = %{id: System.unique_integer([:positive]), price: money}
      assert {:ok, _} = Palladion.query(__MODULE__, insert, values)
      assert read!(__MODULE__, "simple", "plain_decimal", values.id) == price
    end

    test "that don't are refused, and are not shown" do
      insert = "INSERT INTO types.nested (id, #{nested_column("types.plain")}) VALUES (?, ?)"

      for value <- [%Unknown{a: 1, b: "planted"}, %Box{value: %Unknown{b: "planted"}}] do
        assert {:error, %Error{reason: :bad_value} = error} =
                 Palladion.query(__MODULE__, insert, [1, value])

        assert %{type: "types.plain", problem: "wrong_type", path: [], index: 1} = error.details
        refute inspect(error) =~ "planted"
      end
    end

    defp nested_column(type) do
      "c#{Enum.find_index(TypeValues.nested("types"), fn {nested, _} -> nested == type end)}"
    end
  end

  describe "an independent client" do
    @describetag :python

    setup do
      user_types = Map.new(TypeValues.user_types("types"))

      values =
        for {table, column, type, value} <- all(@vectors) do
          type = Canonical.type(type, user_types)
          text = Canonical.text(type, TypeValues.read(value))
          %{table: table, column: column, value: value, text: text}
        end

      %{values: values}
    end

    test "reads what Palladion has written", %{values: values} do
      values = Enum.reject(values, &beyond_python?(&1.text))

      written =
        for {table, some} <- Enum.group_by(values, & &1.table),
            ids = round_trips!(__MODULE__, table, for(one <- some, do: {one.column, one.value})),
            {id, one} <- Enum.zip(ids, some),
            do: {id, one}

      orders = for {id, one} <- written, do: ["types." <> one.table, one.column, id]
      texts = Python.run!(Cassandra.server(), orders)
      assert length(texts) == length(written)

      for {text, {_id, one}} <- Enum.zip(texts, written) do
        short = &String.slice(&1, 0, 500)

        assert text == one.text,
               "#{one.column} of #{one.table}: #{short.(text)}, not #{short.(one.text)}"
      end
    end

    test "writes what Palladion reads", %{values: values} do
      written = for one <- values, do: {System.unique_integer([:positive]), one}
      orders = for {id, one} <- written, do: ["types." <> one.table, one.column, id, one.text]
      assert [] = Python.run!(Cassandra.server(), orders)

      for {table, some} <- Enum.group_by(written, fn {_id, one} -> one.table end) do
        rows = for {id, one} <- some, do: {id, one.column, one.value}
        assert_read!(__MODULE__, table, rows)
      end
    end

    # What the Python driver can write, but not read: its years are 1 to 9999, and the negative of
    # the smallest scale, which is the exponent, is beyond its 32 bits.
    defp beyond_python?(text) do
      times = Regex.scan(~r/timestamp:(-?\d+)/, text, capture: :all_but_first)

      text =~ "e2147483648" or
        Enum.any?(times, fn [millis] ->
          String.to_integer(millis) not in -62_135_596_800_000..253_402_300_799_999
        end)
    end
  end
end
