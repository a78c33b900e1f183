defmodule Palladion.Result do
  @moduledoc """
  What a statement returned.

      iex> result = %Palladion.Result{kind: :rows, columns: ["a"], rows: [%{"a" => 1}], num_rows: 1}
      iex> Enum.map(result, & &1["a"])
      [1]

  A result can be enumerated: its rows, or nothing if the statement returns none. With
  `rows: :columns` that are pairs of a name and a list.
  """

  defstruct kind: :void,
            columns: [],
            rows: [],
            num_rows: 0,
            paging_state: nil,
            keyspace: nil,
            schema_change: nil,
            schema_agreement: nil,
            custom_payload: %{},
            warnings: [],
            tracing_id: nil

  @typedoc """
    * `kind`: `:rows`, `:void`, `:set_keyspace` or `:schema_change`
    * `columns`: the names of the columns
    * `rows`: maps with the names as keys, or whatever was asked for; with `rows: :columns` one
      map of names to lists
    * `num_rows`: how many rows this page has
    * `paging_state`: where the next page starts; `nil` on the last
    * `keyspace`: the keyspace now in use, after `USE`
    * `schema_change`: what a schema statement changed
    * `schema_agreement`: after a schema statement, whether all nodes that are up had the new
      schema within `schema_agreement:`; `nil` if that was not waited for
    * `custom_payload`: what the server's own query handler adds to its answer: binaries by name,
      `nil` where it says so; `%{}` without one
    * `warnings`: what the server warns of
    * `tracing_id`: the trace's id, if one was asked for (`tracing: true`)
  """
  @type t :: %__MODULE__{
          kind: :rows | :void | :set_keyspace | :schema_change,
          columns: [String.t()],
          rows: [map() | list() | tuple()] | %{String.t() => list()},
          num_rows: non_neg_integer(),
          paging_state: binary() | nil,
          keyspace: String.t() | nil,
          schema_change: map() | nil,
          schema_agreement: boolean() | nil,
          custom_payload: %{String.t() => binary() | nil},
          warnings: [String.t()],
          tracing_id: String.t() | nil
        }

  @applied "[applied]"

  @doc """
  Whether a conditional update (`IF ...`) was applied.

      {:ok, result} =
        Palladion.query(MyApp.DB, "INSERT INTO shop.users (id, name) VALUES (?, ?) IF NOT EXISTS", [7, "Ada"])

      Palladion.Result.applied?(result)

  It's `true` for everything else, and works with all forms of `rows:`.

      iex> rows = [%{"[applied]" => false, "id" => 7, "name" => "Bob"}]
      iex> columns = ["[applied]", "id", "name"]
      iex> Palladion.Result.applied?(%Palladion.Result{kind: :rows, columns: columns, rows: rows})
      false
  """
  @spec applied?(t()) :: boolean()
  def applied?(%__MODULE__{columns: [@applied | _], rows: rows}), do: first_value(rows) != false
  def applied?(%__MODULE__{}), do: true

  defp first_value([row | _rows]) when is_list(row), do: hd(row)
  defp first_value([row | _rows]) when is_tuple(row), do: elem(row, 0)
  defp first_value([row | _rows]), do: value(row)
  # One map of lists.
  defp first_value(%{} = columns), do: columns |> value() |> List.first()
  defp first_value([]), do: nil

  # As an atom, if that was asked for and there is one.
  defp value(%{@applied => value}), do: value
  defp value(%{"[applied]": value}), do: value

  @doc """
  The row that stood in the way of a conditional update, without the column `[applied]`.

      iex> rows = [%{"[applied]" => false, "id" => 7, "name" => "Bob"}]
      iex> columns = ["[applied]", "id", "name"]
      iex> Palladion.Result.current_row(%Palladion.Result{kind: :rows, columns: columns, rows: rows})
      %{"id" => 7, "name" => "Bob"}

  It has the form that `rows:` asked for; with `:columns` it is a map of names to values. It's
  `nil` if the update was applied, if there was no row, or if none of the columns that the condition names has a
  value. Servers have two forms of saying that there was no row: Cassandra sends `[applied]` alone, ScyllaDB all
  columns as null.

      iex> rows = [%{"[applied]" => false, "id" => nil, "name" => nil}]
      iex> columns = ["[applied]", "id", "name"]
      iex> Palladion.Result.current_row(%Palladion.Result{kind: :rows, columns: columns, rows: rows})
      nil

  A batch may have several in its `rows`: from Cassandra those that stood in the way, from ScyllaDB one for each
  statement with a condition, in their order, also for those whose condition held. This is the first that has a
  value.
  """
  @spec current_row(t()) :: map() | list() | tuple() | nil
  def current_row(%__MODULE__{columns: [@applied, _another | _], rows: rows} = result),
    do: if(applied?(result), do: nil, else: first_row(rows))

  def current_row(%__MODULE__{}), do: nil

  # ScyllaDB has a row of nulls where there was none.
  defp first_row(rows) when is_list(rows) do
    Enum.find_value(rows, fn row ->
      row = without_applied(row)
      if any?(row), do: row
    end)
  end

  # One map of lists.
  defp first_row(columns) do
    {names, lists} = columns |> without_applied() |> Enum.unzip()
    row = lists |> Enum.zip() |> Enum.find(&any?/1)
    if row, do: names |> Enum.zip(Tuple.to_list(row)) |> Map.new()
  end

  defp any?(row) when is_map(row), do: row |> Map.values() |> any?()
  defp any?(row) when is_tuple(row), do: row |> Tuple.to_list() |> any?()
  defp any?(row), do: Enum.any?(row, &(&1 != nil))

  defp without_applied([_applied | row]), do: row
  defp without_applied(row) when is_tuple(row), do: Tuple.delete_at(row, 0)

  defp without_applied(%{} = map), do: Map.drop(map, [@applied, :"[applied]"])

  @doc false
  # Of the tuple that the native library sends.
  def from_native(
        {:rows, columns, rows, num_rows, paging_state, payload, warnings, tracing_id, _node}
      ) do
    %__MODULE__{
      kind: :rows,
      columns: columns,
      rows: rows,
      num_rows: num_rows,
      paging_state: paging_state,
      custom_payload: payload,
      warnings: warnings,
      tracing_id: tracing_id
    }
  end

  def from_native({:void, payload, warnings, tracing_id, _node}) do
    %__MODULE__{custom_payload: payload, warnings: warnings, tracing_id: tracing_id}
  end

  def from_native({:set_keyspace, keyspace, payload, warnings, tracing_id, _node}) do
    %__MODULE__{
      kind: :set_keyspace,
      keyspace: keyspace,
      custom_payload: payload,
      warnings: warnings,
      tracing_id: tracing_id
    }
  end

  def from_native({:schema_change, change, payload, warnings, tracing_id, _node}) do
    %__MODULE__{
      kind: :schema_change,
      schema_change: change,
      custom_payload: payload,
      warnings: warnings,
      tracing_id: tracing_id
    }
  end

  defimpl Enumerable do
    def count(result), do: Enumerable.count(result.rows)
    def member?(_result, _row), do: {:error, __MODULE__}
    def slice(_result), do: {:error, __MODULE__}
    def reduce(result, acc, fun), do: Enumerable.reduce(result.rows, acc, fun)
  end
end
