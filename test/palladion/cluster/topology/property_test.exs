defmodule Palladion.Cluster.Topology.PropertyTest do
  @moduledoc """
  Whatever happens to a cluster and its control connection, the topology gets to the truth once things are calm, and
  never leaves the driver without nodes on the way. `PALLADION_TOPOLOGY_SEED` lives through one world again.
  """

  use ExUnit.Case, async: true

  alias Palladion.Test.TopologyWorld

  @worlds String.to_integer(System.get_env("PALLADION_TOPOLOGY_WORLDS", "500"))

  test "the list that is applied becomes the server's, and is never empty" do
    for seed <- seeds() do
      world =
        try do
          TopologyWorld.run(seed)
        rescue
          error ->
            reraise "PALLADION_TOPOLOGY_SEED=#{seed}: #{Exception.message(error)}", __STACKTRACE__
        end

      hint = "PALLADION_TOPOLOGY_SEED=#{seed}"
      assert TopologyWorld.applied(world) == TopologyWorld.expected(world), hint
      assert TopologyWorld.stored(world) == TopologyWorld.expected(world), hint
      assert world.core.schedule.failures == 0, hint
    end
  end

  defp seeds do
    case System.get_env("PALLADION_TOPOLOGY_SEED") do
      nil ->
        first = System.unique_integer([:positive]) + System.system_time(:microsecond)
        first..(first + @worlds - 1)

      seed ->
        [String.to_integer(seed)]
    end
  end
end
