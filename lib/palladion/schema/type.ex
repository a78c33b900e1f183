defmodule Palladion.Schema.Type do
  @moduledoc """
  A user-defined type.

    * `keyspace` and `name`
    * `fields`: name and CQL type of each, in order

  The fields' order is that in which a value given as a list has them.
  """

  @enforce_keys [:keyspace, :name]
  defstruct [:keyspace, :name, fields: []]

  @type t :: %__MODULE__{
          keyspace: String.t(),
          name: String.t(),
          fields: [{String.t(), String.t()}]
        }

  @doc false
  @spec from_row(map()) :: t()
  def from_row(row) do
    %__MODULE__{
      keyspace: row["keyspace_name"],
      name: row["type_name"],
      fields: Enum.zip(row["field_names"] || [], row["field_types"] || [])
    }
  end
end
