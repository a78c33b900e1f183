defmodule Palladion.Duration do
  @moduledoc """
  A value of CQL's type `duration`: months, days and nanoseconds, which don't convert into
  one another. All three are positive or zero, or all are negative or zero.
  """

  defstruct months: 0, days: 0, nanoseconds: 0

  @type t :: %__MODULE__{months: integer(), days: integer(), nanoseconds: integer()}
end
