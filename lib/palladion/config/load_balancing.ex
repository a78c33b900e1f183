defmodule Palladion.Config.LoadBalancing do
  @moduledoc false
  # Internal: the policy that chooses nodes.

  alias Palladion.Config.{Policy, Schema}
  alias Palladion.ConfigError
  alias Palladion.LoadBalancingPolicies.{AllNodes, RoundRobin}

  @doc false
  @spec parse(term()) :: {Policy.t(), [ConfigError.problem()]}
  def parse(given), do: Policy.parse(given, kind(), [:load_balancing])

  defp kind do
    %{
      behaviour: Palladion.LoadBalancingPolicy,
      callback: {:distances, 2},
      forms: ":round_robin, :all_nodes, a module or {module, options}",
      ready_made: [
        round_robin: {RoundRobin, Policy.options(Schema.Policies.round_robin())},
        all_nodes: {AllNodes, Policy.options([])}
      ]
    }
  end
end
