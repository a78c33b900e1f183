defmodule Palladion.EndpointResolvers.FixedNameTest do
  use ExUnit.Case, async: true

  alias Palladion.{Endpoint, Node}
  alias Palladion.EndpointResolvers.FixedName

  doctest FixedName

  test "the name is for all, contact points or not" do
    for contact_point <- [nil, "db1.example"] do
      node = %Node{address: "10.0.0.1", port: 9042, contact_point: contact_point}

      assert FixedName.resolve(node, "db.example") ==
               {:ok, %Endpoint{address: "10.0.0.1", port: 9042, verified_name: "db.example"}}
    end
  end
end
