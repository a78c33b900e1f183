defmodule Palladion.Integration.QueryTest do
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{Error, Prepared, Result}
  alias Palladion.Test.Cassandra

  @moduletag :cassandra

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, pool: [size: 2]))
    :ok = Palladion.await_ready(__MODULE__, 30_000)
    keyspace!(__MODULE__, "queries")

    Palladion.query!(__MODULE__, """
    CREATE TABLE IF NOT EXISTS queries.kinds (
      id int PRIMARY KEY, big bigint, words text, truth boolean, number double, tag uuid,
      at timestamp, bytes blob, items list<text>, counts map<text, int>, nested map<int, frozen<list<bigint>>>
    )
    """)

    Palladion.query!(__MODULE__, """
    CREATE TABLE IF NOT EXISTS queries.many (part int, n int, words text, PRIMARY KEY (part, n))
    """)

    :ok
  end

  @columns ~w(big words truth number tag at bytes items counts nested)

  @values [
    {"nothing", List.duplicate(nil, 10)},
    {"smallest",
     [
       -0x8000000000000000,
       "",
       false,
       -1.7976931348623157e308,
       "00000000-0000-0000-0000-000000000000",
       ~U[-0001-01-01 00:00:00.000Z],
       "",
       [],
       %{},
       %{}
     ]},
    {"largest",
     [
       0x7FFFFFFFFFFFFFFF,
       String.duplicate("ü€", 5_000),
       true,
       1.7976931348623157e308,
       "ffffffff-ffff-4fff-bfff-ffffffffffff",
       ~U[9999-12-31 23:59:59.999Z],
       :binary.copy(<<0, 255>>, 40_000),
       Enum.map(1..500, &Integer.to_string/1),
       Map.new(1..100, &{"k#{&1}", &1}),
       %{-0x80000000 => [1, -0x8000000000000000], 0x7FFFFFFF => []}
     ]}
  ]

  for {what, written} <- @values do
    test "a row of the #{what} values comes back" do
      written = unquote(Macro.escape(written))
      id = :erlang.phash2(unquote(what), 1000)
      names = ["id" | @columns]
      marks = Enum.map_join(names, ", ", fn _ -> "?" end)
      insert = "INSERT INTO queries.kinds (#{Enum.join(names, ", ")}) VALUES (#{marks})"
      assert {:ok, %Result{kind: :void}} = Palladion.query(__MODULE__, insert, [id | written])

      assert {:ok, %Result{rows: [row], num_rows: 1}} =
               Palladion.query(__MODULE__, "SELECT * FROM queries.kinds WHERE id = ?", [id])

      # An empty collection outside of `frozen` is stored as nothing, which is null.
      expected = for value <- written, do: if(value in [[], %{}], do: nil, else: value)
      assert Enum.map(@columns, &row[&1]) == expected
    end
  end

  test "floats that the BEAM doesn't have are atoms" do
    for value <- [:nan, :infinity, :neg_infinity] do
      Palladion.query!(__MODULE__, "INSERT INTO queries.kinds (id, number) VALUES (?, ?)", [
        1,
        value
      ])

      assert [%{"number" => ^value}] =
               Palladion.query!(__MODULE__, "SELECT number FROM queries.kinds WHERE id = 1").rows
    end
  end

  test "other forms of the same value" do
    insert = "INSERT INTO queries.kinds (id, tag, at, number) VALUES (?, ?, ?, ?)"
    tag = <<0x0C3C1F9A9B1E4B7E8C572D1B8A4B1C11::128>>
    Palladion.query!(__MODULE__, insert, [2, tag, 1_709_164_800_123, 3])

    assert [row] =
             Palladion.query!(
               __MODULE__,
               "SELECT tag, at, number FROM queries.kinds WHERE id = 2"
             ).rows

    assert row == %{
             "tag" => "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11",
             "at" => ~U[2024-02-29 00:00:00.123Z],
             "number" => 3.0
           }
  end

  test "rows as lists, in the order of the columns" do
    Palladion.query!(__MODULE__, "INSERT INTO queries.many (part, n, words) VALUES (9, 1, 'x')")

    assert %Result{columns: ["words", "n"], rows: [["x", 1]]} =
             Palladion.query!(
               __MODULE__,
               "SELECT words, n FROM queries.many WHERE part = 9",
               [],
               rows: :lists
             )
  end

  test "a prepared statement is described and executed by position and by name" do
    {:ok, prepared} =
      Palladion.prepare(__MODULE__, "INSERT INTO queries.many (part, n, words) VALUES (?, ?, :w)")

    assert %Prepared{bind: [{"part", "int"}, {"n", "int"}, {"w", "text"}], columns: []} = prepared
    assert {:ok, _} = Palladion.execute(__MODULE__, prepared, [1, 1, "one"])

    assert {:ok, _} = Palladion.execute(__MODULE__, prepared, %{"part" => 1, "n" => 2, w: "two"})

    rows = Palladion.query!(__MODULE__, "SELECT n, words FROM queries.many WHERE part = ?", [1])

    assert Enum.to_list(rows) == [
             %{"n" => 1, "words" => "one"},
             %{"n" => 2, "words" => "two"}
           ]
  end

  test "pages are as long as asked for and follow each other" do
    insert =
      Palladion.prepare!(__MODULE__, "INSERT INTO queries.many (part, n, words) VALUES (?, ?, ?)")

    for n <- 1..25, do: Palladion.execute!(__MODULE__, insert, [2, n, "w#{n}"])
    select = Palladion.prepare!(__MODULE__, "SELECT n FROM queries.many WHERE part = ?")

    pages =
      Stream.unfold(:first, fn
        nil ->
          nil

        state ->
          state = if state == :first, do: nil, else: state

          result = Palladion.execute!(__MODULE__, select, [2], page_size: 10, paging_state: state)

          {Enum.map(result, & &1["n"]), result.paging_state}
      end)

    assert Enum.to_list(pages) == [
             Enum.to_list(1..10),
             Enum.to_list(11..20),
             Enum.to_list(21..25)
           ]
  end

  test "submitted requests overlap and are awaited in any order" do
    select = Palladion.prepare!(__MODULE__, "SELECT cluster_name FROM system.local WHERE key = ?")

    pending =
      for _ <- 1..50, do: elem({:ok, _} = Palladion.submit(__MODULE__, select, ["local"]), 1)

    for one <- Enum.shuffle(pending), do: assert({:ok, %{num_rows: 1}} = Palladion.await(one))

    {:ok, unwanted} = Palladion.submit(__MODULE__, select, ["local"])
    assert :ok = Palladion.cancel(unwanted)
    Process.sleep(50)
    assert mailbox() == []
  end

  test "a value that doesn't fit is refused before it's sent, and isn't shown" do
    {:ok, before} = Palladion.stats(__MODULE__)
    insert = "INSERT INTO queries.kinds (id, counts, items) VALUES (?, ?, ?)"
    Palladion.prepare!(__MODULE__, insert)
    secret = "the planted value"

    assert {:error, %Error{reason: :bad_value, code: nil} = error} =
             Palladion.query(__MODULE__, insert, [1, %{"a" => 1, "b" => secret}, []])

    assert %{
             column: "counts",
             index: 1,
             type: "int",
             problem: "wrong_type",
             path: ["value " <> _]
           } = error.details

    refute inspect(error) =~ secret
    refute Exception.message(error) =~ secret
    assert Exception.message(error) =~ ~s("counts")

    for {values, problem} <- [
          {[0x80000000, %{}, []], "out_of_range"},
          {[1, %{}, ["a", nil]], "null_in_collection"},
          {[1, %{}, ["a" | "b"]], "wrong_type"},
          {[1, %{}], "wrong_count"},
          {[1, %{}, [], 4], "wrong_count"},
          {%{"id" => 1, "counts" => %{}}, "missing"},
          {:nonsense, "wrong_count"}
        ] do
      assert {:error, %Error{reason: :bad_value, details: %{problem: ^problem}}} =
               Palladion.query(__MODULE__, insert, values)
    end

    {:ok, stats} = Palladion.stats(__MODULE__)
    # Only the PREPARE was sent.
    assert stats.requests == before.requests + 1
  end

  test "a large value is encoded off the scheduler and arrives" do
    bytes = :crypto.strong_rand_bytes(2_000_000)
    insert = "INSERT INTO queries.kinds (id, bytes) VALUES (?, ?)"
    Palladion.query!(__MODULE__, insert, [77, bytes])

    assert [%{"bytes" => ^bytes}] =
             Palladion.query!(__MODULE__, "SELECT bytes FROM queries.kinds WHERE id = 77").rows
  end

  test "errors of the server have a reason, a code and its fields" do
    assert {:error, %Error{reason: :syntax_error, code: 0x2000}} =
             Palladion.query(__MODULE__, "SELEC")

    assert {:error, %Error{reason: :invalid}} =
             Palladion.query(__MODULE__, "SELECT * FROM queries.nowhere")

    assert {:error, %Error{reason: :already_exists, details: details}} =
             Palladion.query(__MODULE__, "CREATE TABLE queries.many (id int PRIMARY KEY)")

    assert %{keyspace: "queries", table: "many", node: _host_id} = details

    assert {:error, %Error{reason: :unavailable, details: %{required: 2, alive: 1}}} =
             Palladion.query(__MODULE__, "SELECT * FROM queries.many", [], consistency: :two)

    assert_raise Error, ~r/syntax_error, code 0x2000/, fn ->
      Palladion.query!(__MODULE__, "SELEC")
    end
  end

  test "a password in a statement is not quoted by its error" do
    for statement <- [
          "CREATE ROLE x WITH PASSWORD = 'planted-pw' AND LOGN = true",
          "CREATE ROLE x WITH LOGIN = true AND PASSWORD = 'planted-pw",
          "ALTER ROLE nobody_has_this WITH PASSWORD = 'planted-pw'"
        ] do
      assert {:error, %Error{code: code} = error} = Palladion.query(__MODULE__, statement)
      assert code != nil
      refute inspect(error) =~ "planted-pw"
      refute Exception.message(error) =~ "planted-pw"
    end
  end

  test "schema statements and USE say what they did" do
    assert %Result{kind: :schema_change, schema_change: change} =
             Palladion.query!(__MODULE__, "CREATE TABLE queries.brief (id int PRIMARY KEY)")

    assert %{change: "CREATED", target: "TABLE", keyspace: "queries", name: "brief"} = change

    assert %Result{kind: :schema_change} =
             Palladion.query!(__MODULE__, "DROP TABLE queries.brief")
  end

  test "a keyspace in the options is in use on every connection" do
    name = ready_cluster!(Cassandra.server(), keyspace: "queries", pool: [size: 3])

    for _ <- 1..9, do: assert({:ok, _} = Palladion.query(name, "SELECT * FROM many LIMIT 1"))
  end

  test "a statement that the server has forgotten is prepared again" do
    statement = "SELECT words FROM queries.many WHERE part = ? AND n = ?"
    prepared = Palladion.prepare!(__MODULE__, statement)
    # A schema change throws statements of the table out of the server's cache.
    Palladion.query!(
      __MODULE__,
      "ALTER TABLE queries.many ADD extra#{System.unique_integer([:positive])} int"
    )

    assert {:ok, %Result{}} = Palladion.execute(__MODULE__, prepared, [1, 1])

    # Another cluster has never seen the id.
    other = ready_cluster!(Cassandra.server(), [])
    assert {:ok, %Result{}} = Palladion.execute(other, prepared, [1, 1])
  end

  test "options that don't exist are refused with what was meant" do
    assert_raise ArgumentError, ~r/did you mean :timeout\?/, fn ->
      Palladion.query(__MODULE__, "SELECT", [], timeot: 1)
    end

    assert_raise ArgumentError, ~r/consistency/, fn ->
      Palladion.query(__MODULE__, "SELECT", [], consistency: :most)
    end
  end
end
