defmodule Palladion.EndpointResolvers.AnnouncedTest do
  use ExUnit.Case, async: true

  alias Palladion.{Endpoint, Node}
  alias Palladion.EndpointResolvers.Announced

  doctest Announced

  test "the certificate must carry the address, or the contact point's name" do
    node = %Node{address: "10.0.0.1", port: 9142}
    assert Announced.resolve(node, []) == {:ok, %Endpoint{address: "10.0.0.1", port: 9142}}

    assert {:ok, %Endpoint{address: "10.0.0.1", verified_name: "db1.example", sni: nil}} =
             Announced.resolve(%{node | contact_point: "db1.example"}, [])
  end
end
