defmodule Palladion.Schema.View do
  @moduledoc """
  A materialized view.

    * `keyspace`, `name` and `id`, its UUID
    * `base_table` and `base_table_id`: the table whose rows it has
    * `where`: the condition on those rows, in CQL
    * `include_all_columns`: whether it was created by `SELECT *`
    * `columns`, `partition_key`, `clustering_key`, `clustering_order` and `options`: as in
      `Palladion.Schema.Table`
  """

  alias Palladion.Schema.Column

  @enforce_keys [:keyspace, :name]
  @derive {Inspect, only: [:keyspace, :name, :base_table, :partition_key, :clustering_key]}
  defstruct [
    :keyspace,
    :name,
    :id,
    :base_table,
    :base_table_id,
    :where,
    include_all_columns: false,
    columns: [],
    partition_key: [],
    clustering_key: [],
    clustering_order: [],
    options: %{}
  ]

  @type t :: %__MODULE__{
          keyspace: String.t(),
          name: String.t(),
          id: String.t() | nil,
          base_table: String.t() | nil,
          base_table_id: String.t() | nil,
          where: String.t() | nil,
          include_all_columns: boolean(),
          columns: [Column.t()],
          partition_key: [String.t()],
          clustering_key: [String.t()],
          clustering_order: [{String.t(), :asc | :desc}],
          options: %{String.t() => term()}
        }

  @fields ~w(keyspace_name view_name id base_table_name base_table_id where_clause) ++
            ~w(include_all_columns)

  @doc false
  # `:incomplete` if it came or went while it was read.
  @spec from_rows(map(), [map()]) :: {:ok, t()} | :incomplete
  def from_rows(row, columns) do
    with {:ok, columns} <- Column.from_rows(columns) do
      {:ok,
       %__MODULE__{
         keyspace: row["keyspace_name"],
         name: row["view_name"],
         id: row["id"],
         base_table: row["base_table_name"],
         base_table_id: row["base_table_id"],
         where: row["where_clause"],
         include_all_columns: row["include_all_columns"] == true,
         columns: columns,
         partition_key: Column.names(columns, :partition_key),
         clustering_key: Column.names(columns, :clustering),
         clustering_order: Column.clustering_order(columns),
         options: Map.reject(row, fn {name, value} -> name in @fields or value == nil end)
       }}
    end
  end
end
