defmodule Palladion.Schema.KeyspaceTest do
  @moduledoc """
  What becomes of the rows of the schema tables, given here as servers give them.
  """

  use ExUnit.Case, async: true

  alias Palladion.Schema.{Aggregate, Column, Function, Index, Keyspace, Table, Type, View}

  @keyspace %{
    "keyspace_name" => "shop",
    "durable_writes" => false,
    "replication" => %{
      "class" => "org.apache.cassandra.locator.NetworkTopologyStrategy",
      "dc1" => "1"
    }
  }

  # Of Cassandra 5.0.
  @orders %{
    "additional_write_policy" => "99p",
    "allow_auto_snapshot" => nil,
    "bloom_filter_fp_chance" => 0.01,
    "caching" => %{"keys" => "ALL", "rows_per_partition" => "NONE"},
    "cdc" => nil,
    "comment" => "all of them",
    "compaction" => %{
      "class" => "org.apache.cassandra.db.compaction.SizeTieredCompactionStrategy",
      "max_threshold" => "32",
      "min_threshold" => "4"
    },
    "crc_check_chance" => 1.0,
    "default_time_to_live" => 0,
    "extensions" => %{},
    "flags" => MapSet.new(["counter", "compound"]),
    "gc_grace_seconds" => 864_000,
    "id" => "fb5ce270-e61b-11f1-8c9c-3fa117385476",
    "incremental_backups" => nil,
    "keyspace_name" => "shop",
    "memtable" => nil,
    "read_repair" => "BLOCKING",
    "speculative_retry" => "99p",
    "table_name" => "orders"
  }

  # As the server orders them: by name.
  @columns [
    {"Region", "text", "partition_key", 1, "none"},
    {"at", "timestamp", "clustering", 0, "desc"},
    {"id", "timeuuid", "clustering", 1, "asc"},
    {"note", "text", "regular", -1, "none"},
    {"owner", "text", "static", -1, "none"},
    {"shop", "int", "partition_key", 0, "none"},
    {"tags", "map<text, frozen<list<int>>>", "regular", -1, "none"},
    {"to_address", "frozen<address>", "regular", -1, "none"}
  ]

  defp columns(table, columns \\ @columns) do
    for {name, type, kind, position, order} <- columns do
      %{
        "clustering_order" => order,
        "column_name" => name,
        "column_name_bytes" => name,
        "keyspace_name" => "shop",
        "kind" => kind,
        "position" => position,
        "table_name" => table,
        "type" => type
      }
    end
  end

  defp shop(answers) do
    %{"shop" => shop} = Keyspace.from_rows(Map.merge(%{keyspaces: [@keyspace]}, answers))
    shop
  end

  defp orders(answers), do: shop(Map.merge(%{tables: [@orders]}, answers)).tables["orders"]

  test "a keyspace has its replication as the server writes it" do
    assert shop(%{}) == %Keyspace{
             name: "shop",
             durable_writes: false,
             replication: @keyspace["replication"]
           }
  end

  describe "a table" do
    test "has its columns in the order of SELECT *" do
      table = orders(%{columns: columns("orders")})

      assert table.columns == [
               %Column{name: "shop", type: "int", kind: :partition_key, position: 0},
               %Column{name: "Region", type: "text", kind: :partition_key, position: 1},
               %Column{
                 name: "at",
                 type: "timestamp",
                 kind: :clustering,
                 position: 0,
                 clustering_order: :desc
               },
               %Column{
                 name: "id",
                 type: "timeuuid",
                 kind: :clustering,
                 position: 1,
                 clustering_order: :asc
               },
               %Column{name: "owner", type: "text", kind: :static},
               %Column{name: "note", type: "text", kind: :regular},
               %Column{name: "tags", type: "map<text, frozen<list<int>>>", kind: :regular},
               %Column{name: "to_address", type: "frozen<address>", kind: :regular}
             ]

      assert table.partition_key == ["shop", "Region"]
      assert table.clustering_key == ["at", "id"]
      assert table.clustering_order == [{"at", :desc}, {"id", :asc}]
      assert Table.primary_key(table) == ["shop", "Region", "at", "id"]
      assert Table.column(table, "Region").position == 1
    end

    test "has more than nine key columns in order" do
      key = for n <- 0..11, do: {"k#{n}", "int", "partition_key", n, "none"}
      table = orders(%{columns: columns("orders", Enum.sort(key))})
      assert table.partition_key == for(n <- 0..11, do: "k#{n}")
      assert table.clustering_key == []
    end

    test "has all else that the server tells of it as options" do
      table = orders(%{columns: columns("orders")})
      assert table.id == "fb5ce270-e61b-11f1-8c9c-3fa117385476"
      assert table.flags == ["compound", "counter"]
      assert table.options["comment"] == "all of them"
      assert table.options["compaction"]["max_threshold"] == "32"
      assert table.options["gc_grace_seconds"] == 864_000

      for name <- ~w(cdc memtable incremental_backups id flags table_name keyspace_name) do
        refute is_map_key(table.options, name)
      end
    end

    test "has its indexes by name" do
      rows = [
        %{
          "index_name" => "orders_tags",
          "keyspace_name" => "shop",
          "kind" => "COMPOSITES",
          "options" => %{"target" => "keys(tags)"},
          "table_name" => "orders"
        },
        %{
          "index_name" => "orders_owner",
          "keyspace_name" => "shop",
          "kind" => "CUSTOM",
          "options" => %{
            "case_sensitive" => "false",
            "class_name" => "StorageAttachedIndex",
            "target" => "owner"
          },
          "table_name" => "orders"
        },
        # Read before its table was.
        %{
          "index_name" => "later",
          "keyspace_name" => "shop",
          "kind" => "KEYS",
          "options" => nil,
          "table_name" => "later"
        }
      ]

      table = orders(%{columns: columns("orders"), indexes: rows})

      assert [
               %Index{
                 keyspace: "shop",
                 table: "orders",
                 name: "orders_owner",
                 kind: "CUSTOM",
                 target: "owner",
                 options: %{"class_name" => "StorageAttachedIndex", "case_sensitive" => "false"}
               },
               %Index{name: "orders_tags", kind: "COMPOSITES", target: "keys(tags)"}
             ] = table.indexes
    end

    test "is left out while it comes or goes" do
      without_partition_key = Enum.reject(@columns, &(elem(&1, 2) == "partition_key"))
      view = %{"keyspace_name" => "shop", "view_name" => "orders"}

      for columns <- [[], columns("orders", without_partition_key), columns("others")] do
        answers = %{tables: [@orders], views: [view], columns: columns}
        assert %Keyspace{tables: tables, views: views} = shop(answers)
        assert tables == %{} and views == %{}
      end
    end

    test "of a keyspace that was not read is left out" do
      answers = %{
        tables: [@orders],
        columns: columns("orders"),
        types: [%{"keyspace_name" => "x"}]
      }

      assert Keyspace.from_rows(answers) == %{}
    end

    test "needs only what all servers have" do
      row = %{"keyspace_name" => "shop", "table_name" => "orders", "flags" => nil}

      column = %{
        "keyspace_name" => "shop",
        "table_name" => "orders",
        "column_name" => "id",
        "kind" => "partition_key",
        "type" => "int"
      }

      assert shop(%{tables: [row], columns: [column]}).tables["orders"] == %Table{
               keyspace: "shop",
               name: "orders",
               columns: [%Column{name: "id", type: "int", kind: :partition_key}],
               partition_key: ["id"]
             }
    end
  end

  test "a view has the table and the rows that it is of" do
    row = %{
      "base_table_id" => "fb5ce270-e61b-11f1-8c9c-3fa117385476",
      "base_table_name" => "orders",
      "comment" => "",
      "gc_grace_seconds" => 864_000,
      "id" => "fb8e9f10-e61b-11f1-8c9c-3fa117385476",
      "include_all_columns" => false,
      "keyspace_name" => "shop",
      "view_name" => "by_note",
      "where_clause" => "note IS NOT NULL AND id IS NOT NULL",
      "cdc" => nil
    }

    columns = [
      {"id", "timeuuid", "clustering", 0, "desc"},
      {"note", "text", "partition_key", 0, "none"}
    ]

    shop = shop(%{views: [row], columns: columns("by_note", columns)})
    assert shop.tables == %{}

    assert shop.views == %{
             "by_note" => %View{
               keyspace: "shop",
               name: "by_note",
               id: "fb8e9f10-e61b-11f1-8c9c-3fa117385476",
               base_table: "orders",
               base_table_id: "fb5ce270-e61b-11f1-8c9c-3fa117385476",
               where: "note IS NOT NULL AND id IS NOT NULL",
               include_all_columns: false,
               columns: [
                 %Column{name: "note", type: "text", kind: :partition_key, position: 0},
                 %Column{
                   name: "id",
                   type: "timeuuid",
                   kind: :clustering,
                   position: 0,
                   clustering_order: :desc
                 }
               ],
               partition_key: ["note"],
               clustering_key: ["id"],
               clustering_order: [{"id", :desc}],
               options: %{"comment" => "", "gc_grace_seconds" => 864_000}
             }
           }
  end

  test "a type has its fields in order" do
    row = %{
      "field_names" => ["street", "zip", "Lines"],
      "field_types" => ["text", "frozen<tuple<int, text>>", "list<text>"],
      "keyspace_name" => "shop",
      "type_name" => "address"
    }

    assert shop(%{types: [row]}).types == %{
             "address" => %Type{
               keyspace: "shop",
               name: "address",
               fields: [
                 {"street", "text"},
                 {"zip", "frozen<tuple<int, text>>"},
                 {"Lines", "list<text>"}
               ]
             }
           }
  end

  test "functions of one name are told apart by their arguments" do
    row = %{
      "argument_names" => ["a", "b"],
      "argument_types" => ["int", "int"],
      "body" => "return a + b;",
      "called_on_null_input" => false,
      "function_name" => "plus",
      "keyspace_name" => "shop",
      "language" => "java",
      "return_type" => "int"
    }

    other = %{row | "argument_types" => ["double", "double"], "called_on_null_input" => true}
    none = %{row | "argument_types" => nil, "argument_names" => nil}
    functions = shop(%{functions: [row, other, none]}).functions

    assert functions[{"plus", ["int", "int"]}] == %Function{
             keyspace: "shop",
             name: "plus",
             arguments: [{"a", "int"}, {"b", "int"}],
             return_type: "int",
             language: "java",
             body: "return a + b;",
             called_on_null_input: false
           }

    assert functions[{"plus", ["double", "double"]}].called_on_null_input
    assert functions[{"plus", []}].arguments == []
  end

  test "an aggregate has its functions and states" do
    row = %{
      "aggregate_name" => "total",
      "argument_types" => ["int"],
      "final_func" => nil,
      "initcond" => "0",
      "keyspace_name" => "shop",
      "return_type" => "int",
      "state_func" => "plus",
      "state_type" => "int"
    }

    assert shop(%{aggregates: [row]}).aggregates == %{
             {"total", ["int"]} => %Aggregate{
               keyspace: "shop",
               name: "total",
               argument_types: ["int"],
               return_type: "int",
               state_function: "plus",
               state_type: "int",
               final_function: nil,
               initial_condition: "0"
             }
           }
  end

  test "virtual keyspaces are the system's, whatever their names" do
    column = %{
      "clustering_order" => "none",
      "column_name" => "name",
      "keyspace_name" => "caches_of_tomorrow",
      "kind" => "partition_key",
      "position" => 0,
      "table_name" => "caches",
      "type" => "text"
    }

    table = %{
      "comment" => "system caches",
      "keyspace_name" => "caches_of_tomorrow",
      "table_name" => "caches"
    }

    keyspaces =
      Keyspace.from_rows(%{
        keyspaces: [@keyspace, %{@keyspace | "keyspace_name" => "system_auth"}],
        virtual_keyspaces: [%{"keyspace_name" => "caches_of_tomorrow"}],
        virtual_tables: [table],
        virtual_columns: [column]
      })

    assert %Keyspace{virtual?: true, durable_writes: nil, replication: replication} =
             virtual = keyspaces["caches_of_tomorrow"]

    assert replication == %{}

    assert %{"caches" => %Table{id: nil, options: %{"comment" => "system caches"}}} =
             virtual.tables

    assert Keyspace.system?(virtual)
    assert Keyspace.system?(keyspaces["system_auth"])
    refute Keyspace.system?(keyspaces["shop"])
    refute Keyspace.system?(%Keyspace{name: "system_of_record"})
  end
end
