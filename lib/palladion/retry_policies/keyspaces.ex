defmodule Palladion.RetryPolicies.Keyspaces do
  @moduledoc """
  Tries again at the same node, a moment later: `retry: :keyspaces`, which `profile: :keyspaces`
  has by default.

  Amazon Keyspaces says that a table, a partition or a connection has more to do than it may as
  other servers say that a replica was slow: by a timeout. Behind every address are the same
  machines, so another node is no remedy, and time is.

  | error | idempotent | not idempotent |
  |---|---|---|
  | `:unavailable`, `:is_bootstrapping` | same node, later | same node, later |
  | `:read_timeout`, `:overloaded`, `:server_error`, `:truncate_error` | same node, later | give up |
  | `:write_timeout` with a `write_type` of `SIMPLE`, `UNLOGGED_BATCH`, `BATCH` or `BATCH_LOG` | same node, later | give up |
  | any other `:write_timeout`: counters and `IF` | give up | give up |
  | anything else, a lost connection among it | as `Palladion.RetryPolicies.Default` | as there |

  "Later" is after a random pause of 10 to 100 ms, so that those who were too many at once aren't
  so again. The pauses are within the request's `timeout:`, like all attempts.

  A write that timed out may have been carried out, so it is repeated only where the request says
  `idempotent: true`; see `Palladion.RetryPolicy`.

  ## Options

    * `:max_attempts` – how often a request is sent in all (default 5)
    * `:min_delay` – the shortest pause in ms (default 10)
    * `:max_delay` – the longest pause in ms (default 100)
  """

  @behaviour Palladion.RetryPolicy

  alias Palladion.{Error, RetryPolicy}
  alias Palladion.RetryPolicies.Default

  @max_attempts 5
  @min_delay 10
  @max_delay 100

  @began_nothing [:unavailable, :is_bootstrapping]
  @throttled [:read_timeout, :overloaded, :server_error, :truncate_error]
  @repeatable_writes ["SIMPLE", "UNLOGGED_BATCH", "BATCH", "BATCH_LOG"]

  @doc """
  What follows an error, by the table above.

      iex> error = %Palladion.Error{reason: :overloaded}
      iex> context = %{attempt: 1, idempotent: true, statement: "SELECT 1", options: []}
      iex> {:retry_same, ms} = Palladion.RetryPolicies.Keyspaces.decide(error, context)
      iex> ms in 10..100
      true
      iex> Palladion.RetryPolicies.Keyspaces.decide(error, %{context | idempotent: false})
      :give_up
  """
  @impl true
  @spec decide(RetryPolicy.error(), RetryPolicy.context()) :: RetryPolicy.decision()
  def decide(error, %{attempt: attempt, options: options} = context) do
    max_attempts = Keyword.get(options, :max_attempts, @max_attempts)

    cond do
      attempt >= max_attempts -> :give_up
      throttled?(error, context.idempotent) -> {:retry_same, pause(options)}
      true -> Default.decide(error, %{context | options: [max_attempts: max_attempts]})
    end
  end

  defp throttled?(%Error{reason: reason}, _idempotent?) when reason in @began_nothing, do: true
  defp throttled?(%Error{reason: reason}, idempotent?) when reason in @throttled, do: idempotent?

  defp throttled?(%Error{reason: :write_timeout, details: %{write_type: type}}, idempotent?),
    do: idempotent? and type in @repeatable_writes

  defp throttled?(_error, _idempotent?), do: false

  defp pause(options) do
    min = Keyword.get(options, :min_delay, @min_delay)
    Enum.random(min..Keyword.get(options, :max_delay, @max_delay))
  end
end
