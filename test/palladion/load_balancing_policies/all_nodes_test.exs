defmodule Palladion.LoadBalancingPolicies.AllNodesTest do
  use ExUnit.Case, async: true

  doctest Palladion.LoadBalancingPolicies.AllNodes
end
