defmodule Palladion.Request.OperationTest do
  use ExUnit.Case, async: true

  alias Palladion.{Config, Error, Prepared, RequestOptions, Timestamps}
  alias Palladion.Request.Operation

  @insert "INSERT INTO t (a) VALUES (?)"

  defp prepared(keyspace),
    do: %Prepared{
      cluster: DB,
      id: "id",
      statement: @insert,
      keyspace: keyspace,
      bind: [],
      columns: []
    }

  defp native(options) do
    {:ok, config} = Config.parse(name: DB, tls: false)
    attempts = RequestOptions.attempts(config)
    entry = %{timeout: 5_000, consistency: 10, forms: 0, attempts: attempts, timestamp: nil}
    {_timeout, native, _attempts} = RequestOptions.build(entry, options)
    native
  end

  defp refusal(statement, options),
    do: statement |> Operation.new([1], native(options), Timestamps.new()) |> Operation.refusal()

  defp refusal_of_batch(statements, options) do
    statements
    |> Operation.batch(0, native(options), Timestamps.new())
    |> Operation.refusal()
  end

  describe "the keyspace of a request" do
    test "is any for a text, and for a prepared statement none or its own" do
      for keyspace <- [nil, "one", "two"] do
        assert refusal(@insert, keyspace: keyspace) == nil
        assert refusal(prepared(keyspace), keyspace: keyspace) == nil
        assert refusal(prepared(keyspace), keyspace: nil, tracing: true) == nil
        assert refusal(prepared(keyspace), []) == nil
      end
    end

    test "is refused where a statement was prepared in another one, with what to do" do
      for {own, text} <- [{nil, "no keyspace of its own"}, {"one", ~s(the keyspace "one")}] do
        assert {:bad_argument, fields} = error = refusal(prepared(own), keyspace: "two")
        assert Map.keys(fields) == [:detail]
        message = error |> Error.of_native() |> Exception.message()
        assert message =~ "request not sent (bad_argument): the statement was prepared in #{text}"
        assert message =~ ~s{prepare it with prepare(…, keyspace: "two")}
      end
    end

    test "is refused of a batch with the place of the statement" do
      batch = [@insert, {@insert, [1]}, {prepared("one"), [1]}, prepared("one")]
      for options <- [[], [keyspace: "one"]], do: assert(refusal_of_batch(batch, options) == nil)

      assert {:bad_argument, %{statement: 2}} = refusal_of_batch(batch, keyspace: "two")

      assert {:bad_argument, %{statement: 4}} =
               error = refusal_of_batch(batch ++ [{prepared(nil), [1]}], keyspace: "one")

      message = error |> Error.of_native() |> Exception.message()

      assert message =~
               "statement 4 of the batch (the first is 0): the statement was prepared in no"
    end
  end

  test "a batch without statements is refused, and what is no batch left to the native library" do
    assert {:bad_statement, %{detail: "a batch needs" <> _}} = refusal_of_batch([], [])

    for given <- [nil, [prepared("one") | :improper]],
        do: assert(refusal_of_batch(given, keyspace: "two") == nil)
  end

  test "what is no request with a statement is never refused" do
    for operation <- [:wait_ready, {:prepare, @insert, "one", nil}, {:query, @insert, native([])}],
        do: assert(Operation.refusal(operation) == nil)
  end
end
