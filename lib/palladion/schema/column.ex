defmodule Palladion.Schema.Column do
  @moduledoc """
  A column of a table or a view.

    * `name`
    * `type`: its CQL type as the server writes it, such as `"frozen<list<int>>"`
    * `kind`: `:partition_key`, `:clustering`, `:static` or `:regular`
    * `position`: its place in the partition key or among the clustering columns, from 0; `nil`
      for all others
    * `clustering_order`: `:asc` or `:desc` for a clustering column, else `nil`
  """

  @enforce_keys [:name, :type, :kind]
  defstruct [:name, :type, :kind, :position, :clustering_order]

  @type t :: %__MODULE__{
          name: String.t(),
          type: String.t(),
          kind: :partition_key | :clustering | :static | :regular,
          position: non_neg_integer() | nil,
          clustering_order: :asc | :desc | nil
        }

  # In the order in which `SELECT *` has them.
  @kinds [:partition_key, :clustering, :static, :regular]

  @doc false
  # The columns of one table as `SELECT *` has them, or `:incomplete` for one that came or went
  # while it was read, so that its key isn't there.
  @spec from_rows([map()]) :: {:ok, [t()]} | :incomplete
  def from_rows(rows) do
    columns = rows |> Enum.map(&from_row/1) |> Enum.sort_by(&{rank(&1), &1.position, &1.name})
    if names(columns, :partition_key) == [], do: :incomplete, else: {:ok, columns}
  end

  @doc false
  @spec names([t()], atom()) :: [String.t()]
  def names(columns, kind), do: for(column <- of_kind(columns, kind), do: column.name)

  @doc false
  @spec clustering_order([t()]) :: [{String.t(), :asc | :desc}]
  def clustering_order(columns) do
    for column <- of_kind(columns, :clustering), do: {column.name, column.clustering_order}
  end

  defp of_kind(columns, kind), do: Enum.filter(columns, &(&1.kind == kind))

  defp rank(column), do: Enum.find_index(@kinds, &(&1 == column.kind))

  defp from_row(row) do
    kind = kind(row["kind"])

    %__MODULE__{
      name: row["column_name"],
      type: row["type"],
      kind: kind,
      position: if(kind in [:partition_key, :clustering], do: row["position"]),
      clustering_order: if(kind == :clustering, do: order(row["clustering_order"]))
    }
  end

  defp kind("partition_key"), do: :partition_key
  defp kind("clustering"), do: :clustering
  defp kind("static"), do: :static
  defp kind(_regular), do: :regular

  defp order("desc"), do: :desc
  defp order(_asc), do: :asc
end
