defmodule Palladion.Integration.AlteredColumnsTest do
  @moduledoc """
  Results whose columns change: with protocol 5 they are left out of answers, as long as the id that the EXECUTE names is that
  of the server.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Test.Testkit

  @select "SELECT altered"

  setup do
    %{server: Testkit.start_server(tls: false)}
  end

  defp rows(columns, rows),
    do: [equals: @select, bind: "n int", reaction: {:rows, columns: columns, rows: rows}]

  # The EXECUTE requests, the oldest first.
  defp executed(server) do
    for %{opcode: :execute, statements: [%{text: @select}]} = request <- Testkit.requests(server),
        do: {request.skip_metadata, request.result_id}
  end

  for compression <- [nil, :lz4] do
    test "the rows are right, and the next EXECUTE names the new id (compression: #{inspect(compression)})",
         %{server: server} do
      protocol = [version: 5, compression: unquote(compression)]
      name = ready_cluster!(server, protocol: protocol, pool: [size: 1])
      prepared_or_text = fn -> Enum.random([@select, Palladion.prepare!(name, @select)]) end

      Testkit.rule(server, rows("b int, d int", "(1, 2)"))
      assert Palladion.query!(name, @select, [7]).rows == [%{"b" => 1, "d" => 2}]
      assert Palladion.query!(name, @select, [7], rows: :tuples).rows == [{1, 2}]
      assert [{true, first}, {true, first}] = executed(server)
      assert byte_size(first) > 0

      # One more before the others, of the same type: stale columns would show its value as another's.
      Testkit.alter(server, rows("a int, b int, d int", "(0, 1, 2)"))
      assert Palladion.query!(name, @select, [7]).rows == [%{"a" => 0, "b" => 1, "d" => 2}]
      assert Palladion.query!(name, @select, [7]).rows == [%{"a" => 0, "b" => 1, "d" => 2}]

      # Other types in the same order.
      Testkit.alter(server, rows("a text, b bigint, d timestamp", "('x', 3, 4000)"))

      for _ <- 1..2 do
        result = Palladion.query!(name, prepared_or_text.(), [7], rows: :lists)
        assert result.columns == ["a", "b", "d"]
        assert result.rows == [["x", 3, ~U[1970-01-01 00:00:04.000Z]]]
      end

      assert [
               {true, ^first},
               {true, ^first},
               {true, ^first},
               {true, second},
               {true, asked},
               {true, third}
             ] = executed(server)

      assert second != first
      # Unless the statement was prepared once more.
      assert asked == second or asked == third
      assert third not in [first, second]
      # No request was sent twice for it.
      assert Testkit.counters(server).execute == 6
    end
  end

  test "one that has no columns any more, and has them again", %{server: server} do
    name = ready_cluster!(server, protocol: [version: 5], pool: [size: 1])
    Testkit.rule(server, rows("b int", "(1)"))
    assert Palladion.query!(name, @select, [7]).rows == [%{"b" => 1}]
    Testkit.alter(server, equals: @select, bind: "n int", times: 1, reaction: :void)
    assert Palladion.query!(name, @select, [7]).kind == :void
    assert Palladion.query!(name, @select, [7]).rows == [%{"b" => 1}]
  end

  test "with protocol 4 the columns come with each answer", %{server: server} do
    name = ready_cluster!(server, protocol: [version: 4], pool: [size: 1])
    Testkit.rule(server, rows("b int, d int", "(1, 2)"))
    assert Palladion.query!(name, @select, [7]).rows == [%{"b" => 1, "d" => 2}]
    Testkit.alter(server, rows("a int, b int, d int", "(0, 1, 2)"))
    assert Palladion.query!(name, @select, [7]).rows == [%{"a" => 0, "b" => 1, "d" => 2}]
    assert executed(server) == [{false, nil}, {false, nil}]
  end

  test "pages of one result may have different columns", %{server: server} do
    name = ready_cluster!(server, protocol: [version: 5], pool: [size: 1])

    more = fn rows, state ->
      Keyword.update!(rows, :reaction, fn {:rows, given} ->
        {:rows, given ++ [paging_state: state]}
      end)
    end

    Testkit.rule(server, more.(rows("b int, d int", "(1, 2)"), "more"))

    pages =
      for page <- Palladion.pages(name, @select, [7], rows: :tuples) |> Stream.take(3) do
        Testkit.alter(server, more.(rows("a int, b int, d int", "(0, 1, 2)"), "more"))
        {page.columns, page.rows}
      end

    assert hd(pages) == {["b", "d"], [{1, 2}]}
    assert List.last(pages) == {["a", "b", "d"], [{0, 1, 2}]}
    # One is asked ahead.
    assert Enum.uniq(pages) == [hd(pages), List.last(pages)]
  end
end
