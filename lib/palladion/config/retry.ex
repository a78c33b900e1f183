defmodule Palladion.Config.Retry do
  @moduledoc false
  # Internal: the retry policy, of a cluster or of a request.

  import Palladion.ConfigError, only: [problem: 3]

  alias Palladion.Config.{Options, Policy, Schema}
  alias Palladion.ConfigError
  alias Palladion.RetryPolicies.{Default, Keyspaces, None}

  @doc false
  @spec parse(term()) :: {Policy.t(), [ConfigError.problem()]}
  def parse(given), do: Policy.parse(given, kind(), [:retry])

  defp kind do
    %{
      behaviour: Palladion.RetryPolicy,
      callback: {:decide, 2},
      forms: ":default, :keyspaces, :none, a module or {module, options}",
      ready_made: [
        default: {Default, Policy.options(Schema.Policies.retry())},
        keyspaces: {Keyspaces, &keyspaces/2},
        none: {None, Policy.options([])}
      ]
    }
  end

  defp keyspaces(options, path) do
    {values, problems} = Options.check(options, Schema.Policies.keyspaces_retry(), path)
    {options, problems ++ order(values, path)}
  end

  defp order(%{min_delay: min, max_delay: max}, path) when min > max do
    message = "is #{max} ms, and must not be less than min_delay (#{min} ms)"
    [problem(path ++ [:max_delay], :invalid_value, message)]
  end

  defp order(_values, _path), do: []
end
