defmodule Palladion.Prepared do
  @moduledoc """
  A prepared statement, as `Palladion.prepare/3` returns it.

  It is plain data and can be kept for as long as the application runs: a node that has
  forgotten the statement is taught it again when it is executed. It belongs to the cluster
  whose name it carries.
  """

  @enforce_keys [:cluster, :id, :statement, :bind, :columns]
  defstruct [:cluster, :id, :statement, :keyspace, :bind, :columns]

  @typedoc """
    * `statement`: its text
    * `keyspace`: the keyspace that was given for it, or `nil` for the one in use
    * `bind`: name and type of each bind marker, in order
    * `columns`: name and type of each column of its results
    * `id`: the server's name for it
  """
  @type t :: %__MODULE__{
          cluster: Palladion.name(),
          id: binary(),
          statement: String.t(),
          keyspace: String.t() | nil,
          bind: [{String.t(), String.t()}],
          columns: [{String.t(), String.t()}]
        }
end
