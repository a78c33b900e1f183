defmodule Palladion.ReconnectionPolicies.Exponential do
  @moduledoc """
  Pauses that double: `reconnect: [policy: :exponential, min: 500, max: 60_000]`, the default.

  After the first failure the pause is `min:`, then it doubles up to `max:`. A random part, half
  of it at most, is taken off, so that the clients of a node that comes back don't all arrive at
  once.

      iex> delay = Palladion.ReconnectionPolicies.Exponential.next_delay(3, min: 500, max: 60_000)
      iex> delay in 1_000..2_000
      true
  """

  @behaviour Palladion.ReconnectionPolicy

  # Beyond it nothing is below `max:` any more, and numbers would only grow.
  @most_doublings 31

  @doc """
  The pause after so many failures.

  Options: `:min` and `:max`, in ms (both required).
  """
  @impl true
  @spec next_delay(pos_integer(), min: pos_integer(), max: pos_integer()) :: pos_integer()
  def next_delay(failures, options) do
    doublings = min(failures - 1, @most_doublings)
    full = min(Keyword.fetch!(options, :min) * 2 ** doublings, Keyword.fetch!(options, :max))
    full - :rand.uniform(div(full, 2) + 1) + 1
  end
end
