defmodule Palladion.DecimalTest do
  use ExUnit.Case, async: true

  alias Palladion.Decimal

  doctest Decimal

  test "is text, exactly" do
    for {sign, coef, exp, text} <- [
          {1, 0, 0, "0"},
          {-1, 1, 0, "-1"},
          {1, 15, -1, "1.5"},
          {1, 5, -1, "0.5"},
          {-1, 5, -3, "-0.005"},
          {1, 0, -2, "0.00"},
          {1, 500, -2, "5.00"},
          {1, 1, 2, "1E+2"},
          {1, 1, -100, "0." <> String.duplicate("0", 99) <> "1"},
          {-1, 123, -101, "-123E-101"},
          {1, 7, -0x7FFFFFFF, "7E-2147483647"}
        ] do
      assert to_string(%Decimal{sign: sign, coef: coef, exp: exp}) == text
    end
  end
end
