defmodule Palladion.Trace.Event do
  @moduledoc """
  What one node did at one moment of a traced request. See `Palladion.Trace`.
  """

  # An activity may quote the statement, with what it has of values.
  @derive {Inspect, except: [:activity]}
  defstruct [:activity, :source, :source_port, :elapsed, :thread]

  @typedoc """
    * `activity`: what it did, in the server's words
    * `source`: the node's address
    * `source_port`: its port for other nodes; `nil` before Cassandra 4.0
    * `elapsed`: µs since this node began with the request; `nil` where that isn't known
    * `thread`: the thread's name
  """
  @type t :: %__MODULE__{
          activity: String.t() | nil,
          source: String.t() | nil,
          source_port: :inet.port_number() | nil,
          elapsed: non_neg_integer() | nil,
          thread: String.t() | nil
        }

  @doc false
  # Of a row of `system_traces.events`.
  @spec from_row(map()) :: t()
  def from_row(row) do
    %__MODULE__{
      activity: row["activity"],
      source: address(row["source"]),
      source_port: row["source_port"],
      elapsed: row["source_elapsed"],
      thread: row["thread"]
    }
  end

  @doc false
  @spec address(:inet.ip_address() | nil) :: String.t() | nil
  def address(nil), do: nil
  def address(address), do: address |> :inet.ntoa() |> to_string()
end
