defmodule Palladion.RetryPolicies.Default do
  @moduledoc """
  Tries again where that does no harm and may help: `retry: :default`.

  | error | idempotent | not idempotent |
  |---|---|---|
  | `:unavailable` | next node, once | next node, once |
  | `:read_timeout` with `received >= required` and no `data_present` | same node, once | give up |
  | any other `:read_timeout` | next node, once | give up |
  | `:write_timeout` with a `write_type` of `SIMPLE`, `UNLOGGED_BATCH` or `BATCH_LOG` | same node, once | give up |
  | any other `:write_timeout` | give up | give up |
  | `:is_bootstrapping` | next node | next node |
  | `:overloaded`, `:server_error`, `:truncate_error` | next node | give up |
  | a connection that was lost, or an `:attempt_timeout`, after the request was written | next node | give up |
  | the same before it was written | next node | next node |
  | anything else, `:read_failure` and `:write_failure` among it | give up | give up |

  "Once" is after the first attempt only. In all there are `max_attempts:` attempts.

  The reasons:

    * *unavailable*: the node knew too few replicas to be alive, and began nothing. Another one
      may know better.
    * *read timeout*: if enough replicas answered, but not the one that had the data, it will
      answer now, for the coordinator has noticed that it's slow. What isn't idempotent and
      reads is a conditional update (`IF …`), which may have been carried out.
    * *write timeout*: some replicas may have written. That does no harm twice if the statement
      is idempotent, apart from counters (`COUNTER`) and conditional updates (`CAS`), which
      aren't, whatever the request says. The server itself writes the rest of a logged batch
      (`BATCH`); views (`VIEW`) and change logs (`CDC`) are behind, which another attempt makes
      worse.
    * *bootstrapping*: the node is not part of the cluster yet, and began nothing.
    * *read and write failures*: a replica found that the request can't be done, as with too
      many tombstones. Others will find the same.

  What is idempotent is said in `Palladion.RetryPolicy`; a batch is with `idempotent: true` alone, and
  never if it is one of counters.

  ## Options

    * `:max_attempts` – how often a request is sent in all (default 3)

  ## In a policy of your own

  It can be asked for all that a policy has no rule of its own for:

      def decide(%Palladion.Error{reason: :overloaded}, %{attempt: attempt}) when attempt < 3,
        do: {:retry_next, 50 * attempt}

      def decide(error, context),
        do: Palladion.RetryPolicies.Default.decide(error, %{context | options: []})
  """

  @behaviour Palladion.RetryPolicy

  alias Palladion.{ConnectionError, Error, RetryPolicy}

  @max_attempts 3

  @repeatable_writes ["SIMPLE", "UNLOGGED_BATCH", "BATCH_LOG"]

  # Those without `sent` in their details say that there was no attempt.
  @lost [
    :connection_lost,
    :connection_closed,
    :heartbeat_timeout,
    :closed,
    :panic,
    :attempt_timeout
  ]

  @doc """
  What follows an error, by the table above.

      iex> error = %Palladion.Error{reason: :overloaded}
      iex> context = %{attempt: 1, idempotent: true, statement: "SELECT 1", options: []}
      iex> Palladion.RetryPolicies.Default.decide(error, context)
      :retry_next
      iex> Palladion.RetryPolicies.Default.decide(error, %{context | idempotent: false})
      :give_up
  """
  @impl true
  @spec decide(RetryPolicy.error(), RetryPolicy.context()) ::
          :retry_same | :retry_next | :give_up
  def decide(error, %{attempt: attempt, options: options} = context) do
    if attempt < Keyword.get(options, :max_attempts, @max_attempts),
      do: rule(error, attempt == 1, context.idempotent),
      else: :give_up
  end

  defp rule(%Error{reason: reason, details: details}, first?, idempotent?) do
    case reason do
      :unavailable when first? -> :retry_next
      :read_timeout when first? and idempotent? -> read_timeout(details)
      :write_timeout when first? and idempotent? -> write_timeout(details)
      :is_bootstrapping -> :retry_next
      :overloaded when idempotent? -> :retry_next
      :server_error when idempotent? -> :retry_next
      :truncate_error when idempotent? -> :retry_next
      _other -> :give_up
    end
  end

  defp rule(%ConnectionError{reason: reason, details: details}, _first?, idempotent?)
       when reason in @lost do
    case details do
      %{sent: false} -> :retry_next
      %{sent: true} when idempotent? -> :retry_next
      _other -> :give_up
    end
  end

  defp rule(_error, _first?, _idempotent?), do: :give_up

  defp read_timeout(%{received: received, required: required, data_present: false})
       when received >= required,
       do: :retry_same

  defp read_timeout(_details), do: :retry_next

  defp write_timeout(%{write_type: type}) when type in @repeatable_writes, do: :retry_same
  defp write_timeout(_details), do: :give_up
end
