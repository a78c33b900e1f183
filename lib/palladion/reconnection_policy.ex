defmodule Palladion.ReconnectionPolicy do
  @moduledoc """
  Says how long to wait before a node is tried again that could not be connected to.

  The option `reconnect: [policy:]` is one of

  | value | pause |
  |---|---|
  | `:exponential` (default) | `Palladion.ReconnectionPolicies.Exponential`: doubling from `min:` to `max:` |
  | `:constant` | `Palladion.ReconnectionPolicies.Constant`: always `max:` |
  | `MyApp.Pauses`, `{MyApp.Pauses, options}` | what this module says, which has this behaviour |

  The first two run in the native library, without a process of Elixir.

  ## A module of your own

      defmodule MyApp.Pauses do
        @behaviour Palladion.ReconnectionPolicy

        # Nodes restart within a minute, or someone is called.
        @impl true
        def next_delay(failures, _options) when failures <= 60, do: 1_000
        def next_delay(_failures, options), do: options[:then]
      end

      reconnect: [policy: {MyApp.Pauses, then: 30_000}, max: 60_000]

  It is asked after each failure, in a task of its own with a time limit. The pause is what it
  answers, but never more than `max:`; until it answers, and if it fails or answers nonsense, it
  is `max:`.
  """

  @doc """
  Milliseconds until the next attempt to connect to a node.

  `failures` is how many there were in a row, the one just now included. `options` are those of
  `policy: {module, options}`, or `[]`.
  """
  @callback next_delay(failures :: pos_integer(), options :: term()) :: non_neg_integer()
end
