defmodule Palladion.ReconnectionPolicies.Constant do
  @moduledoc """
  Always the same pause: `reconnect: [policy: :constant, max: 5_000]`.

  It is `max:`; `min:` has no meaning here, and nothing is taken off at random. Clients that lost
  a node at once also come back to it at once: with many of them, take
  `Palladion.ReconnectionPolicies.Exponential`.

      iex> Palladion.ReconnectionPolicies.Constant.next_delay(7, delay: 5_000)
      5_000
  """

  @behaviour Palladion.ReconnectionPolicy

  @doc """
  The pause.

  Options: `:delay`, in ms (required).
  """
  @impl true
  @spec next_delay(pos_integer(), delay: non_neg_integer()) :: non_neg_integer()
  def next_delay(_failures, options), do: Keyword.fetch!(options, :delay)
end
