defmodule Palladion.Pending do
  @moduledoc """
  A request under way, as `Palladion.submit/4` returns it, for `Palladion.await/2` in the same
  process.
  """

  @enforce_keys [:ref, :request, :deadline, :retry]
  @derive {Inspect, only: [:ref]}
  defstruct [:ref, :request, :deadline, :retry]

  @opaque t :: %__MODULE__{
            ref: reference(),
            request: reference(),
            deadline: integer() | :infinity,
            retry: term()
          }
end
