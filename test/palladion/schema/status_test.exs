defmodule Palladion.Schema.StatusTest do
  use ExUnit.Case, async: true

  alias Palladion.Schema.Status

  defp change(change, target, keyspace, name \\ nil),
    do: %{change: change, target: target, keyspace: keyspace, name: name}

  test "a table, a type and a keyspace are asked for by name" do
    for {change, question} <- [
          {change("CREATED", "TABLE", "shop", "orders"),
           "SELECT status FROM system_schema_mcs.tables " <>
             "WHERE keyspace_name = 'shop' AND table_name = 'orders'"},
          {change("UPDATED", "TYPE", "shop", "it's"),
           "SELECT status FROM system_schema_mcs.types " <>
             "WHERE keyspace_name = 'shop' AND type_name = 'it''s'"},
          {change("CREATED", "KEYSPACE", "shop"),
           "SELECT keyspace_name FROM system_schema_mcs.keyspaces WHERE keyspace_name = 'shop'"}
        ] do
      assert Status.question(change) == question
    end
  end

  test "of what the service doesn't have, nothing is asked" do
    for target <- ["FUNCTION", "AGGREGATE", "SOMETHING_NEW"],
        do: assert(Status.question(change("CREATED", target, "shop", "f")) == nil)
  end

  test "made is what is active, and not what is on its way" do
    for kind <- ["CREATED", "UPDATED"], target <- ["TABLE", "TYPE"] do
      change = change(kind, target, "shop", "orders")
      assert Status.reached?(change, [%{"status" => "ACTIVE"}])

      for status <- ["CREATING", "UPDATING", "DELETING", "RESTORING", nil],
          do: refute(Status.reached?(change, [%{"status" => status}]))

      refute Status.reached?(change, [])
    end
  end

  test "a keyspace has no status: it is there" do
    change = change("CREATED", "KEYSPACE", "shop")
    assert Status.reached?(change, [%{"keyspace_name" => "shop"}])
    refute Status.reached?(change, [])
  end

  test "dropped is what is gone" do
    for target <- ["TABLE", "TYPE", "KEYSPACE"] do
      change = change("DROPPED", target, "shop", "orders")
      assert Status.reached?(change, [])
      refute Status.reached?(change, [%{"status" => "DELETING"}])
    end
  end
end
