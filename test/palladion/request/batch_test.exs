defmodule Palladion.Request.BatchTest do
  use ExUnit.Case, async: true

  alias Palladion.Prepared
  alias Palladion.Request.Batch

  @insert "INSERT INTO shop.users (id, name) VALUES (?, ?)"
  @delete "DELETE FROM shop.users WHERE id = 6"
  @prepared %Prepared{
    cluster: DB,
    id: "id",
    statement: @insert,
    keyspace: "shop",
    bind: [],
    columns: []
  }

  test "statements are texts, and with values what is prepared" do
    assert Batch.statements([
             @delete,
             {@delete, []},
             {@insert, [1, "a"]},
             {@insert, %{"id" => 1}},
             {@insert, %{}},
             @prepared,
             {@prepared, []},
             {@prepared, [1, "a"]}
           ]) == [
             @delete,
             @delete,
             {{:text, @insert}, [1, "a"]},
             {{:text, @insert}, %{"id" => 1}},
             {{:text, @insert}, %{}},
             {{:id, "id"}, []},
             {{:id, "id"}, []},
             {{:id, "id"}, [1, "a"]}
           ]
  end

  test "what is no statement is left to be refused" do
    assert Batch.statements([]) == []
    assert Batch.statements([7, {1, 2, 3}, {7, [1]}]) == [7, {1, 2, 3}, {{:text, 7}, [1]}]

    for given <- [nil, :garbage, "text", %{}, [@delete | :improper]],
        do: assert(Batch.statements(given) == nil)

    for given <- [nil, :garbage, "text", %{}, [@delete | :improper], [7], [{1, 2, 3}], []] do
      assert is_binary(Batch.text(given))
      assert %{operation: "BATCH"} = Batch.describe(given).analysis
    end
  end

  test "a statement's source is its text, with a keyspace of its own" do
    assert Batch.source(@delete) == {@delete, nil}
    assert Batch.source({@insert, [1, "a"]}) == {@insert, nil}
    assert Batch.source(@prepared) == {@insert, "shop"}
    assert Batch.source({@prepared, [1, "a"]}) == {@insert, "shop"}
  end

  test "the first that was prepared in another keyspace is found, with its place" do
    nowhere = %{@prepared | keyspace: nil}
    there = [@delete, {@insert, [1, "a"]}, @prepared, {@prepared, [1, "a"]}]
    assert Batch.prepared_elsewhere(there, "shop") == nil
    assert Batch.prepared_elsewhere(there, "other") == {2, "shop"}
    assert Batch.prepared_elsewhere(there ++ [{nowhere, [1, "a"]}], "shop") == {4, nil}
    assert Batch.prepared_elsewhere([nowhere | there], "shop") == {0, nil}
    assert Batch.prepared_elsewhere([7, {1, 2, 3}], "shop") == nil
  end

  test "each text is told once" do
    given = [{@insert, [1, "a"]}, @delete, {@prepared, [2, "b"]}, {@insert, [3, "c"]}]
    assert Batch.text(given) == @insert <> "; " <> @delete

    assert Batch.describe(given) == %{
             statement: @insert <> "; " <> @delete,
             analysis: %{
               operation: "BATCH",
               collection: "shop.users",
               keyspace: "shop",
               summary: "BATCH shop.users"
             },
             batch_size: 4,
             parameterised?: false
           }
  end

  test "what statements don't have in common is not told" do
    given = [{@insert, [1, "a"]}, {"UPDATE shop.names SET id = ? WHERE name = ?", [1, "a"]}]
    assert %{analysis: analysis, parameterised?: true} = Batch.describe(given)
    assert %{collection: nil, keyspace: "shop", summary: "BATCH"} = analysis
  end

  test "of many texts some are told" do
    given = for n <- 1..1_000, do: "DELETE FROM shop.users WHERE id = #{n}"
    assert %{batch_size: 1_000, statement: statement} = Batch.describe(given)
    assert String.ends_with?(statement, "id = 10; …")
    assert Batch.text(given) =~ "id = 1000"
  end

  test "what may be a password is not told" do
    given = [@delete, "CREATE ROLE bob WITH PASSWORD = 'correct horse' AND LOGIN = true"]
    refute Batch.describe(given).statement =~ "horse"
  end
end
