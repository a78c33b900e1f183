defmodule Palladion.Config.Pool do
  @moduledoc false
  # Internal: how many connections there are, how many are opened at once, and how much may wait on each.

  alias Palladion.Config.{Options, Schema}
  alias Palladion.ConfigError

  defstruct [
    :size,
    :remote_size,
    :max_handshakes,
    :max_queue,
    :max_in_flight,
    :max_overflow,
    :max_waiters
  ]

  @type t :: %__MODULE__{
          size: pos_integer(),
          remote_size: pos_integer(),
          max_handshakes: pos_integer(),
          max_queue: pos_integer(),
          max_in_flight: pos_integer(),
          max_overflow: non_neg_integer(),
          max_waiters: pos_integer()
        }

  @doc false
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(options) do
    {values, problems} = Options.check(options, Schema.pool(), [:pool])
    {struct!(__MODULE__, values), problems}
  end
end
