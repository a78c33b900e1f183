defmodule Palladion.Config.PolicyTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.{LoadBalancing, Reconnect, Retry, SchemaAgreement, Topology}
  alias Palladion.{LoadBalancingPolicies, ReconnectionPolicies, RetryPolicies}
  alias Palladion.Test.Policies

  defp problem({_value, problems}) do
    assert [problem] = problems
    {problem.path, problem.message}
  end

  test "load balancing" do
    for {given, policy} <- [
          {:round_robin, {LoadBalancingPolicies.RoundRobin, []}},
          {{:round_robin, remote_nodes: 2}, {LoadBalancingPolicies.RoundRobin, remote_nodes: 2}},
          {LoadBalancingPolicies.RoundRobin, {LoadBalancingPolicies.RoundRobin, []}},
          {:all_nodes, {LoadBalancingPolicies.AllNodes, []}},
          {{Policies.Balancing, %{}}, {Policies.Balancing, %{}}}
        ] do
      assert LoadBalancing.parse(given) == {policy, []}
    end

    for {given, path, text} <- [
          {:allnodes, [:load_balancing], "did you mean :all_nodes?"},
          {{:round_robin, remote_node: 1}, [:load_balancing, :remote_node],
           "unknown option, did you mean :remote_nodes?"},
          {{LoadBalancingPolicies.RoundRobin, remote_nodes: -1}, [:load_balancing, :remote_nodes],
           "must be an integer from 0"},
          {{:all_nodes, a: 1}, [:load_balancing, :a], "unknown option, there are none here"},
          {String, [:load_balancing], "it must be a Palladion.LoadBalancingPolicy"},
          {true, [:load_balancing], "must be :round_robin, :all_nodes, a module"},
          {{"a", 1}, [:load_balancing], "got: {\"a\", 1}"}
        ] do
      assert {^path, message} = problem(LoadBalancing.parse(given))
      assert message =~ text
    end
  end

  test "retry" do
    for {given, policy} <- [
          {:default, {RetryPolicies.Default, []}},
          {{:default, max_attempts: 5}, {RetryPolicies.Default, max_attempts: 5}},
          {:none, {RetryPolicies.None, []}},
          {:keyspaces, {RetryPolicies.Keyspaces, []}},
          {{:keyspaces, min_delay: 0, max_delay: 0},
           {RetryPolicies.Keyspaces, min_delay: 0, max_delay: 0}},
          {Policies.Retry, {Policies.Retry, []}}
        ] do
      assert Retry.parse(given) == {policy, []}
    end

    for {given, path, text} <- [
          {:defualt, [:retry],
           "is :defualt, and there is no such module; did you mean :default?"},
          {{:default, max_attempts: 0}, [:retry, :max_attempts], "must be an integer from 1"},
          {{:none, max_attempts: 2}, [:retry, :max_attempts], "there are none here"},
          {{:keyspaces, min_delay: 200}, [:retry, :max_delay],
           "is 100 ms, and must not be less than min_delay (200 ms)"},
          {{:keyspaces, max_dalay: 5}, [:retry, :max_dalay], "did you mean :max_delay?"},
          {false, [:retry],
           "must be :default, :keyspaces, :none, a module or {module, options}, got: false"},
          {String, [:retry], "which has no decide/2; it must be a Palladion.RetryPolicy"}
        ] do
      assert {^path, message} = problem(Retry.parse(given))
      assert message =~ text
    end
  end

  test "reconnection, with the section's bounds as the options of ready-made ones" do
    bounds = [min: 5, max: 10]

    for {given, policy, native} <- [
          {bounds, {ReconnectionPolicies.Exponential, bounds}, :exponential},
          {[policy: :constant, max: 10], {ReconnectionPolicies.Constant, delay: 10}, :constant},
          {[policy: ReconnectionPolicies.Constant, max: 10],
           {ReconnectionPolicies.Constant, delay: 10}, :constant},
          {[policy: {Policies.Pauses, 7}], {Policies.Pauses, 7}, :custom}
        ] do
      given = Keyword.put_new(given, :min, 5)
      assert {%Reconnect{policy: ^policy, min: 5} = reconnect, []} = Reconnect.parse(given)
      assert Reconnect.native_policy(reconnect) == native
    end

    # A constant pause has no first one.
    assert {%{max: 10}, []} = Reconnect.parse(policy: :constant, max: 10)

    for {given, path, text} <- [
          {[policy: {:constant, delay: 5}], [:reconnect, :policy], "takes no options: min:"},
          {[policy: :linear], [:reconnect, :policy], "there is no such module"},
          {[policy: String], [:reconnect, :policy], "which has no next_delay/2"},
          {[policy: Policies.Pauses, max: 10], [:reconnect, :max], "less than min (500 ms)"}
        ] do
      assert {^path, message} = problem(Reconnect.parse(given))
      assert message =~ text
    end
  end

  test "the schema's agreement, and the list of nodes" do
    assert SchemaAgreement.parse(false) == {nil, []}
    assert {%{timeout: 5, interval: 200, by: :nodes}, []} = SchemaAgreement.parse(timeout: 5)
    assert {%{timeout: 5, by: :keyspaces}, []} = SchemaAgreement.parse([timeout: 5], :keyspaces)

    assert {[:schema_agreement], "must be false or options" <> _} =
             problem(SchemaAgreement.parse(true))

    assert {[:schema_agreement, :timout], "unknown option, did you mean :timeout?"} =
             problem(SchemaAgreement.parse(timout: 5))

    assert {%{debounce: 5, refresh_interval: 300_000}, []} = Topology.parse(debounce: 5)

    assert {[:topology, :refresh_intervall], "unknown option, did you mean :refresh_interval?"} =
             problem(Topology.parse(refresh_intervall: 5))
  end
end
