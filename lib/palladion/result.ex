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
    * `warnings`: what the server warns of
    * `tracing_id`: the trace's id, if one was asked for
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
          warnings: [String.t()],
          tracing_id: String.t() | nil
        }

  @doc false
  # Of the tuple that the native library sends.
  def from_native({:rows, columns, rows, num_rows, paging_state, warnings, tracing_id, _node}) do
    %__MODULE__{
      kind: :rows,
      columns: columns,
      rows: rows,
      num_rows: num_rows,
      paging_state: paging_state,
      warnings: warnings,
      tracing_id: tracing_id
    }
  end

  def from_native({:void, warnings, tracing_id, _node}) do
    %__MODULE__{warnings: warnings, tracing_id: tracing_id}
  end

  def from_native({:set_keyspace, keyspace, warnings, tracing_id, _node}) do
    %__MODULE__{
      kind: :set_keyspace,
      keyspace: keyspace,
      warnings: warnings,
      tracing_id: tracing_id
    }
  end

  def from_native({:schema_change, change, warnings, tracing_id, _node}) do
    %__MODULE__{
      kind: :schema_change,
      schema_change: change,
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
