defmodule Palladion.EndpointResolvers.FunctionTest do
  use ExUnit.Case, async: true

  alias Palladion.{Endpoint, Node}
  alias Palladion.EndpointResolvers.Function

  doctest Function

  @node %Node{address: "10.0.0.1", port: 9042, rack: "a"}

  test "every way to answer" do
    for {answer, endpoint} <- [
          {"db1", %Endpoint{address: "db1", port: 9042}},
          {"db1:9142", %Endpoint{address: "db1", port: 9142}},
          {{"db1", 9142}, %Endpoint{address: "db1", port: 9142}},
          {{10, 0, 0, 9}, %Endpoint{address: "10.0.0.9", port: 9042}},
          {"[::1]:9142", %Endpoint{address: "::1", port: 9142}},
          {%Endpoint{address: "db1", sni: "x"}, %Endpoint{address: "db1", port: 9042, sni: "x"}},
          {{:ok, "db1"}, %Endpoint{address: "db1", port: 9042}},
          {{:ok, {"db1", 1}}, %Endpoint{address: "db1", port: 1}}
        ] do
      assert Function.resolve(@node, fn @node -> answer end) == {:ok, endpoint}
    end
  end

  test "errors pass, and what is no endpoint becomes one" do
    assert Function.resolve(@node, fn _ -> {:error, :later} end) == {:error, :later}

    for answer <- [nil, :db1, "", "no host", {"db1", 0}, {:ok, nil}] do
      assert {:error, text} = Function.resolve(@node, fn _ -> answer end)
      assert is_binary(text)
    end
  end

  def named(%Node{rack: rack}, domain), do: "#{rack}.#{domain}"

  test "a function by name gets the node before its arguments" do
    assert {:ok, %{address: "a.example"}} =
             Function.resolve(@node, {__MODULE__, :named, ["example"]})
  end
end
