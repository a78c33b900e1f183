defmodule Palladion.Decimal do
  @moduledoc """
  A value of CQL's type `decimal` where the package `decimal` is not there.

  It has the same fields as that package's struct: the number is `sign * coef * 10 ** exp`, with
  `sign` 1 or -1 and `coef` an integer that is not negative. With the package in the application,
  results have `Decimal` structs; both are accepted as values, and integers are too.
  """

  defstruct sign: 1, coef: 0, exp: 0

  @type t :: %__MODULE__{sign: 1 | -1, coef: non_neg_integer(), exp: integer()}

  @doc """
  As text, exactly.

      iex> Palladion.Decimal.to_string(%Palladion.Decimal{sign: -1, coef: 1205, exp: -2})
      "-12.05"

      iex> Palladion.Decimal.to_string(%Palladion.Decimal{coef: 7, exp: 3})
      "7E+3"
  """
  @spec to_string(t()) :: String.t()
  def to_string(%__MODULE__{sign: sign, coef: coef, exp: exp}) do
    prefix = if sign < 0, do: "-", else: ""
    prefix <> digits(Integer.to_string(coef), exp)
  end

  defp digits(digits, 0), do: digits
  defp digits(digits, exp) when exp > 0, do: "#{digits}E+#{exp}"

  # A scale of millions of digits is written, not spelt out.
  defp digits(digits, exp) when exp < -100, do: "#{digits}E#{exp}"

  defp digits(digits, exp) do
    {whole, fraction} = digits |> String.pad_leading(1 - exp, "0") |> String.split_at(exp)
    whole <> "." <> fraction
  end

  defimpl String.Chars do
    def to_string(decimal), do: Palladion.Decimal.to_string(decimal)
  end
end
