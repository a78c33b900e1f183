defmodule Palladion.Config.Topology do
  @moduledoc false
  # Internal: when the list of nodes is read.

  alias Palladion.Config.{Options, Schema}
  alias Palladion.ConfigError

  defstruct [:debounce, :refresh_interval]

  @type t :: %__MODULE__{debounce: non_neg_integer(), refresh_interval: pos_integer()}

  @doc false
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(options) do
    {values, problems} = Options.check(options, Schema.Policies.topology(), [:topology])
    {struct!(__MODULE__, values), problems}
  end
end
