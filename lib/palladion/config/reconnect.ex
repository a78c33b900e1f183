defmodule Palladion.Config.Reconnect do
  @moduledoc false
  # Internal: the pauses between attempts to connect.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Policy, Schema}
  alias Palladion.ConfigError
  alias Palladion.ReconnectionPolicies.{Constant, Exponential}

  defstruct [:policy, :min, :max]

  @type t :: %__MODULE__{policy: Policy.t(), min: pos_integer(), max: pos_integer()}

  @doc false
  @spec parse(term()) :: {t(), [ConfigError.problem()]}
  def parse(options) do
    {values, problems} = Options.check(options, Schema.Policies.reconnect(), [:reconnect])
    {policy, more} = Policy.parse(values.policy, kind(values), [:reconnect, :policy])
    {struct!(__MODULE__, %{values | policy: policy}), problems ++ more ++ order(values)}
  end

  defp kind(%{min: min, max: max}) do
    %{
      behaviour: Palladion.ReconnectionPolicy,
      callback: {:next_delay, 2},
      forms: ":exponential, :constant, a module or {module, options}",
      ready_made: [
        exponential: {Exponential, &bounds(&1, &2, min: min, max: max)},
        constant: {Constant, &bounds(&1, &2, delay: max)}
      ]
    }
  end

  defp bounds([], _path, bounds), do: {bounds, []}

  defp bounds(_options, path, bounds) do
    message = "takes no options: min: and max: stand beside it, in reconnect: [...]"
    {bounds, [problem(path, :invalid_value, message)]}
  end

  defp order(%{policy: policy, min: min, max: max})
       when min > max and policy not in [:constant, Constant] do
    [problem([:reconnect, :max], :invalid_value, "must not be less than min (#{min} ms)")]
  end

  defp order(_values), do: []

  @doc false
  # Those with a name run in the native library.
  @spec native_policy(t()) :: :exponential | :constant | :custom
  def native_policy(%__MODULE__{policy: {Exponential, _options}}), do: :exponential
  def native_policy(%__MODULE__{policy: {Constant, _options}}), do: :constant
  def native_policy(%__MODULE__{}), do: :custom
end
