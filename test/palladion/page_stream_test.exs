defmodule Palladion.PageStreamTest do
  use ExUnit.Case, async: true

  @select "SELECT * FROM shop.users"

  test "wrong options are raised when the stream is made" do
    for make <- [&Palladion.stream/4, &Palladion.pages/4],
        {options, text} <- [
          {[page_sise: 5], ~r/unknown option :page_sise, did you mean :page_size/},
          {[timeout: 0x1_0000_0000], ~r/invalid value of the option :timeout/},
          {[page_size: 0], ~r/invalid value of the option :page_size/},
          {[paging_state: 7], ~r/invalid value of the option :paging_state/},
          {[type: :logged], ~r/the option :type is for Palladion.batch/},
          {[:page_size], ~r/must be a keyword list/},
          {%{page_size: 5}, ~r/must be a keyword list/}
        ] do
      assert_raise ArgumentError, text, fn -> make.(MyApp.DB, @select, [], options) end
    end
  end

  test "a stream of rows can't have a map of columns" do
    assert_raise ArgumentError, ~r/use Palladion.pages/, fn ->
      Palladion.stream(MyApp.DB, @select, [], rows: :columns)
    end

    assert Palladion.pages(MyApp.DB, @select, [], rows: :columns)

    # The first of two counts, here as when the pages are asked for.
    assert Palladion.stream(MyApp.DB, @select, [], rows: :lists, rows: :columns)
  end
end
