defmodule Palladion.Integration.AlterTest do
  @moduledoc """
  Tables and types that others change while they are read and written, with each version of the protocol: never a row that is
  read by the columns of another version of its table.
  """

  use ExUnit.Case, async: false

  import Palladion.Test.Clusters

  alias Palladion.Test.{Altered, Cassandra}

  @moduletag :cassandra
  @moduletag :managed_server
  @moduletag timeout: 3_600_000

  # `bin/soak alter` has more rounds.
  @rounds String.to_integer(System.get_env("PALLADION_SOAK_ALTER", "2"))
  # On each cluster.
  @readers 12
  @slow [timeout: 60_000]
  # In all, after as many changes as there are.
  @least_reads 2_500 * @rounds
  # Types lose no fields: after so many the last is renamed again and again.
  @most_fields 20

  # All at the same time, on one server: what one has prepared anew the others find changed.
  @spoken [
    v4: [version: 4],
    v5: [version: 5],
    lz4: [version: 5, compression: :lz4]
  ]

  @select "SELECT * FROM altered.numbers WHERE part = ?"

  setup_all do
    server = Cassandra.server()
    {:ok, _} = Palladion.start_link(options(server, name: __MODULE__, timeout: 60_000))
    :ok = Palladion.await_ready(__MODULE__, 60_000)
    change!("DROP KEYSPACE IF EXISTS altered")
    keyspace!(__MODULE__, "altered")
    %{server: server}
  end

  setup %{server: server} do
    clusters =
      for {_name, protocol} <- @spoken do
        ready_cluster!(server, protocol: protocol, pool: [size: 2], timeout: 60_000)
      end

    for {name, {_, protocol}} <- Enum.zip(clusters, @spoken) do
      for connection <- connections(name) do
        assert connection.protocol_version == protocol[:version]
        assert connection.compression == (protocol[:compression] && "lz4")
      end
    end

    %{clusters: clusters}
  end

  defp connections(name) do
    {:ok, status} = Palladion.status(name)
    [status.control | Enum.flat_map(status.endpoints, & &1.connections)]
  end

  # By the cluster that neither reads nor writes.
  defp change!(statement), do: Palladion.query!(__MODULE__, statement, [], @slow)

  describe "columns and fields that come and go" do
    setup do
      for statement <- [
            "CREATE TYPE IF NOT EXISTS altered.pair (x int, y text)",
            "CREATE TYPE IF NOT EXISTS altered.outer (note text, inner frozen<pair>)",
            """
            CREATE TABLE IF NOT EXISTS altered.numbers (
              part int, n int, b_i int, d_i int, f_t text, h_t text, k_p pair,
              m_l list<frozen<pair>>, o_o frozen<outer>, q_p frozen<pair>, s_t text, u_i int,
              PRIMARY KEY (part, n)
            )
            """
          ],
          do: change!(statement)

      fill!(for key <- Altered.keys(), do: insert(key, []))
      :ok
    end

    test "are in all rows or in none, each with its own values", %{clusters: clusters} do
      shared = :ets.new(:shared, [:public, read_concurrency: true])
      :ets.insert(shared, columns: [], fields: [])
      readers = for name <- clusters, do: Altered.start(:altered, name, @readers, @select)
      writers = for name <- clusters, do: Altered.start_writer(&write(name, shared, &1))
      world = %{shared: shared, readers: readers, writers: writers}

      for round <- 1..@rounds, do: round(world, round)

      read_enough(readers)

      for seen <- Enum.map(readers, &Altered.stop/1) do
        assert seen.wrong == []
        assert seen.messages == []
        # Cassandra's, of a row that it reads while a column is dropped.
        assert reasons(seen) -- [:read_failure] == []
        # Each change was seen by each; some lead to columns that were there before.
        assert seen.shapes >= 8 * @rounds
      end

      for written <- Enum.map(writers, &Altered.stop/1) do
        assert written.messages == []
        # A field that has another name by now.
        assert reasons(written) -- [:bad_value] == []
      end
    end
  end

  defp read_enough(readers) do
    eventually(
      "there were enough reads",
      fn -> Enum.sum(Enum.map(readers, &Altered.reads/1)) >= @least_reads end,
      2_400
    )
  end

  defp reasons(%{errors: errors}) do
    Enum.uniq(for {{reason, _message}, _count} <- errors, do: reason)
  end

  # Each change is awaited: that every reader sees it, and every writer has used it.
  defp round(world, round) do
    [first, second, other, last] =
      for {letter, type} <- ~w(a c g v) |> Enum.zip(~w(i i t i)), do: "#{letter}#{round}_#{type}"

    wide = "w#{round}_w"

    changes = [
      fn -> add(world, [{first, "int"}]) end,
      fn -> add(world, [{second, "int"}, {other, "text"}]) end,
      fn -> drop(world, [first]) end,
      fn -> add(world, [{last, "int"}]) end,
      fn -> add(world, [{wide, "timestamp"}]) end,
      fn -> drop(world, [wide]) end,
      # What was a timestamp may come back as a bigint.
      fn -> add(world, [{wide, "bigint"}]) end,
      fn -> field(world) end,
      fn -> rename(world) end,
      fn -> drop(world, [second, other, last, wide]) end
    ]

    for change <- changes, do: change.()
  end

  defp add(world, columns) do
    {names, _types} = Enum.unzip(columns)
    list = Enum.map_join(columns, ", ", fn {name, type} -> "#{name} #{type}" end)
    change!("ALTER TABLE altered.numbers ADD (#{list})")
    update(world, :columns, &(names ++ &1))

    fill!(
      for {name, type} <- columns, key <- Altered.keys() do
        wide? = String.ends_with?(name, "w")
        value = if wide?, do: Altered.typed(type, name, key), else: Altered.value(name, key)
        put(name, key, value)
      end
    )

    await(world)
  end

  # Cassandra can't read a row any more if one of its columns was written while it was dropped.
  defp drop(world, names) do
    update(world, :columns, &(&1 -- names))
    await_writers(world)
    change!("ALTER TABLE altered.numbers DROP (#{Enum.join(names, ", ")})")
    await(world)
  end

  defp field(world) do
    fields = fields(world)

    if length(fields) < @most_fields do
      field = "f#{length(fields) + 1}"
      change!("ALTER TYPE altered.pair ADD #{field} int")
      update(world, :fields, &(&1 ++ [{field, length(fields) + 1}]))
      await(world)
    else
      rename(world)
    end
  end

  defp rename(world) do
    {field, n} = List.last(fields(world))
    renamed = if String.starts_with?(field, "f"), do: "g#{n}", else: "f#{n}"
    change!("ALTER TYPE altered.pair RENAME #{field} TO #{renamed}")
    update(world, :fields, &(Enum.drop(&1, -1) ++ [{renamed, n}]))
    await(world)
  end

  defp update(%{shared: shared}, what, fun),
    do: :ets.insert(shared, {what, fun.(:ets.lookup_element(shared, what, 2))})

  defp fields(world), do: shape(world.shared).fields

  defp await(world) do
    %{columns: columns, fields: fields} = shape(world.shared)
    names = Enum.sort(for {name, _n} <- fields, do: name)
    shown = %{columns: Enum.sort(Altered.base() ++ columns), fields: names}
    for readers <- world.readers, do: Altered.await_all(readers, &(&1 == shown))
    await_writers(world)
  end

  defp await_writers(world) do
    shape = shape(world.shared)
    for writer <- world.writers, do: Altered.await_all(writer, &(&1 == shape))
  end

  defp shape(shared), do: Map.new(:ets.tab2list(shared))

  # By a writer: a row in the old shape and in the new, and one of the columns that come and go.
  defp write(name, shared, key) do
    shape = shape(shared)
    columns = Enum.reject(shape.columns, &String.ends_with?(&1, "w"))

    with {:ok, _} <- ask(name, insert(key, [])),
         {:ok, _} <- ask(name, insert(key, shape.fields)),
         {:ok, _} <- put_any(name, columns, key),
         do: shape
  end

  defp put_any(_name, [], _key), do: {:ok, nil}

  defp put_any(name, columns, key) do
    column = Enum.random(columns)
    ask(name, put(column, key, Altered.value(column, key)))
  end

  defp ask(name, {statement, values}), do: Palladion.query(name, statement, values, @slow)

  # Statements with their values.

  defp insert({part, n} = key, fields) do
    columns = Altered.base()
    values = Enum.map(columns, &Altered.value(&1, key, fields))
    insert_into("numbers", ~w(part n) ++ columns, [part, n | values])
  end

  defp insert_into(table, columns, values) do
    marks = Enum.map_join(columns, ", ", fn _ -> "?" end)
    {"INSERT INTO altered.#{table} (#{Enum.join(columns, ", ")}) VALUES (#{marks})", values}
  end

  defp put(column, {part, n}, value),
    do: {"UPDATE altered.numbers SET #{column} = ? WHERE part = ? AND n = ?", [value, part, n]}

  defp fill!(statements),
    do: Palladion.batch!(__MODULE__, statements, [type: :unlogged] ++ @slow)

  describe "a table that is dropped and made anew with other types" do
    @types [
      ~w(int text bigint timestamp),
      ~w(text int timestamp bigint),
      ~w(bigint timestamp int text)
    ]
    @names ~w(b d f h)

    test "has rows of the one or of the other", %{clusters: clusters} do
      make!(hd(@types))
      statement = "SELECT * FROM altered.remade WHERE part = ?"
      kind = {:remade, Enum.uniq(List.flatten(@types))}
      readers = for name <- clusters, do: Altered.start(kind, name, @readers, statement)

      for _round <- 1..@rounds, types <- tl(@types) ++ [hd(@types)] do
        change!("DROP TABLE altered.remade")
        make!(types)
        shown = Map.new(Enum.zip(@names, Enum.map(types, &shown/1)))
        for readers <- readers, do: Altered.await_all(readers, &(&1 == shown))
      end

      read_enough(readers)

      for seen <- Enum.map(readers, &Altered.stop/1) do
        assert seen.wrong == []
        assert seen.messages == []
        # While there is no such table.
        assert reasons(seen) -- [:invalid, :server_error, :read_failure] == []
        assert seen.shapes >= length(@types)
      end
    end
  end

  defp make!(types) do
    columns =
      Enum.map_join(Enum.zip(@names, types), ", ", fn {name, type} -> "#{name} #{type}" end)

    change!(
      "CREATE TABLE IF NOT EXISTS altered.remade (part int, n int, #{columns}, PRIMARY KEY (part, n))"
    )

    fill!(
      for {part, n} = key <- Altered.keys() do
        values = for {name, type} <- Enum.zip(@names, types), do: Altered.typed(type, name, key)
        insert_into("remade", ~w(part n) ++ @names, [part, n | values])
      end
    )
  end

  defp shown(type) when type in ["int", "bigint"], do: "number"
  defp shown(type), do: type
end
