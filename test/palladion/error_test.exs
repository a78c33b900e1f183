defmodule Palladion.ErrorTest do
  use ExUnit.Case, async: true

  alias Palladion.Error

  @node <<0x0000000100004000800000000000000A::128>>

  defp error(kind, fields), do: Error.of_native({kind, fields})

  test "a server's code is a reason" do
    for {code, reason} <- [
          {0x1001, :overloaded},
          {0x1600, :cdc_write_failure},
          {0x1700, :cas_write_unknown},
          {0x4321, :unknown_code}
        ] do
      assert %Error{reason: ^reason, code: ^code, message: "oh", details: details} =
               error(:server, %{code: code, message: "oh", node: @node})

      assert details == %{node: "00000001-0000-4000-8000-00000000000a"}
    end
  end

  test "a limit of requests has a code that the server chooses" do
    fields = %{code: 0xF000, rate_limit: true, operation: "read", by_coordinator: false}

    assert %Error{reason: :rate_limit_error, code: 0xF000, details: details} =
             error(:server, Map.merge(fields, %{message: "too many", node: @node}))

    assert %{operation: "read", by_coordinator: false, node: _} = details
    refute is_map_key(details, :rate_limit)
  end

  test "what a version of the protocol doesn't know says which one does" do
    unsupported = error(:unsupported, %{feature: "keyspace", needs: 5, version: 4})

    assert %Error{reason: :unsupported, code: nil, details: details} = unsupported
    assert details == %{feature: "keyspace", needs: 5, version: 4}

    assert Exception.message(unsupported) ==
             "request not sent (unsupported): keyspace needs version 5 of the native protocol, and " <>
               "version 4 is spoken"
  end

  test "of a batch the statement is named" do
    bad = %{column: "id", type: "int", problem: "wrong_type", path: [], index: 0, statement: 2}

    assert Exception.message(error(:bad_value, bad)) ==
             "request not sent (bad_value), statement 2 of the batch (the first is 0): " <>
               "value of \"id\": not a term that can be encoded as int"

    refused = error(:server, %{code: 0x2500, message: "unknown id", statement: 0})
    assert refused.details == %{statement: 0}

    assert Exception.message(refused) ==
             "server refused the request (unprepared, code 0x2500), statement 0 of the batch " <>
               "(the first is 0): unknown id"
  end

  test "text that quotes a password is cut off, also in a batch" do
    statement = "DELETE FROM t; ALTER ROLE bob WITH PASSWORD = 'correct horse'"
    quoted = {:server, %{code: 0x2000, message: "line 1:32 no viable ('correct horse')"}}
    refute inspect(Error.of_native(quoted, statement)) =~ "horse"
  end

  test "what the server warned of has no statement that it quotes" do
    warnings = ["Read 9 tombstones for query SELECT 'horse'", "late"]
    fields = %{code: 0x1200, message: "late", warnings: warnings, tracing_id: "7"}

    assert Error.of_native({:server, fields}).details ==
             %{
               warnings: ["Read 9 tombstones for a query that is not shown", "late"],
               tracing_id: "7"
             }

    quoted =
      {:server,
       %{fields | warnings: ["refused: ALTER ROLE bob WITH PASSWORD = 'horse'", "('horse')"]}}

    refute inspect(Error.of_native(quoted, "ALTER ROLE bob WITH PASSWORD = 'horse'")) =~ "horse"
  end
end
