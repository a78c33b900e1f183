defmodule Palladion.Schema.Aggregate do
  @moduledoc """
  A user-defined aggregate.

    * `keyspace` and `name`
    * `argument_types`: in order
    * `return_type`
    * `state_function` and `state_type`: what is called for each row, and what it hands on
    * `final_function`: what makes the result of the last state, or `nil`
    * `initial_condition`: the first state as a CQL literal, or `nil` for null
  """

  @enforce_keys [:keyspace, :name]
  defstruct [
    :keyspace,
    :name,
    :return_type,
    :state_function,
    :state_type,
    :final_function,
    :initial_condition,
    argument_types: []
  ]

  @type t :: %__MODULE__{
          keyspace: String.t(),
          name: String.t(),
          argument_types: [String.t()],
          return_type: String.t() | nil,
          state_function: String.t() | nil,
          state_type: String.t() | nil,
          final_function: String.t() | nil,
          initial_condition: String.t() | nil
        }

  @doc false
  @spec from_row(map()) :: t()
  def from_row(row) do
    %__MODULE__{
      keyspace: row["keyspace_name"],
      name: row["aggregate_name"],
      argument_types: row["argument_types"] || [],
      return_type: row["return_type"],
      state_function: row["state_func"],
      state_type: row["state_type"],
      final_function: row["final_func"],
      initial_condition: row["initcond"]
    }
  end
end
