defmodule Palladion.RetryPolicies.None do
  @moduledoc """
  Every error is the caller's: `retry: :none`, for a cluster or a request.

  A request that was never written, or whose statement must be prepared again, is still sent
  again: no policy is asked about that. Only after an `:attempt_timeout` it is not, written or not.

      iex> error = %Palladion.Error{reason: :overloaded}
      iex> context = %{attempt: 1, idempotent: true, statement: "SELECT 1", options: []}
      iex> Palladion.RetryPolicies.None.decide(error, context)
      :give_up
  """

  @behaviour Palladion.RetryPolicy

  @doc "Always `:give_up`. There are no options."
  @impl true
  @spec decide(Palladion.RetryPolicy.error(), Palladion.RetryPolicy.context()) :: :give_up
  def decide(_error, _context), do: :give_up
end
