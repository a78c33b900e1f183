defmodule Palladion.EndpointResolvers.MappedTest do
  use ExUnit.Case, async: true

  alias Palladion.{Config, Endpoint, Node}
  alias Palladion.EndpointResolvers.Mapped

  doctest Mapped

  @host_id "8d2c6b00-d6c1-41ee-8c3e-0242ac120002"
  @node %Node{host_id: @host_id, address: "10.0.0.1", port: 9042}

  # As a cluster does it: the map is read at the start, and asked later.
  defp resolve(map, node \\ @node) do
    assert {{Mapped, map}, []} = Config.EndpointResolver.parse({:map, map})
    Mapped.resolve(node, map)
  end

  test "nodes are found by address, by address and port, and by host id" do
    for key <- ["10.0.0.1", {10, 0, 0, 1}, "10.0.0.1:9042", @host_id, String.upcase(@host_id)] do
      assert resolve(%{key => "db1.example"}) ==
               {:ok, %Endpoint{address: "db1.example", port: 9042}}
    end

    node = %{@node | address: "2001:db8::1"}

    for key <- ["2001:db8::1", "2001:DB8:0::1", "[2001:DB8::1]:9042"] do
      assert {:ok, %{address: "db1"}} = resolve(%{key => "db1"}, node)
    end
  end

  test "the key that says most comes first" do
    all = %{@host_id => "id", "10.0.0.1:9042" => "both", "10.0.0.1" => "address"}
    assert {:ok, %{address: "id"}} = resolve(all)
    assert {:ok, %{address: "both"}} = resolve(Map.delete(all, @host_id))
    assert {:ok, %{address: "address"}} = resolve(all, %{@node | host_id: nil, port: 9043})
  end

  test "every way to write a value" do
    for {value, endpoint} <- [
          {"db1", %Endpoint{address: "db1", port: 9042}},
          {"db1:9142", %Endpoint{address: "db1", port: 9142}},
          {{"db1", 9142}, %Endpoint{address: "db1", port: 9142}},
          {%Endpoint{address: "10.9.9.9", verified_name: "db1"},
           %Endpoint{address: "10.9.9.9", port: 9042, verified_name: "db1"}}
        ] do
      assert resolve(%{"10.0.0.1" => value}) == {:ok, endpoint}
    end
  end

  test "other nodes are as announced" do
    assert resolve(%{"10.0.0.2" => "db2"}) == {:ok, %Endpoint{address: "10.0.0.1", port: 9042}}

    assert {:ok, %{verified_name: "db1.example"}} =
             resolve(%{}, %{@node | contact_point: "db1.example"})
  end
end
