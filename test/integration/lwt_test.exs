defmodule Palladion.Integration.LwtTest do
  @moduledoc "Conditional updates, in every form of rows."

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Result
  alias Palladion.Test.Cassandra

  @moduletag :cassandra

  @insert "INSERT INTO conditions.users (id, name, age) VALUES (?, ?, ?) IF NOT EXISTS"
  @update "UPDATE conditions.users SET name = ? WHERE id = ? IF age = ?"

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, pool: [size: 1]))
    :ok = Palladion.await_ready(__MODULE__, 30_000)
    keyspace!(__MODULE__, "conditions")

    Palladion.query!(
      __MODULE__,
      "CREATE TABLE IF NOT EXISTS conditions.users (id int PRIMARY KEY, name text, age int)",
      [],
      timeout: 30_000
    )

    :ok
  end

  for shape <- [:maps, :atom_maps, :lists, :tuples, :columns] do
    test "say as #{shape} whether they were applied, and else what was there" do
      id = System.unique_integer([:positive])
      inserted = query!(@insert, [id, "Ada", 36], rows: unquote(shape))
      assert Result.applied?(inserted)
      assert Result.current_row(inserted) == nil

      refused = query!(@insert, [id, "Eve", 20], rows: unquote(shape))
      refute Result.applied?(refused)
      assert Result.current_row(refused) == row(unquote(shape), id)

      # Only what the condition is about is told.
      refused = query!(@update, ["Eve", id, 20], rows: unquote(shape))
      refute Result.applied?(refused)
      assert Result.current_row(refused) == age(unquote(shape))

      updated = query!(@update, ["Eve", id, 36], rows: unquote(shape))
      assert Result.applied?(updated)

      deleted = query!("DELETE FROM conditions.users WHERE id = ? IF EXISTS", [id])
      assert Result.applied?(deleted)

      missing =
        query!("DELETE FROM conditions.users WHERE id = ? IF EXISTS", [id], rows: unquote(shape))

      refute Result.applied?(missing)
      assert Result.current_row(missing) == nil
    end
  end

  test "take a serial consistency, and the client's timestamps or none" do
    id = System.unique_integer([:positive])

    for {options, applied?} <- [
          {[serial_consistency: :serial], true},
          {[serial_consistency: :local_serial], false},
          {[timestamp: :server], false},
          {[timestamp: :client], false}
        ] do
      assert @insert |> query!([id, "Ada", 36], options) |> Result.applied?() == applied?
    end
  end

  test "everything else was applied" do
    assert Result.applied?(query!("SELECT * FROM conditions.users", []))

    assert Result.applied?(
             query!("INSERT INTO conditions.users (id) VALUES (?)", [
               System.unique_integer([:positive])
             ])
           )
  end

  defp query!(statement, values, options \\ []),
    do: Palladion.query!(__MODULE__, statement, values, options)

  defp row(:maps, id), do: %{"id" => id, "name" => "Ada", "age" => 36}
  defp row(:atom_maps, id), do: %{id: id, name: "Ada", age: 36}
  defp row(:lists, id), do: [id, 36, "Ada"]
  defp row(:tuples, id), do: {id, 36, "Ada"}
  defp row(:columns, id), do: row(:maps, id)

  defp age(:maps), do: %{"age" => 36}
  defp age(:atom_maps), do: %{age: 36}
  defp age(:lists), do: [36]
  defp age(:tuples), do: {36}
  defp age(:columns), do: age(:maps)
end
