defmodule Palladion.Config.EndpointResolverTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.EndpointResolver
  alias Palladion.EndpointResolvers.{Announced, FixedName, Function, Mapped, Template}
  alias Palladion.Test.Policies

  defp parse!(given) do
    assert {policy, []} = EndpointResolver.parse(given)
    policy
  end

  defp messages(given) do
    assert {_policy, [_ | _] = problems} = EndpointResolver.parse(given)
    assert Enum.all?(problems, &(&1.path == [:endpoint_resolver]))
    Enum.map(problems, & &1.message)
  end

  def endpoint(node, _pool), do: node.address

  test "every way to write one, as a module and its options" do
    fun = fn node -> node.address end

    for {given, policy} <- [
          {:announced, {Announced, []}},
          {Announced, {Announced, []}},
          {{:fixed_name, "db.example"}, {FixedName, "db.example"}},
          {{:fixed_name, ~c"db.example"}, {FixedName, "db.example"}},
          {{FixedName, "db.example"}, {FixedName, "db.example"}},
          {{:map, %{}}, {Mapped, %{}}},
          {{:template, "{rack}.example"}, {Template, "{rack}.example"}},
          {{:template, "{rack}.example:{port}"}, {Template, "{rack}.example:{port}"}},
          {{:template, "{address}:9142"}, {Template, "{address}:9142"}},
          {fun, {Function, fun}},
          {{__MODULE__, :endpoint, [:green]}, {Function, {__MODULE__, :endpoint, [:green]}}},
          {Policies.Resolver, {Policies.Resolver, []}},
          {{Policies.Resolver, :any}, {Policies.Resolver, :any}}
        ] do
      assert parse!(given) == policy
    end
  end

  test "mistakes are told, each with what to write" do
    for {given, text} <- [
          {:anounced, "there is no such module; did you mean :announced?"},
          {:fixed_name, "needs a name, {:fixed_name, \"db.example\"}, and [] is not a host name"},
          {{:fixed_name, "a b"}, "\"a b\" is not a host name"},
          {{:fixedname, "a"}, "did you mean :fixed_name?"},
          {{:announced, 1}, "must be a keyword list"},
          {{:template, "{hostid}.example"}, "unknown variable {hostid}, did you mean {host_id}?"},
          {{:template, "{zzz}.example"},
           "{zzz}, there are {address}, {port}, {host_id}, {datacenter}, {rack}"},
          {{:template, "{rack.example"}, "has a brace without its other half"},
          {{:template, "rack}.{rack}"}, "has a brace without its other half"},
          {{:template, "db.example"}, "has no variable"},
          {{:template, "{rack} x"}, "gives no endpoint"},
          {{:template, "{rack}.example:0"}, "gives no endpoint"},
          {{:template, "{rack}.example:https"}, "gives no endpoint"},
          {{:template, "{rack}"}, "lets a server choose the domain"},
          {{:template, "{rack}:9042"}, "lets a server choose the domain"},
          {{:template, "db.{datacenter}:{port}"}, "lets a server choose the domain"},
          {{:template, nil}, "needs a text"},
          {{:map, ["10.0.0.1": "db1"]}, "needs a map"},
          {{:map, %{"db1.example" => "db1"}}, "\"db1.example\" is no key"},
          {{:map, %{17 => "db1"}}, "17 is no key"},
          {{:map, %{"10.0.0.1" => "a b"}}, "the value of \"10.0.0.1\" is no endpoint: \"a b\""},
          {{:map, %{"10.0.0.1" => "u:secret@a"}}, "is no endpoint: the entry"},
          {fn -> "db1" end, "must be a function that takes the node"},
          {{__MODULE__, :endpoint, []}, "there is no such function"},
          {{__MODULE__, :endpoint, :green}, "must be a function that takes the node"},
          {MyApp.Nowhere,
           "is MyApp.Nowhere, and there is no such module; it must be :announced,"},
          {String, "is String, which has no resolve/2; it must be a Palladion.EndpointResolver"},
          {"db1.example", "must be :announced, {:fixed_name, name}"}
        ] do
      assert [message] = messages(given)
      assert message =~ text
      refute message =~ "secret"
    end
  end

  test "all that is wrong in a map or a template is told at once" do
    assert [_, _] = messages({:map, %{"db1" => "db1", "10.0.0.1" => nil}})
    assert [_, _] = messages({:template, "{a}.{b}"})
  end
end
