defmodule Palladion.Integration.ValuesTest do
  @moduledoc """
  Values through the native library, against the testkit's `SELECT echo(type, …)`, which returns the very bytes that were
  bound: what is right comes back, and what is wrong is refused before anything is sent.
  """

  use ExUnit.Case, async: true

  import Palladion.Test.Clusters

  alias Palladion.{Decimal, Duration, Error}
  alias Palladion.Test.{Generated, Testkit, TypeValues}
  alias Palladion.Test.Structs.{Box, Unknown}

  setup_all do
    server = Testkit.start_server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, pool: [size: 1]))
    :ok = Palladion.await_ready(__MODULE__, 60_000)
    %{server: server}
  end

  describe "what was encoded is decoded:" do
    @cases 500

    test "#{@cases} generated types, nested to four levels, with a value each" do
      seed = ExUnit.configuration()[:seed]

      for number <- 1..@cases do
        :rand.seed(:exsss, {seed, number, 0})
        forms = for {form, values} <- forms(), do: {form, Enum.random(values)}
        types = for _ <- 1..:rand.uniform(3), do: Generated.type(:rand.uniform(5) - 1)
        {written, read} = types |> Enum.map(&Generated.value(&1, forms)) |> Enum.unzip()
        statement = "SELECT echo(#{Enum.map_join(types, ", ", &Generated.text/1)})"

        actual = with {:ok, result} <- echo(statement, written, forms), do: hd(result.rows)

        assert is_list(actual) and TypeValues.same?(actual, read), """
        case #{number} of seed #{seed}: #{statement}
        forms:   #{inspect(forms)}
        written: #{inspect(written, limit: :infinity)}
        read:    #{inspect(actual, limit: :infinity)}
        not:     #{inspect(read, limit: :infinity)}
        """
      end
    end

    defp forms, do: [uuids: [:text, :binary], timestamps: [:datetime, :integer]]

    test "types nested as deep as they may be" do
      type = surround("list<", "int", ">", 64)
      value = deep(64, 7, &[&1])
      assert {:ok, %{rows: [[^value]]}} = echo("SELECT echo(#{type})", [value])
    end

    test "members of a set that are one for the BEAM" do
      # Whether 0.0 and -0.0 are depends on the version of OTP.
      assert {:ok, %{rows: [[set, map]]}} =
               echo("SELECT echo(set<double>, map<double, int>)", [[0.0, -0.0], %{0.0 => 1}])

      assert set == MapSet.new([0.0, -0.0])
      assert map == %{0.0 => 1}
    end

    # Each value has the names of its fields as keys.
    test "values of a type whose fields have long names" do
      name = String.duplicate("n", 60_000)
      statement = "SELECT echo(list<udt<ks.t, #{name} int>>)"
      before = :erlang.memory(:total)
      assert {:ok, %{rows: [[values]]}} = echo(statement, [List.duplicate(%{}, 10_000)])
      :erlang.garbage_collect()

      # Of what was looked for in the values that were written, the schedulers let go later.
      eventually("each name is there once", fn ->
        :erlang.memory(:total) - before < 200_000_000
      end)

      assert length(values) == 10_000
      assert Enum.all?(values, &(&1 == %{name => nil}))
    end

    test "vectors in vectors, as many as there may be" do
      nested = surround("vector<", "boolean", ", 1>", 62)
      statement = "SELECT echo(vector<#{nested}, 100>)"
      value = Enum.reduce(1..62, true, fn _level, value -> [value] end)
      assert {:ok, %{rows: [[values]]}} = echo(statement, [List.duplicate(value, 100)])
      assert values == List.duplicate(value, 100)
    end

    test "the terms of the guide's table" do
      guide = File.read!(Path.expand("../../guides/types.md", __DIR__))
      [table | _] = guide |> String.split("|---|---|---|\n") |> tl()
      rows = table |> String.split("\n\n") |> hd() |> String.split("\n")

      types =
        for row <- rows,
            [_, types, read, written, _] = String.split(row, "|"),
            type <- types(types) do
          [first | _] = read = Enum.map(quoted(read) -- ["Decimal"], &term/1)
          statement = "SELECT echo(#{type})"
          for value <- read, do: assert({:ok, %{rows: [[^value]]}} = echo(statement, [value]))

          for value <- Enum.map(quoted(written), &term/1) do
            assert {:ok, %{rows: [[^first]]}} = echo(statement, [value])
          end

          type
        end

      simple = for %{type: type} <- TypeValues.simple(), do: type
      assert simple -- types == []
    end

    defp types(cell) do
      case quoted(cell) do
        [] ->
          if cell =~ "custom",
            do: ["'com.example.Custom'"],
            else: ["udt<ks.t, street text, no int>"]

        types ->
          types
      end
    end

    defp quoted(cell), do: for([_, code] <- Regex.scan(~r/`([^`]*)`/, cell), do: code)
    defp term(code), do: code |> Code.eval_string() |> elem(0)

    defp echo(statement, values, options \\ []) do
      with {:ok, prepared} <- Palladion.prepare(__MODULE__, statement) do
        Palladion.execute(
          __MODULE__,
          prepared,
          values,
          [rows: :lists, timeout: 30_000] ++ options
        )
      end
    end
  end

  describe "types that a server nests beyond reason are an error:" do
    test "as a class's name" do
      # As long as a name can be.
      for {class, depth} <- [{"ListType", 65}, {"SetType", 7_200}, {"MapType", 7_200}] do
        name = surround("#{class}(", "Int32Type", ")", depth)
        statement = "SELECT echo('#{name}')"
        assert {:error, %Error{reason: :decode_failed}} = Palladion.prepare(__MODULE__, statement)
      end
    end

    test "10,000 levels, as the protocol has them", %{server: server} do
      deep = {:hostile, kind: :deep_types, size: 10_000}
      :ok = Testkit.rule(server, equals: "SELECT deep", reaction: deep)

      assert {:error, %Error{reason: :decode_failed} = error} =
               Palladion.query(__MODULE__, "SELECT deep")

      assert Exception.message(error) =~ "deep"

      assert {:ok, %{rows: [%{"c0" => 1}]}} = Palladion.query(__MODULE__, "SELECT echo(int)", [1])
    end
  end

  # Terms by their kind, with something in each that must not be shown.
  @planted_number 7_654_321_987_654
  defp terms do
    %{
      integer: @planted_number,
      float: 76_543.21987654,
      text: "planted secret",
      atom: :planted,
      boolean: true,
      tuple: {"planted", @planted_number, "secret"},
      list: ["planted", @planted_number],
      improper: ["planted" | "secret"],
      map: %{"planted" => "secret"},
      bitstring: <<"planted", 1::3>>,
      pid: self(),
      reference: make_ref(),
      function: fn -> "planted" end,
      date: ~D[7654-03-21],
      time: ~T[07:06:54.321987],
      datetime: ~U[7654-03-21 07:06:54.321Z],
      naive: ~N[7654-03-21 07:06:54.321],
      set: MapSet.new(["planted"]),
      decimal: %Decimal{coef: @planted_number},
      duration: %Duration{days: 7654, nanoseconds: @planted_number},
      range: 7654..7655,
      exception: %RuntimeError{message: "planted"},
      struct: %Unknown{a: "planted", b: @planted_number}
    }
  end

  # The kinds that a type takes, or that are of its kind but too large, too long or none of its texts.
  @taken %{
    "ascii" => [:text],
    "bigint" => [:integer],
    "blob" => [:text],
    "boolean" => [:boolean],
    "counter" => [:integer],
    "date" => [:date, :integer],
    "decimal" => [:decimal, :integer],
    "double" => [:float, :integer],
    "duration" => [:duration],
    "float" => [:float, :integer],
    "inet" => [:text, :tuple],
    "int" => [:integer],
    "smallint" => [:integer],
    "text" => [:text],
    "time" => [:time, :integer],
    "timestamp" => [:datetime, :integer],
    "timeuuid" => [:text],
    "tinyint" => [:integer],
    "uuid" => [:text],
    "varint" => [:integer],
    "'com.example.Custom'" => [:text],
    "list<int>" => [:list, :improper],
    "set<int>" => [:list, :improper, :set],
    "map<int, int>" => [:map],
    "tuple<int, int>" => [:tuple],
    "vector<int, 2>" => [:list, :improper],
    "udt<ks.t, a int>" => [:map]
  }

  @refused [
    {"ascii", :empty, "wrong_type"},
    {"text", :empty, "wrong_type"},
    {"blob", :empty, "wrong_type"},
    {"tuple<int, int>", :empty, "wrong_type"},
    {"udt<ks.t, a int>", :empty, "wrong_type"},
    {"ascii", "planted ü", "out_of_range"},
    {"ascii", <<255>>, "out_of_range"},
    {"bigint", 0x8000000000000000, "out_of_range"},
    {"bigint", -0x8000000000000001, "out_of_range"},
    {"counter", 0x8000000000000000, "out_of_range"},
    {"date", -0x80000001, "out_of_range"},
    {"date", 0x80000000, "out_of_range"},
    {"date", 0x8000000000000000, "out_of_range"},
    {"date", %{~D[2024-02-29] | year: 1_234_567_890_123_456_789}, "out_of_range"},
    {"date", %{~D[2024-02-29] | year: 2023}, "out_of_range"},
    {"date", %{~D[2024-02-29] | month: 13}, "out_of_range"},
    {"date", %{~D[2024-02-29] | day: :planted}, "out_of_range"},
    {"date", %{~D[2024-02-29] | calendar: Planted.Calendar}, "wrong_type"},
    {"decimal", %Decimal{coef: 1, exp: 0x80000001}, "out_of_range"},
    {"decimal", %Decimal{coef: 1, exp: -0x80000000}, "out_of_range"},
    {"decimal", %Decimal{coef: :planted}, "out_of_range"},
    {"decimal", %{__struct__: :"Elixir.Decimal", sign: 1, coef: :NaN, exp: 0}, "out_of_range"},
    {"decimal", %{__struct__: :"Elixir.Decimal", sign: -1, coef: :inf, exp: 0}, "out_of_range"},
    {"double", 0x20000000000001, "out_of_range"},
    {"duration", %Duration{months: 1, days: -1}, "out_of_range"},
    {"duration", %Duration{months: 0x80000000}, "out_of_range"},
    {"duration", %Duration{days: -0x80000001}, "out_of_range"},
    {"duration", %Duration{nanoseconds: 0x8000000000000000}, "out_of_range"},
    {"duration", %Duration{days: :planted}, "out_of_range"},
    {"float", 3.5e38, "out_of_range"},
    {"float", -3.5e38, "out_of_range"},
    {"float", 0x20000000000001, "out_of_range"},
    {"inet", "planted", "out_of_range"},
    {"inet", "1.2.3.4/8", "out_of_range"},
    {"inet", {1, 2, 3}, "out_of_range"},
    {"inet", {1, 2, 3, 256}, "out_of_range"},
    {"inet", {1, 2, 3, 4, 5, 6, 7, 65_536}, "out_of_range"},
    {"inet", {1, 2, 3, -1}, "out_of_range"},
    {"int", 0x80000000, "out_of_range"},
    {"int", -0x80000001, "out_of_range"},
    {"smallint", 0x8000, "out_of_range"},
    {"smallint", -0x8001, "out_of_range"},
    {"text", <<"planted", 255>>, "out_of_range"},
    {"time", -1, "out_of_range"},
    {"time", 86_400_000_000_000, "out_of_range"},
    {"time", %{~T[23:59:59] | hour: 24}, "out_of_range"},
    {"time", %{~T[23:59:59] | hour: 0x7FFFFFFFFFFFFFFF}, "out_of_range"},
    {"time", %{~T[23:59:59] | microsecond: :planted}, "out_of_range"},
    {"time", %{~T[23:59:59] | calendar: Planted.Calendar}, "wrong_type"},
    {"timestamp", 0x8000000000000000, "out_of_range"},
    {"timestamp", %{~U[2024-02-29 00:00:00Z] | year: 0x7FFFFFFFFFFFFFFF}, "out_of_range"},
    {"timestamp", %{~U[2024-02-29 00:00:00Z] | utc_offset: 0x7FFFFFFFFFFFFFFF}, "out_of_range"},
    {"timestamp", %{~U[2024-02-29 00:00:00Z] | calendar: Planted.Calendar}, "wrong_type"},
    {"timeuuid", "0c3c1f9a-9b1e-4b7e-8c57-2d1b8a4b1c11", "out_of_range"},
    {"timeuuid", "planted", "out_of_range"},
    {"tinyint", 128, "out_of_range"},
    {"tinyint", -129, "out_of_range"},
    {"uuid", "planted", "out_of_range"},
    {"uuid", "0c3c1f9a9b1e4b7e8c572d1b8a4b1c11", "out_of_range"},
    {"uuid", <<1, 2, 3>>, "out_of_range"},
    {"tuple<int, int>", {1, 2, 3}, "wrong_size"},
    {"vector<int, 2>", [1], "wrong_size"},
    {"vector<int, 2>", [1, 2, 3], "wrong_size"},
    {"udt<ks.t, a int>", %{"a" => 1, "planted" => 2}, "unknown_field"},
    {"udt<ks.t, a int>", %{:a => 1, "a" => 2}, "unknown_field"}
  ]

  # A value that is wrong inside of another: its type and the way there.
  @inside [
    {"list<int>", [1, "planted"], "wrong_type", "int", ["item 1"]},
    {"list<int>", [1 | 2], "wrong_type", "int", ["item 1"]},
    {"list<int>", [1, nil], "null_in_collection", "int", ["item 1"]},
    {"list<int>", [1, :unset], "null_in_collection", "int", ["item 1"]},
    {"list<text>", ["", :empty], "wrong_type", "text", ["item 1"]},
    {"set<int>", ["planted"], "wrong_type", "int", ["item 0"]},
    {"set<int>", MapSet.new([0x80000000]), "out_of_range", "int", ["item 0"]},
    {"set<int>", MapSet.new([nil]), "null_in_collection", "int", ["item 0"]},
    {"map<int, text>", %{"planted" => "x"}, "wrong_type", "int", ["key 0"]},
    {"map<int, text>", %{1 => :planted}, "wrong_type", "text", ["value 0"]},
    {"map<int, text>", %{nil => "x"}, "null_in_collection", "int", ["key 0"]},
    {"map<int, text>", %{1 => nil}, "null_in_collection", "text", ["value 0"]},
    {"tuple<int, text>", {"planted", "x"}, "wrong_type", "int", ["item 0"]},
    {"tuple<int, text>", {1, :unset}, "wrong_type", "text", ["item 1"]},
    {"udt<ks.t, a int, b text>", %{"a" => "planted"}, "wrong_type", "int", ["field a"]},
    {"udt<ks.t, a int, b text>", %{b: 1}, "wrong_type", "text", ["field b"]},
    {"udt<ks.t, a int>", %{"a" => :unset}, "wrong_type", "int", ["field a"]},
    {"vector<int, 2>", [1, "planted"], "wrong_type", "int", ["item 1"]},
    {"vector<int, 2>", [1, nil], "null_in_collection", "int", ["item 1"]},
    {"vector<int, 2>", [1, :empty], "wrong_type", "int", ["item 1"]},
    {"vector<float, 2>", [1.0, 3.5e38], "out_of_range", "float", ["item 1"]},
    {"map<text, list<udt<ks.t, a tuple<int, set<tinyint>>>>>",
     %{"planted" => [%{"a" => {1, [128]}}]}, "out_of_range", "tinyint",
     ["value 0", "item 0", "field a", "item 1", "item 0"]}
  ]

  @nesting [
    "int",
    "list<list<int>>",
    "set<set<int>>",
    "map<text, map<text, int>>",
    "tuple<tuple<int>>",
    "udt<ks.t, a udt<ks.t, a int>>",
    "vector<vector<int, 1>, 1>"
  ]

  describe "what does not fit is refused before it is sent:" do
    test "terms of another kind, for every type", %{server: server} do
      cases =
        for {type, taken} <- @taken,
            {kind, term} <- terms(),
            kind not in taken,
            do: {type, term, "wrong_type", shown(type), []}

      refused(server, cases)
    end

    test "what is of the kind, but beyond the type", %{server: server} do
      refused(
        server,
        for({type, term, problem} <- @refused, do: {type, term, problem, shown(type), []})
      )
    end

    test "more than fits into one request", %{server: server} do
      refused(server, [{"blob", :binary.copy(<<0>>, 257 * 1024 * 1024), "too_long", "blob", []}])
    end

    test "what is wrong inside of another value, with the way there", %{server: server} do
      refused(server, @inside)

      # Every simple type, wherever a value can stand.
      cases =
        for {type, _taken} <- @taken,
            not (type =~ ~r/[<']/),
            wrong = wrong(type),
            {outer, value, path} <- around(wrong) do
          {String.replace(outer, "T", type), value, "wrong_type", type, path}
        end

      refused(server, cases)
    end

    test "values nested 10,000 deep", %{server: server} do
      wraps = [
        &[&1],
        &[1 | &1],
        &{&1},
        &%{"a" => &1},
        &MapSet.new([&1]),
        &%Box{value: &1},
        &%Unknown{a: &1}
      ]

      executed = Testkit.counters(server).execute

      for wrap <- wraps, value = deep(10_000, "planted", wrap), type <- @nesting do
        type |> bind_wrong!(value) |> hidden!()
      end

      assert Testkit.counters(server).execute == executed
    end

    defp wrong("boolean"), do: "planted"
    defp wrong(_type), do: :planted

    defp around(wrong) do
      [
        {"list<T>", [wrong], ["item 0"]},
        {"set<T>", MapSet.new([wrong]), ["item 0"]},
        {"map<T, int>", %{wrong => 1}, ["key 0"]},
        {"map<int, T>", %{1 => wrong}, ["value 0"]},
        {"tuple<int, T>", {1, wrong}, ["item 1"]},
        {"vector<T, 1>", [wrong], ["item 0"]},
        {"udt<ks.t, f T>", %{"f" => wrong}, ["field f"]}
      ]
    end

    # Statements are prepared first, so that nothing at all is sent for the values.
    defp refused(server, cases) do
      for {type, _, _, _, _} <- Enum.uniq_by(cases, &elem(&1, 0)) do
        {:ok, _} = Palladion.prepare(__MODULE__, statement(type))
      end

      {:ok, before} = Palladion.stats(__MODULE__)
      executed = Testkit.counters(server).execute

      for {type, value, problem, shown, path} <- cases do
        error = bind_wrong!(type, value)
        expected = %{column: "v", index: 1, type: shown, problem: problem, path: path}

        assert error.details == expected,
               "#{inspect(value)}: #{inspect(error.details)} instead of #{inspect(expected)}"

        hidden!(error)
        message = Exception.message(error)
        assert message =~ ~s("v") and message =~ "not sent"
        for step <- path, do: assert(message =~ step)
        if problem != "null_in_collection", do: assert(message =~ shown)
      end

      {:ok, stats} = Palladion.stats(__MODULE__)
      assert stats.requests == before.requests
      assert Testkit.counters(server).execute == executed
    end

    defp bind_wrong!(type, value) do
      case Palladion.query(__MODULE__, statement(type), [1, value]) do
        {:error, %Error{reason: :bad_value, code: nil} = error} -> error
        other -> flunk("#{inspect(value, limit: 20)} as #{type}: #{inspect(other)}")
      end
    end

    defp statement(type), do: "INSERT void(id int, v #{type})"

    defp shown("udt<ks.t" <> _), do: "ks.t"
    defp shown(type), do: type

    defp hidden!(error) do
      for text <- [Exception.message(error), inspect(error, limit: :infinity)],
          secret <- ["planted", "secret", "7654", "07:06", "65432"] do
        refute text =~ secret
      end
    end
  end

  defp surround(before, text, behind, n),
    do: String.duplicate(before, n) <> text <> String.duplicate(behind, n)

  defp deep(0, value, _wrap), do: value
  defp deep(n, value, wrap), do: deep(n - 1, wrap.(value), wrap)
end
