defmodule Palladion.Config.OptionsTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.Options

  @schema [
    size: [type: {:int, 1..10}, default: 2, doc: "How many."],
    wait: [type: {:or, [{:in, [false]}, {:ms, 1..60_000}]}, default: false, doc: "How | long."],
    name: [type: :string, required: true, doc: "Who."],
    file: [type: :path, doc: "Where."],
    flag: [type: :boolean, default: true, doc: "Whether."],
    token: [type: :string, secret: true, doc: "What not to tell."]
  ]

  test "gives values and defaults" do
    assert Options.check([name: "a", size: 10, wait: 5, file: ~c"a.pem"], @schema, []) ==
             {%{name: "a", size: 10, wait: 5, file: "a.pem", flag: true, token: nil}, []}
  end

  test "finds all problems, with their paths, and goes on with the defaults" do
    options = [size: 11, wait: true, file: "", flag: nil, token: 17, nmae: "a", zzz: 1]
    {values, problems} = Options.check(options, @schema, [:here])

    assert values == %{size: 2, wait: false, name: nil, file: nil, flag: true, token: nil}

    assert Enum.map(problems, &{&1.path, &1.reason, &1.message}) == [
             {[:here, :nmae], :unknown_option, "unknown option, did you mean :name?"},
             {[:here, :zzz], :unknown_option,
              "unknown option, the options here are :size, :wait, :name, :file, :flag, :token"},
             {[:here, :size], :invalid_value, "must be an integer from 1 to 10, got: 11"},
             {[:here, :wait], :invalid_value,
              "must be false or a number of milliseconds from 1 to 60_000, got: true"},
             {[:here, :name], :required, "is required"},
             {[:here, :file], :invalid_value, "must be a file name, got: \"\""},
             {[:here, :flag], :invalid_value, "must be true or false, got: nil"},
             {[:here, :token], :invalid_value, "must be a non-empty string"}
           ]
  end

  # `String.jaro_distance/2` raises on it in newer versions of Elixir.
  test "what is no text is like none of the names" do
    assert Options.nearest(<<255>>, [:name, :size]) == nil
    assert Options.suggestion("nmae" <> <<255>>, [:name]) == nil
  end

  test "nil is nothing where there is no default" do
    assert {%{file: nil, token: nil}, []} =
             Options.check([name: "a", file: nil, token: nil], @schema, [])

    assert {_, [%{reason: :required}]} = Options.check([name: nil], @schema, [])
  end

  test "what is no keyword list is not shown" do
    for options <- ["hunter2", %{name: "hunter2"}, ["hunter2"], [{"name", "hunter2"}]] do
      assert {%{size: 2}, [problem]} = Options.check(options, @schema, [:here])

      assert problem == %{
               path: [:here],
               reason: :invalid_value,
               message: "must be a keyword list"
             }
    end
  end

  test "a hint comes before a suggestion" do
    assert {_, [problem]} =
             Options.check([name: "a", sise: 1], @schema, [], fn :sise -> "look elsewhere" end)

    assert problem.message == "unknown option, look elsewhere"
  end

  test "long values are shortened" do
    assert {_, [problem]} =
             Options.check([name: "a", size: String.duplicate("x", 999)], @schema, [])

    assert String.length(problem.message) < 150
  end

  test "strings are UTF-8 without zero bytes" do
    for bad <- [<<255>>, "a\0b", "", :a, ~c"a"] do
      assert Options.cast(:string, bad) == :error
    end

    assert Options.cast(:string, "ä") == {:ok, "ä"}
  end

  test "charlists are lists of characters" do
    assert Options.charlist(~c"bücher") == {:ok, "bücher"}

    for bad <- [[], [-1], [?a | ?b], [~c"a"], ["a"], "a", [0xD800], nil] do
      assert Options.charlist(bad) == :error, inspect(bad)
    end
  end

  test "makes a Markdown table" do
    docs = Options.docs(@schema)
    assert docs =~ "| `size:` | an integer from 1 to 10 | `2` | How many. |\n"
    assert docs =~ "| `name:` | a non-empty string | required | Who. |\n"
    assert docs =~ "| `file:` | a file name |  | Where. |\n"
    assert docs =~ "| `wait:` | `false` or milliseconds | `false` | How \\| long. |\n"
  end
end
