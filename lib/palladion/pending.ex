defmodule Palladion.Pending do
  @moduledoc """
  A request under way, as `Palladion.submit/4` returns it, for `Palladion.await/2` or
  `Palladion.cancel/1` in the same process.
  """

  @enforce_keys [:owner, :ref, :request, :until, :retry]
  @derive {Inspect, only: [:ref]}
  defstruct [:owner, :ref, :request, :until, :retry]

  @opaque t :: %__MODULE__{
            owner: pid(),
            ref: reference(),
            request: reference(),
            until: integer() | :infinity,
            retry: term()
          }
end
