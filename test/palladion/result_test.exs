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
end
