defmodule Palladion.RetryPolicy do
  @moduledoc """
  Decides what follows an error of a request.

  The option `retry:`, of a cluster or of a request, is one of

  | value | what follows |
  |---|---|
  | `:default`, `{:default, max_attempts: 5}` | `Palladion.RetryPolicies.Default`: another attempt where that does no harm and may help |
  | `:keyspaces`, `{:keyspaces, max_attempts: 8}` | `Palladion.RetryPolicies.Keyspaces`: the same node a moment later, as Amazon Keyspaces wants it |
  | `:none` | `Palladion.RetryPolicies.None`: the error is the caller's |
  | `MyApp.Retry`, `{MyApp.Retry, options}` | what this module says, which has this behaviour |

  All attempts, and the pauses between them, are within the request's `timeout:`. If another
  attempt would begin after it, the error is returned. A policy is not asked about what was never
  written to a node, about statements that must be prepared again, nor when the time is over.
  It is asked about an `:attempt_timeout`, also where that has `sent: false`: a node that lets
  requests wait unwritten is none to wait for.

  ## Idempotence

  A statement is idempotent if it does no harm to execute it twice. After many errors it isn't
  known whether the request was carried out, so a policy must know whether it may be. Palladion
  doesn't guess:

    * a request with `idempotent: true` is, and one with `idempotent: false` is not
    * without this option a `SELECT` is, and nothing else: no batch
    * a batch of counters never is

  Updates that set columns to given values are idempotent, as are deletes. These are not: counter
  updates, appending to a list, conditional updates (`IF …`), and values that come from `now()`
  or `uuid()`.

  ## A module of your own

      defmodule MyApp.Patient do
        @behaviour Palladion.RetryPolicy

        @impl true
        def decide(%Palladion.Error{reason: :overloaded}, %{idempotent: true, attempt: attempt})
            when attempt <= 5,
            do: {:retry_next, 100 * attempt}

        def decide(_error, _context), do: :give_up
      end

      Palladion.query(MyApp.DB, "SELECT …", [7], retry: MyApp.Patient, timeout: 30_000)

  It is called in the process that made the request, so that a policy that hangs makes its caller
  hang: `timeout:` does not end it. One that raises, throws, exits or answers anything else gives
  up: the request's error is returned, and a line in the log names the policy.
  """

  require Logger

  alias Palladion.{ConnectionError, Error}

  # No process can sleep longer.
  @longest_delay 0xFFFFFFFF

  @type error :: Error.t() | ConnectionError.t()

  @typedoc """
  What there is to know beside the error:

    * `attempt` – the one that failed, from 1
    * `idempotent` – whether the statement may be executed twice, see above
    * `statement` – its text; bound values are not told
    * `options` – those of `retry: {module, options}`, or `[]`
  """
  @type context :: %{
          attempt: pos_integer(),
          idempotent: boolean(),
          statement: String.t(),
          options: term()
        }

  @typedoc """
  `:retry_same` sends the request to the same node again, `:retry_next` to the next one,
  either after a delay in ms (4,294,967,295 at most) if there is one; with `:give_up` the error is
  returned.
  """
  @type decision ::
          :retry_same
          | :retry_next
          | {:retry_same | :retry_next, delay_ms :: non_neg_integer()}
          | :give_up

  @doc """
  What to do after `error`.
  """
  @callback decide(error(), context()) :: decision()

  @doc false
  # Asks, and gives every decision one form. A policy that fails costs the caller no more than
  # another attempt.
  @spec decide({module(), term()}, error(), map()) ::
          {:retry, :same | :next, delay_ms :: non_neg_integer()} | :give_up
  def decide({module, options}, error, context) do
    case module.decide(error, Map.put(context, :options, options)) do
      :give_up -> :give_up
      :retry_same -> {:retry, :same, 0}
      :retry_next -> {:retry, :next, 0}
      {:retry_same, ms} when is_integer(ms) and ms >= 0 -> {:retry, :same, delay(ms)}
      {:retry_next, ms} when is_integer(ms) and ms >= 0 -> {:retry, :next, delay(ms)}
      _other -> failed(module, "returned no decision")
    end
  rescue
    exception -> failed(module, "raised #{inspect(exception.__struct__)}")
  catch
    :throw, _value -> failed(module, "threw")
    :exit, _reason -> failed(module, "exited")
  end

  defp delay(ms), do: min(ms, @longest_delay)

  # What it raised or returned may hold what its options hold, or what the server quoted.
  defp failed(module, what) do
    Logger.error("Palladion: the retry policy #{inspect(module)} #{what}; the request gives up")
    :give_up
  end

  @doc false
  # Whether a statement may be executed twice: what its request says, or that it is a SELECT.
  @spec idempotent?(String.t(), boolean() | nil) :: boolean()
  def idempotent?(_statement, said) when is_boolean(said), do: said
  def idempotent?(statement, nil), do: select?(statement)

  @doc false
  # Whether a statement reads, and does nothing else.
  @spec select?(term()) :: boolean()
  def select?(<<space, rest::binary>>) when space in [?\s, ?\t, ?\n, ?\r, ?\f, ?\v],
    do: select?(rest)

  def select?("--" <> rest), do: select?(skip(rest, ["\n", "\r"]))
  def select?("//" <> rest), do: select?(skip(rest, ["\n", "\r"]))
  def select?("/*" <> rest), do: select?(skip(rest, "*/"))

  # Not by way of another text: it's asked of every write, too.
  def select?(<<s, e, l, e2, c, t, rest::binary>>)
      when s in [?S, ?s] and e in [?E, ?e] and l in [?L, ?l] and e2 in [?E, ?e] and
             c in [?C, ?c] and t in [?T, ?t],
      do: word_ends?(rest)

  def select?(_other), do: false

  defp skip(text, ending) do
    case :binary.split(text, ending) do
      [_comment, rest] -> rest
      [_unfinished] -> ""
    end
  end

  defp word_ends?(<<next, _rest::binary>>)
       when next in ?a..?z or next in ?A..?Z or next in ?0..?9 or next == ?_,
       do: false

  defp word_ends?(_rest), do: true
end
