defmodule Palladion.Config.Retry do
  @moduledoc false
  # Internal: the retry policy, of a cluster or of a request.

  alias Palladion.Config.{Policy, Schema}
  alias Palladion.ConfigError
  alias Palladion.RetryPolicies.{Default, None}

  @doc false
  @spec parse(term()) :: {Policy.t(), [ConfigError.problem()]}
  def parse(given), do: Policy.parse(given, kind(), [:retry])

  defp kind do
    %{
      behaviour: Palladion.RetryPolicy,
      callback: {:decide, 2},
      forms: ":default, :none, a module or {module, options}",
      ready_made: [
        default: {Default, Policy.options(Schema.Policies.retry())},
        none: {None, Policy.options([])}
      ]
    }
  end
end
