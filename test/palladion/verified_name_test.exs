defmodule Palladion.VerifiedNameTest do
  use ExUnit.Case, async: true

  alias Palladion.{Endpoint, Node, VerifiedName}

  @host_id "8d2c6b00-d6c1-41ee-8c3e-0242ac120002"
  @node %Node{
    host_id: @host_id,
    address: "10.0.0.1",
    port: 9042,
    contact_point: "DB1.example",
    datacenter: "eu",
    rack: "r1",
    endpoint: %Endpoint{address: "gateway", port: 19_001, verified_name: "gateway"}
  }

  def named(%Node{rack: rack}, domain), do: "#{rack}.#{domain}"

  test "what holds for all nodes says nothing of one" do
    for same <- [nil, false, "db.example"], do: assert(VerifiedName.of(same, @node) == {:ok, nil})
  end

  test "a template is filled with what is known of the node" do
    assert VerifiedName.of({:template, "node-{host_id}.{rack}.example"}, @node) ==
             {:ok, "node-#{@host_id}.r1.example"}

    assert VerifiedName.of({:template, "{address}"}, @node) == {:ok, "10.0.0.1"}

    assert VerifiedName.of({:template, "{rack}.example"}, %{@node | rack: nil}) ==
             {:error, "the template needs {rack}, which is not known of the node"}

    assert {:error, text} = VerifiedName.of({:template, "{rack}.example"}, %{@node | rack: "a b"})
    assert text =~ "is not a host name"
  end

  test "a map has the node by what is known of it, what says most first" do
    keys = [
      @host_id,
      "10.0.0.1:9042",
      "gateway:19001",
      "db1.example:9042",
      "10.0.0.1",
      "gateway",
      "db1.example"
    ]

    for {key, place} <- Enum.with_index(keys) do
      rest = Map.new(Enum.drop(keys, place + 1), &{&1, "other"})
      assert VerifiedName.of({:map, Map.put(rest, key, "found")}, @node) == {:ok, "found"}, key
    end

    for key <- ["10.0.0.2", "10.0.0.1:19001", "gateway:9042"] do
      assert VerifiedName.of({:map, %{key => "other"}}, @node) == {:ok, nil}
    end

    bare = %Node{address: "2001:db8::1", port: 9042}
    assert VerifiedName.of({:map, %{"[2001:db8::1]:9042" => "db1"}}, bare) == {:ok, "db1"}
    assert VerifiedName.of({:map, %{}}, bare) == {:ok, nil}
  end

  test "a function answers a name, nothing or an error" do
    for {answer, result} <- [
          {"db1", {:ok, "db1"}},
          {{:ok, "db1"}, {:ok, "db1"}},
          {~c"db1", {:ok, "db1"}},
          {{10, 0, 0, 9}, {:ok, "10.0.0.9"}},
          {"2001:DB8::1", {:ok, "2001:db8::1"}},
          {nil, {:ok, nil}},
          {{:ok, nil}, {:ok, nil}},
          {{:error, :later}, {:error, :later}}
        ] do
      assert VerifiedName.of({:function, fn @node -> answer end}, @node) == result
    end

    assert VerifiedName.of({:function, {__MODULE__, :named, ["example"]}}, @node) ==
             {:ok, "r1.example"}
  end

  test "a function can't turn the check off for some nodes" do
    for answer <- [false, {:ok, false}] do
      assert {:error, text} = VerifiedName.of({:function, fn _ -> answer end}, @node)
      assert text =~ "verify_hostname: false does it for all"
    end

    for answer <- [true, :db1, "", "*.example", "a b", {:ok, 1}, %Endpoint{address: "db1"}] do
      assert {:error, text} = VerifiedName.of({:function, fn _ -> answer end}, @node)
      assert is_binary(text)
    end
  end
end
