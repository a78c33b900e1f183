defmodule Palladion.ReconnectionPolicies.ConstantTest do
  use ExUnit.Case, async: true

  alias Palladion.ReconnectionPolicies.Constant

  doctest Constant

  test "the pause doesn't depend on failures" do
    for failures <- [1, 2, 1_000_000], do: assert(Constant.next_delay(failures, delay: 7) == 7)
  end
end
