defmodule Palladion.Request.RemedyTest do
  use ExUnit.Case, async: true

  alias Palladion.{Config, Prepared, RequestOptions, Timestamps}
  alias Palladion.Request.{Operation, Remedy}
  alias Palladion.Test.Structs.Plain

  @node <<7::128>>
  @select "SELECT a FROM t WHERE b = ?"
  @insert "INSERT INTO t (a) VALUES (?)"
  @prepared %Prepared{
    cluster: DB,
    id: "old",
    statement: @insert,
    keyspace: "ks",
    bind: [],
    columns: []
  }
  @unprepared %{code: 0x2500, message: "unprepared", node: @node}

  defp native(options \\ []) do
    {:ok, config} = Config.parse(name: DB, contact_points: ["localhost"], tls: false)

    entry = %{
      timeout: 5_000,
      consistency: 10,
      forms: 0,
      attempts: RequestOptions.attempts(config),
      timestamp: nil
    }

    {_timeout, native, _attempts} = RequestOptions.build(entry, options)
    native
  end

  defp execute(statement, values, options \\ []),
    do: Operation.new(statement, values, native(options), Timestamps.new())

  defp batch(statements, options \\ []),
    do: Operation.batch(statements, 0, native(options), Timestamps.new())

  describe "a statement that isn't prepared" do
    test "is prepared, where the server says so at that node" do
      operation = execute(@select, [1])

      assert Remedy.of(operation, {:not_prepared, %{}}, 1) ==
               {:prepare, {:prepare, @select, nil, nil}, nil}

      assert Remedy.of(operation, {:server, @unprepared}, 1) ==
               {:prepare, {:prepare, @select, nil, {:first, @node}}, nil}
    end

    test "is prepared in its keyspace, or that of the request" do
      assert {:prepare, {:prepare, @select, "mine", nil}, nil} =
               Remedy.of(execute(@select, [1], keyspace: "mine"), {:not_prepared, %{}}, 1)

      assert {:prepare, {:prepare, @insert, "ks", nil}, nil} =
               Remedy.of(execute(@prepared, [1], keyspace: "mine"), {:not_prepared, %{}}, 1)
    end

    test "has the id that it got, if it was asked for by one" do
      prepare = {:prepare, @insert, nil, nil}

      assert {:execute, {:id, "new"}, [1], _, @insert, "ks"} =
               Remedy.prepared(execute(@prepared, [1]), prepare, nil, "new", 1)

      by_text = execute(@select, [1])
      assert Remedy.prepared(by_text, prepare, nil, "new", 1) == by_text
    end

    test "is executed at the node that has it" do
      there = {:prepare, @select, nil, {:first, @node}}

      assert {:execute, {:text, @select}, [1], native, @select, nil} =
               Remedy.prepared(execute(@select, [1]), there, nil, "new", 1)

      assert elem(native, 7) == {:first, @node}

      # Another node had to prepare it.
      again = Remedy.prepared(execute(@select, [1]), there, nil, "new", 2)
      assert again |> elem(3) |> elem(7) == {:avoid, @node}
    end

    test "of a batch is the one that the error names" do
      batch = batch(["DELETE", {@select, [1]}, {@prepared, [2]}], keyspace: "mine")

      assert Remedy.of(batch, {:not_prepared, %{statement: 1}}, 1) ==
               {:prepare, {:prepare, @select, "mine", nil}, 1}

      assert Remedy.of(batch, {:server, Map.put(@unprepared, :statement, 2)}, 1) ==
               {:prepare, {:prepare, @insert, "ks", {:first, @node}}, 2}

      # What none of its statements can be.
      for place <- [%{statement: 0}, %{statement: 3}, %{}] do
        assert Remedy.of(batch, {:not_prepared, place}, 1) == :none
      end
    end

    test "of a batch has its new id wherever it stands, and goes to the node that has it" do
      batch = batch([{@prepared, [1]}, {@select, [2]}, {@prepared, [3]}, "DELETE"])
      anywhere = {:prepare, @insert, "ks", nil}

      assert {:batch, 0, statements, native, given} =
               Remedy.prepared(batch, anywhere, 2, "new", 1)

      assert statements == [
               {{:id, "new"}, [1]},
               {{:text, @select}, [2]},
               {{:id, "new"}, [3]},
               "DELETE"
             ]

      assert {native, given} == {elem(batch, 3), elem(batch, 4)}

      there = {:prepare, @insert, "ks", {:first, @node}}
      {:batch, 0, ^statements, native, ^given} = Remedy.prepared(batch, there, 2, "new", 1)
      assert elem(native, 7) == {:first, @node}
    end

    test "is not looked for in what has none" do
      assert Remedy.of({:query, @select, native()}, {:server, @unprepared}, 1) == :none
      assert Remedy.of({:prepare, @select, nil, nil}, {:not_prepared, %{}}, 1) == :none
    end
  end

  describe "structs" do
    @wrong {:bad_value, %{problem: "wrong_type", statement: 1}}

    test "that encode themselves do so, in all statements at once" do
      plain = %Plain{a: 1, b: 2}
      assert {:retry, operation} = Remedy.of(execute(@insert, [plain]), @wrong, 1)
      assert {:execute, _, [%{a: 1, b: 2}], _, _, _} = operation

      batch = batch([{@insert, [plain]}, "DELETE", {@prepared, [1, [plain]]}])
      assert {:retry, {:batch, 0, [first, "DELETE", third], _, _}} = Remedy.of(batch, @wrong, 1)
      assert first == {{:text, @insert}, [%{a: 1, b: 2}]}
      assert third == {{:id, "old"}, [1, [%{a: 1, b: 2}]]}
    end

    test "that are none leave the error" do
      assert Remedy.of(execute(@insert, [:wrong]), @wrong, 1) == :none
      assert Remedy.of(batch([{@insert, [:wrong]}, "DELETE"]), @wrong, 1) == :none
      assert Remedy.of({:query, @select, native()}, @wrong, 1) == :none
    end
  end

  test "what was never sent is sent again, and without a connection one is waited for" do
    operation = batch([{@insert, [1]}])
    assert Remedy.of(operation, {:no_connection, %{}}, 1) == :wait

    for kind <- [:connection_lost, :protocol_changed] do
      assert Remedy.of(operation, {kind, %{sent: false}}, 1) == {:retry, operation}
      assert Remedy.of(operation, {kind, %{sent: true}}, 1) == :none
    end

    for kind <- [:timeout, :attempt_timeout] do
      assert Remedy.of(operation, {kind, %{sent: false}}, 1) == :none
    end
  end

  test "what was encoded for another version of the protocol again and again waits in between" do
    operation = execute(@select, [1])
    changed = {:protocol_changed, %{sent: false}}
    assert Remedy.of(operation, changed, 2) == {:retry_in, 1, operation}
    assert Remedy.of(operation, changed, 31) == {:retry_in, 30, operation}
    assert Remedy.of(operation, changed, 32) == :none
    assert Remedy.of(operation, {:connection_lost, %{sent: false}}, 31) == {:retry, operation}
  end

  test "the rounds are bounded, and a batch has one more for each statement" do
    assert {:prepare, _, _} = Remedy.of(execute(@select, [1]), {:not_prepared, %{}}, 31)
    assert Remedy.of(execute(@select, [1]), {:not_prepared, %{}}, 32) == :none

    batch = batch(for n <- 1..100, do: {@insert, [n]})
    error = {:not_prepared, %{statement: 50}}
    assert {:prepare, _, 50} = Remedy.of(batch, error, 131)
    assert Remedy.of(batch, error, 132) == :none
  end
end
