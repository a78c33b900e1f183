defmodule Palladion.Config.Schema.Policies do
  @moduledoc false
  # Internal: the options of ready-made policies, and of how a cluster follows its nodes.

  alias Palladion.Config.Options

  @any_ms 1..86_400_000

  @doc false
  # What the documentation of every option says that takes a policy.
  @spec no_secrets() :: String.t()
  def no_secrets do
    "Options of a module are not treated as secrets: give it a function, or read the secret in " <>
      "the callback."
  end

  @doc false
  @spec reconnect() :: Options.schema()
  def reconnect do
    [
      policy: [
        type: :any,
        default: :exponential,
        value: "`:exponential`, `:constant`, a module or `{module, options}`",
        doc:
          "How pauses grow: `Palladion.ReconnectionPolicy`. `:constant` is always `max:`. " <>
            no_secrets()
      ],
      min: [
        type: {:ms, @any_ms},
        default: 500,
        doc: "The first pause. Each further one doubles, and a random part is taken off."
      ],
      max: [
        type: {:ms, @any_ms},
        default: 60_000,
        doc: "The longest pause, whatever the policy."
      ]
    ]
  end

  @doc false
  @spec round_robin() :: Options.schema()
  def round_robin do
    [
      remote_nodes: [
        type: {:int, 0..1_000},
        default: 0,
        doc:
          "Nodes of each other data center to hold connections to. They take requests only " <>
            "while no local node has a connection; " <>
            "`Palladion.LoadBalancingPolicies.RoundRobin` says what consistency then means."
      ]
    ]
  end

  @doc false
  @spec retry() :: Options.schema()
  def retry do
    [
      max_attempts: [
        type: {:int, 1..1_000},
        default: 3,
        doc: "How often a request is sent in all."
      ]
    ]
  end

  @doc false
  @spec keyspaces_retry() :: Options.schema()
  def keyspaces_retry do
    [
      max_attempts: [
        type: {:int, 1..1_000},
        default: 5,
        doc: "How often a request is sent in all."
      ],
      min_delay: [
        type: {:ms, 0..60_000},
        default: 10,
        doc: "The shortest pause before another attempt."
      ],
      max_delay: [
        type: {:ms, 0..60_000},
        default: 100,
        doc: "The longest one. Each pause is a random one between the two."
      ]
    ]
  end

  @doc false
  @spec topology() :: Options.schema()
  def topology do
    [
      debounce: [
        type: {:ms, 0..60_000},
        default: 1_000,
        doc:
          "How long to wait after a server's event before the list of nodes is read again. " <>
            "Events come in crowds."
      ],
      refresh_interval: [
        type: {:ms, @any_ms},
        default: 300_000,
        doc: "How often it is read anyway, for events can be lost."
      ]
    ]
  end

  @doc false
  @spec schema_agreement() :: Options.schema()
  def schema_agreement do
    [
      timeout: [
        type: {:ms, @any_ms},
        default: 10_000,
        doc: "How long to wait until all nodes that are up have the new schema."
      ],
      interval: [
        type: {:ms, @any_ms},
        default: 200,
        doc: "How often they are asked meanwhile."
      ]
    ]
  end
end
