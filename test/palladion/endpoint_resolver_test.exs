defmodule Palladion.EndpointResolverTest do
  use ExUnit.Case, async: true

  alias Palladion.{Endpoint, EndpointResolver, Node}
  alias Palladion.Test.Policies.Resolver

  @node %Node{host_id: "1", address: "10.0.0.1", port: 9042}

  defp resolve(answer), do: EndpointResolver.resolve({Resolver, answer}, @node)

  test "a module's endpoint is taken, in one spelling, with the announced port if it has none" do
    assert resolve({:ok, %Endpoint{address: "db1.example"}}) ==
             {:ok, %Endpoint{address: "db1.example", port: 9042}}

    given = %Endpoint{address: "2001:DB8::1", port: 1, verified_name: "a.example", sni: "b"}
    assert resolve({:ok, given}) == {:ok, %{given | address: "2001:db8::1"}}
  end

  test "it gets the node" do
    assert resolve(fn node -> {:ok, %Endpoint{address: node.address, port: 7}} end) ==
             {:ok, %Endpoint{address: "10.0.0.1", port: 7}}
  end

  test "its errors pass" do
    assert resolve({:error, :not_yet}) == {:error, :not_yet}
  end

  test "what can't be an endpoint is an error that says why" do
    for {answer, text} <- [
          {{:ok, %Endpoint{address: "no host"}}, "address \"no host\" is not a host name"},
          {{:ok, %Endpoint{address: nil}}, "address nil is not a host name"},
          {{:ok, %Endpoint{address: "a", port: 0}}, "port 0 is not a number from 1"},
          {{:ok, %Endpoint{address: "a", verified_name: "a/b"}},
           "verified_name \"a/b\" is a URL"},
          {{:ok, %Endpoint{address: "a", sni: "10.0.0.1"}}, "sni 10.0.0.1 is no host name"},
          {{:ok, "db1.example"}, "returned neither an endpoint nor an error"},
          {nil, "Policies.Resolver.resolve/2 returned neither"}
        ] do
      assert {:error, message} = resolve(answer)
      assert message =~ text
    end
  end
end
