defmodule Palladion.RetryPolicyTest do
  use ExUnit.Case, async: true

  import ExUnit.CaptureLog

  alias Palladion.{Error, RetryPolicy}
  alias Palladion.Test.Policies.Retry

  describe "decide/3" do
    @error %Error{reason: :overloaded}
    @context %{attempt: 2, idempotent: true, statement: "SELECT 1"}

    test "gives every decision one form" do
      for {answer, decision} <- [
            give_up: :give_up,
            retry_same: {:retry, :same, 0},
            retry_next: {:retry, :next, 0}
          ] do
        assert RetryPolicy.decide({Retry, answer}, @error, @context) == decision
      end

      assert RetryPolicy.decide({Retry, {:retry_same, 5}}, @error, @context) ==
               {:retry, :same, 5}

      assert RetryPolicy.decide({Retry, {:retry_next, 0}}, @error, @context) ==
               {:retry, :next, 0}
    end

    test "a policy gets the error and all that is known" do
      answer = fn @error, context ->
        assert %{options: options} = context
        assert is_function(options)
        assert Map.delete(context, :options) == @context
        :retry_next
      end

      assert RetryPolicy.decide({Retry, answer}, @error, @context) == {:retry, :next, 0}
    end

    test "nonsense gives up, and a line says whose it was" do
      for answer <- [nil, :retry, {:retry_next, -1}, {:retry_same, 1.5}, {:give_up, 1}] do
        assert failure(answer) =~ "Palladion.Test.Policies.Retry returned no decision; "
      end
    end

    test "a policy that fails gives up, and the line has no value" do
      for {answer, what} <- [
            {fn _, _ -> raise "a secret" end, "raised RuntimeError"},
            {fn _, _ -> :erlang.error({:badmatch, "a secret"}) end, "raised MatchError"},
            {fn _, _ -> throw("a secret") end, "threw"},
            {fn _, _ -> exit("a secret") end, "exited"}
          ] do
        log = failure(answer)
        assert log =~ "[error]"

        assert log =~
                 "the retry policy Palladion.Test.Policies.Retry #{what}; the request gives up"

        refute log =~ "secret"
      end
    end

    defp failure(answer) do
      capture_log(fn ->
        assert RetryPolicy.decide({Retry, answer}, @error, @context) == :give_up
      end)
    end

    test "no delay is longer than a process can sleep" do
      for {answer, which} <- [retry_same: :same, retry_next: :next] do
        assert RetryPolicy.decide({Retry, {answer, 0x1_0000_0000}}, @error, @context) ==
                 {:retry, which, 0xFFFFFFFF}
      end
    end
  end

  describe "idempotent?/2" do
    test "is what the request says" do
      for statement <- ["SELECT 1", "UPDATE t SET a = 1", ""], said <- [true, false] do
        assert RetryPolicy.idempotent?(statement, said) == said
      end
    end

    test "a SELECT is, where nothing is said" do
      for statement <- [
            "SELECT * FROM t",
            "select * from t",
            "SeLeCt JSON a FROM t",
            " \t\r\n\f\vSELECT 1",
            "SELECT\n*",
            "SELECT*",
            "SELECT(a)",
            "SELECT/* */a",
            "-- a comment\nSELECT 1",
            "-- one\r-- and another\r\n  SELECT 1",
            "// INSERT\nSELECT 1",
            "/* UPDATE */ SELECT 1",
            "/**/--\n/* * / -- */SELECT 1"
          ] do
        assert RetryPolicy.idempotent?(statement, nil), statement
      end
    end

    test "nothing else is" do
      for statement <- [
            "",
            " ",
            "SELEC",
            "SELECTED",
            "SELECT_1",
            "INSERT INTO t (a) VALUES (1)",
            "UPDATE t SET a = 1 WHERE k = 1",
            "DELETE FROM t WHERE k = 1",
            "BEGIN BATCH",
            "-- SELECT 1",
            "-- SELECT\nUPDATE",
            "/* SELECT 1",
            "/* SELECT */ INSERT",
            "/SELECT 1",
            "-SELECT 1",
            "(SELECT 1)",
            "ŚELECT 1",
            <<255, 254>>
          ] do
        refute RetryPolicy.idempotent?(statement, nil), statement
      end
    end

    test "whatever stands before it" do
      before = ["", " ", "\n", "--x\n", "// SELECT 1\r\n", "/* INSERT */", "/*\n--*/", "\t"]

      for _ <- 1..500 do
        prefix = 1..:rand.uniform(6) |> Enum.map_join(fn _ -> Enum.random(before) end)
        assert RetryPolicy.idempotent?(prefix <> "SELECT a FROM t", nil), inspect(prefix)
        refute RetryPolicy.idempotent?(prefix <> "INSERT INTO t", nil), inspect(prefix)
      end
    end
  end
end
