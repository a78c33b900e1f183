defmodule Palladion.Schema.Table do
  @moduledoc """
  A table.

    * `keyspace` and `name`
    * `id`: its UUID; `nil` for a virtual table
    * `columns`: each a `Palladion.Schema.Column`, in the order in which `SELECT *` has them: the
      partition key, the clustering columns, the static ones and the others, these two by name
    * `partition_key` and `clustering_key`: the names of their columns, in order
    * `clustering_order`: each clustering column with `:asc` or `:desc`
    * `indexes`: each a `Palladion.Schema.Index`, by name
    * `flags`: such as `"compound"` and `"counter"`
    * `options`: all else that the server has of it, by the server's names: `"comment"`,
      `"gc_grace_seconds"`, `"compaction"` and so on. What is null there is left out.
  """

  alias Palladion.Schema.{Column, Index}

  @enforce_keys [:keyspace, :name]
  @derive {Inspect, only: [:keyspace, :name, :partition_key, :clustering_key]}
  defstruct [
    :keyspace,
    :name,
    :id,
    columns: [],
    partition_key: [],
    clustering_key: [],
    clustering_order: [],
    indexes: [],
    flags: [],
    options: %{}
  ]

  @type t :: %__MODULE__{
          keyspace: String.t(),
          name: String.t(),
          id: String.t() | nil,
          columns: [Column.t()],
          partition_key: [String.t()],
          clustering_key: [String.t()],
          clustering_order: [{String.t(), :asc | :desc}],
          indexes: [Index.t()],
          flags: [String.t()],
          options: %{String.t() => term()}
        }

  @fields ~w(keyspace_name table_name id flags)

  @doc """
  The names of the columns of its primary key: the partition key, then the clustering columns.

      iex> table = %Palladion.Schema.Table{
      ...>   keyspace: "shop",
      ...>   name: "orders",
      ...>   partition_key: ["customer"],
      ...>   clustering_key: ["at"]
      ...> }
      iex> Palladion.Schema.Table.primary_key(table)
      ["customer", "at"]
  """
  @spec primary_key(t()) :: [String.t()]
  def primary_key(%__MODULE__{} = table), do: table.partition_key ++ table.clustering_key

  @doc """
  One of its columns, or `nil` if there is none of this name.

      iex> table = %Palladion.Schema.Table{
      ...>   keyspace: "shop",
      ...>   name: "orders",
      ...>   columns: [%Palladion.Schema.Column{name: "status", type: "text", kind: :regular}]
      ...> }
      iex> Palladion.Schema.Table.column(table, "status").type
      "text"
      iex> Palladion.Schema.Table.column(table, "Status")
      nil
  """
  @spec column(t(), String.t()) :: Column.t() | nil
  def column(%__MODULE__{columns: columns}, name), do: Enum.find(columns, &(&1.name == name))

  @doc false
  # `:incomplete` if it came or went while it was read.
  @spec from_rows(map(), [map()], [map()]) :: {:ok, t()} | :incomplete
  def from_rows(row, columns, indexes) do
    with {:ok, columns} <- Column.from_rows(columns) do
      {:ok,
       %__MODULE__{
         keyspace: row["keyspace_name"],
         name: row["table_name"],
         id: row["id"],
         columns: columns,
         partition_key: Column.names(columns, :partition_key),
         clustering_key: Column.names(columns, :clustering),
         clustering_order: Column.clustering_order(columns),
         indexes: indexes |> Enum.map(&Index.from_row/1) |> Enum.sort_by(& &1.name),
         flags: Enum.sort(row["flags"] || []),
         options: Map.reject(row, fn {name, value} -> name in @fields or value == nil end)
       }}
    end
  end
end
