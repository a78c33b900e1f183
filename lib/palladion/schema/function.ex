defmodule Palladion.Schema.Function do
  @moduledoc """
  A user-defined function.

    * `keyspace` and `name`
    * `arguments`: name and CQL type of each, in order
    * `return_type`
    * `language` and `body`: such as `"java"`, and the source in it
    * `called_on_null_input`: whether it is called where an argument is null, or else returns null
  """

  @enforce_keys [:keyspace, :name]
  @derive {Inspect, only: [:keyspace, :name, :arguments, :return_type, :language]}
  defstruct [
    :keyspace,
    :name,
    :return_type,
    :language,
    :body,
    arguments: [],
    called_on_null_input: false
  ]

  @type t :: %__MODULE__{
          keyspace: String.t(),
          name: String.t(),
          arguments: [{String.t(), String.t()}],
          return_type: String.t() | nil,
          language: String.t() | nil,
          body: String.t() | nil,
          called_on_null_input: boolean()
        }

  @doc false
  @spec from_row(map()) :: t()
  def from_row(row) do
    %__MODULE__{
      keyspace: row["keyspace_name"],
      name: row["function_name"],
      arguments: Enum.zip(row["argument_names"] || [], row["argument_types"] || []),
      return_type: row["return_type"],
      language: row["language"],
      body: row["body"],
      called_on_null_input: row["called_on_null_input"] == true
    }
  end
end
