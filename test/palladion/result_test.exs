defmodule Palladion.ResultTest do
  use ExUnit.Case, async: true

  alias Palladion.Result

  doctest Result

  test "is enumerated as its rows are" do
    rows = [%{"a" => 1}, %{"a" => 2}, %{"a" => 3}]
    result = %Result{kind: :rows, columns: ["a"], rows: rows, num_rows: 3}
    assert Enum.to_list(result) == rows
    assert Enum.count(result) == 3
    assert Enum.at(result, 1) == %{"a" => 2}
    assert %{"a" => 3} in result
    refute %{"a" => 4} in result
    assert Enum.take(result, 2) == Enum.take(rows, 2)
    assert Enum.slice(result, 1..2) == Enum.slice(rows, 1..2)
    assert Enum.zip(result, [1, 2, 3]) == Enum.zip(rows, [1, 2, 3])
    assert result |> Stream.map(& &1["a"]) |> Enum.sum() == 6
    assert Enum.empty?(%Result{kind: :void})
  end

  test "as columns it's pairs of a name and a list" do
    result = %Result{kind: :rows, columns: ["a"], rows: %{"a" => [1, 2]}, num_rows: 2}
    assert Enum.to_list(result) == [{"a", [1, 2]}]
    assert Enum.count(result) == 1
  end

  describe "a conditional update" do
    @columns ["[applied]", "id", "name"]

    defp conditional(applied, shape) do
      rows =
        case shape do
          :maps -> [%{"[applied]" => applied, "id" => 7, "name" => "Bob"}]
          :atom_maps -> [%{"[applied]": applied, id: 7, name: "Bob"}]
          :lists -> [[applied, 7, "Bob"]]
          :tuples -> [{applied, 7, "Bob"}]
          :columns -> %{"[applied]" => [applied], "id" => [7], "name" => ["Bob"]}
        end

      %Result{kind: :rows, columns: @columns, rows: rows, num_rows: 1}
    end

    test "says whether it was applied, and else what stood in the way, in every form" do
      for {shape, row} <- [
            maps: %{"id" => 7, "name" => "Bob"},
            atom_maps: %{id: 7, name: "Bob"},
            lists: [7, "Bob"],
            tuples: {7, "Bob"},
            columns: %{"id" => 7, "name" => "Bob"}
          ] do
        refute Result.applied?(conditional(false, shape))
        assert Result.current_row(conditional(false, shape)) == row
        assert Result.applied?(conditional(true, shape))
        assert Result.current_row(conditional(true, shape)) == nil
      end
    end

    test "that found no row has none" do
      for rows <- [[%{"[applied]" => false}], [[false]], [{false}], %{"[applied]" => [false]}] do
        result = %Result{kind: :rows, columns: ["[applied]"], rows: rows, num_rows: 1}
        refute Result.applied?(result)
        assert Result.current_row(result) == nil
      end
    end

    # In every form.
    defp several(rows) do
      [
        maps:
          for(
            {applied, id, name} <- rows,
            do: %{"[applied]" => applied, "id" => id, "name" => name}
          ),
        atom_maps:
          for({applied, id, name} <- rows, do: %{"[applied]": applied, id: id, name: name}),
        lists: Enum.map(rows, &Tuple.to_list/1),
        tuples: rows,
        columns:
          @columns
          |> Enum.with_index()
          |> Map.new(fn {name, place} -> {name, Enum.map(rows, &elem(&1, place))} end)
      ]
      |> Map.new(fn {shape, rows} ->
        {shape, %Result{kind: :rows, columns: @columns, rows: rows}}
      end)
    end

    test "of many statements has the first row" do
      results = several([{false, 7, "Bob"}, {false, 8, "Eve"}])
      for {_shape, result} <- results, do: refute(Result.applied?(result))
      assert Result.current_row(results.maps) == %{"id" => 7, "name" => "Bob"}
      assert Result.current_row(results.atom_maps) == %{id: 7, name: "Bob"}
      assert Result.current_row(results.lists) == [7, "Bob"]
      assert Result.current_row(results.tuples) == {7, "Bob"}
      assert Result.current_row(results.columns) == %{"id" => 7, "name" => "Bob"}
    end

    test "that found no row, and has nulls for it as ScyllaDB does, has none" do
      for rows <- [[{false, nil, nil}], [{false, nil, nil}, {false, nil, nil}]],
          {_shape, result} <- several(rows) do
        refute Result.applied?(result)
        assert Result.current_row(result) == nil
      end
    end

    test "of many statements, some of which found no row, has the first that there is" do
      results = several([{false, nil, nil}, {false, 8, nil}, {false, 9, "Eve"}])
      assert Result.current_row(results.maps) == %{"id" => 8, "name" => nil}
      assert Result.current_row(results.atom_maps) == %{id: 8, name: nil}
      assert Result.current_row(results.lists) == [8, nil]
      assert Result.current_row(results.tuples) == {8, nil}
      assert Result.current_row(results.columns) == %{"id" => 8, "name" => nil}
    end

    test "that found false has a row: it is a value" do
      for {rows, row} <- [
            {[[false, false]], [false]},
            {%{"[applied]" => [false], "done" => [false]}, %{"done" => false}}
          ] do
        result = %Result{kind: :rows, columns: ["[applied]", "done"], rows: rows}
        assert Result.current_row(result) == row
      end
    end

    test "is one only if the column is the first" do
      for result <- [
            %Result{},
            %Result{kind: :rows, columns: ["id"], rows: [[false]], num_rows: 1},
            %Result{kind: :rows, columns: ["id"], rows: [], num_rows: 0},
            %Result{kind: :rows, columns: ["id", "[applied]"], rows: [[7, false]], num_rows: 1}
          ] do
        assert Result.applied?(result)
        assert Result.current_row(result) == nil
      end
    end
  end
end
