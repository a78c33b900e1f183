defmodule Palladion.Test.RoundTrips do
  @moduledoc """
  The tests that write every type and value to a server and read it again, for a server of any
  version:

      use Palladion.Test.RoundTrips, server: [:tls, []], vectors: true

  `server` are the arguments of `Palladion.Test.Cassandra.server/2`. The module's cluster has
  the module's name, and its keyspace is `types`.
  """

  use ExUnit.CaseTemplate

  import Palladion.Test.Clusters

  alias Palladion.{Error, Result}
  alias Palladion.Test.{Cassandra, TypeValues}

  @keyspace "types"

  using options do
    quote bind_quoted: [options: options] do
      import Palladion.Test.RoundTrips

      @moduletag :cassandra
      @server options[:server]
      @vectors options[:vectors]

      setup_all do
        start!(__MODULE__, @server, @vectors)
      end

      for %{type: type} = simple <- Palladion.Test.TypeValues.simple() do
        test "#{type}: every value comes back" do
          values!(__MODULE__, unquote(type))
        end

        test "#{type}: in collections and tuples#{if @vectors, do: " and vectors"}" do
          inside!(__MODULE__, unquote(type), @vectors)
        end

        test "#{type}: null and empty" do
          nothing!(__MODULE__, unquote(type))
        end

        @tag needs_v4: "values that are unset"
        test "#{type}: unset" do
          unset!(__MODULE__, unquote(type))
        end
      end

      test "types in types, user-defined ones too" do
        nested!(__MODULE__, Palladion.Test.TypeValues.nested("types"), "nested")
      end

      test "counters" do
        counters!(__MODULE__)
      end

      test "empty collections outside of frozen are null" do
        empty_collections!(__MODULE__)
      end

      test "custom types are bytes, unless they are another name of a type" do
        custom!(__MODULE__)
      end

      test "a user-defined type that is extended" do
        extended!(__MODULE__)
      end

      test "a field of a user-defined type that is not frozen is set alone" do
        single_field!(__MODULE__)
      end

      @tag needs_v4: "values that are unset"
      test "a field of a user-defined type that is unset stays" do
        unset_field!(__MODULE__)
      end
    end
  end

  @doc false
  def start!(cluster, [variant, options], vectors?) do
    server = Cassandra.server(variant, options)
    {:ok, _} = Palladion.start_link(options(server, name: cluster, timeout: 30_000))
    :ok = Palladion.await_ready(cluster, 30_000)
    keyspace!(cluster, @keyspace)

    for statement <- TypeValues.create_types(@keyspace), do: Palladion.query!(cluster, statement)

    columns =
      for simple <- TypeValues.simple(), {context, type} <- contexts(simple, vectors?) do
        ", #{context}_#{simple.type} #{type}"
      end

    create_table!(cluster, "simple", columns)
    create_nested!(cluster, "nested", TypeValues.nested(@keyspace))
    if vectors?, do: create_nested!(cluster, "vectors", TypeValues.vectors(@keyspace))
    :ok
  end

  @doc "Creates a table with a column for each of the types: `c0`, `c1` and so on."
  def create_nested!(cluster, table, types) do
    columns = for {{type, _values}, i} <- Enum.with_index(types), do: ", c#{i} #{type}"
    create_table!(cluster, table, columns)
  end

  defp create_table!(cluster, table, columns) do
    Palladion.query!(
      cluster,
      "CREATE TABLE IF NOT EXISTS types.#{table} (id int PRIMARY KEY#{columns})"
    )
  end

  @doc false
  def values!(cluster, type), do: round_trips!(cluster, "simple", plain(simple(type)))

  @doc false
  def inside!(cluster, type, vectors?) do
    round_trips!(cluster, "simple", inside(simple(type), vectors?))
  end

  @doc "All there is: `{table, column, type, value}`."
  def all(vectors?) do
    simple =
      for simple <- TypeValues.simple(),
          types = Map.new(contexts(simple, vectors?)),
          {column, value} <-
            [{"plain_#{simple.type}", nil} | plain(simple)] ++ inside(simple, vectors?) do
        [context, _] = String.split(column, "_" <> simple.type)
        {"simple", column, types[context], value}
      end

    nested =
      for {table, types} <- [
            {"nested", TypeValues.nested(@keyspace)},
            {"vectors", if(vectors?, do: TypeValues.vectors(@keyspace), else: [])}
          ],
          {{type, values}, i} <- Enum.with_index(types),
          value <- values,
          do: {table, "c#{i}", type, value}

    simple ++ nested
  end

  defp plain(%{type: type, values: values}),
    do: for(value <- values, do: {"plain_#{type}", value})

  defp inside(%{type: type, values: values, keys: keys} = simple, vectors?) do
    written = Enum.map(values, &TypeValues.written/1)
    read = Enum.map(values, &TypeValues.read/1)

    numbered = fn list ->
      list |> Enum.with_index() |> Map.new(fn {value, i} -> {i, value} end)
    end

    contents = %{
      "list" => {:as, written, read},
      "frozen_list" => {:as, written, read},
      "set" => MapSet.new(keys),
      # A list will do for a set.
      "frozen_set" => {:as, keys, MapSet.new(keys)},
      "map" => Map.new(keys, &{&1, &1}),
      "frozen_map" => {:as, numbered.(written), numbered.(read)},
      "tuple" => {:as, {nil, hd(written)}, {nil, hd(read)}},
      "vector" => {:as, written, read}
    }

    for {context, _type} <- contexts(simple, vectors?), context != "plain" do
      {"#{context}_#{type}", Map.fetch!(contents, context)}
    end
  end

  defp contexts(%{type: type, values: values, keys: keys}, vectors?) do
    [
      {"plain", type},
      {"list", "list<#{type}>"},
      {"frozen_list", "frozen<list<#{type}>>"},
      {"frozen_map", "frozen<map<int, #{type}>>"},
      {"tuple", "tuple<int, #{type}>"}
    ] ++
      if(keys == [],
        do: [],
        else: [
          {"set", "set<#{type}>"},
          {"frozen_set", "frozen<set<#{type}>>"},
          {"map", "map<#{type}, #{type}>"}
        ]
      ) ++
      if(vectors?, do: [{"vector", "vector<#{type}, #{length(values)}>"}], else: [])
  end

  @doc false
  def unset!(cluster, type) do
    %{values: [value | _]} = simple(type)
    column = "plain_#{type}"
    id = round_trip!(cluster, "simple", column, value)
    write!(cluster, "simple", column, id, :unset)
    assert TypeValues.same?(read!(cluster, "simple", column, id), TypeValues.read(value))
  end

  @doc false
  def nothing!(cluster, type) do
    %{values: [value | _], empty: empty} = simple(type)
    column = "plain_#{type}"
    id = round_trip!(cluster, "simple", column, value)
    write!(cluster, "simple", column, id, nil)
    assert read!(cluster, "simple", column, id) == nil

    insert = insert("simple", column)

    case {empty, Palladion.query(cluster, insert, [id, :empty])} do
      {:admitted, result} ->
        assert {:ok, _} = result
        assert read!(cluster, "simple", column, id) == :empty

      {:refused, result} ->
        # By the server, which checks the length.
        assert {:error, %Error{reason: :invalid, code: 0x2200}} = result

      {:own, result} ->
        assert {:error, %Error{reason: :bad_value, details: %{problem: "wrong_type"}}} = result
        round_trip!(cluster, "simple", column, "")
    end
  end

  @doc false
  def nested!(cluster, types, table) do
    values =
      for {{_type, values}, i} <- Enum.with_index(types), value <- values, do: {"c#{i}", value}

    round_trips!(cluster, table, values)
  end

  @doc false
  def counters!(cluster) do
    Palladion.query!(
      cluster,
      "CREATE TABLE IF NOT EXISTS types.counters (id int PRIMARY KEY, n counter, m counter)"
    )

    id = some_number()
    update = "UPDATE types.counters SET n = n + ? WHERE id = #{id}"
    prepared = Palladion.prepare!(cluster, update)
    assert prepared.bind == [{"n", "counter"}]

    for {change, sum} <- [
          {1, 1},
          {-1, 0},
          {0x7FFFFFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF},
          {-0x7FFFFFFFFFFFFFFF, 0},
          {-0x8000000000000000, -0x8000000000000000}
        ] do
      Palladion.execute!(cluster, prepared, [change])
      select = "SELECT n, m FROM types.counters WHERE id = ?"
      assert Palladion.query!(cluster, select, [id]).rows == [%{"n" => sum, "m" => nil}]
    end

    assert {:error, %Error{reason: :bad_value, details: %{problem: "out_of_range"}}} =
             Palladion.execute(cluster, prepared, [0x8000000000000000])
  end

  @doc false
  def empty_collections!(cluster) do
    for {column, value} <- [{"list_int", []}, {"set_int", MapSet.new()}, {"map_int", %{}}] do
      round_trip!(cluster, "simple", column, {:as, value, nil})
    end

    for {column, value} <- [{"frozen_list_int", []}, {"frozen_set_int", MapSet.new()}] do
      round_trip!(cluster, "simple", column, value)
    end

    round_trip!(cluster, "simple", "frozen_map_int", %{})

    # No bytes are no collection for Cassandra, frozen or not.
    for column <- ~w(list_int set_int map_int frozen_list_int frozen_set_int frozen_map_int) do
      assert {:error, %Error{reason: :invalid}} =
               Palladion.query(cluster, insert("simple", column), [1, :empty])
    end

    # No bytes are no collection for Cassandra, frozen or not.
    for column <- ~w(list_int set_int map_int frozen_list_int frozen_set_int frozen_map_int) do
      assert {:error, %Error{reason: :invalid}} =
               Palladion.query(cluster, insert("simple", column), [1, :empty])
    end
  end

  @doc false
  def custom!(cluster) do
    package = "org.apache.cassandra.db.marshal"

    types =
      ~w[DynamicCompositeType(a=>Int32Type) LexicalUUIDType DateType ReversedType(Int32Type)]

    columns = for {type, i} <- Enum.with_index(types), do: ", c#{i} '#{type}'"
    create_table!(cluster, "custom", columns)

    assert [
             {"c0", "'#{package}.DynamicCompositeType(a=>#{package}.Int32Type)'"},
             {"c1", "uuid"},
             {"c2", "timestamp"},
             {"c3", "int"}
           ] ==
             Palladion.prepare!(
               cluster,
               "UPDATE types.custom SET c0 = ?, c1 = ?, c2 = ?, c3 = ? WHERE id = 1"
             ).bind

    # One component: by the alias a, of four bytes, and its end.
    component = <<0x80, ?a, 0, 4, 0, 0, 0, 42, 0>>

    for {value, i} <-
          Enum.with_index([
            component,
            "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11",
            ~U[2024-02-29 12:34:56.789Z],
            -7
          ]) do
      round_trip!(cluster, "custom", "c#{i}", value)
    end
  end

  @doc false
  def extended!(cluster) do
    number = some_number()
    {type, table} = {"types.growing#{number}", "growing#{number}"}
    Palladion.query!(cluster, "CREATE TYPE #{type} (a int)")
    create_table!(cluster, table, ", one frozen<#{type}>, many list<frozen<#{type}>>")
    one = round_trip!(cluster, table, "one", %{"a" => 1})
    many = round_trip!(cluster, table, "many", [%{"a" => 1}, %{"a" => nil}])

    Palladion.query!(cluster, "ALTER TYPE #{type} ADD b text")
    assert read!(cluster, table, "one", one) == %{"a" => 1, "b" => nil}

    assert read!(cluster, table, "many", many) == [
             %{"a" => 1, "b" => nil},
             %{"a" => nil, "b" => nil}
           ]

    # Another statement, which is not remembered with the type as it was.
    insert = "INSERT INTO types.#{table} (one, id) VALUES (?, ?)"
    Palladion.query!(cluster, insert, [%{"a" => 2, "b" => "x"}, 0])
    assert read!(cluster, table, "one", 0) == %{"a" => 2, "b" => "x"}

    Palladion.query!(cluster, "ALTER TYPE #{type} RENAME b TO c")
    assert read!(cluster, table, "one", one) == %{"a" => 1, "c" => nil}
    round_trip!(cluster, table, "one", {:as, %{"a" => 2}, %{"a" => 2, "c" => nil}})
  end

  @doc false
  def single_field!(cluster) do
    {column, id, update} = field(cluster)
    # Of nulls only it's not there.
    round_trip!(cluster, "nested", column, {:as, %{"a" => nil, "b" => nil}, nil})
    assert %Result{} = Palladion.query!(cluster, update, ["y", id])
    assert read!(cluster, "nested", column, id) == %{"a" => 1, "b" => "y"}
    Palladion.query!(cluster, update, [nil, id])
    assert read!(cluster, "nested", column, id) == %{"a" => 1, "b" => nil}
  end

  @doc false
  def unset_field!(cluster) do
    {column, id, update} = field(cluster)
    Palladion.query!(cluster, update, [:unset, id])
    assert read!(cluster, "nested", column, id) == %{"a" => 1, "b" => "x"}
  end

  # A row with a value of `types.plain`, and what sets one field of it.
  defp field(cluster) do
    i = Enum.find_index(TypeValues.nested("types"), fn {type, _} -> type == "types.plain" end)
    id = round_trip!(cluster, "nested", "c#{i}", %{"a" => 1, "b" => "x"})
    {"c#{i}", id, "UPDATE types.nested SET c#{i}.b = ? WHERE id = ?"}
  end

  @doc "Writes a value to a new row and reads it again; returns the row's id."
  def round_trip!(cluster, table, column, value) do
    [id] = round_trips!(cluster, table, [{column, value}])
    id
  end

  @doc "The same for many columns and values, each in a row of its own and all at a time."
  def round_trips!(cluster, table, values) do
    rows = for {column, value} <- values, do: {System.unique_integer([:positive]), column, value}
    write_all!(cluster, table, rows)
    assert_read!(cluster, table, rows)
    for {id, _column, _value} <- rows, do: id
  end

  defp write_all!(cluster, table, rows) do
    rows
    |> Enum.map(fn {id, column, value} ->
      written = TypeValues.written(value)
      {Palladion.submit(cluster, insert(table, column), [id, written]), column, written}
    end)
    |> Enum.each(fn {pending, column, written} ->
      with {:error, error} <- await(pending) do
        flunk("#{column} of #{table} #{Exception.message(error)}: #{brief(written)}")
      end
    end)
  end

  @doc "Asserts what there is in a table, as `{id, column, value}`."
  def assert_read!(cluster, table, rows) do
    rows
    |> Enum.map(fn {id, column, value} ->
      {Palladion.submit(cluster, select(table, column), [id], rows: :tuples), column, value}
    end)
    |> Enum.each(fn {pending, column, value} ->
      assert {:ok, %Result{rows: [{actual}]}} = await(pending)
      expected = TypeValues.read(value)

      assert TypeValues.same?(actual, expected),
             "#{column} of #{table} was written as #{brief(TypeValues.written(value))}, " <>
               "and read as #{brief(actual)} instead of #{brief(expected)}"
    end)
  end

  defp await({:ok, pending}), do: Palladion.await(pending)
  defp await({:error, _error} = refused), do: refused

  @doc "Writes a value to a row."
  def write!(cluster, table, column, id, value) do
    Palladion.query!(cluster, insert(table, column), [id, value])
  end

  @doc "Reads a column of a row."
  def read!(cluster, table, column, id, options \\ []) do
    options = [rows: :tuples] ++ options

    assert %Result{rows: [{value}]} =
             Palladion.query!(cluster, select(table, column), [id], options)

    value
  end

  defp select(table, column), do: "SELECT #{column} FROM types.#{table} WHERE id = ?"
  # A server from elsewhere remembers earlier runs.
  defp some_number, do: :rand.uniform(0x7FFFFFFF)

  defp insert(table, column), do: "INSERT INTO types.#{table} (id, #{column}) VALUES (?, ?)"

  defp simple(type), do: Enum.find(TypeValues.simple(), &(&1.type == type))

  defp brief(value), do: inspect(value, limit: 50, printable_limit: 200)
end
