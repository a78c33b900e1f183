defmodule Palladion.Doctor.JSONTest do
  use ExUnit.Case, async: true

  alias Palladion.Doctor.JSON
  alias Palladion.Test

  test "values as they are written" do
    assert JSON.encode(nil) == "null"
    assert JSON.encode(true) == "true"
    assert JSON.encode(-17) == "-17"
    assert JSON.encode(:unknown_ca) == ~s("unknown_ca")
    assert JSON.encode([]) == "[]"
    assert JSON.encode(%{}) == "{}"
    assert JSON.encode([1, [nil], %{"b" => 1, "a" => false}]) == ~s([1,[null],{"a":false,"b":1}])
  end

  test "pairs keep their order" do
    assert JSON.encode(z: 1, a: [b: 2]) == ~s({"z":1,"a":{"b":2}})
  end

  test "what could end a text, break a line or move a cursor is escaped" do
    assert JSON.encode("\"\\\n\r\t\0\e\d") == ~S("\"\\\n\u000D\u0009\u0000\u001B\u007F")
    assert JSON.encode("\u0085\u2028\u2029") == ~S("\u0085\u2028\u2029")
    assert JSON.encode("/ü€😀") == ~s("/ü€😀")
  end

  test "what turns the direction of writing, or can't be seen, is escaped" do
    assert JSON.encode("\u202E\u2066\u061C\u200F") == ~S("\u202E\u2066\u061C\u200F")
    assert JSON.encode("\u00AD\uFEFF\u{E0041}") == ~S("\u00AD\uFEFF\uDB40\uDC41")
  end

  test "bytes that are no UTF-8 are replaced, one by one" do
    assert JSON.encode(<<"a", 0xFF, 0xC3, "b">>) == ~s("a\uFFFD\uFFFDb")
  end

  test "a strict reader gets back what was written" do
    :rand.seed(:exsss, {1, 2, 3})

    for _ <- 1..500 do
      value = value(4)
      assert value |> JSON.encode() |> Test.JSON.decode!() == value
    end
  end

  defp value(0), do: Enum.random([nil, true, false, :rand.uniform(1_000_000) - 500_000, text()])

  defp value(depth) do
    case :rand.uniform(4) do
      1 -> for _ <- some(), do: value(depth - 1)
      2 -> for _ <- some(), into: %{}, do: {text(), value(depth - 1)}
      3 -> :rand.uniform() * 1.0e6
      4 -> value(0)
    end
  end

  defp text, do: for(_ <- some(), into: "", do: <<char()::utf8>>)
  defp some, do: Enum.take(1..5, :rand.uniform(6) - 1)

  defp char,
    do: Enum.random([:rand.uniform(0xA0) - 1, ?", ?\\, 0x2028, 0xE000, 0x1F600, 0x202E, 0xE0041])
end
