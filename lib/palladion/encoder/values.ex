defmodule Palladion.Encoder.Values do
  @moduledoc false
  # Replaces structs that encode themselves, wherever they stand in values. Done only after the
  # native library met a term that it doesn't know, so that all others pay nothing.

  alias Palladion.Encoder

  # Encoded by the native library itself.
  @known [
    Date,
    Time,
    DateTime,
    Decimal,
    Palladion.Decimal,
    Palladion.Duration
  ]

  @doc false
  @spec expand(term()) :: {:ok, term()} | :unchanged
  def expand(values) do
    case walk(values) do
      ^values -> :unchanged
      expanded -> {:ok, expanded}
    end
  end

  defp walk([head | tail]), do: [walk(head) | walk(tail)]
  defp walk(%module{} = struct) when module in @known, do: struct
  defp walk(%MapSet{} = set), do: MapSet.new(set, &walk/1)

  defp walk(%_module{} = struct) do
    # Without an implementation it stays what it is, and is refused as such.
    case Encoder.impl_for(struct) do
      none when none in [nil, Encoder.Any] -> struct
      _ -> struct |> Encoder.encode() |> walk()
    end
  end

  defp walk(map) when is_map(map), do: Map.new(map, fn {k, v} -> {walk(k), walk(v)} end)

  defp walk(tuple) when is_tuple(tuple) do
    tuple |> Tuple.to_list() |> Enum.map(&walk/1) |> List.to_tuple()
  end

  defp walk(other), do: other
end
