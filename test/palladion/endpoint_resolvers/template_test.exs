defmodule Palladion.EndpointResolvers.TemplateTest do
  use ExUnit.Case, async: true

  alias Palladion.{Endpoint, Node}
  alias Palladion.EndpointResolvers.Template

  doctest Template

  @node %Node{
    host_id: "8d2c6b00-d6c1-41ee-8c3e-0242ac120002",
    address: "10.0.0.1",
    port: 9042,
    datacenter: "eu",
    rack: "r1"
  }

  test "each variable, and a port or none" do
    for {template, address, port} <- [
          {"node-{host_id}.example", "node-8d2c6b00-d6c1-41ee-8c3e-0242ac120002.example", 9042},
          {"ip-{address}.example:9142", "ip-10.0.0.1.example", 9142},
          {"{rack}.{datacenter}.example", "r1.eu.example", 9042},
          {"{rack}.{rack}", "r1.r1", 9042},
          {"proxy-{port}.example:443", "proxy-9042.example", 443},
          {"{rack}.example:{port}", "r1.example", 9042},
          {"{address}", "10.0.0.1", 9042}
        ] do
      assert Template.resolve(@node, template) == {:ok, %Endpoint{address: address, port: port}}
    end
  end

  test "an IPv6 address stands before a port without brackets" do
    node = %{@node | address: "2001:db8::1"}

    assert {:ok, %{address: "2001:db8::1", port: 9142}} = Template.resolve(node, "{address}:9142")

    assert {:ok, %{address: "2001:db8::1", port: 9042}} = Template.resolve(node, "{address}")
  end

  test "a node that lacks a variable, or makes no name of it, is an error" do
    assert Template.resolve(%{@node | rack: nil}, "{rack}.example") ==
             {:error, "the template needs {rack}, which is not known of the node"}

    assert {:error, text} = Template.resolve(%{@node | datacenter: "EU west"}, "{datacenter}.x")
    assert text =~ "is not a host name"

    # A variable is a text like any other in what replaces it.
    assert {:error, _} = Template.resolve(%{@node | rack: "{port}"}, "{rack}.example")
  end
end
