defmodule Palladion.Test.Altered do
  @moduledoc """
  A table that is changed while it is read and written, and callers who judge every row of it.

  Every cell is a function of the row's key, the column's name and its type, so that a value that lands in another column,
  or is read as another type, is noticed. A column's name ends in its type: `i` int, `t` text, `p` pair, `l` a list of
  pairs, `o` outer, and `w` what is a timestamp or a bigint. A pair is a user-defined type of the fields `x`, `y`, and those
  that are added to it: `f3` or, once renamed, `g3`.

      readers = Altered.start(:table, DB, 32, text)
      Altered.await_all(readers, fn seen -> seen.columns == columns end)
      %{reads: reads, wrong: []} = Altered.stop(readers)
  """

  alias Palladion.Test.Clusters

  @base ~w(b_i d_i f_t h_t k_p m_l o_o q_p s_t u_i)
  @key ~w(part n)
  @parts 1..4
  @rows 12
  # Wrong ones that are kept, for one tells most of it.
  @kept 20

  @enforce_keys [:seen, :flag, :tasks]
  defstruct [:seen, :flag, :tasks]

  @doc "The columns that are always there, beside the key, in the server's order."
  def base, do: @base

  @doc "The keys of all rows, as `{part, n}`."
  def keys, do: for(part <- @parts, n <- 1..@rows, do: {part, n})

  # What a cell holds

  @doc "What stands in a column of a row. Pairs have the added fields with these numbers."
  def value(name, key, fields \\ []) do
    case String.last(name) do
      "i" -> number(name, key)
      "t" -> words(name, key)
      "p" -> pair(name, key, fields)
      "l" -> for n <- 1..2, do: pair("#{name}#{n}", key, fields)
      "o" -> %{"note" => words(name, key), "inner" => pair(name, key, fields)}
    end
  end

  @doc "The same of a column whose type is not told by its name."
  def typed("int", name, key), do: number(name, key)
  def typed("bigint", name, key), do: number({:bigint, name}, key)
  def typed("text", name, key), do: words(name, key)

  def typed("timestamp", name, key),
    do: DateTime.from_unix!(number({:timestamp, name}, key), :millisecond)

  defp number(name, key), do: :erlang.phash2({name, key}, 0x7FFF_FFFF)
  defp words(name, {part, n}), do: "#{name} of #{part}, #{n}"

  # By the number, for a field keeps its values when it's renamed.
  defp pair(name, key, fields) do
    for {field, n} <- fields, into: %{"x" => number(name, key), "y" => words(name, key)} do
      {field, number({name, n}, key)}
    end
  end

  # Whether it is right

  defp right?(name, key, value) do
    case String.last(name) do
      "w" -> value in [nil, typed("bigint", name, key), typed("timestamp", name, key)]
      "p" -> pair?(value, name, key)
      "l" -> list?(value, name, key)
      "o" -> outer?(value, name, key)
      _plain when name in @base -> value == value(name, key)
      _plain -> value in [nil, value(name, key)]
    end
  end

  defp list?([one, two], name, key),
    do: pair?(one, "#{name}1", key) and pair?(two, "#{name}2", key)

  defp list?(_other, _name, _key), do: false

  defp outer?(%{"note" => note, "inner" => inner} = outer, name, key),
    do: map_size(outer) == 2 and note == words(name, key) and pair?(inner, name, key)

  defp outer?(_other, _name, _key), do: false

  defp pair?(%{"x" => x, "y" => y} = pair, name, key) do
    x == number(name, key) and y == words(name, key) and
      Enum.all?(Map.drop(pair, ["x", "y"]), fn {<<letter, n::binary>>, value} ->
        letter in ~c"fg" and value in [nil, number({name, String.to_integer(n)}, key)]
      end)
  end

  defp pair?(_other, _name, _key), do: false

  # Of a table that is made anew: names with the types that they have by turns.
  defp any_type?(types, name, key, value),
    do: Enum.any?(types, &(typed(&1, name, key) == value))

  # Callers

  @doc """
  Starts callers who ask for all rows of a part without pause, each time in another form, and returns when each has read once.

  `kind` is `:altered`, whose rows are all there at any time, or `{:remade, types}`, of a table that may be gone, and
  whose columns `b`, `d`, `f` and `h` are of any of the types.
  """
  def start(kind, name, count, statement) do
    readers = open()
    prepared = Palladion.prepare!(name, statement, timeout: 60_000)

    tasks =
      for index <- 0..(count - 1) do
        reader = %{
          kind: kind,
          name: name,
          index: index,
          seen: readers.seen,
          flag: readers.flag,
          statements: [statement, prepared]
        }

        Task.async(fn -> repeat(reader, &read/1) end)
      end

    readers = %{readers | tasks: tasks}
    await_all(readers, fn _seen -> true end)
    readers
  end

  @doc """
  Starts a caller who writes rows without pause. `write` does it once; it's given a key and says what was written, or
  `{:error, error}`.
  """
  def start_writer(write) do
    writer = open()
    caller = %{seen: writer.seen, flag: writer.flag, index: 0}

    task =
      Task.async(fn ->
        repeat(caller, fn caller ->
          case write.(Enum.random(keys())) do
            {:error, error} -> failed(caller, error)
            written -> showed(caller, written)
          end
        end)
      end)

    %{writer | tasks: [task]}
  end

  defp open do
    seen = :ets.new(__MODULE__, [:public, write_concurrency: true])
    %__MODULE__{seen: seen, flag: :counters.new(1, []), tasks: []}
  end

  @doc "Waits until what each caller saw last is as told."
  def await_all(callers, as_told, tries \\ 2_400)

  def await_all(callers, _as_told, 0),
    do: raise("not seen by all callers; #{inspect(summary(callers), limit: 40)}")

  def await_all(%__MODULE__{seen: seen, tasks: tasks} = callers, as_told, tries) do
    last = for {{:last, _index}, shown} <- :ets.tab2list(seen), do: shown

    unless length(last) == length(tasks) and Enum.all?(last, as_told) do
      Process.sleep(25)
      await_all(callers, as_told, tries - 1)
    end
  end

  @doc "How many reads were answered so far."
  def reads(%__MODULE__{seen: seen}),
    do: seen |> :ets.select([{{{:reads, :_}, :"$1"}, [], [:"$1"]}]) |> Enum.sum()

  @doc """
  Has them finish. `reads` were answered, `errors` is how often each error was seen, `wrong` are rows that no version of the
  table has, and `shapes` is how many sets of columns and fields the one saw that saw fewest.
  """
  def stop(%__MODULE__{tasks: tasks, flag: flag} = callers) do
    :counters.add(flag, 1, 1)
    messages = tasks |> Task.await_many(60_000) |> List.flatten()
    callers |> summary() |> Map.put(:messages, messages)
  end

  defp summary(%__MODULE__{seen: seen} = callers) do
    all = :ets.tab2list(seen)
    shapes = Enum.frequencies(for {{:shape, index, _shown}, true} <- all, do: index)

    %{
      reads: reads(callers),
      errors: Map.new(for {{:error, error}, n} <- all, do: {error, n}),
      wrong: for({{:wrong, _ref}, wrong} <- all, do: wrong),
      shapes: shapes |> Map.values() |> Enum.min(fn -> 0 end)
    }
  end

  defp repeat(caller, fun) do
    if :counters.get(caller.flag, 1) > 0 do
      Clusters.mailbox()
    else
      fun.(caller)
      repeat(caller, fun)
    end
  end

  # One read

  @options [timeout: 60_000, idempotent: true, retry: {:default, max_attempts: 10}]

  defp read(reader) do
    part = Enum.random(@parts)
    statement = Enum.random(reader.statements)
    rows = Enum.random([:maps, :tuples, :lists, :columns])
    way = Enum.random([:query, :pages, :states])

    case pages(way, reader.name, statement, part, [rows: rows] ++ @options) do
      {:ok, pages} -> judge(reader, part, pages, {way, rows, is_binary(statement)})
      {:error, error} -> failed(reader, error)
    end
  end

  defp pages(:query, name, statement, part, options) do
    with {:ok, page} <- Palladion.query(name, statement, [part], options), do: {:ok, [page]}
  end

  defp pages(:pages, name, statement, part, options) do
    options = [page_size: 5] ++ options
    {:ok, name |> Palladion.pages(statement, [part], options) |> Enum.to_list()}
  rescue
    error in [Palladion.Error, Palladion.ConnectionError] -> {:error, error}
  end

  defp pages(:states, name, statement, part, options),
    do: page(name, statement, part, options, nil)

  defp page(name, statement, part, options, state) do
    of_page = [page_size: 7, paging_state: state] ++ options

    with {:ok, page} <- Palladion.query(name, statement, [part], of_page) do
      if page.paging_state,
        do: more(page, page(name, statement, part, options, page.paging_state)),
        else: {:ok, [page]}
    end
  end

  defp more(page, {:ok, pages}), do: {:ok, [page | pages]}
  defp more(_page, error), do: error

  defp judge(reader, part, pages, form) do
    rows = Enum.flat_map(pages, &as_maps/1)
    wrong = wrong(reader.kind, part, pages, rows)
    if wrong, do: keep(reader, {reader.name, form, wrong})
    :ets.update_counter(reader.seen, {:reads, reader.index}, 1, {{:reads, reader.index}, 0})
    if rows != [], do: showed(reader, shown(reader.kind, List.last(pages), List.last(rows)))
  end

  defp wrong(:altered, part, pages, rows) do
    cond do
      Enum.map(rows, & &1["n"]) != Enum.to_list(1..@rows) ->
        {:rows, part, Enum.map(rows, & &1["n"])}

      page = Enum.find(pages, &(not ordered?(&1.columns))) ->
        {:columns, page.columns}

      true ->
        cells(part, rows, &right?/3)
    end
  end

  defp wrong({:remade, types}, part, _pages, rows),
    do: cells(part, rows, &any_type?(types, &1, &2, &3))

  # As the server orders them; in all versions of the table those of the base are there.
  defp ordered?(columns),
    do:
      match?(["part", "n" | rest] when rest != [], columns) and
        Enum.sort(tl(tl(columns))) == tl(tl(columns)) and @base -- columns == []

  defp cells(part, rows, right?) do
    Enum.find_value(rows, fn row ->
      key = {part, row["n"]}

      if row["part"] != part,
        do: {:part, part, row},
        else:
          Enum.find_value(
            Map.drop(row, @key),
            &unless(right?.(elem(&1, 0), key, elem(&1, 1)), do: {key, &1})
          )
    end)
  end

  defp as_maps(%{rows: %{} = columns, columns: names, num_rows: count}) do
    for at <- 0..(count - 1)//1, do: Map.new(names, &{&1, Enum.at(columns[&1], at)})
  end

  defp as_maps(%{rows: [row | _] = rows}) when is_map(row), do: rows

  defp as_maps(%{rows: rows, columns: names}) do
    for row <- rows do
      row = if is_tuple(row), do: Tuple.to_list(row), else: row
      # Not zipped with fewer.
      true = length(row) == length(names)
      names |> Enum.zip(row) |> Map.new()
    end
  end

  defp shown(:altered, page, row),
    do: %{columns: page.columns -- @key, fields: Map.keys(row["k_p"]) -- ["x", "y"]}

  defp shown({:remade, _types}, _page, row),
    do: Map.drop(row, @key) |> Map.new(&{elem(&1, 0), type(elem(&1, 1))})

  defp type(%DateTime{}), do: "timestamp"
  defp type(text) when is_binary(text), do: "text"
  defp type(_number), do: "number"

  # What is kept: a key each, or a counter

  defp showed(caller, shown) do
    :ets.insert(caller.seen, [
      {{:last, caller.index}, shown},
      {{:shape, caller.index, shown}, true}
    ])
  end

  defp keep(reader, wrong) do
    if length(:ets.match(reader.seen, {{:wrong, :_}, :"$1"})) < @kept,
      do: :ets.insert(reader.seen, {{:wrong, make_ref()}, wrong})
  end

  # Whoever is refused at once shall not take the cores from the others.
  defp failed(caller, error) do
    Process.sleep(1)
    key = {:error, {error.reason, String.slice(Exception.message(error), 0, 200)}}
    :ets.update_counter(caller.seen, key, 1, {key, 0})
  end
end
