defmodule Palladion.Integration.BatchTest do
  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.{Error, Result}
  alias Palladion.Test.Cassandra
  alias Palladion.Test.Structs.{Box, Unknown}
  alias Palladion.Test.TelemetryEvents

  @moduletag :cassandra

  @insert "INSERT INTO batches.users (part, id, name) VALUES (?, ?, ?)"
  @update "UPDATE batches.users SET name = ? WHERE part = ? AND id = ?"

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, pool: [size: 1]))
    :ok = Palladion.await_ready(__MODULE__, 30_000)
    keyspace!(__MODULE__, "batches")

    create!(
      "CREATE TABLE IF NOT EXISTS batches.users (part int, id int, name text, PRIMARY KEY (part, id))"
    )

    create!("CREATE TABLE IF NOT EXISTS batches.counts (id int PRIMARY KEY, hits counter)")
    %{server: server}
  end

  # A partition of the test's own.
  setup do
    %{part: System.unique_integer([:positive])}
  end

  for type <- [:logged, :unlogged] do
    test "of #{type} statements writes all of them", %{part: part} do
      prepared = prepare!(@insert)

      result =
        batch!(
          [
            {prepared, [part, 1, "Ada"]},
            {prepared, %{"part" => part, "id" => 2, "name" => "Bob"}},
            {@insert, [part, 3, "Cid"]},
            {@insert, %{part: part, id: 4, name: nil}},
            "INSERT INTO batches.users (part, id, name) VALUES (#{part}, 5, 'Eve')",
            {"INSERT INTO batches.users (part, id, name) VALUES (#{part}, 6, 'Fay')", []}
          ],
          type: unquote(type)
        )

      assert %Result{kind: :void, custom_payload: %{}} = result

      assert names(part) ==
               %{1 => "Ada", 2 => "Bob", 3 => "Cid", 4 => nil, 5 => "Eve", 6 => "Fay"}
    end
  end

  test "of counters counts, and each other kind has its own type", %{part: id} do
    add = "UPDATE batches.counts SET hits = hits + ? WHERE id = ?"
    batch!([{add, [2, id]}, {prepare!(add), [3, id]}], type: :counter)
    assert rows("SELECT hits FROM batches.counts WHERE id = ?", [id]) == [%{"hits" => 5}]

    for {statements, type} <- [
          {[{add, [1, id]}], :logged},
          {[{@insert, [id, 1, "a"]}], :counter}
        ] do
      assert {:error, %Error{reason: :invalid}} = batch(statements, type: type)
    end
  end

  test "without values, and with one statement, is one too", %{part: part} do
    batch!(["INSERT INTO batches.users (part, id) VALUES (#{part}, 1)"])
    assert names(part) == %{1 => nil}
  end

  test "of 1,000 statements is one request", %{part: part} do
    statements = for id <- 1..1_000, do: {@insert, [part, id, "n#{id}"]}
    # On a loaded machine the server's own limit may be too short for it.
    patient = [timeout: 60_000, idempotent: true, retry: {:keyspaces, max_attempts: 20}]
    batch!(statements, [type: :unlogged] ++ patient)
    assert map_size(names(part)) == 1_000
  end

  test "of many different statements has each prepared", %{part: part} do
    statements =
      for id <- 1..100 do
        {"INSERT INTO batches.users (part, id, name) VALUES (?, #{part * 1_000 + id}, ?)",
         [part, "n#{id}"]}
      end

    batch!(statements, timeout: 30_000, idempotent: true)
    assert map_size(names(part)) == 100
  end

  test "encodes structs of the user's in all its statements", %{part: part} do
    batch!([
      {@insert, [part, 1, %Box{value: "Ada"}]},
      {@insert, [part, %Box{value: 2}, "Bob"]}
    ])

    assert names(part) == %{1 => "Ada", 2 => "Bob"}
  end

  test "names the statement that can't be encoded, and sends none", %{part: part} do
    good = {@insert, [part, 1, "Ada"]}

    for {bad, problem} <- [
          {{@insert, [part, "two", "Bob"]}, "wrong_type"},
          {{@insert, [part, 2, %Unknown{}]}, "wrong_type"},
          {{@insert, [part, 2]}, "wrong_count"},
          {{@insert, %{"part" => part, "id" => 2}}, "missing"}
        ] do
      assert {:error, %Error{reason: :bad_value, details: details} = error} =
               batch([good, good, bad, good])

      assert %{statement: 2, problem: ^problem} = details
      assert Exception.message(error) =~ "statement 2 of the batch (the first is 0)"
    end

    assert names(part) == %{}
  end

  test "with what is no statement is refused" do
    for statements <- [[], :garbage, %{}, [7], [{1, 2, 3}], ["SELECT 1" | :improper], [{7, [1]}]] do
      assert {:error, %Error{reason: reason, code: nil}} = batch(statements)
      assert reason in [:bad_statement, :bad_argument]
    end

    assert {:error, %Error{reason: :bad_statement, message: "a batch needs" <> _}} = batch([])
  end

  test "of more statements than the protocol can count is refused", %{part: part} do
    statements = List.duplicate("DELETE FROM batches.users WHERE part = #{part}", 65_536)
    assert {:error, %Error{reason: :bad_statement} = error} = batch(statements, timeout: 60_000)
    assert Exception.message(error) =~ "65535"
  end

  test "with a statement that the server doesn't know has the server's error", %{part: part} do
    for bad <- ["INSERT INTO batches.nowhere (id) VALUES (1)", "SELECT * FROM batches.users"] do
      assert {:error, %Error{reason: :invalid}} = batch([{@insert, [part, 1, "Ada"]}, bad])
    end

    # It's prepared, and refused, before the batch is sent.
    assert {:error, %Error{reason: :invalid, details: %{statement: 1}}} =
             batch([
               {@insert, [part, 1, "Ada"]},
               {"INSERT INTO batches.nowhere (id) VALUES (?)", [1]}
             ])

    assert {:error, %Error{reason: :syntax_error}} = batch(["INSERT INTO", "nonsense"])
    assert names(part) == %{}
  end

  test "that is too large is refused by the server", %{part: part} do
    large = String.duplicate("x", 100_000)

    assert {:error, %Error{reason: :invalid} = error} =
             batch([{@insert, [part, 1, large]}, {@insert, [part + 1, 1, large]}])

    assert Exception.message(error) =~ "too large"
  end

  describe "conditions" do
    test "are applied together", %{part: part} do
      statements = [
        {@insert <> " IF NOT EXISTS", [part, 1, "Ada"]},
        {@insert, [part, 2, "Bob"]}
      ]

      applied = batch!(statements)
      assert Result.applied?(applied)
      assert Result.current_row(applied) == nil
      assert names(part) == %{1 => "Ada", 2 => "Bob"}
    end

    test "are refused together, with the row in the way", %{part: part} do
      batch!([{@insert, [part, 1, "Ada"]}])

      for shape <- [:maps, :lists, :tuples] do
        refused =
          batch!(
            [
              {@insert <> " IF NOT EXISTS", [part, 1, "Eve"]},
              {@insert, [part, 2, "Bob"]}
            ],
            rows: shape
          )

        refute Result.applied?(refused)

        assert Result.current_row(refused) ==
                 %{
                   maps: %{"part" => part, "id" => 1, "name" => "Ada"},
                   lists: [part, 1, "Ada"],
                   tuples: {part, 1, "Ada"}
                 }[shape]
      end

      assert names(part) == %{1 => "Ada"}
    end
  end

  describe "a statement that the server has forgotten" do
    test "is prepared again, by its place in the batch", %{part: part} do
      for create <- ["name text", "name text, more text"] do
        Palladion.query!(__MODULE__, "DROP TABLE IF EXISTS batches.again", [], timeout: 30_000)
        create!("CREATE TABLE batches.again (id int PRIMARY KEY, #{create})")
        text = "INSERT INTO batches.again (id, name) VALUES (?, ?)"

        prepared = Process.get(:prepared) || Palladion.prepare!(__MODULE__, text, timeout: 30_000)

        Process.put(:prepared, prepared)

        batch!([
          {@insert, [part, 1, "Ada"]},
          {prepared, [1, "Ada"]},
          "INSERT INTO batches.again (id, name) VALUES (2, 'Bob')",
          {text, [3, "Cid"]},
          {prepared, [4, "Eve"]}
        ])

        assert length(rows("SELECT id FROM batches.again")) == 4
      end
    end

    test "is prepared again after columns were added", %{part: part} do
      create!("CREATE TABLE batches.grown#{part} (id int PRIMARY KEY, name text)")
      prepared = prepare!("INSERT INTO batches.grown#{part} (id, name) VALUES (?, ?)")
      batch!([{prepared, [1, "Ada"]}])
      create!("ALTER TABLE batches.grown#{part} ADD more text")
      batch!([{@insert, [part, 1, "Ada"]}, {prepared, [2, "Bob"]}])
      assert length(rows("SELECT id FROM batches.grown#{part}")) == 2
    end
  end

  test "has one timestamp for all its writes", %{part: part} do
    before = System.os_time(:microsecond)
    batch!([{@insert, [part, 1, "Ada"]}, {@update, ["Bob", part, 2]}])
    assert [%{"w" => time}, %{"w" => time}] = times(part)
    assert time in before..System.os_time(:microsecond)

    batch!([{@insert, [part, 1, "Ada"]}, {@update, ["Bob", part, 2]}],
      timestamp: time + 3_600_000_000
    )

    later = time + 3_600_000_000
    assert [%{"w" => ^later}, %{"w" => ^later}] = times(part)
  end

  test "raises with its bang" do
    assert_raise Error, ~r/at least one statement/, fn -> batch!([]) end

    assert_raise ArgumentError, ~r/invalid value of the option :type/, fn ->
      batch(["DELETE"], type: :fast)
    end

    assert {:error, %Palladion.ConnectionError{reason: :unknown_cluster}} =
             Palladion.batch(:nowhere, ["DELETE"])
  end

  test "is told as one request", %{part: part} do
    statements = [{@insert, [part, 1, "a value"]}, {@insert, [part, 2, "a value"]}]
    events = TelemetryEvents.capture(fn -> batch!(statements, idempotent: true) end)
    assert [{[_, :query, :start], _, _}, {[_, :query, :stop], _, stop}] = events

    assert %{
             operation: "BATCH",
             summary: "BATCH batches.users",
             batch_size: 2,
             parameterised?: true,
             statement: @insert,
             idempotent: true,
             result: :ok,
             returned_rows: nil
           } = stop

    refute inspect(events) =~ "a value"
  end

  defp batch(statements, options \\ []), do: Palladion.batch(__MODULE__, statements, options)
  defp batch!(statements, options \\ []), do: Palladion.batch!(__MODULE__, statements, options)
  defp prepare!(statement), do: Palladion.prepare!(__MODULE__, statement)
  defp create!(statement), do: Palladion.query!(__MODULE__, statement, [], timeout: 30_000)
  defp rows(statement, values \\ []), do: Palladion.query!(__MODULE__, statement, values).rows

  defp names(part) do
    for %{"id" => id, "name" => name} <-
          rows("SELECT id, name FROM batches.users WHERE part = ?", [part]),
        into: %{},
        do: {id, name}
  end

  defp times(part),
    do: rows("SELECT writetime(name) AS w FROM batches.users WHERE part = ?", [part])
end
