defmodule Palladion.Config.Reconnect do
  @moduledoc false
  # Internal: the bounds of the pauses between attempts to connect.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Schema}
  alias Palladion.ConfigError

  defstruct [:min, :max]

  @type t :: %__MODULE__{min: pos_integer(), max: pos_integer()}

  @doc false
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(options) do
    {values, problems} = Options.check(options, Schema.reconnect(), [:reconnect])
    {struct!(__MODULE__, values), problems ++ order(values)}
  end

  defp order(%{min: min, max: max}) when min > max do
    [problem([:reconnect, :max], :invalid_value, "must not be less than min (#{min} ms)")]
  end

  defp order(_values), do: []
end
