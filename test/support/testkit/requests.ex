defmodule Palladion.Test.Testkit.Requests do
  @moduledoc false
  # What the binary says about requests, as maps.

  alias Palladion.Test.Testkit.Porter

  @doc "The requests in an answer to `requests`, oldest first."
  @spec parse(%{String.t() => String.t()}) :: [map]
  def parse(answer) do
    answer
    |> Enum.map(fn {number, pairs} -> {String.to_integer(number), Porter.parse_pairs(pairs)} end)
    |> Enum.sort()
    |> Enum.map(fn {number, pairs} -> request(number, pairs) end)
  end

  defp request(number, pairs) do
    %{
      number: number,
      opcode: atom(pairs["opcode"]),
      connection: String.to_integer(pairs["connection"]),
      node: pairs["node"],
      version: String.to_integer(pairs["version"]),
      compressed: pairs["compressed"] == "true",
      tracing: pairs["tracing"] == "true",
      payload: for({"payload." <> name, bytes} <- pairs, into: %{}, do: {name, bytes(bytes)}),
      statements: statements(pairs),
      batch: atom(pairs["batch"]),
      consistency: atom(pairs["consistency"]),
      serial_consistency: atom(pairs["serial_consistency"]),
      timestamp: integer(pairs["timestamp"]),
      keyspace: pairs["keyspace"],
      now_in_seconds: integer(pairs["now_in_seconds"]),
      page_size: integer(pairs["page_size"]),
      paging_state: bytes(pairs["paging_state"]),
      skip_metadata: pairs["skip_metadata"] == "true",
      result_id: bytes(pairs["result_id"])
    }
  end

  defp statements(%{"batch" => _, "count" => "0"}), do: []

  defp statements(%{"batch" => _, "count" => count} = pairs),
    do: for(n <- 0..(String.to_integer(count) - 1), do: statement(pairs, ".#{n}"))

  defp statements(pairs), do: [statement(pairs, "")]

  defp statement(pairs, suffix) do
    %{
      text: pairs["statement" <> suffix],
      id: bytes(pairs["id" <> suffix]),
      values: String.to_integer(pairs["values" <> suffix])
    }
  end

  defp atom(nil), do: nil
  defp atom(name), do: String.to_atom(name)

  defp integer(nil), do: nil
  defp integer(digits), do: String.to_integer(digits)

  defp bytes(digits) when digits in [nil, "null"], do: nil
  defp bytes(digits), do: Base.decode16!(digits, case: :mixed)
end
