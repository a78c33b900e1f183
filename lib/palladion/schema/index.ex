defmodule Palladion.Schema.Index do
  @moduledoc """
  A secondary index.

    * `keyspace`, `table` and `name`
    * `kind`: `"COMPOSITES"`, `"KEYS"`, or `"CUSTOM"` for one `USING` a class
    * `target`: what is indexed: a column, or a part of it such as `"keys(tags)"`
    * `options`: all that the server has of it, `"target"` and `"class_name"` among them
  """

  @enforce_keys [:keyspace, :table, :name]
  defstruct [:keyspace, :table, :name, :kind, :target, options: %{}]

  @type t :: %__MODULE__{
          keyspace: String.t(),
          table: String.t(),
          name: String.t(),
          kind: String.t() | nil,
          target: String.t() | nil,
          options: %{String.t() => String.t()}
        }

  @doc false
  @spec from_row(map()) :: t()
  def from_row(row) do
    options = row["options"] || %{}

    %__MODULE__{
      keyspace: row["keyspace_name"],
      table: row["table_name"],
      name: row["index_name"],
      kind: row["kind"],
      target: options["target"],
      options: options
    }
  end
end
