defmodule Palladion.SchemaTest do
  use ExUnit.Case, async: true

  alias Palladion.{ConnectionError, Error, Schema}
  alias Palladion.Schema.{Column, Keyspace, Table}

  doctest Table

  @table %Table{keyspace: "shop", name: "orders"}
  @schema %Schema{keyspaces: %{"shop" => %Keyspace{name: "shop", tables: %{"orders" => @table}}}}

  test "keyspaces and tables are found by name" do
    assert Schema.keyspace(@schema, "shop").name == "shop"
    assert Schema.table(@schema, "shop", "orders") == @table
    assert Schema.keyspace(@schema, "Shop") == nil
    assert Schema.table(@schema, "shop", "Orders") == nil
    assert Schema.table(@schema, "stock", "orders") == nil
  end

  test "a schema is shown by its keyspaces' names, and each of them by the names in it" do
    assert inspect(@schema) == ~s(#Palladion.Schema<keyspaces: ["shop"]>)

    assert inspect(@schema.keyspaces["shop"]) ==
             ~s(#Palladion.Schema.Keyspace<name: "shop", tables: ["orders"]>)

    column = %Column{name: "id", type: "int", kind: :partition_key, position: 0}
    table = %{@table | columns: [column], partition_key: ["id"], options: %{"comment" => "long"}}
    assert inspect(table) =~ ~s(keyspace: "shop", name: "orders", partition_key: ["id"])
    refute inspect(table) =~ "long"
  end

  test "a cluster that is not there is an error" do
    assert {:error, %ConnectionError{reason: :unknown_cluster}} = Schema.read(:no_such_cluster)
  end

  test "options are checked before anything is asked" do
    for {options, message} <- [
          {[keyspaces: "shop"], ~r/unknown option :keyspaces; did you mean :keyspace\?/},
          {[unlike: 1], ~r/unknown option :unlike; known are: :keyspace, :system, :timeout/},
          {[keyspace: :shop], ~r/invalid value of the option :keyspace; see Palladion.schema/},
          {[keyspace: ""], ~r/invalid value of the option :keyspace/},
          {[keyspace: nil], ~r/invalid value of the option :keyspace/},
          {[system: nil], ~r/invalid value of the option :system/},
          {[timeout: -1], ~r/invalid value of the option :timeout/},
          {[timeout: 0x1_0000_0000], ~r/invalid value of the option :timeout/},
          {["keyspace"], ~r/options must be a keyword list/},
          {%{keyspace: "shop"}, ~r/options must be a keyword list/}
        ] do
      assert_raise ArgumentError, message, fn -> Schema.read(:no_such_cluster, options) end
    end

    for timeout <- [0, 0xFFFFFFFF, :infinity] do
      options = [keyspace: "shop", system: true, timeout: timeout]
      assert {:error, %ConnectionError{}} = Schema.read(:no_such_cluster, options)
    end
  end

  test "an unknown keyspace is said plainly" do
    error = %Error{reason: :invalid, message: ~s(there is no keyspace "Shop")}
    assert Exception.message(error) == ~s(there is no keyspace "Shop")
  end
end
